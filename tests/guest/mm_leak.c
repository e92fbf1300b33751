// TEST: smp=1,2,4 scheme=rcu,mmap_lock timeout=120
// After much mapping, faulting and unmapping nothing is left over: no page table, no VMA, no tree
// node, no file, no page. (Faultline only: it reads /proc/faultline.)
#include "baseline.h"
#include <pthread.h>

// Room of each thread's own, where no mmap without an address lands.
static char *own_room(unsigned id)
{
    return (char *)(0x200000000000ul + ((unsigned long)id << 32));
}

static void churn_anon(unsigned seed)
{
    char *room = own_room(seed);
    for (unsigned i = 0; i < 150; i++) {
        seed = seed * 1664525 + 1013904223;
        unsigned at = (seed >> 8) % 4000, n = 1 + (seed >> 20) % 90;
        char *p = room + at * PAGE;
        switch (i % 5) {
        case 0:
        case 1:
            MUST(mmap(p, n * PAGE, RW, ANON | MAP_FIXED, -1, 0) == p);
            for (unsigned k = 0; k < n; k += 3) {
                p[k * PAGE] = 1;
            }
            break;
        case 2:
            CHECK_EQ(munmap(p, n * PAGE), 0);
            break;
        case 3:
            mprotect(p, n * PAGE, i % 2 ? PROT_READ : RW);
            break;
        default:
            madvise(p, n * PAGE, MADV_DONTNEED);
            break;
        }
    }
    CHECK_EQ(munmap(room, 4096 * PAGE), 0);
}

// A page here and there over all of the address space: page tables of every level.
static void churn_tables(void)
{
    for (unsigned long i = 1; i < 100; i++) {
        char *at = (char *)((i << 38) + (i << 21) + 0x10000000);
        char *p = mmap(at, 3 * PAGE, RW, ANON, -1, 0);
        MUST(p != MAP_FAILED);
        p[2 * PAGE] = 1;
        CHECK(p[PAGE] == 0);
        CHECK_EQ(munmap(p, 3 * PAGE), 0);
        touch_read(at); // a fault that finds nothing leaves nothing
    }
}

static void churn_files(void)
{
    for (int i = 0; i < 8; i++) {
        int fd = temp_file(40, 1);
        char *s = map(40 * PAGE, RW, MAP_SHARED, fd, 0),
             *p = map(40 * PAGE, RW, MAP_PRIVATE, fd, 0);
        char *m = map(40 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        CHECK_EQ(holds(s, 40, 1), 40);
        fill(p, 20, 2);
        fill(m, 30, 3);
        CHECK_EQ(ftruncate(fd, 10 * PAGE), 0);
        char *moved = mremap(p, 8 * PAGE, 600 * PAGE, MREMAP_MAYMOVE);
        CHECK(moved != MAP_FAILED);
        CHECK_EQ(holds(moved, 8, 2), 8);
        CHECK_EQ(munmap(moved, 600 * PAGE), 0);
        CHECK_EQ(munmap(p + 8 * PAGE, 32 * PAGE) | munmap(m, 40 * PAGE), 0);
        close(fd);
        CHECK_EQ(munmap(s, 40 * PAGE), 0);
    }
}

static void churn_moves(void)
{
    char *p = map_anon(64);
    fill(p, 64, 4);
    for (int i = 0; i < 40; i++) {
        unsigned long was = i % 2 ? 700 : 64, now = i % 2 ? 64 : 700;
        p = mremap(p, was * PAGE, now * PAGE, MREMAP_MAYMOVE);
        MUST(p != MAP_FAILED);
        if (i % 2 == 0) {
            char *q = mremap(p, now * PAGE, now * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
                             own_room(200 + (unsigned)i));
            MUST(q != MAP_FAILED);
            p = q;
        }
    }
    CHECK_EQ(holds(p, 64, 4), 64);
    CHECK_EQ(munmap(p, 64 * PAGE), 0);
}

static void *churn_thread(void *arg)
{
    churn_anon((unsigned)(uintptr_t)arg);
    churn_files();
    return NULL;
}

static void churn(void)
{
    pthread_t t[4];
    for (long i = 0; i < 4; i++) {
        MUST(pthread_create(&t[i], NULL, churn_thread, (void *)(i + 1)) == 0);
    }
    churn_anon(99);
    churn_tables();
    churn_moves();
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], NULL);
    }
}

int main(void)
{
    catch_faults();
    churn(); // the library keeps stacks and arenas
    struct baseline was = baseline_first();
    for (int i = 0; i < 2; i++) {
        churn();
    }
    baseline_check(&was);
    group("nothing left over");
    return finish();
}
