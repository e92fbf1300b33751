// TEST: smp=1,2,4 scheme=rcu,mmap_lock linux=same timeout=120
// Mapped files (tmpfs): one copy of the truth, private copies, the end of the file, holes.
#include "mm_test.h"

static void test_coherent(void)
{
    int fd = temp_file(8, 1);
    char *a = map(8 * PAGE, RW, MAP_SHARED, fd, 0),
         *b = map(8 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    char buf[100] = "";
    CHECK_EQ(holds(a, 8, 1), 8);
    CHECK_EQ(pwrite(fd, "hello", 5, 2 * PAGE - 2), 5); // over a page's bound
    CHECK_EQ(memcmp(a + 2 * PAGE - 2, "hello", 5), 0);
    CHECK_EQ(memcmp(b + 2 * PAGE - 2, "hello", 5), 0);
    memcpy(a + 5 * PAGE - 3, "world!", 6);
    CHECK_EQ(pread(fd, buf, 6, 5 * PAGE - 3), 6);
    CHECK_EQ(memcmp(buf, "world!", 6), 0);
    CHECK_EQ(memcmp(b + 5 * PAGE - 3, "world!", 6), 0);
    char *c = map(2 * PAGE, RW, MAP_SHARED, fd, 4 * PAGE); // the same at an offset
    CHECK_EQ(memcmp(c + PAGE - 3, "world!", 6), 0);
    c[0] = 'C';
    CHECK_EQ(a[4 * PAGE], 'C');
    // A mapping outlives the descriptor.
    close(fd);
    CHECK_EQ(b[4 * PAGE], 'C');
    a[7 * PAGE] = 'Z';
    CHECK_EQ(b[7 * PAGE], 'Z');
    CHECK_EQ(touch_write(b, 1), ACCERR);
    CHECK_EQ(msync(a, 8 * PAGE, MS_SYNC), 0);
    CHECK_EQ(msync(a, 8 * PAGE, MS_ASYNC), 0);
    CHECK_EQ(munmap(a, 8 * PAGE) | munmap(b, 8 * PAGE) | munmap(c, 2 * PAGE), 0);
    group("shared");
}

static void test_private(void)
{
    int fd = temp_file(8, 2);
    char *a = map(8 * PAGE, RW, MAP_PRIVATE, fd, 0), *b = map(8 * PAGE, RW, MAP_PRIVATE, fd, 0);
    char *s = map(8 * PAGE, RW, MAP_SHARED, fd, 0);
    a[PAGE] = 'a'; // written before it is read
    CHECK_EQ(holds(b, 8, 2), 8);
    b[2 * PAGE] = 'b'; // and after
    CHECK_EQ(holds(s, 8, 2), 8);
    CHECK_EQ(a[PAGE], 'a');
    s[PAGE] = 's';
    s[2 * PAGE] = 't';
    s[3 * PAGE] = 'u';
    CHECK_EQ(a[PAGE], 'a');
    CHECK_EQ(b[2 * PAGE], 'b');
    CHECK_EQ(b[PAGE], 's'); // not copied yet
    CHECK_EQ(a[3 * PAGE], 'u');
    CHECK_EQ(pwrite(fd, "w", 1, PAGE), 1);
    CHECK_EQ(a[PAGE], 'a');
    CHECK_EQ(s[PAGE], 'w');
    CHECK_EQ(munmap(a, 8 * PAGE) | munmap(b, 8 * PAGE) | munmap(s, 8 * PAGE), 0);
    close(fd);
    group("private");
}

static void test_end(void)
{
    int fd = temp_file(3, 3);
    CHECK_EQ(ftruncate(fd, 2 * PAGE + 100), 0);
    char *s = map(6 * PAGE, RW, MAP_SHARED, fd, 0), *p = map(6 * PAGE, RW, MAP_PRIVATE, fd, 0);
    CHECK_EQ(holds(s, 2, 3), 2);
    CHECK_EQ(s[2 * PAGE + 100], 0); // the rest of the last page is zeroes
    CHECK_EQ(s[3 * PAGE - 1], 0);
    CHECK_EQ(touch_read(s + 3 * PAGE), BUS);
    CHECK_EQ(touch_write(s + 5 * PAGE + 9, 1), BUS);
    CHECK_EQ(touch_read(p + 3 * PAGE), BUS);
    CHECK_EQ(touch_write(p + 3 * PAGE, 1), BUS);
    s[3 * PAGE - 1] = 'x'; // beyond the end: does not enlarge the file
    CHECK_EQ(lseek(fd, 0, SEEK_END), 2 * PAGE + 100);
    CHECK_EQ(ftruncate(fd, 5 * PAGE), 0); // now they are there
    CHECK(is_zero(s + 3 * PAGE, 2));
    CHECK_EQ(touch_write(s + 4 * PAGE, 7), 0);
    CHECK_EQ(touch_read(p + 4 * PAGE), 0);
    CHECK_EQ(p[4 * PAGE], 7);
    CHECK_EQ(touch_read(s + 5 * PAGE), BUS);
    CHECK_EQ(pwrite(fd, "y", 1, 6 * PAGE - 1), 1); // writing enlarges
    CHECK_EQ(s[6 * PAGE - 1], 'y');
    CHECK_EQ(munmap(s, 6 * PAGE) | munmap(p, 6 * PAGE), 0);
    close(fd);
    group("end of file");
}

static void test_truncate(void)
{
    int fd = temp_file(8, 4);
    char *s = map(8 * PAGE, RW, MAP_SHARED, fd, 0), *p = map(8 * PAGE, RW, MAP_PRIVATE, fd, 0);
    CHECK_EQ(holds(s, 8, 4), 8);
    CHECK_EQ(holds(p, 8, 4), 8);
    p[5 * PAGE] = 1; // copies go as well
    p[PAGE] = 2;
    CHECK_EQ(ftruncate(fd, 3 * PAGE + 5), 0);
    CHECK_EQ(holds(s, 3, 4), 3);
    CHECK_EQ(s[3 * PAGE + 5], 0);
    CHECK_EQ(touch_read(s + 4 * PAGE), BUS);
    CHECK_EQ(touch_write(s + 7 * PAGE, 1), BUS);
    CHECK_EQ(touch_read(p + 5 * PAGE), BUS);
    CHECK_EQ(p[PAGE], 2);
    CHECK_EQ(ftruncate(fd, 8 * PAGE), 0);
    CHECK(is_zero(s + 4 * PAGE, 4)); // what was cut off does not come back
    CHECK(is_zero(p + 4 * PAGE, 4));
    CHECK_EQ(s[3 * PAGE + 5], 0);
    CHECK_EQ(ftruncate(fd, 0), 0);
    CHECK_EQ(touch_read(s), BUS);
    CHECK_EQ(touch_read(p + PAGE), BUS);
    CHECK_EQ(munmap(s, 8 * PAGE) | munmap(p, 8 * PAGE), 0);
    close(fd);
    group("truncate");
}

static void test_punch(void)
{
    int fd = temp_file(8, 5);
    char *s = map(8 * PAGE, RW, MAP_SHARED, fd, 0), *p = map(8 * PAGE, RW, MAP_PRIVATE, fd, 0);
    CHECK_EQ(holds(s, 8, 5), 8);
    CHECK_EQ(holds(p, 8, 5), 8);
    p[3 * PAGE] = 9;
    CHECK_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * PAGE, 3 * PAGE), 0);
    CHECK_EQ(holds(s, 2, 5), 2);
    CHECK(is_zero(s + 2 * PAGE, 3));
    CHECK(is_zero(p + 2 * PAGE, 1));
    CHECK_EQ(p[3 * PAGE], 9); // a private copy stays
    CHECK_EQ(holds_from(s + 5 * PAGE, 5, 3, 5), 3);
    s[3 * PAGE] = 'n';
    char byte = 0;
    CHECK_EQ(pread(fd, &byte, 1, 3 * PAGE), 1);
    CHECK_EQ(byte, 'n');
    CHECK_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5 * PAGE + 8, 16), 0);
    CHECK_EQ(*(unsigned long *)(s + 5 * PAGE + 8), 0); // less than a page: cleared
    CHECK_EQ(*(unsigned long *)(s + 5 * PAGE + 16), 0);
    CHECK(*(unsigned long *)(s + 5 * PAGE + 24) != 0);
    CHECK_EQ(fallocate(fd, 0, 0, 10 * PAGE), 0);
    CHECK_EQ(lseek(fd, 0, SEEK_END), 10 * PAGE);
    CHECK_EQ(munmap(s, 8 * PAGE) | munmap(p, 8 * PAGE), 0);
    close(fd);
    group("punch a hole");
}

