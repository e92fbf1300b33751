// TEST: smp=1,2 scheme=rcu linux=same
/*
 * The line discipline, seen through a pseudo terminal: what is typed at the master, what the slave
 * reads and what is echoed. Prints what it sees, which must be what Linux says.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static int master, slave;

static void show_bytes(const char *what, const char *buf, long n)
{
    printf("  %s ", what);
    if (n < 0) {
        printf("%s\n", strerrorname_np(errno));
        return;
    }
    printf("%ld \"", n);
    for (long i = 0; i < n; i++) {
        unsigned char c = (unsigned char)buf[i];
        if (c < 32 || c > 126) {
            printf("\\%03o", c);
        } else {
            putchar(c);
        }
    }
    printf("\"\n");
}

/* Reads what is there now. */
static void show_read(const char *what, int fd)
{
    char buf[512];
    int flags = fcntl(fd, F_GETFL);
    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    long n = read(fd, buf, sizeof(buf));
    fcntl(fd, F_SETFL, flags);
    show_bytes(what, buf, n);
}

/* Linux carries bytes across in a thread of its own: wait until they have arrived. */
static void settle(void)
{
    usleep(30000);
}

static void typed(const char *title, const char *keys, size_t n)
{
    printf("%s\n", title);
    if (write(master, keys, n) != (long)n) {
        perror("write");
    }
    settle();
    show_read("echo", master);
    show_read("read", slave);
    show_read("then", slave);
}
#define TYPED(title, keys) typed(title, keys, sizeof(keys) - 1)

static void change(tcflag_t i_off, tcflag_t i_on, tcflag_t o_off, tcflag_t o_on, tcflag_t l_off,
                   tcflag_t l_on)
{
    struct termios t;
    tcgetattr(slave, &t);
    t.c_iflag = (t.c_iflag & ~i_off) | i_on;
    t.c_oflag = (t.c_oflag & ~o_off) | o_on;
    t.c_lflag = (t.c_lflag & ~l_off) | l_on;
    tcsetattr(slave, TCSANOW, &t);
}

static void show_settings(void)
{
    struct termios t;
    printf("tcgetattr %d\n", tcgetattr(slave, &t));
    printf("%#o %#o %#o %#o speed %#o\n", t.c_iflag, t.c_oflag, t.c_cflag, t.c_lflag,
           cfgetospeed(&t));
    for (int i = 0; i < 17; i++) {
        printf("%d ", t.c_cc[i]);
    }
    printf("\n");
}

static void editing(void)
{
    TYPED("a line", "hello\r");
    TYPED("no line yet", "abc");
    TYPED("erased", "\177\177x\n");
    TYPED("nothing to erase", "\177\177ok\n");
    TYPED("a control byte erased", "a\001\177b\n");
    TYPED("a tab erased", "ab\tc\177\177d\n");
    TYPED("kill", "one two\025three\n");
    TYPED("word erase", "one two.  \027\027x\n");
    TYPED("literal", "a\026\003b\026\026\n");
    TYPED("reprint", "abc\022d\n");
    TYPED("end of file", "\004");
    TYPED("end of file behind text", "part\004");
    TYPED("two lines", "first\nsecond\n");
    TYPED("return and newline", "\r\n");
}

static void modes(void)
{
    change(0, 0, 0, 0, ECHO, 0);
    TYPED("no echo", "secret\n");
    change(0, 0, 0, 0, 0, ECHONL);
    TYPED("echo of the newline only", "secret\n");
    change(0, 0, 0, 0, ECHONL, ECHO);
    change(0, 0, 0, 0, ECHOCTL, 0);
    TYPED("control bytes as they are", "\001\n");
    change(0, 0, 0, 0, ECHOKE, ECHOCTL);
    TYPED("kill on a new line", "abc\025d\n");
    change(0, 0, 0, 0, ECHOE, ECHOKE);
    TYPED("erase shown as itself", "abc\177d\n");
    change(0, 0, 0, 0, 0, ECHOE | ECHOPRT);
    TYPED("erase as on paper", "abc\177\177d\n");
    change(0, 0, 0, 0, ECHOPRT, 0);
    change(ICRNL, 0, 0, 0, 0, 0);
    TYPED("a return is a return", "a\rb\n");
    change(0, IGNCR, 0, 0, 0, 0);
    TYPED("a return is nothing", "a\rb\n");
    change(IGNCR, INLCR, 0, 0, 0, 0);
    TYPED("a newline is a return", "a\nb");
    change(INLCR, ICRNL, 0, 0, 0, 0);
    TYPED("the end of that line", "\n");
    change(0, ISTRIP, 0, 0, 0, 0);
    TYPED("seven bits", "\351\n");
    change(ISTRIP, IUCLC, 0, 0, 0, 0);
    TYPED("small letters", "ABC\n");
    change(IUCLC, IUTF8, 0, 0, 0, 0);
    TYPED("a character of two bytes erased", "a\303\251\177b\n");
    change(IUTF8, 0, 0, 0, 0, 0);
}

