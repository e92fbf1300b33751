// TEST: smp=1,2 scheme=rcu linux=same
/*
 * Names and space in tmpfs: directories, rename, links, unlinked files that are still open, holes,
 * mappings that see truncation. Prints what it sees, which must be what Linux says.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *name_of(long r)
{
    return r < 0 ? strerrorname_np(errno) : "ok";
}

#define SHOW(call)                                                                                 \
    do {                                                                                           \
        errno = 0;                                                                                 \
        long r_ = (long)(call);                                                                    \
        printf("%-60s %ld %s\n", #call, r_, name_of(r_));                                          \
    } while (0)

static int make(const char *name)
{
    return close(open(name, O_RDWR | O_CREAT, 0600));
}

static void show_names(void)
{
    char cwd[64], deep[PATH_MAX + 8], name[300];
    SHOW(mkdir("d", 0755));
    SHOW(mkdir("d", 0755));
    SHOW(mkdir("d/", 0755));
    SHOW(mkdir("d/e/", 0755));
    SHOW(mkdir(".", 0755));
    SHOW(rmdir("d"));
    SHOW(rmdir("d/e/."));
    SHOW(rmdir("d/e/.."));
    SHOW(unlink("d"));
    SHOW(make("f"));
    SHOW(rmdir("f"));
    SHOW(unlink("f/"));
    SHOW(unlink("none"));
    SHOW(mkdir("f/x", 0755));
    SHOW(chdir("f"));
    SHOW(chdir("d/e"));
    printf("%s\n", getcwd(cwd, sizeof(cwd)));
    SHOW(rename("../e", "../moved"));
    printf("%s\n", getcwd(cwd, sizeof(cwd)));
    SHOW(rmdir("../moved"));
    SHOW((long)getcwd(cwd, sizeof(cwd)) ? 0 : -1);
    SHOW(make("orphan"));
    SHOW(chdir(".."));
    SHOW(chdir(".."));
    memset(name, 'n', sizeof(name));
    name[256] = '\0';
    SHOW(make(name));
    name[255] = '\0';
    SHOW(make(name));
    SHOW(unlink(name));
    memset(deep, '/', sizeof(deep));
    deep[PATH_MAX] = '\0';
    SHOW(make(deep));
    SHOW(rmdir("d"));
    SHOW(rmdir("/"));
}

static void show_rename(void)
{
    SHOW(mkdir("a", 0755));
    SHOW(mkdir("b", 0755));
    SHOW(make("b/full"));
    SHOW(make("one"));
    SHOW(make("two"));
    SHOW(rename("one", "two"));
    SHOW(access("one", F_OK));
    SHOW(rename("none", "two"));
    SHOW(rename("two", "a"));
    SHOW(rename("a", "two"));
    SHOW(rename("a", "b"));
    SHOW(rename("b", "b/c"));
    SHOW(rename("two/", "three"));
    SHOW(rename("a", "b/a"));
    SHOW(rename("b/a", "."));
    SHOW(renameat2(AT_FDCWD, "two", AT_FDCWD, "b/full", RENAME_NOREPLACE));
    SHOW(link("two", "three"));
    SHOW(link("two", "three"));
    SHOW(link("b", "bb"));
    struct stat x, y;
    SHOW(stat("two", &x) | stat("three", &y));
    printf("same file: %d, links %ld\n", x.st_ino == y.st_ino, (long)x.st_nlink);
    SHOW(rename("two", "three"));
    SHOW(unlink("two"));
    SHOW(stat("three", &x));
    printf("links %ld\n", (long)x.st_nlink);
    SHOW(stat("b", &x));
    printf("b has %ld links\n", (long)x.st_nlink);
    SHOW(symlink("b/full", "sym"));
    SHOW(readlink("sym", (char[8]){0}, 3));
    SHOW(readlink("three", (char[8]){0}, 8));
    SHOW(unlink("sym/"));
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void show_listing(void)
{
    char name[32], *list[256];
    int n = 0, seen = 0;
    mkdir("many", 0755);
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof(name), "many/entry%03d", i);
        make(name);
    }
    DIR *dir = opendir("many");
    for (struct dirent *e; (e = readdir(dir)) != NULL && n < 256;) {
        list[n++] = strdup(e->d_name);
        seen += e->d_type == DT_REG;
        if (e->d_type == DT_REG) { // removing while reading disturbs nothing
            snprintf(name, sizeof(name), "many/%.20s", e->d_name);
            unlink(name);
        }
    }
    closedir(dir);
    qsort(list, (size_t)n, sizeof(list[0]), by_name);
    printf("entries %d, files %d, first %s %s %s, last %s\n", n, seen, list[0], list[1], list[2],
           list[n - 1]);
    SHOW(rmdir("many"));
}

static sigjmp_buf back;

static void on_bus(int sig)
{
    (void)sig;
    siglongjmp(back, 1);
}

static int touch(volatile char *p)
{
    return sigsetjmp(back, 1) ? -1 : *p;
}

static void show_memory(void)
{
    const size_t page = 4096;
    int fd = open("mem", O_RDWR | O_CREAT, 0600);
    struct stat st;
    SHOW(unlink("mem"));
    SHOW(ftruncate(fd, 16 * (off_t)page));
    char *m = mmap(NULL, 16 * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    signal(SIGBUS, on_bus);
    memset(m, 7, 16 * page);
    SHOW(pread(fd, (char[4]){0}, 4, 5 * (off_t)page));
    SHOW(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)page / 2,
                   2 * (off_t)page));
    printf("hole: %d %d %d %d %d\n", m[0], m[page / 2], m[page], m[2 * page], m[5 * page / 2]);
    SHOW(fstat(fd, &st));
    printf("links %ld, size %ld, blocks %ld\n", (long)st.st_nlink, (long)st.st_size,
           (long)st.st_blocks);
    SHOW(ftruncate(fd, (off_t)page + 100));
    SHOW(touch(m + page));
    printf("tail: %d %d\n", m[page + 99], m[page + 100]);
    SHOW(touch(m + 2 * page) < 0 ? 1 : 0);
    SHOW(ftruncate(fd, 3 * (off_t)page));
    SHOW(touch(m + 2 * page));
    SHOW(fallocate(fd, 0, 0, 8 * (off_t)page));
    SHOW(lseek(fd, 0, SEEK_END));
    SHOW(fallocate(fd, 0, 0, 0));
    SHOW(fallocate(fd, 0, -1, 4096));
    SHOW(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 4096));
    SHOW(munmap(m, 16 * page));
    SHOW(close(fd));
}

int main(void)
{
    mkdir("/tmp/t", 0700);
    // Linux's root is an initramfs, not a tmpfs; ours has one at /tmp already.
    mount("tmpfs", "/tmp/t", "tmpfs", 0, NULL);
    if (chdir("/tmp/t") != 0) {
        perror("/tmp/t");
        return 1;
    }
    show_names();
    show_rename();
    show_listing();
    show_memory();
    return 0;
}
