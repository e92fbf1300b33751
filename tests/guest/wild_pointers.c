// TEST: smp=1,4 scheme=rcu,mmap_lock linux=same timeout=120
// Wild pointers to every system call.
//
// One at a time: calls whose other arguments are right, and one pointer that leads nowhere: the
// first page, behind user space, non-canonical, the kernel's, the end of the address space, memory
// that is not mapped, that may not be read, and the last byte before such memory. The answer is
// EFAULT, on Linux too, and no descriptor is left open.
//
// All at once: each number there is (include/syscalls.def), with one wild pointer in every
// argument, in a child. It returns or is refused; no call kills the child by a signal but the two
// that run on from what they are given; and nothing is left over in the kernel. (Faultline only.)
#include "sysfuzz.h"
#include "baseline.h"
#include <linux/sched.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>

// Arguments: a number; @ AT_FDCWD; a letter of set_up(); G what can be read and written, zeroes;
// P the pointer under test, which may be wild in every way; B the same for what has no size or
// is copied byte by byte: not the last byte before the end.
static const struct {
    int nr;
    const char *args;
} entries[] = {
    {SYS_read, "r B 8"},
    {SYS_read, "f B 8"},
    {SYS_read, "u P 8"},
    {SYS_read, "q B 4096"},
    {SYS_write, "w B 8"},
    {SYS_write, "f B 8"},
    {SYS_write, "u P 8"},
    {SYS_readv, "r P 1"},
    {SYS_writev, "w P 1"},
    {SYS_preadv, "f P 1 0 0"},
    {SYS_pwritev, "f P 1 0 0"},
    {SYS_preadv2, "f P 1 0 0 0"},
    {SYS_pwritev2, "f P 1 0 0 0"},
    {SYS_pread64, "f B 8 0"},
    {SYS_pwrite64, "f B 8 0"},
    {SYS_process_vm_readv, "m P 1 v 1 0"},
    {SYS_process_vm_readv, "m v 1 P 1 0"},
    {SYS_process_vm_writev, "m P 1 v 1 0"},
    {SYS_process_vm_writev, "m v 1 P 1 0"},
    {SYS_open, "P 0 0"},
    {SYS_openat, "@ P 0 0"},
    {SYS_openat2, "@ P G 24"},
    {SYS_openat2, "@ n P 24"},
    {SYS_creat, "P 0600"},
    {SYS_stat, "P G"},
    {SYS_stat, "n P"},
    {SYS_lstat, "P G"},
    {SYS_lstat, "n P"},
    {SYS_fstat, "f P"},
    {SYS_newfstatat, "@ P G 0"},
    {SYS_newfstatat, "@ n P 0"},
    {SYS_statx, "@ P 0 0x7ff G"},
    {SYS_statx, "@ n 0 0x7ff P"},
    {SYS_statfs, "P G"},
    {SYS_statfs, "n P"},
    {SYS_fstatfs, "f P"},
    {SYS_access, "P 0"},
    {SYS_faccessat, "@ P 0"},
    {SYS_faccessat2, "@ P 0 0"},
    {SYS_chmod, "P 0600"},
    {SYS_fchmodat, "@ P 0600"},
    {SYS_chown, "P 0 0"},
    {SYS_lchown, "P 0 0"},
    {SYS_fchownat, "@ P 0 0 0"},
    {SYS_readlink, "P G 64"},
    {SYS_readlink, "l B 64"},
    {SYS_readlinkat, "@ P G 64"},
    {SYS_readlinkat, "@ l B 64"},
    {SYS_chdir, "P"},
    {SYS_chroot, "P"},
    {SYS_getcwd, "B 4096"},
    {SYS_mkdir, "P 0700"},
    {SYS_mkdirat, "@ P 0700"},
    {SYS_rmdir, "P"},
    {SYS_unlink, "P"},
    {SYS_unlinkat, "@ P 0"},
    {SYS_rename, "P n"},
    {SYS_rename, "n P"},
    {SYS_renameat, "@ P @ n"},
    {SYS_renameat, "@ n @ P"},
    {SYS_renameat2, "@ P @ n 0"},
    {SYS_renameat2, "@ n @ P 0"},
    {SYS_link, "P n"},
    {SYS_link, "n P"},
    {SYS_linkat, "@ P @ n 0"},
    {SYS_linkat, "@ n @ P 0"},
    {SYS_symlink, "P n"},
    {SYS_symlink, "n P"},
    {SYS_symlinkat, "P @ n"},
    {SYS_symlinkat, "n @ P"},
    {SYS_mknod, "P 0 0"},
    {SYS_mknodat, "@ P 0 0"},
    {SYS_utime, "P 0"},
    {SYS_utime, "n P"},
    {SYS_utimes, "P 0"},
    {SYS_utimes, "n P"},
    {SYS_futimesat, "@ n P"},
    {SYS_utimensat, "@ P 0 0"},
    {SYS_utimensat, "@ n P 0"},
    {SYS_truncate, "P 0"},
    {SYS_getdents, "d P 4096"},
    {SYS_getdents64, "d P 4096"},
    {SYS_memfd_create, "P 0"},
    {SYS_mount, "0 P 0 0 0"},
    {SYS_umount2, "P 0"},
    {SYS_sendfile, "w f P 8"},
    {SYS_copy_file_range, "f P f 0 8 0"},
    {SYS_splice, "f P w 0 8 0"},
    {SYS_vmsplice, "w P 1 0"},
    {SYS_fcntl, "f 5 P"},      // F_GETLK
    {SYS_fcntl, "f 6 P"},      // F_SETLK
    {SYS_ioctl, "r 0x541b P"}, // FIONREAD
    {SYS_ioctl, "r 0x5421 P"}, // FIONBIO
    {SYS_pipe, "P"},
    {SYS_pipe2, "P 0"},
    {SYS_poll, "P 1 0"},
    {SYS_ppoll, "P 1 G 0 8"},
    {SYS_ppoll, "G 1 P 0 8"},
    {SYS_ppoll, "G 1 G P 8"},
    {SYS_select, "1 P 0 0 G"},
    {SYS_select, "1 0 P 0 G"},
    {SYS_select, "1 0 0 P G"},
    {SYS_select, "0 0 0 0 P"},
    {SYS_pselect6, "1 P 0 0 G 0"},
    {SYS_pselect6, "0 0 0 0 P 0"},
    {SYS_pselect6, "0 0 0 0 G P"},
    {SYS_epoll_ctl, "e 1 w P"},
    {SYS_epoll_wait, "e P 1 0"},
    {SYS_epoll_pwait, "e P 1 0 0 8"},
    {SYS_epoll_pwait, "e G 1 0 P 8"},
    {SYS_epoll_pwait2, "e P 1 G 0 8"},
    {SYS_epoll_pwait2, "e G 1 P 0 8"},
    {SYS_timerfd_settime, "t 0 P 0"},
    {SYS_timerfd_gettime, "t P"},
    {SYS_signalfd, "-1 P 8"},
    {SYS_signalfd4, "-1 P 8 0"},
    {SYS_inotify_add_watch, "i P 2"},
    {SYS_clock_gettime, "1 P"},
    {SYS_clock_getres, "1 P"},
    {SYS_gettimeofday, "P 0"},
    {SYS_gettimeofday, "0 P"},
    {SYS_time, "P"},
    {SYS_times, "P"},
    {SYS_nanosleep, "P 0"},
    {SYS_clock_nanosleep, "1 0 P 0"},
    {SYS_timer_create, "1 P G"},
    {SYS_timer_create, "1 0 P"},
    {SYS_setitimer, "0 P 0"},
    {SYS_getitimer, "0 P"},
    {SYS_getrusage, "0 P"},
    {SYS_getrlimit, "7 P"},
    {SYS_setrlimit, "7 P"},
    {SYS_prlimit64, "0 7 P 0"},
    {SYS_prlimit64, "0 7 0 P"},
    {SYS_sched_setaffinity, "0 8 P"},
    {SYS_sched_getaffinity, "0 512 P"},
    {SYS_sched_setscheduler, "0 0 P"},
    {SYS_sched_getparam, "0 P"},
    {SYS_sched_setparam, "0 P"},
    {SYS_sched_rr_get_interval, "0 P"},
    {SYS_sched_getattr, "0 P 48 0"},
    {SYS_sched_setattr, "0 P 0"},
    {SYS_getcpu, "P 0 0"},
    {SYS_getcpu, "0 P 0"},
    {SYS_sethostname, "B 4"},
    {SYS_setdomainname, "B 4"},
    {SYS_uname, "P"},
    {SYS_sysinfo, "P"},
    {SYS_getrandom, "B 16 0"},
    {SYS_mincore, "G 4096 B"},
    {SYS_get_mempolicy, "P 0 0 0 0"},
    {SYS_get_robust_list, "0 P G"},
    {SYS_get_robust_list, "0 G P"},
    {SYS_rt_sigaction, "10 P 0 8"},
    {SYS_rt_sigaction, "10 0 P 8"},
    {SYS_rt_sigprocmask, "0 P 0 8"},
    {SYS_rt_sigprocmask, "0 0 P 8"},
    {SYS_rt_sigpending, "P 8"},
    {SYS_rt_sigsuspend, "P 8"},
    {SYS_rt_sigtimedwait, "P 0 G 8"},
    {SYS_rt_sigtimedwait, "G 0 P 8"},
    {SYS_rt_sigqueueinfo, "m 0 P"},
    {SYS_rt_tgsigqueueinfo, "m m 0 P"},
    {SYS_pidfd_send_signal, "p 0 P 0"},
    {SYS_sigaltstack, "P 0"},
    {SYS_sigaltstack, "0 P"},
    {SYS_futex, "B 0 0 G"},     // FUTEX_WAIT
    {SYS_futex, "G 0 0 P"},     // its time
    {SYS_futex, "B 1 1"},       // FUTEX_WAKE, shared
    {SYS_futex, "B 3 1 1 G"},   // FUTEX_REQUEUE
    {SYS_futex, "G 4 1 1 B 0"}, // FUTEX_CMP_REQUEUE
    {SYS_clone3, "P 88"},
    {SYS_capget, "P G"},
    {SYS_capset, "P G"},
    {SYS_getresuid, "P G G"},
    {SYS_getresuid, "G P G"},
    {SYS_getresuid, "G G P"},
    {SYS_getresgid, "P G G"},
    {SYS_getresgid, "G P G"},
    {SYS_getresgid, "G G P"},
    {SYS_setgroups, "1 P"},
    {SYS_prctl, "15 P"}, // PR_SET_NAME
    {SYS_prctl, "16 P"}, // PR_GET_NAME
    {SYS_execve, "P 0 0"},
    {SYS_execve, "x P 0"},
    {SYS_execve, "x 0 P"},
    {SYS_execveat, "@ P 0 0 0"},
    {SYS_execveat, "@ x P 0 0"},
    {SYS_bind, "s P 16"},
    {SYS_connect, "s P 16"},
    {SYS_getsockname, "s G P"},
    {SYS_getpeername, "s G P"},
    {SYS_setsockopt, "s 1 7 P 4"}, // SO_SNDBUF
    {SYS_getsockopt, "s 1 7 G P"},
    {SYS_sendto, "s B 8 0 0 0"},
    {SYS_recvfrom, "s B 8 0 0 0"},
    {SYS_sendmsg, "s P 0"},
    {SYS_recvmsg, "s P 0"},
    {SYS_sendmmsg, "s P 1 0"},
    {SYS_recvmmsg, "s P 1 0 0"},
    {SYS_socketpair, "1 1 0 P"},
    {SYS_shmctl, "H 2 P"}, // IPC_STAT
    {SYS_semctl, "S 0 2 P"},
    {SYS_msgctl, "Q 2 P"},
    {SYS_semop, "S P 1"},
    {SYS_semtimedop, "S P 1 0"},
    {SYS_msgsnd, "Q P 1 0"},
};

