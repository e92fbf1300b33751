// For the mm_*.c tests: touch memory and see which signal that gives, fill pages with patterns and
// find them again, count mappings, turn Faultline's knobs.
#ifndef MM_TEST_H
#define MM_TEST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "test.h"

#define PAGE       4096ul
#define RW         (PROT_READ | PROT_WRITE)
#define ANON       (MAP_PRIVATE | MAP_ANONYMOUS)
#define NO_ADDRESS ((char *)16) // what a test hands over that must not be looked at

// What touching an address came to: 0 or SIGNAL(number, code).
#define SIGNAL(sig, code) ((sig)*100 + (code))
#define MAPERR            SIGNAL(SIGSEGV, SEGV_MAPERR)
#define ACCERR            SIGNAL(SIGSEGV, SEGV_ACCERR)
#define BUS               SIGNAL(SIGBUS, BUS_ADRERR)

static _Thread_local sigjmp_buf catch_jump;
static _Thread_local volatile sig_atomic_t catching;
static _Thread_local void *volatile caught_addr;

static void on_fault(int sig, siginfo_t *info, void *context)
{
    (void)context;
    if (!catching) {
        fprintf(stderr, "unexpected signal %d, code %d, at %p\n", sig, info->si_code,
                info->si_addr);
        _exit(3);
    }
    caught_addr = info->si_addr;
    siglongjmp(catch_jump, SIGNAL(sig, info->si_code));
}

// Once a process, before any touch_*.
static inline void catch_faults(void)
{
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaction(SIGSEGV, &sa, NULL);
    sigaction(SIGBUS, &sa, NULL);
}

enum touch { TOUCH_READ, TOUCH_WRITE, TOUCH_EXEC };

// The byte that a read gave is left in *byte. The address of the signal must be p.
static inline int touch(enum touch how, volatile void *p, unsigned char *byte)
{
    int what = sigsetjmp(catch_jump, 1);
    if (what == 0) {
        catching = 1;
        if (how == TOUCH_READ) {
            *byte = *(volatile unsigned char *)p;
        } else if (how == TOUCH_WRITE) {
            *(volatile unsigned char *)p = *byte;
        } else {
            ((void (*)(void))(uintptr_t)p)();
        }
    } else if (caught_addr != (void *)p) {
        fprintf(stderr, "fault at %p reported for %p\n", (void *)p, (void *)caught_addr);
        what = -1;
    }
    catching = 0;
    return what;
}

static inline int touch_read(volatile void *p)
{
    unsigned char byte;
    return touch(TOUCH_READ, p, &byte);
}
static inline int touch_write(volatile void *p, unsigned char byte)
{
    return touch(TOUCH_WRITE, p, &byte);
}
static inline int touch_exec(void *p)
{
    return touch(TOUCH_EXEC, p, NULL);
}

// Every word of a page tells its place and the tag.
static inline void fill(void *p, unsigned long nr_pages, uint64_t tag)
{
    volatile uint64_t *w = p;
    for (unsigned long i = 0; i < nr_pages * PAGE / 8; i++) {
        w[i] = tag << 32 | i;
    }
}
// The number of pages from page `first` of the pattern on that are as fill left them.
static inline unsigned long holds_from(void *p, unsigned long first, unsigned long nr_pages,
                                       uint64_t tag)
{
    volatile uint64_t *w = p;
    for (unsigned long i = 0; i < nr_pages * PAGE / 8; i++) {
        if (w[i] != (tag << 32 | (i + first * PAGE / 8))) {
            return i / (PAGE / 8);
        }
    }
    return nr_pages;
}
static inline unsigned long holds(void *p, unsigned long nr_pages, uint64_t tag)
{
    return holds_from(p, 0, nr_pages, tag);
}
static inline int is_zero(void *p, unsigned long nr_pages)
{
    volatile uint64_t *w = p;
    for (unsigned long i = 0; i < nr_pages * PAGE / 8; i++) {
        if (w[i] != 0) {
            return 0;
        }
    }
    return 1;
}

