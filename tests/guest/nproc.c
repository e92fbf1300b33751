// TEST: smp=1,2,4 scheme=rcu linux=same
// RLIMIT_NPROC: who counts, for how long, for whom, and what a change of user does about it.
#define _GNU_SOURCE
#include "proc_test.h"
#include <pthread.h>
#include <sys/resource.h>

#define USER 4711

static const char *self;

static void limit(rlim_t n)
{
    struct rlimit r = {n, n};
    MUST(setrlimit(RLIMIT_NPROC, &r) == 0);
}

static void become(uid_t uid)
{
    MUST(setresuid(uid, uid, uid) == 0);
}

// How many more processes there may be; they all end again.
static int room(void)
{
    int n = 0;
    pid_t pid[100];
    while (n < 100 && (pid[n] = fork()) > 0) {
        n++;
    }
    if (n < 100 && pid[n] == 0) {
        pause();
    }
    CHECK_EQ(errno, EAGAIN);
    for (int i = 0; i < n; i++) {
        kill(pid[i], SIGKILL);
        dies_of(pid[i], SIGKILL);
    }
    return n;
}

// What there is room for beside one process that has nothing else: the user's count is what it was.
static int check_room(void *arg)
{
    limit(5);
    become(*(uid_t *)arg);
    CHECK_EQ(room(), 4);
    return 0;
}

static void check_empty(uid_t uid)
{
    exits_with(child_run(check_room, &uid), 0);
}

static int processes(void *arg)
{
    (void)arg;
    limit(10);
    become(USER);
    CHECK_EQ(room(), 9);
    pid_t pid = child_run(sleep_forever, NULL);
    CHECK_EQ(room(), 8);
    kill(pid, SIGKILL);
    siginfo_t i;
    CHECK_EQ(waitid(P_PID, (id_t)pid, &i, WEXITED | WNOWAIT), 0);
    CHECK_EQ(room(), 8); // a zombie
    dies_of(pid, SIGKILL);
    CHECK_EQ(room(), 9);
    limit(1);
    CHECK_EQ(room(), 0);
    return 0;
}

// --- Threads -------------------------------------------------------------------------------------

static void *thread_waits(void *arg)
{
    gate_wait(arg);
    return NULL;
}

static int threads(void *arg)
{
    struct gate g;
    pthread_t t[9], more;
    (void)arg;
    gate_make(&g);
    limit(10);
    become(USER);
    for (int i = 0; i < 4; i++) {
        MUST(pthread_create(&t[i], NULL, thread_waits, &g) == 0);
    }
    CHECK_EQ(room(), 5);
    for (int i = 4; i < 9; i++) {
        MUST(pthread_create(&t[i], NULL, thread_waits, &g) == 0);
    }
    CHECK_EQ(pthread_create(&more, NULL, thread_waits, &g), EAGAIN);
    CHECK_EQ(room(), 0);
    for (int i = 0; i < 9; i++) {
        gate_pass(&g);
    }
    for (int i = 0; i < 9; i++) {
        pthread_join(t[i], NULL);
    }
    threads_until(1);
    CHECK_EQ(room(), 9);
    gate_close(&g);
    return 0;
}

static struct gate leader[1];

// The first thread is about to end or has ended; it counts until the process is reaped.
static void *thread_alone(void *arg)
{
    gate_wait(&leader[0]);
    CHECK_EQ(room(), 8);
    char *argv[] = {(char *)self, arg ? "room" : NULL, NULL};
    if (arg) {
        execv(self, argv); // the same with the first one's number: nine of ten are free
    }
    _exit(checks_failed ? 100 : 0);
}

static int leader_ends(void *arg)
{
    pthread_t t;
    limit(10);
    become(USER);
    MUST(pthread_create(&t, NULL, thread_alone, arg) == 0);
    gate_pass(&leader[0]);
    syscall(SYS_exit, 0);
    return 1;
}

// --- Who they count for --------------------------------------------------------------------------

// n processes of a user, which wait to be killed.
static void holders_of(uid_t uid, pid_t *pid, int n)
{
    for (int i = 0; i < n; i++) {
        struct gate g;
        gate_make(&g);
        pid[i] = fork();
        MUST(pid[i] >= 0);
        if (pid[i] == 0) {
            become(uid);
            gate_pass(&g);
            pause();
        }
        gate_wait(&g);
        gate_close(&g);
    }
}