static char *good, *end; // a page of zeroes; where memory ends, and a byte in front of it
static char *unmapped;
static struct iovec eight_bytes;
static long letter[128];

static void set_up_files(void)
{
    int fds[2];
    MUST(chdir("/tmp") == 0);
    letter['f'] = open("wild.file", O_RDWR | O_CREAT, 0644);
    MUST(letter['f'] >= 0 && pwrite((int)letter['f'], "0123456789abcdef", 16, 0) == 16);
    MUST(symlink("wild.file", "wild.link") == 0);
    letter['n'] = (long)"wild.file";
    letter['l'] = (long)"wild.link";
    letter['x'] = (long)"/proc/self/exe";
    letter['d'] = open("/", O_RDONLY | O_DIRECTORY);
    letter['q'] = open("/proc/self/status", O_RDONLY);
    MUST(pipe(fds) == 0 && write(fds[1], "0123456789abcdef", 16) == 16);
    letter['r'] = fds[0];
    letter['w'] = fds[1];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0 && write(fds[1], "0123456789", 10) == 10);
    letter['s'] = fds[0];
}

static void set_up(void)
{
    struct epoll_event ready = {.events = EPOLLIN};
    struct msg {
        long type;
        char text[8];
    } message = {1, "message"};
    good = map_anon(1);
    end = map_anon(2) + PAGE;
    unmapped = map_nothing(64) + 32 * PAGE;
    MUST(mprotect(end, PAGE, PROT_NONE) == 0);
    set_up_files();
    eight_bytes = (struct iovec){good, 8};
    letter['G'] = (long)good;
    letter['@'] = AT_FDCWD;
    letter['v'] = (long)&eight_bytes;
    letter['m'] = getpid();
    letter['u'] = eventfd(1000, EFD_SEMAPHORE); // Linux takes one even if it cannot say so
    letter['t'] = timerfd_create(CLOCK_MONOTONIC, 0);
    letter['i'] = inotify_init1(0);
    letter['e'] = epoll_create1(0);
    letter['p'] = syscall(SYS_pidfd_open, getpid(), 0);
    letter['H'] = shmget(IPC_PRIVATE, PAGE, 0600);
    letter['S'] = semget(IPC_PRIVATE, 1, 0600);
    letter['Q'] = msgget(IPC_PRIVATE, 0600);
    MUST(epoll_ctl((int)letter['e'], EPOLL_CTL_ADD, (int)letter['u'], &ready) == 0);
    MUST(msgsnd((int)letter['Q'], &message, sizeof(message.text), 0) == 0);
}

