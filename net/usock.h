// Unix sockets: what the files of net/ share. net/usock.c tells the theory.
//
// Lock letters: I immutable, a atomic, S s->lock, N names_lock (net/uname.c), R s->read_lock,
// G rights_lock (net/rights.c).
#ifndef NET_USOCK_H
#define NET_USOCK_H

#include <arch/time.h>
#include <fs.h>
#include <iov.h>
#include <k/errno.h>
#include <k/list.h>
#include <k/lock.h>
#include <sched.h>
#include <slab.h>
#include <uapi/socket.h>

#define SNDBUF_DEFAULT 212992u
#define SNDBUF_MAX     (2 * SNDBUF_DEFAULT)
#define SNDBUF_MIN     4608u
#define RCVBUF_MIN     2304u
#define DGRAM_QUEUE    10u // datagrams a receiver keeps beyond the first

enum usock_state { USOCK_FREE, USOCK_LISTEN, USOCK_CONNECTED };

struct uname { // the address of a socket
    atomic_int ref;
    u32 len;       // [I] of the path; 0: unnamed
    bool abstract; // [I] path[0] is 0 and not a file's
    u64 hash;      // [I] of an abstract one
    char path[UNIX_PATH_MAX];
};

struct rights {               // files on their way
    struct list link;         // [G] of usock.rights, or the collector's
    struct umsg *msg;         // [G] that carries them; NULL: none does
    struct flight_user *user; // [I] who is charged for them; NULL: a copy that MSG_PEEK gave
    unsigned nr;
    struct file *file[]; // counted
};

struct umsg {
    struct list link; // [S] of the socket it waits at
    size_t len;       // [I]
    size_t off;       // [R] taken already (streams)
    struct uapi_ucred cred;
    struct uname *from;    // counted; NULL: unnamed
    struct rights *rights; // [G] when the socket can be reached; NULL: none
    u8 data[];
};

struct usock {
    atomic_int ref;               // its file, its peer, an embryo's listener, names in use
    int type;                     // [I] SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET
    struct file *file;            // [S] not counted; NULL: an embryo
    struct list rights;           // [G] rights.link: in messages that came
    struct list flight_link;      // [G] sockets in messages
    unsigned inflight;            // [G] messages' references to file
    unsigned outside;             // [G] scratch of the collector
    bool candidate;               // [G] the same
    struct list all_link;         // of all: usock_text.c
    u64 number;                   // [I] in that list
    struct spinlock lock;         // RANK_SOCK
    enum usock_state state;       // [S]
    struct usock *peer;           // [S] counted
    bool rd_shut, wr_shut;        // [S]
    bool released;                // [S]
    int error;                    // [S] for the next call that looks
    struct list queue;            // [S] messages that came
    unsigned nr_queued;           // [S]
    size_t bytes;                 // [S] in them
    struct list embryos;          // [S] of a listener: connections not yet accepted
    struct list embryo_link;      // [S of the listener]
    unsigned nr_embryos, backlog; // [S]
    struct uname *name;           // [S] counted; NULL: unbound
    struct inode *inode;          // [N] counted: the socket's node, if bound to a path
    struct list name_link;        // [N] of abstract names
    struct uapi_ucred cred;       // [S] of who listens or connected
    struct uapi_ucred peer_cred;  // [S]
    struct mutex read_lock;       // RANK_PIPE: who takes messages apart
    struct waitq rd_wait, wr_wait;
    // Options: [a]
    atomic_bool passcred, reuse, keepalive, broadcast, oobinline;
    atomic_uint sndbuf, rcvbuf, lowat, priority;
    atomic_int linger_on, linger_s;
    _Atomic u64 rcv_timeout_ns, snd_timeout_ns; // 0: none
};

// ---- usock.c
struct usock *usock_new(int type); // one reference; NULL: no memory
static inline struct usock *usock_get(struct usock *s)
{
    fetch_add_relaxed(&s->ref, 1);
    return s;
}
void usock_put(struct usock *s);               // NULL is fine
struct usock *usock_peer_get(struct usock *s); // counted, NULL: none
void usock_lock_two(struct usock *a, struct usock *b);
void usock_unlock_two(struct usock *a, struct usock *b);
// The socket behind a descriptor, with its file counted. -EBADF, -ENOTSOCK.
int usock_of_fd(int fd, struct file **f, struct usock **s);
// An open file for s, whose reference it takes over (also on error), as a descriptor.
int usock_install(struct usock *s, u32 flags);
int usock_file(struct usock *s, u32 flags, struct file **out);
void usock_abandon(struct usock *s); // the file is gone, or there never was one
int usock_shutdown(struct usock *s, int how);
// Who calls; no socket is locked.
struct uapi_ucred ucred_now(void);    // as it acts: of who connects and listens
struct uapi_ucred ucred_sender(void); // as its real user: of a message
extern const struct file_ops usock_fops;
// May s take another message of n bytes? Locked.
bool usock_has_room_locked(const struct usock *s, size_t n, size_t sndbuf);
extern struct waitq dgram_space; // somebody's datagram queue is no longer full
// Where s waits for room at whom it sends to.
static inline struct waitq *usock_room_wait(struct usock *s)
{
    return s->type == SOCK_DGRAM ? &dgram_space : &s->wr_wait;
}

