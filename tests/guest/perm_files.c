// TEST: smp=2 scheme=rcu linux=same timeout=120
// Who may do what to files and directories: every call that looks at mode bits, owners, groups or
// capabilities, by root, by the owner, by members of the group and others, with one capability and
// without any, against modes of all kinds. A line has the errno of each call, 0 where it was
// allowed, and what became of the modes and owners, which must be what Linux says.
#define _GNU_SOURCE
#include "perm_test.h"
#include <linux/openat2.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#define TOP     "/tmp/perm"
#define OWNER   1000
#define NOATIME 01000000
#define EACCESS 0x200

static const struct who whos[] = {
    {"root", 0, 0, 0, 0, -1, ALL_CAPS},
    {"root without", 0, 0, 0, 0, -1, 0},
    {"owner", OWNER, OWNER, OWNER, OWNER, -1, 0},
    {"group", 1001, 1001, 1001, OWNER, -1, 0},
    {"supplementary", 1001, 1001, 1001, 1001, OWNER, 0},
    {"other", 2000, 2000, 2000, 2000, -1, 0},
    {"for root", 2000, 0, 2000, 2000, -1, ALL_CAPS},
    {"for owner", 2000, OWNER, 2000, 2000, -1, 0},
    {"root for other", 0, 2000, 0, 2000, -1, 0},
    {"override", 2000, 2000, 2000, 2000, -1, 1ull << CAP_DAC_OVERRIDE},
    {"read search", 2000, 2000, 2000, 2000, -1, 1ull << CAP_DAC_READ_SEARCH},
    {"fowner", 2000, 2000, 2000, 2000, -1, 1ull << CAP_FOWNER},
    {"chown", 2000, 2000, 2000, 2000, -1, 1ull << CAP_CHOWN},
    {"fsetid", OWNER, OWNER, OWNER, 2000, -1, 1ull << CAP_FSETID},
    {"mknod", 2000, 2000, 2000, 2000, -1, 1ull << CAP_MKNOD},
};

// ---- A file -------------------------------------------------------------------------------------

static int file_open(const char *f, int flags)
{
    return result_fd(open(f, flags));
}

static int file_times(const char *f, long sec, long nsec0, long nsec1)
{
    struct timespec ts[2] = {{sec, nsec0}, {sec, nsec1}};
    return result(utimensat(AT_FDCWD, f, ts, 0));
}

static int file_access(const char *f, int mode, int flags)
{
    return result(syscall(SYS_faccessat2, AT_FDCWD, f, mode, flags));
}

static int file_write(const char *f)
{
    int fd = open(f, O_WRONLY), err = result(fd);
    if (fd >= 0) {
        MUST(write(fd, "#", 1) == 1);
        close(fd);
    }
    return err;
}

static int file_exec(const char *f)
{
    char *argv[] = {(char *)(uintptr_t)f, NULL};
    execve(f, argv, argv);
    return errno; // ENOEXEC: it may
}

static int file_watch(const char *f)
{
    int fd = inotify_init1(0), err;
    MUST(fd >= 0);
    err = result(inotify_add_watch(fd, f, IN_OPEN));
    close(fd);
    return err;
}

static int file_noatime_later(const char *f)
{
    int fd = open(f, O_RDONLY), err = result(fd);
    if (fd >= 0) {
        err = 1000 + result(fcntl(fd, F_SETFL, NOATIME));
        close(fd);
    }
    return err;
}