// Those of System V stay until they are removed.
static void tear_down(void)
{
    CHECK_EQ(shmctl((int)letter['H'], IPC_RMID, NULL), 0);
    CHECK_EQ(semctl((int)letter['S'], 0, IPC_RMID), 0);
    CHECK_EQ(msgctl((int)letter['Q'], IPC_RMID, NULL), 0);
    CHECK_EQ(unlink("wild.file") | unlink("wild.link"), 0);
}

// The n-th wild pointer; 0 when there are no more. All are aligned but the last.
static unsigned long wild(unsigned n)
{
    const unsigned long all[] = {
        8,
        0x00007ffffffff000ul,
        0x0000800000000000ul,
        0xdeadbeefdeadbee8ul,
        0xffff800000000000ul,
        0xffffffff80100000ul,
        0xfffffffffffffff8ul,
        (unsigned long)unmapped,
        (unsigned long)end,
        (unsigned long)end - 1,
        0,
    };
    return all[n];
}

// The arguments, with this pointer. The kind of pointer that they have.
static char arguments(const char *text, unsigned long pointer, unsigned long *a)
{
    char kind = 0;
    for (unsigned i = 0; i < 6; i++) {
        char c = *text, *rest;
        a[i] = 0;
        if (c == 'P' || c == 'B') {
            kind = c;
            a[i] = pointer;
            text++;
        } else if (c == '-' || (c >= '0' && c <= '9')) {
            a[i] = strtoul(text, &rest, 0);
            text = rest;
        } else if (c) {
            a[i] = (unsigned long)letter[(unsigned char)c];
            text++;
        }
        text += *text == ' ';
    }
    return kind;
}