// Wait for cond until the deadline. 0, -EAGAIN (time is up), or what a signal makes of it: -EINTR,
// or -ENORESTART where there is a deadline (signal(7): such a wait is not begun anew).
u64 sock_deadline(u64 timeout_ns);
#define sock_wait(q, deadline, cond)                                                               \
    ({                                                                                             \
        struct waiter sw_ = {0};                                                                   \
        int sr_ = 1;                                                                               \
        while (sr_ > 0) {                                                                          \
            waitq_prepare((q), &sw_, THREAD_SLEEPING);                                             \
            if (cond) {                                                                            \
                sr_ = 0;                                                                           \
                break;                                                                             \
            }                                                                                      \
            sr_ = thread_signal_pending() ? -EINTR : schedule_until(deadline);                     \
            sr_ = sr_ == 0                                    ? -EAGAIN                            \
                  : sr_ == -EINTR && (deadline) != TIME_NEVER ? -ENORESTART                        \
                                                              : sr_;                               \
        }                                                                                          \
        waitq_finish((q), &sw_);                                                                   \
        sr_;                                                                                       \
    })

// ---- usock_text.c: the list of all sockets
void usock_list_add(struct usock *s);
void usock_list_remove(struct usock *s);

// ---- uname.c: addresses
struct uname *uname_get(struct uname *n); // NULL is fine
void uname_put(struct uname *n);          // NULL is fine
// From a sockaddr in kernel memory. -EINVAL.
int uname_parse(const struct uapi_sockaddr_un *sa, s32 len, struct uname **out);
int usock_bind(struct usock *s, const struct uapi_sockaddr_un *sa, s32 len);
int usock_autobind(struct usock *s); // 0 also if it has a name
// Who is bound there: counted. -ECONNREFUSED, -ENOENT and others. May sleep.
int usock_find(const struct uname *n, struct usock **out);
void usock_unname(struct usock *s);
// What getsockname and msg_name show. Length.
u32 uname_show(const struct uname *n, struct uapi_sockaddr_un *sa);

// ---- uconnect.c
int usock_connect(struct usock *s, const struct uapi_sockaddr_un *sa, s32 len, bool nonblock);
int usock_listen(struct usock *s, int backlog);
// *out: a connected socket without a file; counted.
int usock_accept(struct usock *s, bool nonblock, struct usock **out);
int usock_pair(struct usock *a, struct usock *b);

// ---- umsg.c: sending and receiving
struct send {
    struct iov_iter it;
    const struct uapi_sockaddr_un *to; // NULL: where it is connected to
    s32 to_len;
    struct uapi_ucred cred;
    struct rights *rights; // taken over by the message that carries them; NULL: none
    u32 flags;
    bool nonblock;
};
struct recv {
    struct iov_iter it;
    u32 flags;
    bool nonblock;
    // Results:
    u32 out_flags;
    struct uname *from; // counted
    bool has_cred;
    struct uapi_ucred cred;
    struct rights *rights; // the caller's
};
ssize_t usock_send(struct usock *s, struct send *m);
ssize_t usock_recv(struct usock *s, struct recv *m);
void umsg_free(struct umsg *m); // may sleep

// ---- rights.c: files in messages
// -EBADF, -ENOMEM, -ETOOMANYREFS: the user has more than RLIMIT_NOFILE of them under way.
int rights_new(const s32 *fds, unsigned nr, struct rights **out);
void rights_put(struct rights *r); // NULL is fine
// Between these nothing moves into or out of messages.
void rights_lock(void);
void rights_unlock(void);
// r is part of m, which waits at s, from here on. Locked.
void rights_sent_locked(struct usock *s, struct umsg *m, struct rights *r);
// The rights of a message, which keeps them if peek. NULL: none, or (peek) no memory.
struct rights *umsg_take_rights(struct umsg *m, bool peek);
// A socket's file was closed: let go of what only circles of messages keep, now or soon.
void rights_released(void);

#endif