static inline char *map(unsigned long len, int prot, int flags, int fd, off_t off)
{
    char *p = mmap(NULL, len, prot, flags, fd, off);
    MUST(p != MAP_FAILED);
    return p;
}
static inline char *map_anon(unsigned long nr_pages)
{
    return map(nr_pages * PAGE, RW, ANON, -1, 0);
}
// Free address space: mapped and unmapped again, with a page kept on either side that nobody else
// will take meanwhile and that joins nothing.
static inline char *map_nothing(unsigned long nr_pages)
{
    char *p = map((nr_pages + 2) * PAGE, PROT_NONE, ANON, -1, 0);
    MUST(munmap(p + PAGE, nr_pages * PAGE) == 0);
    return p + PAGE;
}

// An unlinked file in /tmp whose pages hold the pattern.
static inline int temp_file(unsigned long nr_pages, uint64_t tag)
{
    char name[] = "/tmp/mm-test-XXXXXX";
    static _Thread_local uint64_t page[PAGE / 8];
    int fd = mkstemp(name);
    MUST(fd >= 0);
    MUST(unlink(name) == 0);
    for (unsigned long i = 0; i < nr_pages; i++) {
        for (unsigned long w = 0; w < PAGE / 8; w++) {
            page[w] = tag << 32 | (i * PAGE / 8 + w);
        }
        MUST(pwrite(fd, page, PAGE, (off_t)(i * PAGE)) == (ssize_t)PAGE);
    }
    return fd;
}

// Lines of /proc/self/maps that overlap [p, p + len).
static inline int maps_lines(void *p, unsigned long len)
{
    FILE *f = fopen("/proc/self/maps", "r");
    char line[512];
    int n = 0;
    MUST(f != NULL);
    while (fgets(line, sizeof(line), f)) {
        unsigned long start, end;
        if (sscanf(line, "%lx-%lx", &start, &end) == 2 && start < (uintptr_t)p + len &&
            end > (uintptr_t)p) {
            n++;
        }
    }
    fclose(f);
    return n;
}

// ---- Faultline only -----------------------------------------------------------------------------

// Write to /proc/faultline/NAME: 0, or -1 and errno.
static inline int knob_write(const char *name, const char *text)
{
    char path[100];
    snprintf(path, sizeof(path), "/proc/faultline/%s", name);
    int fd = open(path, O_WRONLY);
    if (fd < 0) {
        return -1;
    }
    ssize_t n = write(fd, text, strlen(text));
    int e = errno;
    close(fd);
    errno = e;
    return n == (ssize_t)strlen(text) ? 0 : -1;
}

static inline void knob_set(const char *name, long value)
{
    char text[32];
    snprintf(text, sizeof(text), "%ld", value);
    MUST(knob_write(name, text) == 0);
}

// The whole of /proc/faultline/NAME.
static inline size_t knob_read(const char *name, char *text, size_t size)
{
    char path[100];
    size_t used = 0;
    snprintf(path, sizeof(path), "/proc/faultline/%s", name);
    int fd = open(path, O_RDONLY);
    MUST(fd >= 0);
    for (ssize_t n; used < size - 1 && (n = read(fd, text + used, size - 1 - used)) > 0;) {
        used += (size_t)n;
    }
    close(fd);
    text[used] = '\0';
    return used;
}

static inline long knob_get(const char *name)
{
    char text[64];
    knob_read(name, text, sizeof(text));
    return atol(text);
}

// The sum of all numbers that follow this word in /proc/faultline/stats ("faults": of all CPUs).
static inline long stat_get(const char *word)
{
    static char text[16384];
    long sum = 0;
    size_t len = strlen(word);
    int found = 0;
    knob_read("stats", text, sizeof(text));
    for (char *p = text; (p = strstr(p, word)) != NULL; p += len) {
        if ((p == text || p[-1] == ' ' || p[-1] == '\n') && p[len] == ' ') {
            sum += atol(p + len + 1);
            found = 1;
        }
    }
    MUST(found);
    return sum;
}

#endif