static const char *now_making;
static pid_t child;

static void on_alarm(int sig)
{
    (void)sig;
    fprintf(stderr, "%s does not come back\n", now_making);
    if (child == 0) {
        _exit(1);
    }
    kill(child, SIGKILL);
}

static int nr_descriptors(void)
{
    int nr = 0;
    for (int fd = 0; fd < 1024; fd++) {
        nr += fcntl(fd, F_GETFD) >= 0;
    }
    return nr;
}

static void make_call(int nr, const char *text, unsigned long p)
{
    unsigned long a[6];
    if (arguments(text, p, a) == 'B' && p % 8) {
        return;
    }
    end[-1] = 'x'; // not the end of a name
    now_making = text;
    alarm(30);
    long r = syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
    int err = errno;
    alarm(0);
    if (r != -1 || err != EFAULT) {
        fprintf(stderr, "call %d(%s), pointer %#lx: %ld, errno %d\n", nr, text, p, r, err);
        CHECK(!"EFAULT");
    }
}

static void make_all(void)
{
    for (unsigned i = 0; i < sizeof(entries) / sizeof(*entries); i++) {
        for (unsigned n = 0; wild(n); n++) {
            make_call(entries[i].nr, entries[i].args, wild(n));
        }
    }
}

static int is_faultline(void)
{
    return access("/proc/faultline/settle", F_OK) == 0;
}