static void written(const char *title, const char *text)
{
    printf("%s\n", title);
    show_bytes("write", "", write(slave, text, strlen(text)) == (long)strlen(text) ? 0 : -1);
    settle();
    show_read("output", master);
}

static void output(void)
{
    written("newline", "a\nb\n");
    change(0, 0, ONLCR, 0, 0, 0);
    written("newline as it is", "a\nb\n");
    change(0, 0, 0, OCRNL, 0, 0);
    written("return as newline", "a\rb\r");
    change(0, 0, OCRNL, ONOCR, 0, 0);
    written("no return at the left edge", "\r\ra\r\r");
    change(0, 0, ONOCR, XTABS | ONLCR, 0, 0);
    written("tabs as spaces", "\n\ta\tbcd\t\b\b\tx\n");
    change(0, 0, XTABS, OLCUC, 0, 0);
    written("capitals", "abc\n");
    change(0, 0, OLCUC | OPOST, 0, 0, 0);
    written("untouched", "a\n\r\t");
    change(0, 0, 0, OPOST, 0, 0);
}

static void raw_read(const char *title, int min, int time, size_t size, const char *keys)
{
    struct termios t;
    char buf[64];
    tcgetattr(slave, &t);
    t.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    t.c_cc[VMIN] = (cc_t)min;
    t.c_cc[VTIME] = (cc_t)time;
    tcsetattr(slave, TCSANOW, &t);
    printf("%s\n", title);
    if (write(master, keys, strlen(keys)) < 0) {
        perror("write");
    }
    settle();
    struct pollfd p = {.fd = slave, .events = POLLIN};
    printf("  poll %d\n", poll(&p, 1, 0));
    long n = read(slave, buf, size);
    show_bytes("read", buf, n);
    tcflush(slave, TCIFLUSH);
}

static void raw(void)
{
    int n;
    raw_read("MIN 1", 1, 0, 64, "abc");
    raw_read("MIN 3, a small buffer", 3, 0, 2, "abc");
    raw_read("MIN 0", 0, 0, 64, "");
    raw_read("MIN 0, something there", 0, 0, 64, "x");
    raw_read("TIME 1", 0, 1, 64, "");
    raw_read("TIME 1, something there", 0, 1, 64, "y");
    raw_read("MIN 9, TIME 1", 9, 1, 64, "abc");
    raw_read("MIN 2, less there than poll wants, TIME 1", 2, 1, 64, "z");
    if (write(master, "left\nover", 9) != 9) {
        perror("write");
    }
    settle();
    printf("FIONREAD %d", ioctl(slave, FIONREAD, &n));
    printf(": %d\n", n);
    change(0, 0, 0, 0, 0, ICANON);
    settle();
    show_read("typed before ICANON", slave);
    change(0, 0, 0, 0, 0, ECHO);
    TYPED("and lines again", "line\n");
}

static void flow(void)
{
    struct pollfd p = {.fd = slave, .events = POLLOUT};
    printf("stop %ld\n", (long)write(master, "\023", 1));
    settle();
    printf("poll %d\n", poll(&p, 1, 0));
    int flags = fcntl(slave, F_GETFL);
    fcntl(slave, F_SETFL, flags | O_NONBLOCK);
    long n = write(slave, "x", 1);
    printf("write %s\n", n < 0 ? strerrorname_np(errno) : "ok");
    fcntl(slave, F_SETFL, flags);
    printf("start %ld\n", (long)write(master, "\021", 1));
    settle();
    printf("poll %d\n", poll(&p, 1, 0));
    show_read("output", master);
    printf("TCOOFF %d\n", tcflow(slave, TCOOFF));
    printf("TCOON %d\n", tcflow(slave, TCOON));
    printf("TCXONC %s\n", ioctl(slave, TCXONC, 9) < 0 ? strerrorname_np(errno) : "ok");
    printf("TCFLSH %s\n", ioctl(slave, TCFLSH, 9) < 0 ? strerrorname_np(errno) : "ok");
    printf("tcsendbreak %d\n", tcsendbreak(slave, 0));
    printf("tcdrain %d\n", tcdrain(slave));
}

static void pair(void)
{
    struct winsize w = {.ws_row = 33, .ws_col = 99}, got = {0};
    struct stat st;
    int locked = -1, n = -1, packet = -1;
    printf("ioctl TIOCSWINSZ %d", ioctl(master, TIOCSWINSZ, &w));
    printf(", TIOCGWINSZ %d: %d %d\n", ioctl(slave, TIOCGWINSZ, &got), got.ws_row, got.ws_col);
    printf("isatty %d %d %d\n", isatty(slave), isatty(master), isatty(0));
    printf("TIOCGPTN %d", ioctl(master, TIOCGPTN, &n));
    printf(", of the slave %s\n", ioctl(slave, TIOCGPTN, &n) < 0 ? strerrorname_np(errno) : "ok");
    printf("TIOCGPTLCK %d: %d\n", ioctl(master, TIOCGPTLCK, &locked), locked);
    printf("TIOCGPKT %d: %d\n", ioctl(master, TIOCGPKT, &packet), packet);
    printf("name %d, fstat %d, mode %o\n", strncmp(ptsname(master), "/dev/pts/", 9),
           fstat(slave, &st), st.st_mode & S_IFMT);
    printf("lseek %s\n", lseek(slave, 0, SEEK_SET) < 0 ? strerrorname_np(errno) : "ok");
}

