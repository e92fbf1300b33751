// TEST: smp=1,2 scheme=rcu linux=same
// A tmpfs has as many inodes as nr_inodes= says: files, directories, links, pipes, files without a
// name, what a rename leaves behind, and further names; statfs counts them; what goes makes room.
// What the initramfs brought counts as well, by inodes and by pages.
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "test.h"

#define M "/tmp/tmpfs_inodes"

static long nr_free(void)
{
    struct statfs s;
    MUST(statfs(M, &s) == 0);
    return (long)s.f_ffree;
}

static long nr_all(void)
{
    struct statfs s;
    MUST(statfs(M, &s) == 0);
    return (long)s.f_files;
}

static int touch(const char *name)
{
    return mknod(name, S_IFREG | 0600, 0);
}

static void test_kinds(void)
{
    CHECK_EQ(nr_all(), 8);
    CHECK_EQ(nr_free(), 7); // the root is one
    CHECK_EQ(touch("file"), 0);
    CHECK_EQ(mkdir("dir", 0700), 0);
    CHECK_EQ(symlink("file", "symlink"), 0);
    CHECK_EQ(mkfifo("fifo", 0600), 0);
    CHECK_EQ(link("file", "dir/link"), 0);
    CHECK_EQ(nr_free(), 2);
    int fd = open(".", O_TMPFILE | O_RDWR, 0600);
    CHECK(fd >= 0);
    CHECK_EQ(nr_free(), 1);
    CHECK_EQ(linkat(fd, "", AT_FDCWD, "named", AT_EMPTY_PATH), 0); // its first name
    CHECK_EQ(nr_free(), 1);
    CHECK_EQ(close(fd), 0);
    CHECK_EQ(touch("last"), 0);
    CHECK_EQ(nr_free(), 0);
    CHECK_ERR(touch("more"), ENOSPC);
    CHECK_ERR(touch("last"), EEXIST);
    CHECK_ERR(mkdir("more", 0700), ENOSPC);
    CHECK_ERR(symlink("file", "more"), ENOSPC);
    CHECK_ERR(mkfifo("more", 0600), ENOSPC);
    CHECK_ERR(link("file", "more"), ENOSPC);
    CHECK_ERR(open("more", O_CREAT | O_RDWR, 0600), ENOSPC);
    CHECK_ERR(open(".", O_TMPFILE | O_RDWR, 0600), ENOSPC);
    CHECK_ERR(renameat2(AT_FDCWD, "last", AT_FDCWD, "more", RENAME_WHITEOUT), ENOSPC);
    CHECK_EQ(access("more", F_OK), -1);
    CHECK_EQ(access("last", F_OK), 0);
    CHECK_EQ(open("last", O_CREAT | O_EXCL, 0600), -1);
    CHECK_EQ(errno, EEXIST);
    group("full");
}

static void test_room(void)
{
    CHECK_EQ(rename("last", "more"), 0); // takes none
    CHECK_EQ(unlink("file"), 0);         // of two names
    CHECK_EQ(nr_free(), 1);
    CHECK_EQ(touch("file"), 0);
    CHECK_EQ(unlink("dir/link"), 0);
    CHECK_EQ(renameat2(AT_FDCWD, "more", AT_FDCWD, "last", RENAME_WHITEOUT), 0);
    CHECK_EQ(nr_free(), 0);
    int fd = open("last", O_RDONLY);
    CHECK_EQ(unlink("last"), 0);
    CHECK_EQ(nr_free(), 0); // as long as it is open
    CHECK_EQ(close(fd), 0);
    CHECK_EQ(nr_free(), 1);
    CHECK_EQ(link("named", "last"), 0);
    CHECK_EQ(rename("file", "last"), 0); // replaces one of two names
    CHECK_EQ(nr_free(), 1);
    CHECK_EQ(rmdir("dir"), 0);
    CHECK_EQ(nr_free(), 2);
    group("room");
}

