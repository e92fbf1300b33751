// A circular doubly linked list threaded through its members. Not RCU-safe; the owner's lock
// protects every function here.
#ifndef K_LIST_H
#define K_LIST_H

#include <k/types.h>

struct list {
    struct list *next, *prev;
};

#define LIST_INIT(name)                                                                            \
    {                                                                                              \
        &(name), &(name)                                                                           \
    }

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_insert_between(struct list *n, struct list *prev, struct list *next)
{
    n->prev = prev;
    n->next = next;
    prev->next = n;
    next->prev = n;
}

static inline void list_add_head(struct list *head, struct list *n)
{
    list_insert_between(n, head, head->next);
}

static inline void list_add_tail(struct list *head, struct list *n)
{
    list_insert_between(n, head->prev, head);
}

// Unlink n and leave it an empty list of its own, so that a second list_del is harmless.
static inline void list_del(struct list *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    list_init(n);
}

// Move all of `from` to the tail of `to`; `from` ends empty.
static inline void list_splice_tail(struct list *to, struct list *from)
{
    if (list_empty(from)) {
        return;
    }
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

#define list_entry(p, type, member) container_of(p, type, member)
#define list_first(head, type, member)                                                             \
    (list_empty(head) ? NULL : list_entry((head)->next, type, member))

#define list_for_each_entry(e, head, member)                                                       \
    for (e = list_entry((head)->next, typeof(*e), member); &e->member != (head);                   \
         e = list_entry(e->member.next, typeof(*e), member))

// The loop body may unlink and free e.
#define list_for_each_entry_safe(e, tmp, head, member)                                             \
    for (e = list_entry((head)->next, typeof(*e), member),                                         \
        tmp = list_entry(e->member.next, typeof(*e), member);                                      \
         &e->member != (head); e = tmp, tmp = list_entry(tmp->member.next, typeof(*e), member))

#endif
