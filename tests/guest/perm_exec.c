// TEST: smp=2 scheme=rcu linux=same timeout=120
// Programs with set-user-ID and set-group-ID bits: run by root and others, with no_new_privs, from
// a file system that does not honour the bits, through a script, unreadable, with directories that
// another process shares, with an interpreter that may not be read. Prints who the new program is
// and what it was told. Last, what of capabilities needs CAP_SETPCAP.
#define _GNU_SOURCE
#include "proc_test.h"
#include <elf.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sched.h>
#include <stddef.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define TOP "/tmp/pexec"

static void caps_get(struct __user_cap_data_struct *d)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    MUST(syscall(SYS_capget, &h, d) == 0);
}

static void look(void)
{
    struct __user_cap_data_struct d[2];
    int u[3], g[3], death = -1;
    caps_get(d);
    syscall(SYS_getresuid, &u[0], &u[1], &u[2]);
    syscall(SYS_getresgid, &g[0], &g[1], &g[2]);
    prctl(PR_GET_PDEATHSIG, &death);
    printf("  %d %d %d fs %d, %d %d %d fs %d, secure %lu, auxv %lu %lu %lu %lu, dumpable %d, "
           "death %d, %x %x\n",
           u[0], u[1], u[2], (int)syscall(SYS_setfsuid, -1), g[0], g[1], g[2],
           (int)syscall(SYS_setfsgid, -1), getauxval(AT_SECURE), getauxval(AT_UID),
           getauxval(AT_EUID), getauxval(AT_GID), getauxval(AT_EGID), prctl(PR_GET_DUMPABLE), death,
           d[0].effective, d[0].permitted);
    fflush(stdout);
}

static void copy(const char *from, const char *to)
{
    char buf[65536];
    ssize_t n;
    int in = open(from, O_RDONLY), out = open(to, O_CREAT | O_WRONLY | O_TRUNC, 0755);
    MUST(in >= 0 && out >= 0);
    while ((n = read(in, buf, sizeof(buf))) > 0) {
        MUST(write(out, buf, (size_t)n) == n);
    }
    close(in);
    close(out);
}

static const struct user {
    int uid, gid;
} users[] = {{0, 0}, {1000, 1000}, {2000, 2000}};

static const struct way {
    const char *name, *file;
    unsigned mode;
    int no_new, acting; // acting: with an effective number that is not the real one
} ways[] = {
    {"plain", "/prog", 0755, 0, 0},          {"set-user-ID", "/prog", 04755, 0, 0},
    {"set-group-ID", "/prog", 02755, 0, 0},  {"both", "/prog", 06755, 0, 0},
    {"no group x", "/prog", 02705, 0, 0},    {"unreadable", "/prog", 04711, 0, 0},
    {"only x", "/prog", 0111, 0, 0},         {"no new", "/prog", 06755, 1, 0},
    {"nosuid", "/nosuid/prog", 06755, 0, 0}, {"noexec", "/noexec/prog", 06755, 0, 0},
    {"script", "/script", 06755, 0, 0},      {"none", "/prog", 06644, 0, 0},
    {"acting", "/prog", 0755, 0, 1},         {"acting, both", "/prog", 06755, 0, 1},
};

static void run(const struct way *w, const struct user *u)
{
    char file[64];
    snprintf(file, sizeof(file), TOP "%s", w->file);
    char *argv[] = {file, (char *)"look", NULL};
    MUST(setgroups(0, NULL) == 0);
    MUST(setresgid((gid_t)u->gid, (gid_t)u->gid, (gid_t)u->gid) == 0);
    if (w->acting) {
        MUST(setresuid((uid_t)u->uid, 3000, 3000) == 0);
    } else {
        MUST(setresuid((uid_t)u->uid, (uid_t)u->uid, (uid_t)u->uid) == 0);
    }
    MUST(prctl(PR_SET_DUMPABLE, 1) == 0);
    MUST(prctl(PR_SET_PDEATHSIG, SIGUSR1) == 0);
    if (w->no_new) {
        MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    }
    execve(argv[0], argv, argv + 2);
    printf("  errno %d\n", errno);
    fflush(stdout);
}

static void all_ways(int owner)
{
    for (unsigned k = 0; k < sizeof(ways) / sizeof(ways[0]); k++) {
        const struct way *w = &ways[k];
        char file[64];
        snprintf(file, sizeof(file), TOP "%s", w->file);
        MUST(chown(file, (uid_t)owner, (gid_t)owner) == 0 && chmod(file, w->mode) == 0);
        for (unsigned i = 0; i < sizeof(users) / sizeof(users[0]); i++) {
            printf("%s of %d by %d:\n", w->name, owner, users[i].uid);
            fflush(stdout);
            pid_t pid = fork();
            MUST(pid >= 0);
            if (pid == 0) {
                run(w, &users[i]);
                _exit(0);
            }
            exits_with(pid, 0);
        }
    }
}

