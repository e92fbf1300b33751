// TEST: smp=1,2,4 scheme=rcu,mmap_lock linux=same timeout=120
// mprotect: rights that go are gone at once, rights that come are there, contents stay.
#include "mm_test.h"

static void test_read_only(void)
{
    char *p = map_anon(8);
    fill(p, 8, 1);
    CHECK_EQ(mprotect(p + 2 * PAGE, 3 * PAGE, PROT_READ), 0);
    CHECK_EQ(touch_write(p + 2 * PAGE - 1, p[2 * PAGE - 1]), 0);
    CHECK_EQ(touch_write(p + 2 * PAGE, 9), ACCERR);
    CHECK_EQ(touch_write(p + 5 * PAGE - 1, 9), ACCERR);
    CHECK_EQ(touch_write(p + 5 * PAGE, p[5 * PAGE]), 0);
    CHECK_EQ(holds(p, 8, 1), 8);
    CHECK_EQ(mprotect(p, 8 * PAGE, RW), 0);
    CHECK_EQ(holds(p, 8, 1), 8);
    fill(p, 8, 2);
    CHECK_EQ(holds(p, 8, 2), 8);
    CHECK_EQ(munmap(p, 8 * PAGE), 0);
    group("read-only and back");
}

static void test_none(void)
{
    char *p = map_anon(8);
    fill(p, 8, 3);
    CHECK_EQ(mprotect(p, 8 * PAGE, PROT_NONE), 0);
    CHECK_EQ(touch_read(p), ACCERR);
    CHECK_EQ(touch_write(p + 7 * PAGE, 1), ACCERR);
    CHECK_EQ(mprotect(p, 4 * PAGE, PROT_READ), 0);
    CHECK_EQ(holds(p, 4, 3), 4);
    CHECK_EQ(touch_write(p, 1), ACCERR);
    CHECK_EQ(touch_read(p + 4 * PAGE), ACCERR);
    CHECK_EQ(mprotect(p, 8 * PAGE, RW), 0);
    CHECK_EQ(holds(p, 8, 3), 8);
    CHECK_EQ(touch_write(p + 5 * PAGE, 1), 0);
    CHECK_EQ(munmap(p, 8 * PAGE), 0);
    // Never touched, protected, opened: still zeroes.
    p = map(8 * PAGE, PROT_NONE, ANON, -1, 0);
    CHECK_EQ(touch_read(p), ACCERR);
    CHECK_EQ(mprotect(p + PAGE, PAGE, RW), 0);
    CHECK(is_zero(p + PAGE, 1));
    CHECK_EQ(touch_write(p + PAGE, 1), 0);
    CHECK_EQ(touch_read(p + 2 * PAGE), ACCERR);
    CHECK_EQ(munmap(p, 8 * PAGE), 0);
    group("no access and back");
}

// The zero page, made writable by mprotect, must not be written to.
static void test_zero_page(void)
{
    char *p = map(4 * PAGE, PROT_READ, ANON, -1, 0), *q = map_anon(4);
    CHECK(is_zero(p, 4));
    CHECK(is_zero(q, 4));
    CHECK_EQ(mprotect(p, 4 * PAGE, RW), 0);
    fill(p, 4, 5);
    CHECK(is_zero(q, 4));
    CHECK_EQ(holds(p, 4, 5), 4);
    CHECK_EQ(munmap(p, 4 * PAGE) | munmap(q, 4 * PAGE), 0);
    group("zero page");
}

#if defined(__x86_64__)
static const unsigned char code_return[] = {0xc3};
#else
static const unsigned char code_return[] = {0xc0, 0x03, 0x5f, 0xd6};
#endif

