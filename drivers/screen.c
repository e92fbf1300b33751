// The screen, 1: a terminal's text, and how it gets onto the hardware.
//
//      screen_write, printk --> term (cells in memory) --paint--> shown[] --> painter: pixels, text
//
// Video memory is slow to read and, on real machines, not fast to write. So it is never read: the
// text is kept as cells, `shown` remembers which cell the hardware shows at each place, and
// painting writes only those that differ. Scrolling moves pointers to lines; what a program writes
// in one go is painted once, however far it scrolled. Lines that leave at the top stay as history.
//
// screen_lock guards all. It is a spinlock with interrupts off, because printk may come from
// anywhere, and the innermost of all. A program's text goes in by small pieces and is painted row
// by row, letting go between them; printk paints at once. In a panic nobody waits for the lock, and
// painting starts from scratch in case its owner was in the middle.
//
// Before screen_init the kernel's messages are kept and shown then.
//
// Rejected: drawing from a thread. printk cannot wake one: the locks of the scheduler come before
// the console's.
#include <arch/uaccess.h>
#include <k/errno.h>
#include <k/lock.h>
#include <k/printk.h>
#include <k/string.h>
#include <slab.h>
#include <uapi/fs.h>
#include <uapi/termios.h>
#include "screen_priv.h"

#define EARLY_TEXT 4096
// Bytes of a program's text that go in without letting go of the lock. A repetition, which may fill
// the screen, ends a piece.
#define PIECE   64
#define KD_TEXT 0

static struct spinlock screen_lock = SPINLOCK_INIT(RANK_SCREEN);
static const struct painter *painter; // [I] NULL: no screen
static cell_t shown[SCREEN_MAX_ROWS][SCREEN_MAX_COLS];
static unsigned view; // lines looked back
static bool panicking;
static char early[EARLY_TEXT];
static unsigned early_len;

static unsigned long lock(void) NO_LOCK_ANALYSIS
{
    return panicking ? 0 : spin_lock_irq(&screen_lock);
}

static void unlock(unsigned long flags) NO_LOCK_ANALYSIS
{
    if (!panicking) {
        spin_unlock_irq(&screen_lock, flags);
    }
}

bool screen_present(void)
{
    return painter != NULL;
}

void screen_size(u16 *rows, u16 *columns)
{
    if (painter) {
        *rows = (u16)term.rows;
        *columns = (u16)term.cols;
    }
}

// --- Painting

// The line that is seen in a row: `view` lines above the one that is there.
static const cell_t *seen_line(unsigned row)
{
    return term.line[(term.base + row + term.nr_lines - view) % term.nr_lines];
}

static void paint_row(unsigned row)
{
    const cell_t *line = seen_line(row);
    cell_t cells[SCREEN_MAX_COLS];
    unsigned first = term.cols, last = 0;
    bool cursor_here = view == 0 && !term.hidden && row == term.now.row;
    term.dirty[row] = false;
    for (unsigned i = 0; i < term.cols; i++) {
        cells[i] = line[i] | (cursor_here && i == term.now.col ? CELL_CURSOR : 0);
        if (cells[i] != shown[row][i]) {
            first = min(first, i);
            last = i + 1;
            shown[row][i] = cells[i];
        }
    }
    if (first < last) {
        painter->draw(row, first, cells + first, last - first);
    }
}

static void paint_locked(void)
{
    for (unsigned i = 0; i < term.rows; i++) {
        if (term.dirty[i]) {
            paint_row(i);
        }
    }
}

static void view_set_locked(unsigned lines)
{
    lines = term.alternate ? 0 : min(lines, term.history);
    if (lines != view) {
        view = lines;
        term_dirty_all();
    }
}

void screen_scroll_back(int half_screens)
{
    if (!painter) {
        return;
    }
    unsigned long flags = lock();
    int lines = (int)view + half_screens * (int)(term.rows / 2);
    view_set_locked(lines < 0 ? 0 : (unsigned)lines);
    paint_locked();
    unlock(flags);
}

// --- Text

void screen_write(const char *text, size_t n)
{
    unsigned long flags;
    if (!painter) {
        return;
    }
    while (n > 0) {
        size_t some = 0;
        flags = lock();
        term.repeated = false;
        while (some < min(n, (size_t)PIECE) && !term.repeated) {
            term_byte((u8)text[some++]);
        }
        view_set_locked(0);
        unlock(flags);
        text += some;
        n -= some;
    }
    for (unsigned i = 0; i < term.rows; i++) {
        flags = lock();
        if (term.dirty[i]) {
            paint_row(i);
        }
        unlock(flags);
    }
}

