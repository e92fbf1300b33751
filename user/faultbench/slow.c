/*
 * slow.c: memory whose first touch takes milliseconds, so that threads wait inside a fault.
 *
 * Where there is a file whose faults sleep (--slow-file), it is mapped. Elsewhere a server thread
 * makes one: it registers a range with userfaultfd and answers each fault SLOW_DELAY_MS after it
 * heard of it. Both put the same question to the kernel: what do others find locked while a
 * thread sleeps in its fault?
 *
 * The server reads all pending messages before it sleeps, and the delay is the same for all, so a
 * first-in first-out queue of due times is enough and N waiters wait side by side.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define UFFD_PAGES 16384
#define QUEUE_LEN  1024

struct pending {
    uint64_t addr;
    uint64_t due_ns;
};

struct uffd_server {
    int fd;
    size_t page_size;
    pthread_t thread;
    atomic_bool stop;
    struct pending queue[QUEUE_LEN];
    unsigned head, tail;
};

static uint64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static void server_read(struct uffd_server *s)
{
    struct uffd_msg msg;
    while (s->tail - s->head < QUEUE_LEN && read(s->fd, &msg, sizeof(msg)) == sizeof(msg)) {
        if (msg.event == UFFD_EVENT_PAGEFAULT) {
            s->queue[s->tail++ % QUEUE_LEN] = (struct pending){
                .addr = msg.arg.pagefault.address & ~(uint64_t)(s->page_size - 1),
                .due_ns = now_ns() + SLOW_DELAY_MS * 1000000ull,
            };
        }
    }
}

static void server_answer(struct uffd_server *s)
{
    while (s->head != s->tail && s->queue[s->head % QUEUE_LEN].due_ns <= now_ns()) {
        struct uffdio_zeropage zero = {
            .range = {s->queue[s->head++ % QUEUE_LEN].addr, s->page_size},
        };
        ioctl(s->fd, UFFDIO_ZEROPAGE, &zero); /* fails if somebody was faster: they are awake */
    }
}

static void *server_main(void *arg)
{
    struct uffd_server *s = arg;
    while (!atomic_load(&s->stop)) {
        struct pollfd pfd = {.fd = s->fd, .events = POLLIN};
        poll(&pfd, 1, s->head == s->tail ? 20 : 1);
        server_read(s);
        server_answer(s);
    }
    return NULL;
}

static int uffd_open(struct slow *slow, struct run *run)
{
    struct uffd_server *s = calloc(1, sizeof(*s));
    size_t len = UFFD_PAGES * run->page_size;
    struct uffdio_api api = {.api = UFFD_API};

    if (s == NULL) {
        return run_fail(run, "out of memory");
    }
    s->page_size = run->page_size;
    s->fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    if (s->fd < 0) {
        run_na(run, "no slow file, and userfaultfd says: %s", strerror(errno));
        goto out_free;
    }
    slow->base = mmap(NULL, len, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (slow->base == MAP_FAILED) {
        run_fail(run, "mmap: %s", strerror(errno));
        goto out_close;
    }
    struct uffdio_register reg = {
        .range = {(uintptr_t)slow->base, len},
        .mode = UFFDIO_REGISTER_MODE_MISSING,
    };
    if (ioctl(s->fd, UFFDIO_API, &api) != 0 || ioctl(s->fd, UFFDIO_REGISTER, &reg) != 0) {
        run_na(run, "userfaultfd does not take the range: %s", strerror(errno));
        goto out_unmap;
    }
    if (pthread_create(&s->thread, NULL, server_main, s) != 0) {
        run_fail(run, "no thread to answer the faults");
        goto out_unmap;
    }
    slow->nr_pages = UFFD_PAGES;
    slow->kind = "userfaultfd";
    slow->server = s;
    return 0;

out_unmap:
    munmap(slow->base, len);
out_close:
    close(s->fd);
out_free:
    free(s);
    return -1;
}

static int file_open(struct slow *slow, struct run *run, int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || st.st_size < (off_t)run->page_size) {
        return run_na(run, "%s is shorter than a page", run->opt->slow_path);
    }
    slow->nr_pages = (size_t)st.st_size / run->page_size;
    slow->base = mmap(NULL, slow->nr_pages * run->page_size, PROT_READ, MAP_SHARED, fd, 0);
    if (slow->base == MAP_FAILED) {
        return run_fail(run, "mmap of %s: %s", run->opt->slow_path, strerror(errno));
    }
    slow->kind = "file";
    slow->is_file = true;
    return 0;
}

int slow_open(struct slow *slow, struct run *run)
{
    memset(slow, 0, sizeof(*slow));
    int fd = open(run->opt->slow_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return uffd_open(slow, run);
    }
    int err = file_open(slow, run, fd);
    close(fd);
    return err;
}

void slow_close(struct slow *slow, struct run *run)
{
    struct uffd_server *s = slow->server;
    if (s != NULL) {
        atomic_store(&s->stop, true);
        pthread_join(s->thread, NULL);
        close(s->fd);
        free(s);
    }
    munmap(slow->base, slow->nr_pages * run->page_size);
}