#define NR_FILE_OPS 31
static int file_op(int op, const char *f)
{
    char link_name[64];
    snprintf(link_name, sizeof(link_name), TOP "/pub/l%d", op);
    switch (op) {
    case 0:
        return file_open(f, O_RDONLY);
    case 1:
        return file_open(f, O_WRONLY);
    case 2:
        return file_open(f, O_RDWR);
    case 3:
        return file_open(f, O_RDONLY | O_TRUNC);
    case 4:
        return file_open(f, O_WRONLY | O_APPEND | O_CREAT);
    case 5:
        return file_open(f, O_PATH);
    case 6:
        return file_open(f, O_RDONLY | NOATIME);
    case 7:
        return file_open(f, O_ACCMODE);
    case 8:
        return file_access(f, R_OK, 0);
    case 9:
        return file_access(f, W_OK, 0);
    case 10:
        return file_access(f, X_OK, 0);
    case 11:
        return file_access(f, R_OK, EACCESS);
    case 12:
        return file_access(f, W_OK, EACCESS);
    case 13:
        return file_access(f, X_OK, EACCESS);
    case 14:
        return result(truncate(f, 1));
    case 15:
        return result(chmod(f, 06777));
    case 16:
        return result(chmod(f, 0600));
    case 17:
        return result(chown(f, 2000, (gid_t)-1));
    case 18:
        return result(chown(f, OWNER, OWNER));
    case 19:
        return result(chown(f, (uid_t)-1, OWNER));
    case 20:
        return result(chown(f, (uid_t)-1, 2000));
    case 21:
        return result(chown(f, (uid_t)-1, (gid_t)-1));
    case 22:
        return result(utimensat(AT_FDCWD, f, NULL, 0));
    case 23:
        return file_times(f, 5, 5, 5);
    case 24:
        return file_times(f, 0, UTIME_NOW, UTIME_NOW);
    case 25:
        return file_times(f, 0, UTIME_NOW, UTIME_OMIT);
    case 26:
        return file_exec(f);
    case 27:
        return file_watch(f);
    case 28:
        return result(link(f, link_name));
    case 29:
        return file_write(f);
    default:
        return file_noatime_later(f);
    }
}

static const unsigned file_modes[] = {0777, 0,    0700, 0070, 0007,  0400,  0040, 0004,
                                      0200, 0100, 0010, 0001, 06755, 02666, 04711};

static int *results; // shared with the children

static void as(const struct who *w, void (*fn)(void))
{
    pid_t pid = fork();
    MUST(pid >= 0);
    if (pid == 0) {
        become(w);
        fn();
        _exit(checks_failed ? 100 : 0);
    }
    exits_with(pid, 0);
}

static void results_print(const char *name, unsigned mode, int nr)
{
    printf("%s, %05o:", name, mode);
    for (int i = 0; i < nr; i++) {
        printf(" %d", results[i]);
    }
    printf("\n");
}

static void file_name(char *name, size_t size, int op)
{
    snprintf(name, size, TOP "/files/f%d", op);
}

static void file_child(void)
{
    char name[64];
    for (int op = 0; op < NR_FILE_OPS; op++) {
        file_name(name, sizeof(name), op);
        results[op] = file_op(op, name);
    }
}

static void make_file(const char *name, unsigned mode, int owner)
{
    int fd = open(name, O_CREAT | O_EXCL | O_RDWR, 0600);
    MUST(fd >= 0 && write(fd, "???", 3) == 3);
    MUST(fchown(fd, (uid_t)owner, (gid_t)owner) == 0 && fchmod(fd, mode) == 0);
    close(fd);
}

static void files_by(const struct who *w, unsigned mode)
{
    char name[64];
    struct stat st;
    for (int op = 0; op < NR_FILE_OPS; op++) {
        file_name(name, sizeof(name), op);
        make_file(name, mode, OWNER);
    }
    as(w, file_child);
    results_print(w->name, mode, NR_FILE_OPS);
    printf("   ");
    for (int op = 0; op < NR_FILE_OPS; op++) {
        file_name(name, sizeof(name), op);
        MUST(stat(name, &st) == 0 && unlink(name) == 0);
        if (st.st_mode != (S_IFREG | mode) || st.st_uid != OWNER || st.st_gid != OWNER) {
            printf(" %d: %o %d %d;", op, st.st_mode & 07777, st.st_uid, st.st_gid);
        }
        snprintf(name, sizeof(name), TOP "/pub/l%d", op);
        unlink(name);
    }
    printf("\n");
}

// ---- A directory --------------------------------------------------------------------------------

static const unsigned dir_modes[] = {0755, 0,    0700,  0500,  0300,  0100, 0600, 0070,
                                     0007, 0777, 01777, 01070, 02777, 0001, 0004};
#define DIR_NAME TOP "/dir"

static int dir_bind(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = DIR_NAME "/s"};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0), err;
    MUST(fd >= 0);
    err = result(bind(fd, (struct sockaddr *)&a, sizeof(a)));
    close(fd);
    return err;
}

static int dir_chdir(int by_fd)
{
    int fd, err;
    if (by_fd) {
        fd = open(DIR_NAME, O_PATH | O_DIRECTORY);
        MUST(fd >= 0);
        err = result(fchdir(fd));
        close(fd);
    } else {
        err = result(chdir(DIR_NAME));
    }
    MUST(chdir("/") == 0);
    return err;
}

