// The screen as a text console (drivers/screen*.c, drivers/font) and the PS/2 keyboard
// (drivers/keyboard.c).
#ifndef SCREEN_H
#define SCREEN_H

#include <k/types.h>

struct waitq;

#define SCREEN_ANSWER 64

// Is there one that shows what is written? Constant after screen_init.
bool screen_present(void);
// Boot, device mappings possible: take over the loader's framebuffer or the VGA's text mode; what
// the kernel has printed so far appears.
void screen_init(void);
// Rows and columns; untouched without a screen.
void screen_size(u16 *rows, u16 *columns);

// Text with the control sequences of a terminal, UTF-8. A newline goes down and no more: OPOST adds
// the return. Any context in which printk is allowed, but slow: thread context for more than a few
// lines. Nothing happens without a screen.
void screen_write(const char *text, size_t n);
// The same for the kernel's messages: a newline also returns, and no sequence is understood.
void screen_write_kernel(const char *text, size_t n);
// From now on no lock is waited for: a panic.
void screen_panic_begin(void);
// What the screen was asked to report: bytes for the reader, taken away. Usually 0.
size_t screen_answer(char *buf, size_t size);
// Look back (up: screens half a height each) and forth. Any context.
void screen_scroll_back(int half_screens);
// The ioctls of a virtual terminal that programs ask first; -ENOTTY.
s64 screen_console_ioctl(unsigned cmd, u64 arg);
// Cursor keys send ESC O A instead of ESC [ A.
bool screen_keys_application(void);

// Find the controller and let keys arrive; says so on the console if there is none. Boot, after
// arch_init_late.
void keyboard_init(void);
// Bytes as a terminal sends them, ready to be taken: keyboard_take never waits.
bool keyboard_readable(void);
size_t keyboard_take(u8 *buf, size_t n);
struct waitq *keyboard_waitq(void);
// Put bytes among those that were typed. Thread context.
void keyboard_type(const char *text, size_t n);

#endif