static void holders_make(pid_t *pid, int n)
{
    holders_of(USER, pid, n);
}

static void holders_kill(const pid_t *pid, int n)
{
    for (int i = 0; i < n; i++) {
        kill(pid[i], SIGKILL);
        dies_of(pid[i], SIGKILL);
    }
}

static int effective(void *arg)
{
    (void)arg;
    limit(5);
    MUST(setresuid(USER, USER + 1, USER + 2) == 0);
    CHECK_EQ(room(), 2); // beside the holders
    CHECK_EQ(setresuid((uid_t)-1, USER + 2, (uid_t)-1), 0);
    CHECK_EQ(room(), 2);
    CHECK_EQ(setresuid(USER + 2, (uid_t)-1, (uid_t)-1), 0);
    CHECK_EQ(room(), 4);
    CHECK_EQ(setresuid(USER + 1, USER + 1, USER + 1), -1);
    CHECK_EQ(room(), 4);
    return 0;
}

static void no_capabilities(void)
{
    const unsigned header[2] = {0x20080522, 0}, none[6] = {0}; // _LINUX_CAPABILITY_VERSION_3
    MUST(syscall(SYS_capset, header, none) == 0);
}

// Neither root by its real number, capable of nothing, nor who acts as root, is bound.
static int exempt(void *arg)
{
    limit(1);
    if (arg) {
        MUST(setresuid(USER, 0, 0) == 0);
    } else {
        no_capabilities();
    }
    for (int i = 0; i < 5; i++) {
        pid_t pid = fork();
        MUST(pid >= 0);
        if (pid == 0) {
            _exit(7);
        }
        exits_with(pid, 7);
    }
    return 0;
}

static void *thread_changes(void *arg)
{
    MUST(setresuid(USER, 0, 0) == 0); // the C library: in all threads
    gate_wait(arg);
    return NULL;
}

// A process's threads go with it, to one user and to the next.
static int with_threads(void *arg)
{
    struct gate g;
    pthread_t t[4];
    (void)arg;
    gate_make(&g);
    for (int i = 0; i < 4; i++) {
        MUST(pthread_create(&t[i], NULL, i == 3 ? thread_changes : thread_waits, &g) == 0);
    }
    uid_t uid = (uid_t)-1;
    while (uid != USER) {
        uid = getuid();
    }
    pid_t pid = child_run(sleep_forever, NULL);
    limit(12);
    become(USER);
    CHECK_EQ(room(), 12 - 6 - 2); // holders
    become(USER);                 // the same once more
    CHECK_EQ(room(), 12 - 6 - 2);
    for (int i = 0; i < 4; i++) {
        gate_pass(&g);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], NULL);
    }
    threads_until(1);
    CHECK_EQ(room(), 12 - 2 - 2);
    kill(pid, SIGKILL);
    dies_of(pid, SIGKILL);
    return 0;
}

// --- A change of user beyond the limit -----------------------------------------------------------

static char *const fine[] = {"nproc", "fine", NULL};
static struct gate step[2];

static void next_step(void)
{
    gate_pass(&step[0]);
    gate_wait(&step[1]);
}

// Three of the user are there, two may be.
static int too_many(void *arg)
{
    limit(2);
    CHECK_EQ(setresuid(USER, USER, USER), 0); // does not fail
    CHECK_ERR(fork(), EAGAIN);
    CHECK_ERR(execv(self, fine), EAGAIN);
    CHECK_ERR(execv("/no/such/file", fine), EAGAIN);
    CHECK_ERR(execv(self, fine), EAGAIN);
    CHECK_ERR(execv("", fine), ENOENT);
    next_step(); // now there are two with us
    CHECK_ERR(execv("/no/such/file", fine), ENOENT);
    next_step(); // and now three: that was forgiven
    if (arg) {
        CHECK_ERR(fork(), EAGAIN);
    }
    execv(self, fine);
    return 1;
}

static void change_beyond(void)
{
    pid_t held[3];
    gate_make(&step[0]);
    gate_make(&step[1]);
    holders_make(held, 3);
    pid_t pid = child_run(too_many, held);
    gate_wait(&step[0]);
    holders_kill(held + 1, 2);
    gate_pass(&step[1]);
    gate_wait(&step[0]);
    holders_make(held + 1, 1);
    gate_pass(&step[1]);
    exits_with(pid, 33);
    holders_kill(held, 2);
    gate_close(&step[0]);
    gate_close(&step[1]);
}