static void test_one_at_a_time(void)
{
    int nr = nr_descriptors();
    make_all(); // caches take what they keep
    CHECK_EQ(nr_descriptors(), nr);
    if (is_faultline()) {
        struct baseline was = baseline_first();
        make_all();
        baseline_check(&was);
    }
    group("one pointer is wild: EFAULT");
}

// ---- All at once --------------------------------------------------------------------------------

// What goes on running with the registers or the stack that it was given.
static int may_crash(const char *name)
{
    static const char *const crash[] = {"clone", "rt_sigreturn"};
    for (unsigned i = 0; i < sizeof(crash) / sizeof(*crash); i++) {
        if (strcmp(crash[i], name) == 0) {
            return 1;
        }
    }
    return 0;
}

static void make_in_child(const struct call *c, unsigned long p)
{
    int status;
    now_making = c->name;
    child = fork();
    MUST(child >= 0);
    if (child == 0) {
        syscall(c->number[machine], p, p, p, p, p, p);
        _exit(0);
    }
    alarm(30);
    while (waitpid(child, &status, 0) != child) {
    }
    alarm(0);
    if (WIFSIGNALED(status) && !may_crash(c->name)) {
        fprintf(stderr, "%s(%#lx ...): signal %d\n", c->name, p, WTERMSIG(status));
        CHECK(!"killed by a signal");
    }
}

// None of these takes a pointer. One has no end, one a child on this stack; what the others make
// outlives its maker.
static int is_left_out(const char *name)
{
    static const char *const out[] = {"pause", "vfork", "shmget", "semget", "msgget"};
    for (unsigned i = 0; i < sizeof(out) / sizeof(*out); i++) {
        if (strcmp(out[i], name) == 0) {
            return 1;
        }
    }
    return 0;
}

static void all_calls(unsigned long p)
{
    for (unsigned i = 0; i < NR_CALLS; i++) {
        if (calls[i].number[machine] >= 0 && !is_left_out(calls[i].name)) {
            make_in_child(&calls[i], p);
        }
    }
}

static void test_all_at_once(void)
{
    if (is_faultline()) {
        all_calls(wild(0)); // as above
        struct baseline was = baseline_first();
        for (unsigned n = 0; wild(n); n++) {
            all_calls(wild(n));
        }
        baseline_check(&was);
    }
    group("all arguments are wild");
}

int main(void)
{
    struct utsname name;
    MUST(uname(&name) == 0);
    machine = strcmp(name.machine, "aarch64") == 0;
    set_up();
    signal(SIGALRM, on_alarm);
    test_one_at_a_time();
    tear_down();
    test_all_at_once();
    return finish();
}
