// Sockets, as far as others ask: net/usock.c.
#ifndef NET_H
#define NET_H

#include <k/types.h>

// Text of /proc/net/unix from *pos (0 at first) on, as much as fits; *pos is where to go on, ~0 at
// the end. Sleeps. net/usock_text.c.
size_t usock_text(u64 *pos, char *buf, size_t size);

#endif