static int dir_beside_fd(void) // search is asked of who looks up, not of who opened
{
    struct stat st;
    int fd = open(DIR_NAME, O_PATH | O_DIRECTORY), err;
    MUST(fd >= 0);
    err = result(fstatat(fd, "theirs", &st, 0));
    close(fd);
    return err;
}

static int rename2(const char *from, const char *to, unsigned flags)
{
    return result(syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags));
}

#define NR_DIR_OPS 38
static int dir_op(int op)
{
    struct stat st;
    switch (op) {
    case 0:
        return result(stat(DIR_NAME "/theirs", &st));
    case 1:
        return result(stat(DIR_NAME "/none", &st));
    case 2:
        return result(stat(DIR_NAME "/.", &st));
    case 3:
        return result(stat(DIR_NAME "/..", &st));
    case 4:
        return result(stat(DIR_NAME "/", &st));
    case 5:
        return result(stat(DIR_NAME "/sub/../theirs", &st));
    case 6:
        return result_fd(open(DIR_NAME, O_RDONLY | O_DIRECTORY));
    case 7:
        return dir_chdir(0);
    case 8:
        return dir_chdir(1);
    case 9:
        return dir_beside_fd();
    case 10:
        return result_fd(open(DIR_NAME "/new", O_CREAT | O_WRONLY, 0666));
    case 11:
        return result_fd(open(DIR_NAME "/theirs", O_CREAT | O_RDONLY, 0666));
    case 12:
        return result_fd(open(DIR_NAME "/theirs", O_CREAT | O_EXCL | O_RDONLY, 0666));
    case 13:
        return result_fd(open(DIR_NAME "/exec", O_CREAT | O_WRONLY, 06777));
    case 14:
        return result_fd(open(DIR_NAME, O_TMPFILE | O_RDWR, 0600));
    case 15:
        return result(mkdir(DIR_NAME "/newdir", 0777));
    case 16:
        return result(mkdir(DIR_NAME "/theirs", 0777));
    case 17:
        return result(mkdir(DIR_NAME "/.", 0777));
    case 18:
        return result(mknod(DIR_NAME "/fifo", S_IFIFO | 0666, 0));
    case 19:
        return result(mknod(DIR_NAME "/null", S_IFCHR | 0666, makedev(1, 3)));
    case 20:
        return result(symlink("x", DIR_NAME "/symlink"));
    case 21:
        return dir_bind();
    case 22:
        return result(link(TOP "/pub/file", DIR_NAME "/hard"));
    case 23:
        return rename2(DIR_NAME "/theirs", DIR_NAME "/theirs2", 0);
    case 24:
        return rename2(DIR_NAME "/mine", TOP "/pub/mine", 0);
    case 25:
        return rename2(TOP "/pub/file2", DIR_NAME "/file2", 0);
    case 26:
        return rename2(TOP "/pub/file3", DIR_NAME "/over", 0);
    case 27:
        return rename2(DIR_NAME "/sub", TOP "/pub/sub", 0);
    case 28:
        return rename2(DIR_NAME "/sub2", DIR_NAME "/sub3", 0);
    case 29:
        return rename2(DIR_NAME "/swap", TOP "/pub/swap", 2 /* RENAME_EXCHANGE */);
    case 30:
        return result(unlink(DIR_NAME "/gone"));
    case 31:
        return result(unlink(DIR_NAME "/sub4"));
    case 32:
        return result(rmdir(DIR_NAME "/sub4"));
    case 33:
        return result(rmdir(DIR_NAME "/gone2"));
    case 34:
        return result(stat(DIR_NAME "/way", &st)); // another's link
    case 35:
        return result(lstat(DIR_NAME "/way", &st));
    case 36:
        return result(stat(DIR_NAME "/way/tmp", &st)); // not the last name
    default:
        return result(stat(DIR_NAME "/way2", &st)); // the link of the directory's owner
    }
}

static void dir_child(void)
{
    umask(022);
    for (int op = 0; op < NR_DIR_OPS; op++) {
        results[op] = dir_op(op);
    }
}

static void make_dir(const char *name, unsigned mode, int owner)
{
    MUST(mkdir(name, 0700) == 0);
    MUST(chown(name, (uid_t)owner, (gid_t)owner) == 0 && chmod(name, mode) == 0);
}

static void new_show(const char *name)
{
    struct stat st;
    char path[64];
    snprintf(path, sizeof(path), DIR_NAME "/%s", name);
    if (lstat(path, &st) == 0) {
        printf(" %s %o %d %d;", name, st.st_mode, st.st_uid, st.st_gid);
    }
}