static void early_add(const char *text, size_t n)
{
    n = min(n, (size_t)(EARLY_TEXT - early_len));
    memcpy(early + early_len, text, n);
    early_len += (unsigned)n;
}

void screen_write_kernel(const char *text, size_t n)
{
    if (!painter) {
        early_add(text, n);
        return;
    }
    unsigned long flags = lock();
    enum term_state state = term.state; // a program may be in the middle of a sequence
    term.state = TERM_TEXT;
    term.more = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\n') {
            term_byte('\r');
        }
        if (text[i] == '\n' || (u8)text[i] >= ' ') {
            term_byte((u8)text[i]);
        }
    }
    term.state = state;
    view_set_locked(0);
    paint_locked();
    unlock(flags);
}

void screen_panic_begin(void)
{
    panicking = true;
    memset(shown, 0xff, sizeof(shown));
    if (painter) {
        term_dirty_all();
    }
}

size_t screen_answer(char *buf, size_t size)
{
    unsigned long flags = lock();
    size_t n = min(size, (size_t)term.answer_len);
    memcpy(buf, term.answer, n);
    term.answer_len = 0;
    unlock(flags);
    return n;
}

bool screen_keys_application(void)
{
    return term.app_keys; // an old value sends a key in the old form
}

// --- Start

static bool lines_alloc(unsigned rows, unsigned cols)
{
    for (unsigned i = 0; i < rows + SCREEN_HISTORY; i++) {
        term.line[i] = kzalloc(cols * sizeof(cell_t), GFP_KERNEL);
        if (!term.line[i]) {
            return false;
        }
        term.nr_lines = i + 1;
    }
    for (unsigned i = 0; i < rows; i++) {
        term.other[i] = kzalloc(cols * sizeof(cell_t), GFP_KERNEL);
        if (!term.other[i]) {
            return false;
        }
    }
    return true;
}

static void lines_free(void)
{
    for (unsigned i = 0; i < SCREEN_MAX_LINES; i++) {
        kfree(term.line[i]);
        term.line[i] = NULL;
    }
    for (unsigned i = 0; i < SCREEN_MAX_ROWS; i++) {
        kfree(term.other[i]);
        term.other[i] = NULL;
    }
}

void screen_init(void)
{
    const struct boot_screen *b = &bootinfo.screen;
    const struct painter *p = b->kind == BOOT_SCREEN_TEXT ? &painter_text : &painter_pixels;
    unsigned rows, cols;
    if (b->address == 0 || p->init(b, &rows, &cols)) {
        return;
    }
    rows = min(rows, SCREEN_MAX_ROWS);
    cols = min(cols, SCREEN_MAX_COLS);
    if (!lines_alloc(rows, cols)) {
        lines_free();
        printk("screen: no memory for %u lines of %u characters\n", rows, cols);
        return;
    }
    term_init(rows, cols);
    memset(shown, 0xff, sizeof(shown));
    printk("screen: %ux%u, %s, %u rows of %u characters\n", b->width, b->height,
           b->kind == BOOT_SCREEN_TEXT ? "text" : "pixels", rows, cols);
    painter = p;
    screen_write_kernel(early, early_len);
}

// --- The ioctls of a virtual terminal, of which there is one

s64 screen_console_ioctl(unsigned cmd, u64 arg)
{
    const struct {
        u16 active, signal, state;
    } state = {1, 0, 1 << 1 | 1};
    s32 value;
    u8 keyboard = KB_101;
    switch (cmd) {
    case KDGKBTYPE:
        return arch_copy_to_user((void *)arg, &keyboard, 1) ? -EFAULT : 0;
    case VT_GETSTATE:
        return arch_copy_to_user((void *)arg, &state, sizeof(state)) ? -EFAULT : 0;
    case KDGETMODE:
        value = KD_TEXT;
        break;
    case KDGKBMODE:
        value = K_UNICODE;
        break;
    case VT_OPENQRY:
        value = -1; // no other one is free
        break;
    default:
        return -ENOTTY;
    }
    return arch_copy_to_user((void *)arg, &value, sizeof(value)) ? -EFAULT : 0;
}
