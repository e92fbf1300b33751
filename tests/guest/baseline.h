// What there is in the kernel, to the last object: for tests that look for leaks.
//
// What a program's own address space consists of is taken off: how many page tables and tree nodes
// it needs depends on where its memory lay, and the library keeps stacks and arenas. What is left
// depends on nothing but what the kernel holds: files, threads, address spaces, the page cache,
// whatever waits to be freed. /proc/faultline/settle has that freed, and has every CPU give back
// what it keeps. So all of it is compared exactly.
#ifndef BASELINE_H
#define BASELINE_H

#include "mm_test.h"

struct baseline {
    long frames; // free, in slabs, page tables, the kernel's own (for stacks: they stay), this
                 // program's anonymous memory
    long page_tables, vmas, maple_nodes, objects, open_files, spaces;
    long own_vmas;       // of this program; the others are without them
    char by_cache[2048]; // for the eye: all objects by kind
};

// The number that follows this word at the start of a line.
static inline long line_number(const char *text, const char *word)
{
    const char *p = text;
    while (p && (strncmp(p, word, strlen(word)) != 0 || p[strlen(word)] != ' ')) {
        p = strchr(p, '\n');
        p = p ? p + 1 : NULL;
    }
    MUST(p != NULL);
    return atol(p + strlen(word));
}

static inline void baseline_read(int fd, char *text, size_t size)
{
    ssize_t n = read(fd, text, size - 1);
    MUST(n > 0);
    text[n] = '\0';
}

// No file is closed between settling and the looks: a closed one is an object until RCU has freed
// it.
static inline struct baseline baseline_now(void)
{
    static char all[8192], own[1024];
    struct baseline b;
    int settle = open("/proc/faultline/settle", O_WRONLY);
    int objects_fd = open("/proc/faultline/objects", O_RDONLY);
    int own_fd = open("/proc/faultline/own", O_RDONLY);
    int all_fd = open("/proc/faultline/stats", O_RDONLY);
    MUST(settle >= 0 && objects_fd >= 0 && own_fd >= 0 && all_fd >= 0);
    memset(all, 1, sizeof(all)); // these pages are there
    memset(own, 1, sizeof(own));
    memset(&b, 1, sizeof(b));
    MUST(write(settle, "1", 1) == 1);
    baseline_read(all_fd, all, sizeof(all));
    baseline_read(own_fd, own, sizeof(own));
    baseline_read(objects_fd, b.by_cache, sizeof(b.by_cache));
    close(settle);
    close(objects_fd);
    close(own_fd);
    close(all_fd);
    b.page_tables = line_number(all, "page_tables");
    b.frames = line_number(all, "pages_free") + line_number(all, "pages_slab") + b.page_tables +
               line_number(all, "kernel_tables") + line_number(own, "anon");
    b.page_tables -= line_number(own, "page_tables");
    b.own_vmas = line_number(own, "vmas");
    b.vmas = line_number(all, "vmas") - b.own_vmas;
    b.maple_nodes = line_number(all, "maple_nodes") - line_number(own, "maple_nodes");
    b.objects = line_number(all, "objects") - line_number(own, "maple_nodes") - b.own_vmas;
    b.open_files = line_number(all, "open_files");
    b.spaces = line_number(all, "address_spaces");
    return b;
}

static inline int baseline_holds(const struct baseline *was, const struct baseline *now)
{
    return now->frames == was->frames && now->page_tables == was->page_tables &&
           now->vmas == was->vmas && now->maple_nodes == was->maple_nodes &&
           now->objects == was->objects && now->open_files == was->open_files &&
           now->spaces == was->spaces;
}

// A thread that has been joined may still be leaving: its stack is a few frames. Before the test
// wait until nothing changes any more, after it until all is as before, for a while.
static inline struct baseline baseline_first(void)
{
    struct baseline was, now = baseline_now();
    int i = 0;
    do {
        was = now;
        usleep(10000);
        now = baseline_now();
    } while (!baseline_holds(&was, &now) && ++i < 100);
    return now;
}

static inline void baseline_check(const struct baseline *was)
{
    struct baseline now = baseline_now();
    for (int i = 0; i < 200 && !baseline_holds(was, &now); i++) {
        usleep(2000);
        now = baseline_now();
    }
    if (!CHECK(baseline_holds(was, &now))) {
        fprintf(stderr,
                "frames %+ld, tables %+ld, VMAs %+ld, nodes %+ld, objects %+ld, files %+ld, "
                "address spaces %+ld; objects were\n%sand are\n%s",
                now.frames - was->frames, now.page_tables - was->page_tables, now.vmas - was->vmas,
                now.maple_nodes - was->maple_nodes, now.objects - was->objects,
                now.open_files - was->open_files, now.spaces - was->spaces, was->by_cache,
                now.by_cache);
    }
}

// To the next program, and there.
static inline void baseline_print(const struct baseline *b, char *text, size_t size)
{
    snprintf(text, size, "%ld %ld %ld %ld %ld %ld %ld", b->frames, b->page_tables, b->vmas,
             b->maple_nodes, b->objects, b->open_files, b->spaces);
}

static inline void baseline_parse(struct baseline *b, const char *text)
{
    *b = (struct baseline){0};
    MUST(sscanf(text, "%ld %ld %ld %ld %ld %ld %ld", &b->frames, &b->page_tables, &b->vmas,
                &b->maple_nodes, &b->objects, &b->open_files, &b->spaces) == 7);
}

#endif