// A fresh file, written first through a mapping; sparse.
static void test_sparse(void)
{
    int fd = temp_file(0, 0);
    CHECK_EQ(ftruncate(fd, 1 << 30), 0);
    char *s = map(1 << 30, RW, MAP_SHARED, fd, 0);
    for (unsigned long at = 0; at < 1 << 30; at += 1 << 25) {
        CHECK_EQ(s[at], 0);
        *(unsigned long *)(s + at) = at + 1;
    }
    for (unsigned long at = 0; at < 1 << 30; at += 1 << 25) {
        unsigned long w = 0;
        CHECK_EQ(pread(fd, &w, 8, (off_t)at), 8);
        CHECK_EQ(w, at + 1);
    }
    CHECK_EQ(munmap(s, 1 << 30), 0);
    close(fd);
    group("sparse");
}

// read() and write() with buffers in mappings of the very file, and in memory not yet touched.
static void test_buffers(void)
{
    int fd = temp_file(4, 6);
    char *s = map(4 * PAGE, RW, MAP_SHARED, fd, 0), *a = map_anon(4);
    CHECK_EQ(pread(fd, a, 4 * PAGE, 0), 4 * PAGE);
    CHECK_EQ(holds(a, 4, 6), 4);
    CHECK_EQ(pwrite(fd, s, 2 * PAGE, 2 * PAGE), 2 * PAGE);
    CHECK_EQ(holds(s + 2 * PAGE, 2, 6), 2);
    CHECK_EQ(pread(fd, s + PAGE, PAGE, 0), PAGE);
    CHECK_EQ(holds(s + PAGE, 1, 6), 1);
    char *r = map(PAGE, PROT_READ, ANON, -1, 0);
    CHECK_ERR(pread(fd, r, 10, 0), EFAULT);
    CHECK_EQ(munmap(r, PAGE), 0);
    CHECK_ERR(pwrite(fd, r, 10, 0), EFAULT);
    CHECK_EQ(munmap(s, 4 * PAGE) | munmap(a, 4 * PAGE), 0);
    close(fd);
    group("buffers");
}

int main(void)
{
    catch_faults();
    test_coherent();
    test_private();
    test_end();
    test_truncate();
    test_punch();
    test_sparse();
    test_buffers();
    return finish();
}
