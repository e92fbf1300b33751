// /proc/net/unix: all unix sockets, a line each. See proc(5).
//
// The sockets are in a list in the order they were made, by a number that only grows, which is also
// how the reader finds where it was. usock_list_lock guards the list and nothing else; a socket is
// looked at under its own lock, with a reference, which is only taken while there is another one:
// who drops the last takes it off the list before it is freed.
#include <k/printk.h>
#include <net.h>
#include "usock.h"

#define STEPS       64u  // from socket to socket, at most, under the lock that is everybody's
#define SOCKET_LINE 256u // of one socket: its path has 108 bytes

static struct spinlock list_lock = SPINLOCK_INIT(RANK_SPIN_MISC);
static struct list sockets = LIST_INIT(sockets); // [list_lock] usock.all_link
static u64 last_number;                          // [list_lock]

void usock_list_add(struct usock *s)
{
    spin_lock(&list_lock);
    s->number = ++last_number;
    list_add_tail(&sockets, &s->all_link);
    spin_unlock(&list_lock);
}

void usock_list_remove(struct usock *s)
{
    spin_lock(&list_lock);
    list_del(&s->all_link);
    spin_unlock(&list_lock);
}

// One that is behind this number, or STEPS further on the way there, counted; NULL: that was the
// end. at: where to begin, the caller's reference, which is dropped; NULL: at the beginning.
static struct usock *usock_step(struct usock *at, u64 number)
{
    struct usock *found = NULL;
    unsigned steps = 0;
    spin_lock(&list_lock);
    struct list *link = at ? at->all_link.next : sockets.next;
    for (; link != &sockets && !found; link = link->next) {
        struct usock *s = list_entry(link, struct usock, all_link);
        int ref = s->number > number || ++steps >= STEPS ? load_relaxed(&s->ref) : 0;
        while (ref && !atomic_compare_exchange_weak(&s->ref, &ref, ref + 1)) {
        }
        found = ref ? s : NULL;
    }
    spin_unlock(&list_lock);
    usock_put(at);
    return found;
}

// The first one behind this number, counted; NULL: there is none. at: as above.
static struct usock *usock_after(struct usock *at, u64 number)
{
    do {
        at = usock_step(at, number);
        cond_resched(); // there may be as many as memory holds
    } while (at && at->number <= number);
    return at;
}

// " path"; 0 bytes, the first of an abstract one among them, are shown as @.
static size_t name_line(char *buf, const struct uname *name)
{
    size_t n = 0;
    if (name) {
        buf[n++] = ' ';
        for (u32 i = 0; i < name->len && (name->abstract || name->path[i]); i++) {
            buf[n++] = name->path[i] ? name->path[i] : '@';
        }
    }
    buf[n++] = '\n';
    return n;
}

// At most SOCKET_LINE bytes.
static size_t usock_line(struct usock *s, char *buf)
{
    spin_lock(&s->lock);
    struct uname *name = uname_get(s->name);
    bool listens = s->state == USOCK_LISTEN, open = s->file && !s->released;
    bool connected = s->state == USOCK_CONNECTED && s->type != SOCK_DGRAM;
    u64 ino = open ? s->file->inode->ino : 0; // the file goes after released was set
    spin_unlock(&s->lock);
    // The states are those of sockets: SS_UNCONNECTED .. SS_DISCONNECTING.
    unsigned state = open ? (connected ? 3 : 1) : connected ? 2 : 4;
    int n = snprintf(buf, SOCKET_LINE, "%016lx: %08X %08X %08X %04X %02X %5lu", s->number,
                     (unsigned)load_relaxed(&s->ref) - 1, 0u, listens ? 0x10000u : 0u,
                     (unsigned)s->type, state, ino);
    n += (int)name_line(buf + n, name);
    uname_put(name);
    return (size_t)n;
}

size_t usock_text(u64 *pos, char *buf, size_t size)
{
    size_t n = 0;
    struct usock *s = NULL;
    if (*pos == 0) {
        n = (size_t)snprintf(buf, size,
                             "Num       RefCount Protocol Flags    Type St Inode Path\n");
    }
    while (size - n >= SOCKET_LINE && (s = usock_after(s, *pos)) != NULL) {
        n += usock_line(s, buf + n);
        *pos = s->number;
        cond_resched();
    }
    if (size - n >= SOCKET_LINE) {
        *pos = ~0ull;
    }
    usock_put(s);
    return n;
}
