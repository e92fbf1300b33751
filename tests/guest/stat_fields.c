// TEST: smp=2 scheme=rcu linux=same
// What statx, statfs and prctl tell beyond the usual, and small answers that programs rely on:
// rename of a directory to where it is, sendfile into devices.
#define _GNU_SOURCE
#include "proc_test.h"
#include <linux/securebits.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

static struct statx fields(const char *path, unsigned mask)
{
    struct statx s;
    memset(&s, 0xff, sizeof(s));
    CHECK_EQ(statx(AT_FDCWD, path, 0, mask, &s), 0);
    CHECK(s.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT);
    CHECK(s.stx_mask & STATX_MNT_ID);
    return s;
}

static void births(void)
{
    struct timespec old[2] = {{1000, 1}, {2000, 2}};
    struct statx now = fields("f", STATX_BTIME), s;
    long long born = now.stx_btime.tv_sec;
    CHECK(now.stx_mask & STATX_BTIME);
    CHECK(born > 0);
    CHECK_EQ(utimensat(AT_FDCWD, "f", old, 0), 0);
    CHECK_EQ(chmod("f", 0600), 0);
    CHECK_EQ(rename("f", "g"), 0);
    s = fields("g", STATX_ALL);
    CHECK_EQ(s.stx_btime.tv_sec, born);
    CHECK_EQ(s.stx_btime.tv_nsec, now.stx_btime.tv_nsec);
    CHECK_EQ(s.stx_atime.tv_sec, 1000);
    CHECK_EQ(s.stx_mtime.tv_sec, 2000);
    CHECK(!(fields("g", STATX_BASIC_STATS).stx_mask & STATX_BTIME)); // nobody asked
    CHECK(!(fields("/proc/self", STATX_ALL).stx_mask & STATX_BTIME));
    group("a file's birth");
}

// Before 1970 the nanoseconds count forwards as well.
static void old_times(void)
{
    static const struct timespec times[][2] = {
        {{-1, 0}, {-1, 999999999}},
        {{-86400, 1}, {-2208988800, 7}},
        {{-9223372035, 999999999}, {9223372034, 999999999}},
    };
    struct stat st;
    for (int i = 0; i < 3; i++) {
        const struct timespec *t = times[i];
        CHECK_EQ(utimensat(AT_FDCWD, "g", t, 0), 0);
        CHECK_EQ(stat("g", &st), 0);
        CHECK(st.st_atim.tv_sec == t[0].tv_sec && st.st_atim.tv_nsec == t[0].tv_nsec);
        CHECK(st.st_mtim.tv_sec == t[1].tv_sec && st.st_mtim.tv_nsec == t[1].tv_nsec);
        struct statx s = fields("g", STATX_ALL);
        CHECK(s.stx_atime.tv_sec == t[0].tv_sec && s.stx_atime.tv_nsec == t[0].tv_nsec);
        CHECK(s.stx_mtime.tv_sec == t[1].tv_sec && s.stx_mtime.tv_nsec == t[1].tv_nsec);
    }
    group("times before 1970");
}

static void mount_roots(void)
{
    struct statx root = fields("/m", STATX_ALL), f = fields("/m/g", STATX_ALL);
    CHECK(root.stx_attributes & STATX_ATTR_MOUNT_ROOT);
    CHECK(!(f.stx_attributes & STATX_ATTR_MOUNT_ROOT));
    CHECK_EQ(root.stx_mnt_id, f.stx_mnt_id);
    CHECK(fields("/proc", 0).stx_mnt_id != f.stx_mnt_id);
    CHECK(fields("/proc", 0).stx_attributes & STATX_ATTR_MOUNT_ROOT);
    char want[40], line[400];
    int found = 0;
    FILE *info = fopen("/proc/self/mountinfo", "r");
    MUST(info != NULL);
    snprintf(want, sizeof(want), "%llu ", (unsigned long long)root.stx_mnt_id);
    while (fgets(line, sizeof(line), info)) {
        found += !strncmp(line, want, strlen(want)) && strstr(line, " /m ");
    }
    fclose(info);
    CHECK_EQ(found, 1);
    group("the mount it is in");
}

static unsigned long flags_of(const char *path)
{
    struct statvfs v;
    CHECK_EQ(statvfs(path, &v), 0);
    return v.f_flag;
}

