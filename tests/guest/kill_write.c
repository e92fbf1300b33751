// TEST: smp=1,2,4 scheme=rcu timeout=60
// SIGKILL ends a write of hundreds of megabytes in its middle; the file keeps what was written.
// That the signal comes in the middle is likely, not certain, so there are several chances; a
// kernel that does not listen uses none of them.
#include "mm_test.h"
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define LEN (300ul << 20)

static off_t size_of(int fd)
{
    struct stat st;
    MUST(fstat(fd, &st) == 0);
    return st.st_size;
}

// How much of it was written.
static off_t killed_write(char *from)
{
    int fd = memfd_create("long", 0), status;
    pid_t pid = fork();
    MUST(fd >= 0 && pid >= 0);
    if (pid == 0) {
        (void)!write(fd, from, LEN);
        for (;;) {
            pause();
        }
    }
    while (size_of(fd) == 0) {
        sched_yield();
    }
    CHECK_EQ(kill(pid, SIGKILL), 0);
    MUST(waitpid(pid, &status, 0) == pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    off_t size = size_of(fd);
    close(fd);
    return size;
}

int main(void)
{
    char *from = map(LEN, PROT_READ, ANON | MAP_NORESERVE, -1, 0);
    off_t size = LEN;
    for (int i = 0; i < 5 && size == (off_t)LEN; i++) {
        size = killed_write(from);
    }
    fprintf(stderr, "%ld of %lu bytes\n", (long)size, LEN);
    CHECK(size > 0 && size < (off_t)LEN);
    group("a long write is killed");
    return finish();
}
