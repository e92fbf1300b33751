/*
 * file.c: the files behind file mappings, and the mappings themselves.
 *
 * Each task has a file of its own in /tmp, unlinked as soon as it is open, written once and kept
 * for all benches of the process. Every word of page P of task T is file_tag(T, P), so a page that
 * shows up in the wrong place gives itself away. Private benches store at one offset, shared ones
 * at another, and a third is never stored to. Hence, whatever ran, in whatever order:
 *
 *     word at PRIVATE_STORE_OFF    the tag: no private store may reach the file
 *     word at CHECK_OFF            the tag
 *     byte at SHARED_STORE_OFF     STORE_BYTE in the first nr_stored pages: no shared one is lost
 */
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CHUNK_WORDS 8192

static struct bench_file {
    bool made;
    int fd;
    size_t nr_stored; /* pages that shared mappings stored to, from the first on */
} files[MAX_TASKS];

static int file_fill(struct run *run, int fd, unsigned id)
{
    static uint64_t chunk[CHUNK_WORDS];
    size_t words_per_page = run->page_size / sizeof(uint64_t);
    size_t nr_words = run->size_bytes / sizeof(uint64_t);

    for (size_t word = 0; word < nr_words;) {
        size_t n = nr_words - word < CHUNK_WORDS ? nr_words - word : CHUNK_WORDS;
        for (size_t i = 0; i < n; i++) {
            chunk[i] = file_tag(id, (word + i) / words_per_page);
        }
        ssize_t done = write(fd, chunk, n * sizeof(uint64_t));
        if (done <= 0 || done % (ssize_t)sizeof(uint64_t) != 0) {
            return run_fail(run, "write of a test file: %s", done < 0 ? strerror(errno) : "short");
        }
        word += (size_t)done / sizeof(uint64_t);
    }
    return 0;
}

static int file_make(struct run *run, unsigned id)
{
    struct bench_file *f = &files[id];
    char path[64];

    if (f->made) {
        return 0;
    }
    snprintf(path, sizeof(path), "/tmp/faultbench.%ld.%u", (long)getpid(), id);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return run_fail(run, "%s: %s", path, strerror(errno));
    }
    if (unlink(path) != 0 || ftruncate(fd, (off_t)run->size_bytes) != 0) {
        run_fail(run, "%s: %s", path, strerror(errno));
        goto out_close;
    }
    if (file_fill(run, fd, id) != 0) {
        goto out_close;
    }
    *f = (struct bench_file){.made = true, .fd = fd};
    return 0;

out_close:
    close(fd);
    return -1;
}

int files_setup(struct run *run)
{
    if (run->bench->backing == BACK_ANON) {
        return 0;
    }
    for (unsigned i = 0; i < run->nr_tasks; i++) {
        if (file_make(run, i) != 0) {
            return -1;
        }
    }
    return 0;
}

static void file_verify(struct run *run, struct task *task)
{
    struct bench_file *f = &files[task->id];
    uint64_t words[3];

    for (size_t page = 0; page < run->size_bytes / run->page_size; page++) {
        off_t off = (off_t)(page * run->page_size);
        if (pread(f->fd, words, sizeof(words), off) != (ssize_t)sizeof(words)) {
            run_fail(run, "pread of page %zu: %s", page, strerror(errno));
            return;
        }
        uint64_t tag = file_tag(task->id, page);
        uint64_t stored = (tag & ~0xffull) | STORE_BYTE;
        page_check(task, page, words[PRIVATE_STORE_OFF / 8], tag);
        page_check(task, page, words[CHECK_OFF / 8], tag);
        if (page < f->nr_stored || words[SHARED_STORE_OFF / 8] != tag) {
            page_check(task, page, words[SHARED_STORE_OFF / 8], stored);
        }
    }
}

void files_verify(struct run *run)
{
    if (run->bench->backing == BACK_ANON) {
        return;
    }
    for (unsigned i = 0; i < run->nr_tasks; i++) {
        struct task *task = &run->tasks[i];
        if (run->bench->backing == BACK_FILE_SHARED && task->nr_stored > files[i].nr_stored) {
            files[i].nr_stored = task->nr_stored;
        }
        file_verify(run, task);
    }
}

void *task_map(struct task *task)
{
    struct run *run = task->run;
    enum backing backing = run->bench->backing;
    int flags = backing == BACK_FILE_SHARED ? MAP_SHARED : MAP_PRIVATE;
    int fd = -1;

    if (backing == BACK_ANON) {
        flags |= MAP_ANONYMOUS;
    } else {
        fd = files[task->id].fd;
    }
    void *addr = mmap(NULL, run->size_bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (addr == MAP_FAILED) {
        run_fail(run, "mmap: %s", strerror(errno));
    }
    return addr;
}

int task_unmap(struct task *task, void *addr)
{
    if (munmap(addr, task->run->size_bytes) != 0) {
        return run_fail(task->run, "munmap: %s", strerror(errno));
    }
    return 0;
}