static void flags(void)
{
    CHECK_EQ(flags_of("/m"), ST_NOSUID | ST_NODEV | ST_RELATIME);
    CHECK_EQ(mount("none", "/m", "tmpfs", MS_REMOUNT | MS_RDONLY | MS_NOEXEC | MS_NOATIME, ""), 0);
    CHECK_EQ(flags_of("/m"), ST_RDONLY | ST_NOEXEC | ST_NOATIME);
    CHECK_EQ(mount("none", "/m", "tmpfs", MS_REMOUNT, ""), 0);
    CHECK_EQ(flags_of("/m"), ST_NOATIME); // a remount that says nothing of it leaves it
    CHECK_EQ(mount("none", "/m", "tmpfs", MS_REMOUNT | MS_STRICTATIME, ""), 0);
    CHECK_EQ(flags_of("/m"), 0);
    CHECK_EQ(mount("none", "/m", "tmpfs", MS_REMOUNT | MS_RELATIME, ""), 0);
    CHECK_EQ(flags_of("/m"), ST_RELATIME);
    group("flags of a mount");
}

static void names(void)
{
    CHECK_EQ(mkdir("d", 0700), 0);
    CHECK_EQ(mkdir("d/inside", 0700), 0);
    CHECK_EQ(rename("d", "d"), 0);
    CHECK_EQ(rename("d/", "./d"), 0);
    CHECK_ERR(rename("d", "d/inside"), EINVAL);
    CHECK_ERR(rename("d/inside", "d"), ENOTEMPTY);
    CHECK_EQ(access("d/inside", F_OK), 0);
    struct timespec t[2] = {{1, 0}, {1, 0}};
    int fd = open("d", O_RDONLY);
    CHECK_ERR(syscall(SYS_utimensat, fd, NULL, t, AT_SYMLINK_NOFOLLOW), EINVAL);
    CHECK_EQ(syscall(SYS_utimensat, fd, NULL, t, 0), 0);
    close(fd);
    group("a directory renamed to itself");
}

static void into_devices(void)
{
    int pipes[2], in = open("g", O_RDWR);
    off_t at = 0;
    CHECK_EQ(write(in, "twelve bytes", 12), 12);
    CHECK_EQ(sendfile(open("/dev/null", O_WRONLY), in, &at, 100), 12);
    CHECK_EQ(at, 12);
    at = 0;
    MUST(pipe(pipes) == 0);
    CHECK_ERR(sendfile(in, pipes[0], &at, 1), ESPIPE);
    close(in);
    group("sendfile");
}

static void securebits(void)
{
    CHECK_EQ(prctl(PR_SET_KEEPCAPS, 1), 0);
    CHECK_EQ(prctl(PR_GET_SECUREBITS), SECBIT_KEEP_CAPS);
    CHECK_EQ(prctl(PR_SET_SECUREBITS, SECBIT_NOROOT), 0);
    CHECK_EQ(prctl(PR_GET_KEEPCAPS), 0);
    CHECK_ERR(prctl(PR_SET_SECUREBITS, 0x100), EPERM);
    CHECK_EQ(prctl(PR_GET_SECUREBITS), SECBIT_NOROOT);
    CHECK_EQ(prctl(PR_SET_SECUREBITS, SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE), 0);
    CHECK_ERR(prctl(PR_SET_KEEPCAPS, 1), EPERM);
    CHECK_ERR(prctl(PR_SET_KEEPCAPS, 2), EINVAL);
    CHECK_ERR(prctl(PR_SET_SECUREBITS, 0), EPERM);
    CHECK_ERR(prctl(PR_SET_SECUREBITS, SECBIT_KEEP_CAPS_LOCKED | SECBIT_KEEP_CAPS), EPERM);
    CHECK_EQ(prctl(PR_SET_SECUREBITS, SECBIT_KEEP_CAPS_LOCKED | SECBIT_NOROOT_LOCKED), 0);
    CHECK_EQ(setresuid(7, 7, 7), 0);
    CHECK_ERR(prctl(PR_SET_SECUREBITS, SECBIT_KEEP_CAPS_LOCKED | SECBIT_NOROOT_LOCKED), EPERM);
    CHECK_ERR(prctl(PR_CAPBSET_DROP, 0), EPERM);
    group("securebits");
}

int main(void)
{
    mkdir("/m", 0755);
    MUST(mount("none", "/m", "tmpfs", MS_NOSUID | MS_NODEV, "") == 0);
    MUST(chdir("/m") == 0);
    MUST(close(open("f", O_CREAT | O_WRONLY, 0644)) == 0);
    births();
    old_times();
    mount_roots();
    flags();
    names();
    into_devices();
    securebits();
    return finish();
}