// A child that shares our directories and runs a set-user-ID program is not led by us.
static int run_shared(void *arg)
{
    char *argv[] = {(char *)TOP "/prog", (char *)"wait", (char *)arg, NULL};
    if (setresuid(1000, 1000, 1000) == 0) {
        execve(argv[0], argv, argv + 3);
    }
    return 1;
}

static void test_shared_directories(void)
{
    static char stack[65536] __attribute__((aligned(16)));
    char fds[32], c;
    int up[2], down[2];
    MUST(pipe(up) == 0 && pipe(down) == 0 && chdir("/") == 0);
    snprintf(fds, sizeof(fds), "%d %d", up[1], down[0]);
    MUST(chown(TOP "/prog", 1000, 1000) == 0 && chmod(TOP "/prog", 0755) == 0);
    pid_t pid = clone(run_shared, stack + sizeof(stack), CLONE_FS | SIGCHLD, fds);
    MUST(pid > 0 && read(up[0], &c, 1) == 1);
    MUST(chdir(TOP) == 0 && write(down[1], "x", 1) == 1);
    exits_with(pid, 0); // nothing gained: they stay shared
    MUST(chdir("/") == 0);
    MUST(chown(TOP "/prog", 2000, 2000) == 0 && chmod(TOP "/prog", 04755) == 0);
    pid = clone(run_shared, stack + sizeof(stack), CLONE_FS | SIGCHLD, fds);
    MUST(pid > 0 && read(up[0], &c, 1) == 1);
    MUST(chdir(TOP) == 0 && write(down[1], "x", 1) == 1);
    exits_with(pid, 0); // they are its own, or (Linux) nothing was gained
    MUST(chdir("/") == 0);
    group("directories shared with another");
}

// A program of one page that ends with whether it may be dumped; interp: what it is run by instead.
static void elf_write(const char *path, const char *interp)
{
    static const unsigned char code[] = {
        0xb8, 157,  0,    0,  0, 0xbf, 3, 0,    0,    0, 0x0f, 0x05, // prctl(PR_GET_DUMPABLE)
        0x89, 0xc7, 0xb8, 60, 0, 0,    0, 0x0f, 0x05,                // _exit(of it)
    };
    struct {
        Elf64_Ehdr eh;
        Elf64_Phdr ph[2];
        unsigned char code[sizeof(code)];
        char interp[64];
    } e = {0};
    memcpy(e.eh.e_ident, ELFMAG "\2\1\1", 7);
    e.eh.e_type = ET_DYN;
    e.eh.e_machine = EM_X86_64;
    e.eh.e_version = 1;
    e.eh.e_entry = offsetof(typeof(e), code);
    e.eh.e_phoff = offsetof(typeof(e), ph);
    e.eh.e_ehsize = sizeof(e.eh);
    e.eh.e_phentsize = sizeof(e.ph[0]);
    e.eh.e_phnum = interp ? 2 : 1;
    e.ph[0] = (Elf64_Phdr){.p_type = PT_LOAD,
                           .p_flags = PF_R | PF_W | PF_X, // Linux zeroes the rest of the page
                           .p_filesz = sizeof(e),
                           .p_memsz = sizeof(e),
                           .p_align = 4096};
    if (interp) {
        e.ph[1] = (Elf64_Phdr){.p_type = PT_INTERP,
                               .p_flags = PF_R,
                               .p_offset = offsetof(typeof(e), interp),
                               .p_filesz = strlen(interp) + 1};
        strcpy(e.interp, interp);
    }
    memcpy(e.code, code, sizeof(code));
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0755);
    MUST(fd >= 0 && write(fd, &e, sizeof(e)) == sizeof(e));
    close(fd);
}

static int run_dynamic(void *arg)
{
    char *argv[] = {(char *)TOP "/dynamic", NULL};
    (void)arg;
    if (setresuid(1000, 1000, 1000) == 0) {
        execve(argv[0], argv, argv + 1);
    }
    return 100;
}