static void test_remount(void)
{
    CHECK_ERR(mount("none", M, NULL, MS_REMOUNT, "nr_inodes=5"), EINVAL);
    CHECK_EQ(nr_all(), 8);
    CHECK_EQ(mount("none", M, NULL, MS_REMOUNT, "nr_inodes=6"), 0);
    CHECK_EQ(nr_free(), 0);
    CHECK_EQ(mount("none", M, NULL, MS_REMOUNT, "nr_inodes=2k,size=64k"), 0);
    CHECK_EQ(nr_all(), 2048);
    int fd = open("named", O_WRONLY);
    CHECK_EQ(posix_fallocate(fd, 0, 5 * 4096), 0);
    close(fd);
    CHECK_ERR(mount("none", M, NULL, MS_REMOUNT, "size=16k"), EINVAL);
    CHECK_EQ(mount("none", M, NULL, MS_REMOUNT, "size=20k"), 0);
    CHECK_EQ(mount("none", M, NULL, MS_REMOUNT, "nr_inodes=0"), 0);
    CHECK_EQ(nr_all(), 0);
    CHECK_EQ(nr_free(), 0);
    CHECK_EQ(touch("without limit"), 0);
    CHECK_ERR(mount("none", M, NULL, MS_REMOUNT, "nr_inodes=100"), EINVAL);
    group("remount");
}

// The options that mount was given are in /proc/mounts.
static int shown(const char *option)
{
    char line[512];
    int found = 0;
    FILE *f = fopen("/proc/mounts", "r");
    MUST(f != NULL);
    while (fgets(line, sizeof(line), f)) {
        found |= strstr(line, " " M " ") && strstr(line, option);
    }
    fclose(f);
    return found;
}

static void test_options(void)
{
    CHECK_EQ(mount("none", M, "tmpfs", 0, "nr_inodes=1m,mode=700,uid=7,gid=8,nr_blocks=16"), 0);
    CHECK_EQ(nr_all(), 1 << 20);
    CHECK(shown(",size=64k") && shown(",nr_inodes=1048576") && shown(",mode=700") &&
          shown(",uid=7") && shown(",gid=8"));
    CHECK_EQ(umount(M), 0);
    CHECK_EQ(mount("none", M, "tmpfs", 0, NULL), 0);
    CHECK(nr_all() > 1000);
    CHECK_EQ(nr_free(), nr_all() - 1);
    CHECK(!shown("nr_inodes") && !shown("mode=") && !shown("uid=") && !shown("gid="));
    CHECK_EQ(umount(M), 0);
    CHECK_ERR(mount("none", M, "tmpfs", 0, "nr_inodes=x"), EINVAL);
    CHECK_ERR(mount("none", M, "tmpfs", 0, "nr_inodes=3kk"), EINVAL);
    group("options");
}

#define BROUGHT "/.run/argv" // one page; read when we were started

static void test_initramfs(void)
{
    struct statfs before, after;
    struct stat exe;
    MUST(stat("/proc/self/exe", &exe) == 0 && statfs("/", &before) == 0);
    CHECK((before.f_blocks - before.f_bfree) * 4096 >= (unsigned long)exe.st_size);
    CHECK(before.f_blocks > before.f_bfree && before.f_files > before.f_ffree);
    MUST(unlink(BROUGHT) == 0 && statfs("/", &after) == 0);
    CHECK_EQ(after.f_bfree - before.f_bfree, 1);
    CHECK_EQ(after.f_ffree - before.f_ffree, 1);
    CHECK_EQ(after.f_blocks, before.f_blocks);
    group("what the initramfs brought");
}

int main(void)
{
    test_initramfs();
    MUST(mkdir(M, 0700) == 0);
    MUST(mount("none", M, "tmpfs", 0, "nr_inodes=8") == 0);
    MUST(chdir(M) == 0);
    test_kinds();
    test_room();
    test_remount();
    MUST(chdir("/") == 0);
    CHECK_EQ(umount(M), 0);
    test_options();
    CHECK_EQ(rmdir(M), 0);
    return finish();
}
