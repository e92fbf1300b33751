// strace PROGRAM [ARGUMENTS]: run a program with its system calls, and those of the processes it
// starts, shown on Faultline's console. See kernel/strace.c; on another system it only says so.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int fd = open("/proc/self/faultline_strace", O_WRONLY | O_CLOEXEC);
    if (argc < 2) {
        fprintf(stderr, "usage: strace PROGRAM [ARGUMENTS]\n");
        return 2;
    }
    if (fd < 0 || write(fd, "1", 1) != 1) {
        fprintf(stderr, "strace: /proc/self/faultline_strace: %s\n", strerror(errno));
        return 1;
    }
    execvp(argv[1], argv + 1);
    fprintf(stderr, "strace: %s: %s\n", argv[1], strerror(errno));
    return errno == ENOENT ? 127 : 126;
}