// What may not be read is not dumped either, be it the program or its interpreter.
static void test_interpreter(void)
{
    static const struct {
        unsigned program, interp;
        int dumpable;
    } cases[] = {{0755, 0755, 1}, {0711, 0755, 0}, {0755, 0711, 0}, {0711, 0711, 0}};
    elf_write(TOP "/ld", NULL);
    elf_write(TOP "/dynamic", TOP "/ld");
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        MUST(chmod(TOP "/dynamic", cases[i].program) == 0);
        MUST(chmod(TOP "/ld", cases[i].interp) == 0);
        exits_with(child_run(run_dynamic, NULL), cases[i].dumpable);
    }
    group("interpreters that may not be read");
}

// 1: it acts as somebody else, and where others want it to; 2: neither.
static int wait_here(const char *fds)
{
    char cwd[64], c;
    int up, down;
    MUST(sscanf(fds, "%d %d", &up, &down) == 2);
    MUST(write(up, "x", 1) == 1 && read(down, &c, 1) == 1);
    MUST(getcwd(cwd, sizeof(cwd)) != NULL);
    int moved = strcmp(cwd, "/") != 0, gained = getuid() != geteuid();
    return moved && gained ? 1 : moved || gained ? 0 : 2;
}

static int caps_child(void *arg)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2];
    (void)arg;
    MUST(prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED) == 0);
    CHECK_ERR(prctl(PR_SET_SECUREBITS, SECBIT_NOROOT_LOCKED), EPERM);
    CHECK_ERR(prctl(PR_SET_SECUREBITS, SECBIT_NOROOT), EPERM);
    CHECK_ERR(prctl(PR_SET_SECUREBITS, 0), EPERM);
    CHECK_EQ(prctl(PR_GET_SECUREBITS), SECBIT_NOROOT | SECBIT_NOROOT_LOCKED);
    CHECK_EQ(prctl(PR_SET_SECUREBITS,
                   SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE),
             0);
    caps_get(d);
    d[0].inheritable = 1u << CAP_CHOWN;
    MUST(syscall(SYS_capset, &h, d) == 0);
    CHECK_ERR(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0), EPERM);
    CHECK_EQ(prctl(PR_CAPBSET_DROP, CAP_KILL), 0);
    CHECK_ERR(prctl(PR_CAPBSET_DROP, 63), EINVAL);
    d[0].effective &= ~(1u << CAP_SETPCAP);
    d[0].permitted &= ~(1u << CAP_SETPCAP | 1u << CAP_FOWNER);
    d[0].effective &= d[0].permitted;
    MUST(syscall(SYS_capset, &h, d) == 0);
    CHECK_ERR(prctl(PR_CAPBSET_DROP, CAP_CHOWN), EPERM);
    CHECK_ERR(prctl(PR_CAPBSET_DROP, 63), EPERM);
    CHECK_EQ(prctl(PR_CAPBSET_READ, CAP_CHOWN), 1);
    CHECK_ERR(prctl(PR_SET_SECUREBITS, prctl(PR_GET_SECUREBITS)), EPERM);
    d[0].inheritable |= 1u << CAP_FOWNER; // in the bounding set, but not permitted
    CHECK_ERR(syscall(SYS_capset, &h, d), EPERM);
    d[0].inheritable = 1u << CAP_DAC_OVERRIDE;
    CHECK_EQ(syscall(SYS_capset, &h, d), 0);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "look") == 0) {
        look();
        return 0;
    }
    if (argc > 2 && strcmp(argv[1], "wait") == 0) {
        return wait_here(argv[2]);
    }
    umask(0);
    mkdir("/tmp", 01777);
    MUST(mkdir(TOP, 0755) == 0 && mount("x", TOP, "tmpfs", 0, "mode=755") == 0);
    MUST(mkdir(TOP "/nosuid", 0755) == 0 && mkdir(TOP "/noexec", 0755) == 0);
    MUST(mount("x", TOP "/nosuid", "tmpfs", MS_NOSUID, "mode=755") == 0);
    MUST(mount("x", TOP "/noexec", "tmpfs", MS_NOEXEC, "mode=755") == 0);
    copy("/proc/self/exe", TOP "/prog");
    copy("/proc/self/exe", TOP "/nosuid/prog");
    copy("/proc/self/exe", TOP "/noexec/prog");
    copy("/proc/self/exe", TOP "/interp");
    int fd = open(TOP "/script", O_CREAT | O_WRONLY, 0755);
    MUST(fd >= 0 && write(fd, "#!" TOP "/interp look\n", 25) > 0);
    close(fd);
    all_ways(0);
    all_ways(1000);
    group("set-user-ID");
    test_shared_directories();
    test_interpreter();
    exits_with(child_run(caps_child, NULL), 0);
    group("CAP_SETPCAP");
    MUST(umount(TOP "/nosuid") == 0 && umount(TOP "/noexec") == 0 && umount(TOP) == 0);
    return finish();
}
