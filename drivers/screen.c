// The screen and the keyboard: no driver yet, so there is none, and /dev/tty1 cannot be opened.
#include <k/errno.h>
#include <sched.h>
#include <screen.h>

static struct waitq typed = WAITQ_INIT(typed);

bool screen_present(void)
{
    return false;
}

void screen_size(u16 *rows, u16 *columns)
{
    (void)rows, (void)columns;
}

void screen_write(const char *text, size_t n)
{
    (void)text, (void)n;
}

size_t screen_answer(char *buf, size_t size)
{
    (void)buf, (void)size;
    return 0;
}

s64 screen_console_ioctl(unsigned cmd, u64 arg)
{
    (void)cmd, (void)arg;
    return -ENOTTY;
}

void keyboard_init(void)
{
}

bool keyboard_readable(void)
{
    return false;
}

size_t keyboard_take(u8 *buf, size_t n)
{
    (void)buf, (void)n;
    return 0;
}

struct waitq *keyboard_waitq(void)
{
    return &typed;
}

void keyboard_type(const char *text, size_t n)
{
    (void)text, (void)n;
}