// Two are there and two may be: we are one too many, but Linux looks before.
static int just_full(void *arg)
{
    (void)arg;
    limit(2);
    CHECK_EQ(setresuid(USER, USER, USER), 0);
    CHECK_ERR(fork(), EAGAIN);
    execv(self, fine);
    return 1;
}

// Too many of one user, then another one, of whom there are just enough.
static int moves_on(void *arg)
{
    (void)arg;
    pid_t other;
    holders_of(USER + 1, &other, 1);
    limit(1);
    CHECK_EQ(setresuid(USER, 0, 0), 0);
    CHECK_ERR(execv(self, fine), EAGAIN);      // no capability helps
    CHECK_EQ(setresuid(USER, USER + 1, 0), 0); // the same real one
    CHECK_ERR(execv(self, fine), EAGAIN);
    CHECK_EQ(setresuid((uid_t)-1, 0, (uid_t)-1), 0);
    CHECK_EQ(setresuid(USER + 1, 0, 0), 0);
    pid_t pid = fork();
    if (pid == 0) {
        execv(self, fine);
        _exit(1);
    }
    exits_with(pid, 33);
    holders_kill(&other, 1);
    return 33;
}

// --- Everything at once --------------------------------------------------------------------------

#define ROUNDS 60

static void *thread_forks(void *arg)
{
    pid_t pid = fork();
    if (pid == 0) {
        _exit(0);
    }
    if (pid > 0) {
        waitpid(pid, NULL, 0);
    }
    return arg;
}

static int one_of_many(void *arg)
{
    unsigned draw = *(unsigned *)arg;
    pthread_t t;
    int there = draw & 1 && pthread_create(&t, NULL, thread_forks, NULL) == 0;
    MUST(setresuid(USER + draw / 2 % 3, 0, 0) == 0);
    if (draw & 8) {
        thread_forks(NULL);
    }
    MUST(setresuid(USER + draw / 16 % 3, 0, 0) == 0);
    if (draw & 64) {
        execv(self, fine);
    }
    if (there && draw & 128) {
        pthread_join(t, NULL);
    }
    if (!there && draw & 256) {
        syscall(SYS_exit, 33);
    }
    return 33;
}

static int crowd(void *arg)
{
    unsigned draw = *(unsigned *)arg;
    for (int i = 0; i < ROUNDS; i++) {
        draw = draw * 1103515245u + 12345u;
        unsigned its = draw >> 8;
        exits_with(child_run(one_of_many, &its), 33);
    }
    return 0;
}

static void everything(void)
{
    pid_t pid[4];
    printf("# seed 1 to 4\n");
    for (unsigned i = 0; i < 4; i++) {
        unsigned seed = i + 1;
        pid[i] = child_run(crowd, &seed);
    }
    for (int i = 0; i < 4; i++) {
        exits_with(pid[i], 0);
    }
    for (int i = 0; i < 3; i++) {
        check_empty(USER + (uid_t)i);
    }
    group("everything at once");
}

// Each begins and ends with no process of the user.
static void try_it(const char *what, int (*it)(void *), void *arg)
{
    exits_with(child_run(it, arg), 0);
    check_empty(USER);
    group(what);
}

static void beside_holders(const char *what, int (*it)(void *), int code)
{
    pid_t held[2];
    holders_make(held, 2);
    exits_with(child_run(it, NULL), code);
    holders_kill(held, 2);
    check_empty(USER);
    check_empty(USER + 1);
    group(what);
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "fine")) {
        return 33;
    }
    if (argc > 1) {
        CHECK_EQ(room(), 9);
        return checks_failed ? 100 : 0;
    }
    self = argv[0];
    gate_make(&leader[0]);
    try_it("processes and zombies", processes, NULL);
    try_it("threads", threads, NULL);
    try_it("the first thread ends first", leader_ends, NULL);
    try_it("execve by the second thread", leader_ends, &leader);
    try_it("root is not bound", exempt, NULL);
    try_it("nor is who acts as root", exempt, &leader);
    beside_holders("the real number counts", effective, 0);
    beside_holders("threads go along", with_threads, 0);
    change_beyond();
    check_empty(USER);
    group("setuid beyond the limit");
    beside_holders("setuid to the limit", just_full, 33);
    beside_holders("and on to another user", moves_on, 33);
    everything();
    return finish();
}
