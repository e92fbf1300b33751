// SOURCES: tests/host/shim/string.c tests/host/shim/printf.c
// The kernel's string functions and printf against the C library's.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <k/types.h>

void *k_memcpy(void *dst, const void *src, size_t n);
void *k_memmove(void *dst, const void *src, size_t n);
void *k_memset(void *dst, int c, size_t n);
int k_memcmp(const void *a, const void *b, size_t n);
size_t k_strlen(const char *s);
size_t k_strnlen(const char *s, size_t max);
int k_strcmp(const char *a, const char *b);
int k_strncmp(const char *a, const char *b, size_t n);
char *k_strchr(const char *s, int c);
char *k_strrchr(const char *s, int c);
char *k_strstr(const char *haystack, const char *needle);
int k_snprintf(char *buf, size_t size, const char *fmt, ...) printf_like(3, 4);
size_t strlcpy(char *dst, const char *src, size_t size);
u64 parse_u64(const char *s, const char **end);

static int sign(int v)
{
    return (v > 0) - (v < 0);
}

static void test_memory(void **state)
{
    (void)state;
    unsigned char a[200], b[200];

    srand(1);
    for (unsigned round = 0; round < 20000; round++) {
        for (unsigned i = 0; i < sizeof(a); i++) {
            a[i] = b[i] = (unsigned char)(rand() % 3);
        }
        size_t n = (size_t)rand() % 90, d = (size_t)rand() % 100, s = (size_t)rand() % 100;
        switch (round % 4) {
        case 0:
            assert_ptr_equal(k_memmove(a + d, a + s, n), a + d);
            memmove(b + d, b + s, n);
            break;
        case 1:
            k_memset(a + d, (int)s, n);
            memset(b + d, (int)s, n);
            break;
        case 2:
            s = s / 100 * 100;
            k_memcpy(a + 100, a + s, n);
            memcpy(b + 100, b + s, n);
            break;
        default:
            assert_int_equal(sign(k_memcmp(a + d, a + s, n)), sign(memcmp(b + d, b + s, n)));
            break;
        }
        assert_memory_equal(a, b, sizeof(a));
    }
}

static void test_strings(void **state)
{
    (void)state;
    static const char *const s[] = {"", "a", "ab", "abc", "abd", "xabab", "aab", "\xff", "a=b=c"};
    char buf[4];

    for (unsigned i = 0; i < array_size(s); i++) {
        assert_int_equal(k_strlen(s[i]), strlen(s[i]));
        assert_int_equal(k_strnlen(s[i], 2), strnlen(s[i], 2));
        assert_ptr_equal(k_strchr(s[i], 'a'), strchr(s[i], 'a'));
        assert_ptr_equal(k_strchr(s[i], 0), strchr(s[i], 0));
        assert_ptr_equal(k_strrchr(s[i], 'a'), strrchr(s[i], 'a'));
        assert_ptr_equal(k_strrchr(s[i], 0), strrchr(s[i], 0));
        assert_int_equal(strlcpy(buf, s[i], sizeof(buf)), strlen(s[i]));
        assert_int_equal(strncmp(buf, s[i], 3), 0);
        for (unsigned j = 0; j < array_size(s); j++) {
            assert_int_equal(sign(k_strcmp(s[i], s[j])), sign(strcmp(s[i], s[j])));
            assert_int_equal(sign(k_strncmp(s[i], s[j], 2)), sign(strncmp(s[i], s[j], 2)));
            assert_ptr_equal(k_strstr(s[i], s[j]), strstr(s[i], s[j]));
        }
    }
}

static void test_parse(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        u64 value;
        unsigned used;
    } t[] = {{"0", 0, 1},
             {"12,", 12, 2},
             {"4K", 4096, 2},
             {"0x10", 16, 4},
             {"0xfFg", 255ull << 30, 5},
             {"", 0, 0},
             {"-1", 0, 0},
             {"x", 0, 0},
             {"0x", 0, 1},
             {"1G/", 1 << 30, 2},
             {"3m", 3 << 20, 2},
             {"9z", 9, 1}};
    for (unsigned i = 0; i < array_size(t); i++) {
        const char *end;
        assert_int_equal(parse_u64(t[i].text, &end), t[i].value);
        assert_int_equal(end - t[i].text, t[i].used);
    }
}

#define same(...)                                                                                  \
    do {                                                                                           \
        char k_[80], c_[80];                                                                       \
        int kn_ = k_snprintf(k_, sizeof(k_), __VA_ARGS__);                                         \
        int cn_ = snprintf(c_, sizeof(c_), __VA_ARGS__);                                           \
        assert_string_equal(k_, c_);                                                               \
        assert_int_equal(kn_, cn_);                                                                \
    } while (0)

static void test_printf(void **state)
{
    (void)state;
    char b[4] = "zzz";
    static const long v[] = {0, 1, -1, 42, INT_MAX, INT_MIN, LONG_MAX, LONG_MIN, 0x1234abcd5678};

    same("plain %% text");
    for (unsigned i = 0; i < array_size(v); i++) {
        int n = (int)v[i];
        same("%d|%5d|%-5d|%05d|%+d|% d|%.3d|%8.3d|%-8.3d|", n, n, n, n, n, n, n, n, n);
        same("%u|%x|%X|%o|%#x|%08x|%#o", (unsigned)n, n, n, n, n, n, n);
        same("%ld|%lu|%lx|%lld|%llx|%zu|%zd", v[i], v[i], v[i], (long long)v[i],
             (unsigned long long)v[i], (size_t)v[i], v[i]);
        same("%016lx|%-20lx|%*ld|%.*ld", v[i], v[i], 12, v[i], 4, v[i]);
        same("%hhu|%hd", (unsigned char)n, (short)n);
    }
    same("%s|%10s|%-10s|%.2s|%10.2s|%c|%3c|%-3c|", "abc", "abc", "abc", "abc", "abc", 'x', 'y',
         'z');
    same("%p", (void *)b);
    same("%.0d|%.0x", 0, 0);
    assert_int_equal(k_snprintf(b, sizeof(b), "%s", "abcdef"), 6);
    assert_string_equal(b, "abc");
    assert_int_equal(k_snprintf(NULL, 0, "%d", 12345), 5);
    assert_int_equal(k_snprintf(b, 1, "x"), 1);
    assert_string_equal(b, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_printf),
    };
    return cmocka_run_group_tests_name("string", tests, NULL, NULL);
}
