// The Linux ABI of sockets, as far as unix ones go. socket(2), socket(7), unix(7), recv(2).
#ifndef UAPI_SOCKET_H
#define UAPI_SOCKET_H

#include <k/types.h>

#define AF_UNSPEC 0
#define AF_UNIX   1

#define SOCK_STREAM    1
#define SOCK_DGRAM     2
#define SOCK_RAW       3
#define SOCK_SEQPACKET 5
#define SOCK_TYPE_MASK 0xf
#define SOCK_NONBLOCK  00004000
#define SOCK_CLOEXEC   02000000

#define SHUT_RD   0
#define SHUT_WR   1
#define SHUT_RDWR 2

#define MSG_OOB          0x1u
#define MSG_PEEK         0x2u
#define MSG_CTRUNC       0x8u
#define MSG_TRUNC        0x20u
#define MSG_DONTWAIT     0x40u
#define MSG_EOR          0x80u
#define MSG_WAITALL      0x100u
#define MSG_ERRQUEUE     0x2000u
#define MSG_NOSIGNAL     0x4000u
#define MSG_WAITFORONE   0x10000u
#define MSG_CMSG_CLOEXEC 0x40000000u

#define SOL_SOCKET       1
#define SO_DEBUG         1
#define SO_REUSEADDR     2
#define SO_TYPE          3
#define SO_ERROR         4
#define SO_DONTROUTE     5
#define SO_BROADCAST     6
#define SO_SNDBUF        7
#define SO_RCVBUF        8
#define SO_KEEPALIVE     9
#define SO_OOBINLINE     10
#define SO_PRIORITY      12
#define SO_LINGER        13
#define SO_REUSEPORT     15
#define SO_PASSCRED      16
#define SO_PEERCRED      17
#define SO_RCVLOWAT      18
#define SO_SNDLOWAT      19
#define SO_RCVTIMEO_OLD  20
#define SO_SNDTIMEO_OLD  21
#define SO_TIMESTAMP_OLD 29
#define SO_ACCEPTCONN    30
#define SO_SNDBUFFORCE   32
#define SO_RCVBUFFORCE   33
#define SO_PROTOCOL      38
#define SO_DOMAIN        39
#define SO_COOKIE        57
#define SO_RCVTIMEO_NEW  66
#define SO_SNDTIMEO_NEW  67

#define SCM_RIGHTS      1
#define SCM_CREDENTIALS 2
#define SCM_MAX_FD      253

#define SOMAXCONN 4096
#define SIOCOUTQ  0x5411

struct uapi_ucred {
    s32 pid;
    u32 uid, gid;
};

#define UNIX_PATH_MAX 108
struct uapi_sockaddr_un {
    u16 family;
    char path[UNIX_PATH_MAX];
};

struct uapi_msghdr {
    u64 name;
    s32 namelen, pad0;
    u64 iov, iovlen, control, controllen;
    u32 flags, pad1;
};

struct uapi_mmsghdr {
    struct uapi_msghdr hdr;
    u32 len, pad;
};

struct uapi_cmsghdr {
    u64 len;
    s32 level, type;
};

#endif