static void tree_remove(const char *top)
{
    char cmd[64];
    snprintf(cmd, sizeof(cmd), "%s", top);
    static const char *const dirs[] = {"sub", "sub2", "sub3", "sub4", "newdir", "swap"};
    static const char *const files[] = {
        "theirs", "theirs2", "mine",  "new",  "exec", "fifo",  "null", "symlink", "s",   "hard",
        "file",   "file2",   "file3", "over", "gone", "gone2", "swap", "way",     "way2"};
    for (unsigned i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
        snprintf(cmd, sizeof(cmd), "%s/%s", top, dirs[i]);
        rmdir(cmd);
    }
    for (unsigned i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        snprintf(cmd, sizeof(cmd), "%s/%s", top, files[i]);
        unlink(cmd);
    }
    MUST(rmdir(top) == 0);
}

static void dirs_by(const struct who *w, unsigned mode)
{
    make_dir(TOP "/pub", 0777, 0);
    make_file(TOP "/pub/file", 0644, OWNER);
    make_file(TOP "/pub/file2", 0644, OWNER);
    make_file(TOP "/pub/file3", 0644, OWNER);
    make_dir(TOP "/pub/swap", 0755, 0);
    make_dir(DIR_NAME, 0700, OWNER);
    make_file(DIR_NAME "/theirs", 0666, 1001);
    make_file(DIR_NAME "/mine", 0644, w->effective);
    make_file(DIR_NAME "/over", 0644, 1001);
    make_file(DIR_NAME "/gone", 0644, 1001);
    make_file(DIR_NAME "/gone2", 0644, OWNER);
    make_file(DIR_NAME "/swap", 0644, OWNER);
    make_dir(DIR_NAME "/sub", 0755, OWNER);
    make_dir(DIR_NAME "/sub2", 0555, OWNER);
    make_dir(DIR_NAME "/sub4", 0755, 1001);
    MUST(symlink("/", DIR_NAME "/way") == 0 && lchown(DIR_NAME "/way", 1001, 1001) == 0);
    MUST(symlink("/", DIR_NAME "/way2") == 0 && lchown(DIR_NAME "/way2", OWNER, OWNER) == 0);
    MUST(chmod(DIR_NAME, mode) == 0);
    as(w, dir_child);
    results_print(w->name, mode, NR_DIR_OPS);
    printf("   ");
    static const char *const made[] = {"new",  "exec",    "newdir", "fifo",
                                       "null", "symlink", "s",      "hard"};
    for (unsigned i = 0; i < sizeof(made) / sizeof(made[0]); i++) {
        new_show(made[i]);
    }
    printf("\n");
    tree_remove(DIR_NAME);
    tree_remove(TOP "/pub");
}

// ---- The rest -----------------------------------------------------------------------------------

static int try_connect(int type)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, type, 0), err;
    MUST(fd >= 0);
    snprintf(a.sun_path, sizeof(a.sun_path), TOP "/sock%d", type);
    err = result(connect(fd, (struct sockaddr *)&a, sizeof(a)));
    if (type == SOCK_DGRAM) {
        err =
            err * 1000 + result(sendto(fd, "x", 1, MSG_DONTWAIT, (struct sockaddr *)&a, sizeof(a)));
    }
    close(fd);
    return err;
}

static int own_proc_fd(int fd, int flags)
{
    char path[32];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return result_fd(open(path, flags));
}

// What a process has made without a name is its own.
static int own_things(void)
{
    int p[2], fd, err = 0;
    MUST(pipe(p) == 0);
    err |= own_proc_fd(p[0], O_RDONLY | O_NONBLOCK);
    close(p[0]);
    close(p[1]);
    fd = (int)syscall(SYS_memfd_create, "m", 0);
    MUST(fd >= 0);
    err |= own_proc_fd(fd, O_RDWR);
    err |= result(fchmod(fd, 0600));
    close(fd);
    return err;
}

#define NR_OTHERS 11
static void other_child(void)
{
    int *r = results;
    *r++ = try_connect(SOCK_STREAM);
    *r++ = try_connect(SOCK_DGRAM);
    *r++ = own_things();
    *r++ = result(mount("x", TOP "/mnt", "tmpfs", 0, NULL));
    *r++ = result(mount(NULL, TOP "/mnt", NULL, MS_REMOUNT, NULL));
    *r++ = result(umount(TOP "/mnt"));
    *r++ = result(umount2(TOP "/none", 0));
    *r++ = result(chroot(TOP "/none"));
    *r++ = result(chroot(TOP "/mnt"));
    *r++ = result(chroot(TOP));
    *r++ = result(chdir("mnt"));
}

