// TEST: smp=1,2 scheme=rcu,mmap_lock timeout=60
//
// Where mappings go that may go anywhere: each thread has a stretch of its own (mm_find_gap), so
// what threads map side by side is not joined, while one thread's mappings are, also after a large
// mapping; and a thread whose stretch is full finds room where there is any, all of the address
// space if need be.
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include "check.h"

#define GIB     (1ul << 30)
#define PIECE   GIB
#define STRETCH (8 * GIB)
#define LARGE   (1024 * GIB)
#define ALL     (128 * 1024 * GIB)

static char *map(size_t len)
{
    char *p = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

// Two mappings of one thread lie together; the lower one stays.
static void *map_two(void *unused)
{
    char *first = map(PIECE), *second = map(PIECE);
    (void)unused;
    CHECK(first && second && second + PIECE == first);
    CHECK(munmap(second + PIECE, PIECE) == 0);
    return second;
}

static void *map_two_anywhere(void *unused)
{
    (void)unused;
    return map(PIECE) ? map(PIECE) : NULL;
}

static void *in_thread(void *(*fn)(void *))
{
    pthread_t thread;
    void *result;
    CHECK(pthread_create(&thread, NULL, fn, NULL) == 0);
    CHECK(pthread_join(thread, &result) == 0);
    return result;
}

static void *map_all(void *unused)
{
    static char *large[256];
    uintptr_t n = 0;
    (void)unused;
    while ((large[n] = map(LARGE)) != NULL) {
        n++;
    }
    CHECK(errno == ENOMEM);
    char *small = map(PIECE); // there is always room between the large ones
    CHECK(small && munmap(small, PIECE) == 0);
    for (uintptr_t i = 0; i < n; i++) {
        CHECK(munmap(large[i], LARGE) == 0);
    }
    return (void *)n;
}

int main(void)
{
    uintptr_t nr_first = (uintptr_t)map_all(NULL), nr_other = (uintptr_t)in_thread(map_all);
    CHECK(nr_first > ALL / LARGE * 3 / 4);
    CHECK(nr_other >= nr_first - 1); // the pieces of the stretch's two sides may not make one
    ok("a thread whose stretch is full maps elsewhere");

    CHECK(map(3 * LARGE) != NULL); // fills nobody's stretch
    char *piece[63] = {map_two(NULL)};
    for (int i = 1; i < 63; i++) { // one of the 64 stretches was that of the thread above
        piece[i] = in_thread(map_two);
        CHECK(piece[i - 1] - piece[i] > (long)(STRETCH / 2));
    }
    CHECK(in_thread(map_two_anywhere) != NULL); // shares the first thread's
    ok("each thread maps in a stretch of its own");
    return 0;
}
