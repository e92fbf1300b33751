// TEST: smp=1,2,4 scheme=rcu,mmap_lock linux=same
/*
 * System V shared memory: keys and numbers, attachments and what counts as one, fork and exit,
 * IPC_RMID of a segment in use, shmdt of a mapping with holes, and threads that attach and detach
 * while another removes.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

#define PAGE 4096ul
#define FAIL ((void *)-1)

static void *volatile bad_addr = (void *)8;
static key_t key;

static long nattch(int id)
{
    struct shmid_ds d;
    return shmctl(id, IPC_STAT, &d) ? -errno : (long)d.shm_nattch;
}

static void test_get(void)
{
    struct shmid_ds d;
    int id = shmget(key, 5000, IPC_CREAT | IPC_EXCL | 0640);
    MUST(id >= 0);
    CHECK_EQ(shmget(key, 5000, 0), id);
    CHECK_EQ(shmget(key, 0, 0), id);
    CHECK_EQ(shmget(key, 100, IPC_CREAT | 0600), id);
    CHECK_ERR(shmget(key, 5001, 0), EINVAL);
    CHECK_ERR(shmget(key, 5000, IPC_CREAT | IPC_EXCL), EEXIST);
    CHECK_ERR(shmget(key + 1, 5000, 0), ENOENT);
    CHECK_ERR(shmget(key + 1, 0, IPC_CREAT), EINVAL);
    CHECK_ERR(shmget(key + 1, SIZE_MAX, IPC_CREAT), EINVAL);
    memset(&d, 0xff, sizeof(d));
    CHECK_EQ(shmctl(id, IPC_STAT, &d), 0);
    CHECK_EQ(d.shm_perm.__key, key);
    CHECK_EQ(d.shm_perm.mode, 0640);
    CHECK_EQ(d.shm_perm.uid, geteuid());
    CHECK_EQ(d.shm_perm.cgid, getegid());
    CHECK_EQ(d.shm_segsz, 5000);
    CHECK_EQ(d.shm_cpid, getpid());
    CHECK_EQ(d.shm_lpid, 0);
    CHECK_EQ(d.shm_atime, 0);
    CHECK_EQ(d.shm_dtime, 0);
    CHECK(d.shm_ctime != 0);
    CHECK_EQ(d.shm_nattch, 0);
    d.shm_perm.mode = 01755;
    CHECK_EQ(shmctl(id, IPC_SET, &d), 0);
    CHECK_EQ(shmctl(id, IPC_STAT, &d), 0);
    CHECK_EQ(d.shm_perm.mode, 0755);
    CHECK_ERR(shmctl(id, IPC_STAT, bad_addr), EFAULT);
    CHECK_ERR(shmctl(id, 99, &d), EINVAL);
    CHECK_ERR(shmctl(-1, IPC_STAT, &d), EINVAL);
    CHECK_EQ(shmctl(id, IPC_RMID, NULL), 0);
    CHECK_ERR(shmctl(id, IPC_RMID, NULL), EINVAL);
    CHECK_ERR(shmget(key, 0, 0), ENOENT);
    group("get, stat, set, remove");
}

static void test_private(void)
{
    int a = shmget(IPC_PRIVATE, 1, 0600), b = shmget(IPC_PRIVATE, 1, 0600);
    MUST(a >= 0 && b >= 0);
    CHECK(a != b);
    CHECK_EQ(shmctl(a, IPC_RMID, NULL), 0);
    int c = shmget(IPC_PRIVATE, 1, 0600);
    CHECK(c != a && c != b);
    CHECK(shmctl(a, IPC_RMID, NULL) == -1 && (errno == EINVAL || errno == EIDRM));
    CHECK_EQ(shmctl(b, IPC_RMID, NULL), 0);
    CHECK_EQ(shmctl(c, IPC_RMID, NULL), 0);
    group("private segments, numbers that are not used again");
}

static void test_attach(void)
{
    int id = shmget(IPC_PRIVATE, 3 * PAGE - 7, 0600);
    MUST(id >= 0);
    char *p = shmat(id, NULL, 0), *q = shmat(id, NULL, SHM_RDONLY);
    MUST(p != FAIL && q != FAIL);
    CHECK(p != q);
    CHECK_EQ(nattch(id), 2);
    CHECK_EQ(p[0], 0);
    CHECK_EQ(p[3 * PAGE - 1], 0);
    p[0] = 'a';
    p[3 * PAGE - 1] = 'z';
    CHECK_EQ(q[0], 'a');
    CHECK_EQ(q[3 * PAGE - 1], 'z');
    CHECK_ERR(mprotect(q, PAGE, PROT_READ | PROT_WRITE), EACCES);
    CHECK_EQ(shmdt(q), 0);
    CHECK_ERR(shmdt(q), EINVAL);
    CHECK_ERR(shmdt(p + PAGE), EINVAL);
    CHECK_ERR(shmdt(p + 1), EINVAL);
    CHECK_EQ(nattch(id), 1);

    // At an address of our own: taken, then free, then taken and replaced; rounded down.
    CHECK_ERR((long)shmat(id, p, 0), EINVAL);
    CHECK_ERR((long)shmat(id, q + 5, 0), EINVAL);
    CHECK_EQ((long)shmat(id, q + 5, SHM_RND), (long)q);
    CHECK_EQ((long)shmat(id, p, SHM_REMAP), (long)p);
    CHECK_ERR((long)shmat(id, NULL, SHM_REMAP), EINVAL);
    CHECK_EQ(p[0], 'a');
    CHECK_EQ(nattch(id), 2);
    CHECK_EQ(shmdt(q), 0);
    CHECK_EQ(shmdt(p), 0);
    CHECK_EQ(nattch(id), 0);
    CHECK_ERR((long)shmat(-1, NULL, 0), EINVAL);

    // What was written stays as long as the segment.
    p = shmat(id, NULL, 0);
    MUST(p != FAIL);
    CHECK_EQ(p[0], 'a');
    struct shmid_ds d;
    CHECK_EQ(shmctl(id, IPC_STAT, &d), 0);
    CHECK_EQ(d.shm_lpid, getpid());
    CHECK(d.shm_atime != 0 && d.shm_dtime != 0);
    CHECK_EQ(shmctl(id, IPC_RMID, NULL), 0);
    CHECK_EQ(shmdt(p), 0);
    group("attach, detach");
}

static void test_holes(void)
{
    int id = shmget(IPC_PRIVATE, 6 * PAGE, 0600);
    MUST(id >= 0);
    char *p = shmat(id, NULL, 0);
    MUST(p != FAIL);
    CHECK_EQ(munmap(p + PAGE, PAGE), 0);
    CHECK_EQ(nattch(id), 2); // its pieces are counted
    CHECK_EQ(mprotect(p + 4 * PAGE, PAGE, PROT_READ), 0);
    CHECK_EQ(nattch(id), 4);
    CHECK(mmap(p + PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
          p + PAGE);
    CHECK_EQ(shmdt(p), 0);
    CHECK_EQ(nattch(id), 0);
    CHECK_EQ(p[PAGE], 0); // not ours to unmap
    CHECK_EQ(munmap(p + PAGE, PAGE), 0);

    // The first page is gone: the address still names the attachment.
    p = shmat(id, NULL, 0);
    MUST(p != FAIL);
    CHECK_EQ(munmap(p, 2 * PAGE), 0);
    CHECK_EQ(shmdt(p), 0);
    CHECK_EQ(nattch(id), 0);

    // Two segments side by side: detaching the first leaves the second.
    int id2 = shmget(IPC_PRIVATE, 2 * PAGE, 0600);
    p = mmap(NULL, 8 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(shmat(id, p, SHM_REMAP) == p);
    CHECK(shmat(id2, p + 6 * PAGE, SHM_REMAP) == p + 6 * PAGE);
    p[6 * PAGE] = 1;
    CHECK_EQ(shmdt(p), 0);
    CHECK_EQ(nattch(id), 0);
    CHECK_EQ(nattch(id2), 1);
    CHECK_EQ(p[6 * PAGE], 1);
    CHECK_EQ(shmdt(p + 6 * PAGE), 0);
    CHECK_EQ(shmctl(id, IPC_RMID, NULL), 0);
    CHECK_EQ(shmctl(id2, IPC_RMID, NULL), 0);
    group("attachments with holes");
}

static void test_fork(void)
{
    int to[2], from[2], status;
    char c;
    int id = shmget(key, PAGE, IPC_CREAT | 0600);
    MUST(id >= 0 && pipe(to) == 0 && pipe(from) == 0);
    volatile int *p = shmat(id, NULL, 0);
    MUST(p != FAIL);
    *p = 7;
    pid_t pid = fork();
    MUST(pid >= 0);
    if (pid == 0) {
        int bad = *p != 7 || nattch(id) != 2;
        *p = 8;
        bad |= write(from[1], "x", 1) != 1 || read(to[0], &c, 1) != 1;
        // The parent has removed it. It has no key any more, but its number stays.
        struct shmid_ds d;
        bad |= shmctl(id, IPC_STAT, &d) != 0 || !(d.shm_perm.mode & SHM_DEST);
        bad |= d.shm_perm.__key != IPC_PRIVATE || d.shm_nattch != 1;
        bad |= shmget(key, 0, 0) != -1 || errno != ENOENT;
        volatile int *q = shmat(id, NULL, 0);
        bad |= q == FAIL || *q != 8 || nattch(id) != 2;
        _exit(bad);
    }
    CHECK_EQ(read(from[0], &c, 1), 1);
    CHECK_EQ(*p, 8);
    CHECK_EQ(nattch(id), 2);
    CHECK_EQ(shmctl(id, IPC_RMID, NULL), 0);
    CHECK_EQ(shmdt((void *)p), 0);
    CHECK_EQ(write(to[1], "x", 1), 1);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    CHECK_EQ(nattch(id), -EINVAL); // its end was the segment's
    CHECK_ERR((long)shmat(id, NULL, 0), EINVAL);
    CHECK(close(to[0]) == 0 && close(to[1]) == 0 && close(from[0]) == 0 && close(from[1]) == 0);
    group("fork, exit, a segment removed while in use");
}

static void test_moved(void)
{
    int id = shmget(IPC_PRIVATE, 4 * PAGE, 0600);
    MUST(id >= 0);
    char *p = shmat(id, NULL, 0);
    char *room = mmap(NULL, 4 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(p != FAIL && room != MAP_FAILED);
    CHECK_EQ(shmctl(id, IPC_RMID, NULL), 0);
    p[3 * PAGE] = 3;
    CHECK(mremap(p, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, room) == room);
    CHECK_EQ(room[3 * PAGE], 3);
    CHECK_EQ(nattch(id), 1);
    CHECK_EQ(shmdt(room), 0);
    CHECK_EQ(nattch(id), -EINVAL);
    group("an attachment that is moved");
}

static void test_proc(void)
{
    char line[512], want[64];
    int id = shmget(key, 12345, IPC_CREAT | 0604), seen = 0;
    FILE *f = fopen("/proc/sysvipc/shm", "r");
    MUST(id >= 0 && f);
    while (fgets(line, sizeof(line), f)) {
        int k, i, nr, cpid;
        unsigned mode;
        unsigned long size;
        if (sscanf(line, "%d %d %o %lu %d %*d %d", &k, &i, &mode, &size, &cpid, &nr) == 6 &&
            i == id) {
            seen++;
            CHECK_EQ(k, key);
            CHECK_EQ(mode, 0604);
            CHECK_EQ(size, 12345);
            CHECK_EQ(cpid, getpid());
            CHECK_EQ(nr, 0);
        }
    }
    fclose(f);
    CHECK_EQ(seen, 1);
    char *p = shmat(id, NULL, 0);
    snprintf(want, sizeof(want), "/SYSV%08x (deleted)", key);
    f = fopen("/proc/self/maps", "r");
    MUST(f && p != FAIL);
    seen = 0;
    while (fgets(line, sizeof(line), f)) {
        seen += strstr(line, want) && strtoul(line, NULL, 16) == (unsigned long)p;
    }
    fclose(f);
    CHECK_EQ(seen, 1);
    struct shmid_ds d;
    struct shm_info si;
    struct shminfo lim;
    CHECK(shmctl(0, SHM_INFO, (void *)&si) >= 0 && si.used_ids >= 1 && si.shm_tot >= 4);
    int top = shmctl(0, IPC_INFO, (void *)&lim), found = 0;
    CHECK(lim.shmmni == 4096 && lim.shmmin == 1);
    for (int n = 0; n <= top; n++) {
        found += shmctl(n, SHM_STAT, &d) == id;
    }
    CHECK_EQ(found, 1);
    CHECK_EQ(shmctl(id, SHM_LOCK, NULL), 0);
    CHECK(shmctl(id, IPC_STAT, &d) == 0 && (d.shm_perm.mode & SHM_LOCKED));
    CHECK_EQ(shmctl(id, SHM_UNLOCK, NULL), 0);
    CHECK(shmctl(id, IPC_STAT, &d) == 0 && !(d.shm_perm.mode & SHM_LOCKED));
    CHECK_EQ(shmctl(id, IPC_RMID, NULL), 0);
    CHECK_EQ(shmdt(p), 0);
    group("/proc/sysvipc/shm, maps, what ipcs asks");
}

// ---- Threads that attach and detach while the segment is removed and made again -----------------

static atomic_int stop;

static void *attacher(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop)) {
        int id = shmget(key, PAGE, 0);
        int *p = id >= 0 ? shmat(id, NULL, 0) : FAIL;
        if (p != FAIL) {
            atomic_fetch_add((atomic_int *)p, 1);
            CHECK_EQ(shmdt(p), 0);
        } else {
            CHECK(errno == ENOENT || errno == EINVAL || errno == EIDRM);
        }
    }
    return NULL;
}

static void test_race(void)
{
    pthread_t t[3];
    for (int i = 0; i < 3; i++) {
        MUST(pthread_create(&t[i], NULL, attacher, NULL) == 0);
    }
    for (int i = 0; i < 200; i++) {
        int id = shmget(key, PAGE, IPC_CREAT | IPC_EXCL | 0600);
        CHECK(id >= 0);
        sched_yield();
        CHECK_EQ(shmctl(id, IPC_RMID, NULL), 0);
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < 3; i++) {
        pthread_join(t[i], NULL);
    }
    struct shmid_ds d;
    struct shminfo lim;
    int top = shmctl(0, IPC_INFO, (void *)&lim), ours = 0;
    for (int n = 0; n <= top; n++) {
        ours += shmctl(n, SHM_STAT, &d) >= 0 && d.shm_cpid == getpid();
    }
    CHECK_EQ(ours, 0);
    group("attaching against removal");
}

static void test_posix(void)
{
    char name[64];
    int status;
    snprintf(name, sizeof(name), "/sysv_shm.%d", getpid());
    mkdir("/dev/shm", 01777); // a bare Linux has none
    int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    MUST(fd >= 0);
    CHECK_EQ(ftruncate(fd, PAGE), 0);
    volatile int *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    sem_t *s = sem_open(name, O_CREAT | O_EXCL, 0600, 0);
    MUST(p != MAP_FAILED && s != SEM_FAILED);
    pid_t pid = fork();
    if (pid == 0) {
        sem_t *mine = sem_open(name, 0);
        *p = 5;
        _exit(mine == SEM_FAILED || sem_post(mine) != 0);
    }
    CHECK_EQ(sem_wait(s), 0);
    CHECK_EQ(*p, 5);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    CHECK_EQ(sem_close(s), 0);
    CHECK_EQ(sem_unlink(name), 0);
    CHECK_EQ(shm_unlink(name), 0);
    CHECK_EQ(close(fd), 0);
    CHECK_EQ(munmap((void *)p, PAGE), 0);
    group("POSIX shared memory and a named semaphore");
}

int main(void)
{
    key = 0x46000000 | getpid(); // nobody else's on the Linux this runs on, too
    test_get();
    test_private();
    test_attach();
    test_holes();
    test_fork();
    test_moved();
    test_proc();
    test_race();
    test_posix();
    return finish();
}