static int listener(int type, unsigned mode)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, type, 0);
    MUST(fd >= 0);
    snprintf(a.sun_path, sizeof(a.sun_path), TOP "/sock%d", type);
    MUST(bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
    MUST(chown(a.sun_path, OWNER, OWNER) == 0 && chmod(a.sun_path, mode) == 0);
    MUST(type == SOCK_DGRAM || listen(fd, 5) == 0);
    return fd;
}

static void others_by(const struct who *w, unsigned mode)
{
    int s = listener(SOCK_STREAM, mode), d = listener(SOCK_DGRAM, mode);
    MUST(mkdir(TOP "/mnt", mode) == 0 && chown(TOP "/mnt", OWNER, OWNER) == 0);
    as(w, other_child);
    results_print(w->name, mode, NR_OTHERS);
    close(s);
    close(d);
    unlink(TOP "/sock1");
    unlink(TOP "/sock2");
    MUST(rmdir(TOP "/mnt") == 0);
}

// Devices and programs of file systems that shall have none.
static void mount_child(void)
{
    int *r = results, fd;
    *r++ = result_fd(open(TOP "/mnt/null", O_RDWR));
    *r++ = result_fd(open(TOP "/mnt/null", O_PATH));
    *r++ = file_exec(TOP "/mnt/prog");
    *r++ = file_access(TOP "/mnt/prog", X_OK, 0);
    *r++ = file_access(TOP "/mnt/prog", X_OK, EACCESS);
    *r++ = file_access(TOP "/mnt/dir", X_OK, 0);
    fd = open(TOP "/mnt/prog", O_RDONLY);
    MUST(fd >= 0);
    char *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
    MUST(p != MAP_FAILED);
    *r++ =
        result(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) == MAP_FAILED ? -1 : 0);
    *r++ = result(mmap(NULL, 4096, PROT_EXEC, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
    *r++ = result(mprotect(p, 4096, PROT_READ | PROT_EXEC));
    *r++ = result(mprotect(p, 4096, PROT_READ));
    close(fd);
}

static void mounts_by(const struct who *w, unsigned long flags)
{
    MUST(mkdir(TOP "/mnt", 0755) == 0 && mount("x", TOP "/mnt", "tmpfs", flags, NULL) == 0);
    MUST(mknod(TOP "/mnt/null", S_IFCHR | 0666, makedev(1, 3)) == 0);
    MUST(chmod(TOP "/mnt/null", 0666) == 0);
    make_file(TOP "/mnt/prog", 0755, OWNER);
    MUST(mkdir(TOP "/mnt/dir", 0755) == 0);
    as(w, mount_child);
    results_print(w->name, (unsigned)flags, 10);
    MUST(umount(TOP "/mnt") == 0 && rmdir(TOP "/mnt") == 0);
}

int main(void)
{
    results = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    MUST(results != MAP_FAILED);
    umask(0);
    mkdir("/tmp", 01777);
    MUST(mkdir(TOP, 0755) == 0 && mount("perm", TOP, "tmpfs", 0, "mode=755") == 0);
    for (unsigned i = 0; i < sizeof(whos) / sizeof(whos[0]); i++) {
        MUST(mkdir(TOP "/files", 0755) == 0 && mkdir(TOP "/pub", 0777) == 0);
        for (unsigned m = 0; m < sizeof(file_modes) / sizeof(file_modes[0]); m++) {
            files_by(&whos[i], file_modes[m]);
        }
        MUST(rmdir(TOP "/files") == 0 && rmdir(TOP "/pub") == 0);
        for (unsigned m = 0; m < sizeof(dir_modes) / sizeof(dir_modes[0]); m++) {
            dirs_by(&whos[i], dir_modes[m]);
        }
        others_by(&whos[i], 0777);
        others_by(&whos[i], 0700);
        others_by(&whos[i], 0050);
        mounts_by(&whos[i], 0);
        mounts_by(&whos[i], MS_NODEV);
        mounts_by(&whos[i], MS_NOEXEC);
    }
    MUST(umount(TOP) == 0);
    group("everybody and everything");
    return finish();
}
