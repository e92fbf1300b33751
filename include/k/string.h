// The C library's memory and string functions, as far as a kernel needs them. Freestanding gcc may
// emit calls to the first four.
#ifndef K_STRING_H
#define K_STRING_H

#include <k/types.h>

void *memcpy(void *dst, const void *src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
size_t strnlen(const char *s, size_t max);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);
char *strrchr(const char *s, int c);
char *strstr(const char *haystack, const char *needle);
size_t strlcpy(char *dst, const char *src, size_t size); // returns strlen(src)

// Parse an unsigned number in base 10, or 16 after "0x", with an optional K, M or G suffix.
// *end is set to the first character not used. Returns 0 if there is no digit (*end == s).
u64 parse_u64(const char *s, const char **end);

#endif
