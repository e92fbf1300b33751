// Memory and string functions. The portable versions: words where that is possible, bytes at the
// edges. Unaligned words are fine on every CPU we run on.
#include <k/string.h>

// Keep the compiler from turning these loops into calls of the functions they implement.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-tree-loop-distribute-patterns")
#endif

typedef u64 __attribute__((may_alias, aligned(1))) word_t;

void *memcpy(void *dst, const void *src, size_t n)
{
    char *d = dst;
    const char *s = src;

    for (; n >= 4 * sizeof(word_t); n -= 4 * sizeof(word_t)) {
        word_t a = ((const word_t *)s)[0], b = ((const word_t *)s)[1];
        word_t c = ((const word_t *)s)[2], e = ((const word_t *)s)[3];
        ((word_t *)d)[0] = a;
        ((word_t *)d)[1] = b;
        ((word_t *)d)[2] = c;
        ((word_t *)d)[3] = e;
        d += 4 * sizeof(word_t);
        s += 4 * sizeof(word_t);
    }
    for (; n >= sizeof(word_t); n -= sizeof(word_t)) {
        *(word_t *)d = *(const word_t *)s;
        d += sizeof(word_t);
        s += sizeof(word_t);
    }
    while (n-- > 0) {
        *d++ = *s++;
    }
    return dst;
}

void *memmove(void *dst, const void *src, size_t n)
{
    if ((uintptr_t)dst - (uintptr_t)src >= n) {
        return memcpy(dst, src, n); // dst is below src or far above: upwards is safe
    }
    char *d = (char *)dst + n;
    const char *s = (const char *)src + n;
    for (; n >= sizeof(word_t); n -= sizeof(word_t)) {
        d -= sizeof(word_t);
        s -= sizeof(word_t);
        *(word_t *)d = *(const word_t *)s;
    }
    while (n-- > 0) {
        *--d = *--s;
    }
    return dst;
}

void *memset(void *dst, int c, size_t n)
{
    char *d = dst;
    word_t w = 0x0101010101010101ull * (unsigned char)c;

    for (; n >= 4 * sizeof(word_t); n -= 4 * sizeof(word_t)) {
        ((word_t *)d)[0] = w;
        ((word_t *)d)[1] = w;
        ((word_t *)d)[2] = w;
        ((word_t *)d)[3] = w;
        d += 4 * sizeof(word_t);
    }
    for (; n >= sizeof(word_t); n -= sizeof(word_t)) {
        *(word_t *)d = w;
        d += sizeof(word_t);
    }
    while (n-- > 0) {
        *d++ = (char)c;
    }
    return dst;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const unsigned char *x = a, *y = b;

    for (; n >= sizeof(word_t) && *(const word_t *)x == *(const word_t *)y; n -= sizeof(word_t)) {
        x += sizeof(word_t);
        y += sizeof(word_t);
    }
    for (; n > 0; n--, x++, y++) {
        if (*x != *y) {
            return *x - *y;
        }
    }
    return 0;
}

size_t strlen(const char *s)
{
    size_t n = 0;

    while (s[n]) {
        n++;
    }
    return n;
}

size_t strnlen(const char *s, size_t max)
{
    size_t n = 0;

    while (n < max && s[n]) {
        n++;
    }
    return n;
}

int strcmp(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return (unsigned char)*a - (unsigned char)*b;
}

int strncmp(const char *a, const char *b, size_t n)
{
    for (; n > 0; n--, a++, b++) {
        if (*a != *b || !*a) {
            return (unsigned char)*a - (unsigned char)*b;
        }
    }
    return 0;
}

char *strchr(const char *s, int c)
{
    for (; *s != (char)c; s++) {
        if (!*s) {
            return NULL;
        }
    }
    return (char *)s;
}

char *strrchr(const char *s, int c)
{
    const char *last = NULL;

    for (;; s++) {
        if (*s == (char)c) {
            last = s;
        }
        if (!*s) {
            return (char *)last;
        }
    }
}

char *strstr(const char *haystack, const char *needle)
{
    size_t n = strlen(needle);

    for (;; haystack++) {
        if (strncmp(haystack, needle, n) == 0) {
            return (char *)haystack;
        }
        if (!*haystack) {
            return NULL;
        }
    }
}

size_t strlcpy(char *dst, const char *src, size_t size)
{
    size_t len = strlen(src);

    if (size > 0) {
        size_t n = len < size ? len : size - 1;
        memcpy(dst, src, n);
        dst[n] = '\0';
    }
    return len;
}

// The value of a digit in any base up to 16, or 16.
static unsigned digit_value(char c)
{
    if (c >= '0' && c <= '9') {
        return (unsigned)(c - '0');
    }
    c |= 0x20; // to lower case
    return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 16;
}

u64 parse_u64(const char *s, const char **end)
{
    const char *p = s;
    unsigned base = 10, shift = 0;
    u64 v = 0;

    if (p[0] == '0' && (p[1] | 0x20) == 'x' && digit_value(p[2]) < 16) {
        base = 16;
        p += 2;
    }
    const char *digits = p;
    for (; digit_value(*p) < base; p++) {
        v = v * base + digit_value(*p);
    }
    if (p == digits) {
        *end = s;
        return 0;
    }
    switch (*p) {
    case 'K':
    case 'k':
        shift = 10;
        break;
    case 'M':
    case 'm':
        shift = 20;
        break;
    case 'G':
    case 'g':
        shift = 30;
        break;
    default:
        break;
    }
    *end = p + (shift > 0);
    return v << shift;
}
