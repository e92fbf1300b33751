// TEST: smp=1,2 scheme=rcu linux=same timeout=120
// A directory with forty thousand names: each is made, found, listed once while others come and go,
// gone back to, renamed while it is listed, and removed.
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "test.h"

#define M    "/tmp/dirs_many"
#define MANY 40000

struct dirent64_ {
    unsigned long ino;
    long off;
    unsigned short len;
    unsigned char type;
    char name[];
};

static unsigned char times[MANY]; // that "nI" was listed

static char *name_of(char prefix, int i)
{
    static char name[16];
    snprintf(name, sizeof(name), "%c%d", prefix, i);
    return name;
}

static int make(char prefix, int i)
{
    return mknod(name_of(prefix, i), S_IFREG | 0600, 0);
}

static void count(const char *name)
{
    if (name[0] == 'n') {
        int i = atoi(name + 1);
        MUST(i >= 0 && i < MANY);
        times[i]++;
    }
}

static long wrong_times(int step, int first)
{
    long wrong = 0;
    for (int i = first; i < MANY; i += step) {
        wrong += times[i] != 1;
    }
    return wrong;
}

static void test_make(void)
{
    struct stat st;
    long made = 0, found = 0, others = 0;
    for (int i = 0; i < MANY; i++) {
        made += make('n', i) == 0;
    }
    CHECK_EQ(made, MANY);
    CHECK_ERR(make('n', MANY / 2), EEXIST);
    for (int i = 0; i < MANY; i++) {
        found += stat(name_of('n', i), &st) == 0;
        others += stat(name_of('m', i), &st) == 0;
    }
    CHECK_EQ(found, MANY);
    CHECK_EQ(others, 0);
    CHECK_ERR(rmdir(M), EBUSY);
    group("made and found");
}

// The odd ones go, and others come, while all are listed.
static void test_list(void)
{
    static char buf[8192];
    int dir = open(".", O_RDONLY | O_DIRECTORY), calls = 0, odd = 1;
    long n;
    MUST(dir >= 0);
    while ((n = syscall(SYS_getdents64, dir, buf, sizeof(buf))) > 0) {
        for (char *at = buf; at < buf + n; at += ((struct dirent64_ *)at)->len) {
            count(((struct dirent64_ *)at)->name);
        }
        for (int i = 0; i < 100 && odd < MANY; i++, odd += 2) {
            CHECK_EQ(unlink(name_of('n', odd)), 0);
        }
        CHECK_EQ(make('x', calls), 0);
        CHECK(++calls < MANY);
    }
    CHECK_EQ(n, 0);
    CHECK_EQ(wrong_times(2, 0), 0); // those that were there all the time, once
    while (odd < MANY) {
        CHECK_EQ(unlink(name_of('n', odd)), 0);
        odd += 2;
    }
    while (calls) {
        CHECK_EQ(unlink(name_of('x', --calls)), 0);
    }
    close(dir);
    group("listed once");
}

// Back to places that were noted, also when what was there has gone.
static void test_seek(void)
{
    enum { PLACES = 500 };
    static struct {
        long at;
        char next[16];
    } place[PLACES];
    struct dirent *e;
    int n = 0, same = 0, gone = 0;
    DIR *dir = opendir(".");
    MUST(dir != NULL);
    for (long i = 0; (e = readdir(dir)) != NULL && n < PLACES; i++) {
        if (i % 30 == 3) {
            place[n].at = telldir(dir);
            MUST((e = readdir(dir)) != NULL);
            strcpy(place[n++].next, e->d_name);
        }
    }
    CHECK_EQ(n, PLACES);
    for (int i = PLACES - 1; i >= 0; i--) {
        seekdir(dir, place[i].at);
        e = readdir(dir);
        same += e && strcmp(e->d_name, place[i].next) == 0;
    }
    CHECK_EQ(same, PLACES);
    for (int i = 0; i < PLACES; i++) {
        CHECK_EQ(unlink(place[i].next), 0);
    }
    for (int i = 0; i < PLACES; i++) {
        seekdir(dir, place[i].at);
        e = readdir(dir);
        gone += e && strcmp(e->d_name, place[i].next) != 0;
    }
    CHECK_EQ(gone, PLACES);
    for (int i = 0; i < PLACES; i++) {
        CHECK_EQ(make('n', atoi(place[i].next + 1)), 0);
    }
    closedir(dir);
    group("seekdir");
}

// A program that gives each name it is shown another one comes to an end.
static void test_rename(void)
{
    struct dirent *e;
    long seen = 0;
    DIR *dir = opendir(".");
    MUST(dir != NULL);
    while ((e = readdir(dir)) != NULL && seen < 3 * MANY) {
        if (e->d_name[0] == 'n') {
            int i = atoi(e->d_name + 1);
            char old[16];
            strcpy(old, e->d_name);
            CHECK_EQ(rename(old, name_of('n', (i + 1) % MANY)), 0); // the odd ones are free
            CHECK_EQ(rename(name_of('n', (i + 1) % MANY), old), 0);
            seen++;
        }
    }
    CHECK_EQ(seen, MANY / 2);
    closedir(dir);
    group("renamed while listed");
}

static void test_remove(void)
{
    struct dirent *e;
    long removed = 0, left = 0;
    DIR *dir = opendir(".");
    MUST(dir != NULL);
    while ((e = readdir(dir)) != NULL) {
        removed += e->d_name[0] == 'n' && unlink(e->d_name) == 0;
    }
    CHECK_EQ(removed, MANY / 2);
    rewinddir(dir);
    while ((e = readdir(dir)) != NULL) {
        left += e->d_name[0] == 'n';
    }
    CHECK_EQ(left, 0);
    closedir(dir);
    group("removed");
}

int main(void)
{
    MUST(mkdir(M, 0700) == 0);
    MUST(mount("none", M, "tmpfs", 0, "nr_inodes=0") == 0);
    MUST(chdir(M) == 0);
    test_make();
    test_list();
    test_seek();
    test_rename();
    test_remove();
    MUST(chdir("/") == 0);
    CHECK_EQ(umount(M), 0);
    CHECK_EQ(rmdir(M), 0);
    return finish();
}