static void test_exec(void)
{
    char *p = map_anon(2);
    memcpy(p, code_return, sizeof(code_return));
    CHECK_EQ(touch_exec(p), ACCERR);
    CHECK_EQ(mprotect(p, PAGE, PROT_READ | PROT_EXEC), 0);
    __builtin___clear_cache(p, p + 64);
    CHECK_EQ(touch_exec(p), 0);
    CHECK_EQ(touch_write(p, 1), ACCERR);
    CHECK_EQ(touch_exec(p + PAGE), ACCERR);
    CHECK_EQ(mprotect(p, PAGE, PROT_READ), 0);
    CHECK_EQ(touch_exec(p), ACCERR);
    CHECK_EQ(mprotect(p, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC), 0);
    CHECK_EQ(touch_exec(p), 0);
    CHECK_EQ(touch_write(p + 8, 1), 0);
    CHECK_EQ(munmap(p, 2 * PAGE), 0);
    CHECK_EQ(touch_exec(p), MAPERR);
    group("execution");
}

static void test_file(void)
{
    int fd = temp_file(4, 6);
    char *p = map(4 * PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
    char *s = map(4 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    CHECK_EQ(holds(p, 4, 6), 4);
    CHECK_EQ(touch_write(p, 1), ACCERR);
    CHECK_EQ(mprotect(p, 4 * PAGE, RW), 0);
    p[0] = 77; // a copy
    CHECK_EQ(holds(s, 4, 6), 4);
    CHECK_EQ(mprotect(p, 4 * PAGE, PROT_READ), 0);
    CHECK_EQ(p[0], 77);
    CHECK_EQ(touch_write(p, 1), ACCERR);
    CHECK_EQ(touch_write(s, 1), ACCERR);
    CHECK_EQ(mprotect(s, 4 * PAGE, RW), 0);
    s[PAGE] = 66;
    char byte = 0;
    CHECK_EQ(pread(fd, &byte, 1, PAGE), 1);
    CHECK_EQ(byte, 66);
    CHECK_EQ(p[PAGE], 66); // not copied yet
    CHECK_EQ(mprotect(s, 4 * PAGE, PROT_READ), 0);
    CHECK_EQ(touch_write(s + PAGE, 1), ACCERR);
    CHECK_EQ(munmap(p, 4 * PAGE) | munmap(s, 4 * PAGE), 0);
    // What was opened read-only stays so where it is shared.
    char link[64];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    close(fd);
    fd = open("/proc/self/exe", O_RDONLY);
    MUST(fd >= 0);
    p = map(PAGE, PROT_READ, MAP_SHARED, fd, 0);
    CHECK_ERR(mprotect(p, PAGE, RW), EACCES);
    CHECK_EQ(munmap(p, PAGE), 0);
    p = map(PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
    CHECK_EQ(mprotect(p, PAGE, RW), 0);
    CHECK_EQ(touch_write(p, 1), 0);
    CHECK_EQ(munmap(p, PAGE), 0);
    close(fd);
    group("files");
}

// A hole ends it; what came before stays changed.
static void test_hole(void)
{
    char *p = map_anon(6);
    fill(p, 6, 8);
    CHECK_EQ(munmap(p + 3 * PAGE, PAGE), 0);
    CHECK_ERR(mprotect(p, 6 * PAGE, PROT_READ), ENOMEM);
    CHECK_EQ(touch_write(p + PAGE, 1), ACCERR);
    CHECK_EQ(touch_write(p + 5 * PAGE, 1), 0);
    CHECK_ERR(mprotect(p + 3 * PAGE, PAGE, PROT_READ), ENOMEM);
    CHECK_EQ(mprotect(p, 0, PROT_NONE), 0);
    CHECK_EQ(mprotect(p, 1, PROT_NONE), 0); // a byte is a page
    CHECK_EQ(touch_read(p), ACCERR);
    CHECK_EQ(touch_read(p + PAGE), 0);
    CHECK_EQ(munmap(p, 6 * PAGE), 0);
    group("holes");
}

int main(void)
{
    catch_faults();
    test_read_only();
    test_none();
    test_zero_page();
    test_exec();
    test_file();
    test_hole();
    return finish();
}