static void packets(void)
{
    int on = 1;
    printf("TIOCPKT %d\n", ioctl(master, TIOCPKT, &on));
    written("in packets", "text");
    tcflush(slave, TCIFLUSH);
    show_read("flushed", master);
    tcflow(slave, TCOOFF);
    show_read("stopped", master);
    tcflow(slave, TCOON);
    show_read("started", master);
    on = 0;
    ioctl(master, TIOCPKT, &on);
}

/* The kernel's struct, which is shorter than the C library's. */
struct settings {
    unsigned i, o, c, l;
    unsigned char line, cc[19];
};

static void show_pinned(const char *who, int fd)
{
    struct settings k;
    memset(&k, 0x55, sizeof(k));
    printf("%s %s", who, ioctl(fd, TIOCGLCKTRMIOS, &k) ? strerrorname_np(errno) : "ok");
    printf(" %x %x %x %x %x %x %x\n", k.i, k.o, k.c, k.l, k.line, k.cc[VINTR], k.cc[18]);
}

static void show_pin(const char *what, const struct settings *k)
{
    printf("%s %s\n", what, ioctl(slave, TIOCSLCKTRMIOS, k) ? strerrorname_np(errno) : "ok");
}

/* Settings that no program may change until they are let go of. */
static void pinned(void)
{
    struct settings k = {.i = ICRNL, .l = ECHO | ICANON, .cc[VINTR] = 1}, none = {0};
    struct termios before, t;
    tcgetattr(slave, &before);
    show_pinned("at first", slave);
    show_pin("pin", &k);
    show_pinned("slave", slave);
    show_pinned("master", master);
    t = before;
    t.c_iflag = t.c_lflag = 0;
    t.c_cc[VINTR] = 7;
    t.c_cc[VQUIT] = 8;
    printf("set %d\n", tcsetattr(slave, TCSANOW, &t));
    tcgetattr(slave, &t);
    printf("has %x %x %x %x\n", t.c_iflag, t.c_lflag, t.c_cc[VINTR], t.c_cc[VQUIT]);
    show_pin("no memory", NULL);
    if (fork() == 0) {
        if (setuid(1000) == 0) {
            show_pin("user", &none);
            show_pin("user, no memory", NULL);
            show_pinned("user", slave);
        }
        _exit(0);
    }
    wait(NULL);
    show_pin("let go", &none);
    t.c_lflag = 0;
    tcsetattr(slave, TCSANOW, &t);
    tcgetattr(slave, &t);
    printf("has %x %x\n", t.c_iflag, t.c_lflag);
    tcsetattr(slave, TCSANOW, &before);
}

static void the_end(void)
{
    char name[64];
    struct pollfd p = {.fd = master, .events = POLLIN | POLLOUT};
    strcpy(name, ptsname(master));
    if (write(slave, "last words", 10) != 10) {
        perror("write");
    }
    close(slave);
    settle();
    printf("poll %d %#x\n", poll(&p, 1, 0), p.revents);
    show_read("read", master);
    show_read("read", master);
    slave = open(name, O_RDWR | O_NOCTTY);
    printf("opened again %d\n", slave >= 0);
    show_read("read", master);
    close(master);
    p.fd = slave;
    printf("poll %d %#x\n", poll(&p, 1, 0), p.revents);
    show_read("read", slave);
    printf("write %s\n", write(slave, "x", 1) < 0 ? strerrorname_np(errno) : "ok");
    printf("ioctl %s\n", ioctl(slave, TCGETS, name) < 0 ? strerrorname_np(errno) : "ok");
    printf("open %s\n", open(name, O_RDWR | O_NOCTTY) < 0 ? strerrorname_np(errno) : "ok");
}

int main(void)
{
    setbuf(stdout, NULL);
    mkdir("/dev/pts", 0755);
    if (access("/dev/pts/ptmx", F_OK)) {
        printf("needs devpts\n");
    }
    master = open("/dev/ptmx", O_RDWR | O_NOCTTY);
    if (master < 0) {
        perror("ptmx");
        return 1;
    }
    printf("open while locked %s\n",
           open(ptsname(master), O_RDWR | O_NOCTTY) < 0 ? strerrorname_np(errno) : "ok");
    printf("unlockpt %d\n", unlockpt(master));
    slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    if (slave < 0) {
        perror(ptsname(master));
        return 1;
    }
    show_settings();
    pair();
    editing();
    modes();
    output();
    raw();
    flow();
    packets();
    pinned();
    the_end();
    return 0;
}
