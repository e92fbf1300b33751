// The Linux ABI of terminals (asm-generic: the same on x86_64 and aarch64).
#ifndef UAPI_TERMIOS_H
#define UAPI_TERMIOS_H

#include <k/types.h>

#define TERMIOS_NCC  8
#define TERMIOS_NCCS 19

// TCGETA. The ends of the flags are cut off.
struct uapi_termio {
    u16 iflag, oflag, cflag, lflag;
    u8 line, cc[TERMIOS_NCC];
};
// TCGETS is the part before ispeed.
struct uapi_termios {
    u32 iflag, oflag, cflag, lflag;
    u8 line, cc[TERMIOS_NCCS];
    u32 ispeed, ospeed;
};
#define TERMIOS_SIZE 36u

struct uapi_winsize {
    u16 row, col, xpixel, ypixel;
};

enum termios_cc {
    VINTR,
    VQUIT,
    VERASE,
    VKILL,
    VEOF,
    VTIME,
    VMIN,
    VSWTC,
    VSTART,
    VSTOP,
    VSUSP,
    VEOL,
    VREPRINT,
    VDISCARD,
    VWERASE,
    VLNEXT,
    VEOL2,
};

// iflag
#define IGNBRK  0000001u
#define BRKINT  0000002u
#define PARMRK  0000010u
#define ISTRIP  0000040u
#define INLCR   0000100u
#define IGNCR   0000200u
#define ICRNL   0000400u
#define IUCLC   0001000u
#define IXON    0002000u
#define IXANY   0004000u
#define IXOFF   0010000u
#define IMAXBEL 0020000u
#define IUTF8   0040000u
// oflag
#define OPOST  0000001u
#define OLCUC  0000002u
#define ONLCR  0000004u
#define OCRNL  0000010u
#define ONOCR  0000020u
#define ONLRET 0000040u
#define TABDLY 0014000u
#define XTABS  0014000u
// cflag
#define CBAUD   0010017u
#define B0      0000000u
#define B38400  0000017u
#define B115200 0010002u
#define BOTHER  0010000u
#define CSIZE   0000060u
#define CS8     0000060u
#define CREAD   0000200u
#define HUPCL   0002000u
#define CLOCAL  0004000u
// lflag
#define ISIG    0000001u
#define ICANON  0000002u
#define ECHO    0000010u
#define ECHOE   0000020u
#define ECHOK   0000040u
#define ECHONL  0000100u
#define NOFLSH  0000200u
#define TOSTOP  0000400u
#define ECHOCTL 0001000u
#define ECHOPRT 0002000u
#define ECHOKE  0004000u
#define FLUSHO  0010000u
#define IEXTEN  0100000u
#define EXTPROC 0200000u

#define TIOCGLCKTRMIOS 0x5456u
#define TIOCSLCKTRMIOS 0x5457u

#define TCSETS      0x5402u
#define TCSETSW     0x5403u
#define TCSETSF     0x5404u
#define TCGETA      0x5405u
#define TCSETA      0x5406u
#define TCSETAW     0x5407u
#define TCSETAF     0x5408u
#define TCSBRK      0x5409u
#define TCXONC      0x540au
#define TCFLSH      0x540bu
#define TIOCEXCL    0x540cu
#define TIOCNXCL    0x540du
#define TIOCSCTTY   0x540eu
#define TIOCSPGRP   0x5410u
#define TIOCOUTQ    0x5411u
#define TIOCSTI     0x5412u
#define TIOCSWINSZ  0x5414u
#define TIOCMGET    0x5415u
#define TIOCMBIS    0x5416u
#define TIOCMBIC    0x5417u
#define TIOCMSET    0x5418u
#define TIOCPKT     0x5420u
#define TIOCNOTTY   0x5422u
#define TIOCSETD    0x5423u
#define TIOCGETD    0x5424u
#define TCSBRKP     0x5425u
#define TIOCSBRK    0x5427u
#define TIOCCBRK    0x5428u
#define TIOCGSID    0x5429u
#define TCGETS2     0x802c542au
#define TCSETS2     0x402c542bu
#define TCSETSW2    0x402c542cu
#define TCSETSF2    0x402c542du
#define TIOCGPTN    0x80045430u
#define TIOCSPTLCK  0x40045431u
#define TIOCGDEV    0x80045432u
#define TIOCSIG     0x40045436u
#define TIOCVHANGUP 0x5437u
#define TIOCGPKT    0x80045438u
#define TIOCGPTLCK  0x80045439u
#define TIOCGEXCL   0x80045440u
#define TIOCGPTPEER 0x5441u
#define KDGKBTYPE   0x4b33u
#define KDGETMODE   0x4b3bu
#define KDGKBMODE   0x4b44u
#define VT_OPENQRY  0x5600u
#define VT_GETSTATE 0x5603u

#define TCIFLUSH  0
#define TCOFLUSH  1
#define TCIOFLUSH 2
#define TCOOFF    0
#define TCOON     1
#define TCIOFF    2
#define TCION     3

#define TIOCPKT_FLUSHREAD  0x01u
#define TIOCPKT_FLUSHWRITE 0x02u
#define TIOCPKT_STOP       0x04u
#define TIOCPKT_START      0x08u
#define TIOCPKT_NOSTOP     0x10u
#define TIOCPKT_DOSTOP     0x20u

#define N_TTY     0
#define KB_101    2
#define K_UNICODE 3

#endif
