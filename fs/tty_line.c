// Terminals, 2: what is typed, on its way to readers.
//
// Typed bytes are cells of a ring. Three free-running counters divide it:
//
//      tail            line              head
//       | complete lines | being edited   |
//
// With ICANON readers get [tail, line): a line ends in a cell marked CELL_END, and the mark of ^D
// is a cell of its own that no reader sees. Erasing moves head back, never before line. Without
// ICANON everything up to head is for readers at once. A change of ICANON moves line, and what is
// in the ring stays (as on Linux: what was typed ahead becomes one line, or plain bytes).
//
// One cell is kept for the end of a line. A line that fills the rest takes no more text, but keys
// with a meaning still work; when complete lines fill the ring tty_receive refuses, and the device
// holds its bytes back. Without ICANON a full ring refuses everything, ^C too (so does Linux).
//
// The keys that send signals work here too, which is why the discipline runs when bytes arrive and
// not when somebody reads: the reader may be asleep in something else.
#include <arch/abi.h>
#include <jobctl.h>
#include <k/atomic.h>
#include <signal.h>
#include <tty.h>

#define NO_KEY 0 // _POSIX_VDISABLE

static u16 *cell_at(struct tty *t, u32 i)
{
    return &t->cell[i % TTY_CELLS];
}

static u8 key(const struct tty *t, enum termios_cc which)
{
    return t->termios.cc[which];
}

static bool is_key(const struct tty *t, u8 c, enum termios_cc which)
{
    return c != NO_KEY && c == key(t, which);
}

// A byte in the middle of a character.
static bool continues(const struct tty *t, u16 cell)
{
    return (t->termios.iflag & IUTF8) && ((u8)cell & 0xc0) == 0x80;
}

static bool is_control(u8 c)
{
    return c < 32 || c == 127;
}

void tty_publish_locked(struct tty *t)
{
    u32 typed = t->head - t->tail;
    u32 before = load_relaxed(&t->nr_readable);
    u32 now = tty_is_set(t, ICANON) ? t->line - t->tail : typed;
    bool room = typed < load_relaxed(&t->nr_typed);
    store_release(&t->nr_readable, now); // both pair with those who wait on the queues
    store_release(&t->nr_typed, typed);
    if (now > before) {
        waitq_wake_all(&t->readers);
    }
    if (room) {
        waitq_wake_all(&t->typists);
    }
}

void tty_flush_input_locked(struct tty *t)
{
    t->tail = t->line = t->head;
    t->literal = t->erasing = false;
    tty_publish_locked(t);
}

void tty_mode_changed_locked(struct tty *t, u32 old_lflag)
{
    if (!((old_lflag ^ t->termios.lflag) & ICANON)) {
        return;
    }
    for (u32 i = t->tail; i != t->head; i++) {
        *cell_at(t, i) &= 0xff;
    }
    t->line = t->tail;
    if (tty_is_set(t, ICANON) && t->head != t->tail) {
        *cell_at(t, t->head - 1) |= CELL_END;
        t->line = t->head;
    }
    tty_publish_locked(t);
}

size_t tty_take_locked(struct tty *t, u8 *buf, size_t n, bool *ended)
{
    u32 end = tty_is_set(t, ICANON) ? t->line : t->head;
    size_t done = 0;
    *ended = false;
    while (t->tail != end && !*ended) {
        u16 c = *cell_at(t, t->tail);
        if (!(c & CELL_EOF)) {
            if (done == n) {
                break;
            }
            buf[done++] = (u8)c;
        }
        *ended = c & CELL_END;
        t->tail++;
    }
    // The mark of ^D right behind what was asked for goes with it: the next read is a new line.
    if (!*ended && t->tail != end && (*cell_at(t, t->tail) & CELL_EOF) && done) {
        t->tail++;
        *ended = true;
    }
    tty_publish_locked(t);
    return done;
}

// --- Erasing

// The column at which the cell i of the line being edited is shown.
static unsigned column_of(struct tty *t, u32 to)
{
    unsigned column = t->line_column;
    for (u32 i = t->line; i != to; i++) {
        u8 c = (u8)*cell_at(t, i);
        if (c == '\t') {
            column = (column | 7) + 1;
        } else if (is_control(c)) {
            column += tty_is_set(t, ECHOCTL) ? 2 : 0;
        } else if (!continues(t, c)) {
            column++;
        }
    }
    return column;
}

static void erasing_end(struct tty *t)
{
    if (t->erasing) {
        tty_echo_byte(t, '/');
        t->erasing = false;
    }
}

static void echo_wiped(struct tty *t, unsigned nr, bool blank)
{
    for (unsigned i = 0; i < nr; i++) {
        tty_echo_byte(t, '\b');
        if (blank) {
            tty_echo_byte(t, ' ');
            tty_echo_byte(t, '\b');
        }
    }
}

// Take one character off and show that; which: the key that did it. It looks at the whole line, and
// who erases many of a long one takes as many looks.
static void erase_one(struct tty *t, enum termios_cc which)
{
    u32 start = t->head - 1;
    while (start != t->line && continues(t, *cell_at(t, start))) {
        start--;
    }
    u8 c = (u8)*cell_at(t, start);
    cond_resched();
    unsigned from = column_of(t, start), to = column_of(t, t->head);
    u32 end = t->head;
    t->head = start;
    if (!tty_is_set(t, ECHO)) {
        return;
    }
    if (tty_is_set(t, ECHOPRT)) {
        if (!t->erasing) {
            tty_echo_byte(t, '\\');
            t->erasing = true;
        }
        tty_echo_visible(t, c);
        for (u32 i = start + 1; i != end; i++) {
            tty_echo_byte(t, (u8)*cell_at(t, i));
        }
    } else if (which == VERASE && !tty_is_set(t, ECHOE)) {
        tty_echo_visible(t, key(t, VERASE));
    } else {
        echo_wiped(t, to - from, c != '\t');
    }
}

static bool is_word_byte(u8 c)
{
    return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '_' || c >= 0x80;
}

static void erase_word(struct tty *t)
{
    while (t->head != t->line && !is_word_byte((u8)*cell_at(t, t->head - 1))) {
        erase_one(t, VWERASE);
    }
    while (t->head != t->line && is_word_byte((u8)*cell_at(t, t->head - 1))) {
        erase_one(t, VWERASE);
    }
}

static void erase_line(struct tty *t)
{
    if (!tty_is_set(t, ECHO)) {
        t->head = t->line;
        return;
    }
    if (!tty_is_set(t, ECHOK) || !tty_is_set(t, ECHOKE) || !tty_is_set(t, ECHOE)) {
        t->head = t->line;
        erasing_end(t);
        tty_echo_visible(t, key(t, VKILL));
        if (tty_is_set(t, ECHOK)) {
            tty_echo_byte(t, '\n');
        }
        return;
    }
    while (t->head != t->line) {
        erase_one(t, VKILL);
    }
}

static void reprint(struct tty *t)
{
    erasing_end(t);
    tty_echo_visible(t, key(t, VREPRINT));
    tty_echo_byte(t, '\n');
    t->line_column = 0;
    for (u32 i = t->line; i != t->head; i++) {
        tty_echo_visible(t, (u8)*cell_at(t, i));
        cond_resched();
    }
}

// --- Taking a byte in

// reserve: cells that must stay free behind it.
static bool put(struct tty *t, u16 c, u32 reserve)
{
    if (t->head - t->tail + reserve >= TTY_CELLS) {
        return false;
    }
    *cell_at(t, t->head++) = c;
    return true;
}

static void echo_typed(struct tty *t, u8 c)
{
    if (!tty_is_set(t, ECHO)) {
        return;
    }
    erasing_end(t);
    if (c == '\n') {
        tty_echo_byte(t, c);
        return;
    }
    if (t->head == t->line) {
        mutex_lock(&t->out_lock);
        t->line_column = t->column;
        mutex_unlock(&t->out_lock);
    }
    tty_echo_visible(t, c);
}

static void text(struct tty *t, u8 c)
{
    bool doubled = c == 0xff && (t->termios.iflag & PARMRK);
    if (t->head - t->tail + 1 + doubled >= TTY_CELLS) { // only when a line is edited: see has_room
        if (t->termios.iflag & IMAXBEL) {
            tty_echo_byte(t, '\a');
        }
        return;
    }
    echo_typed(t, c);
    if (doubled) {
        put(t, c, 1);
    }
    put(t, c, 1);
}

static void line_end(struct tty *t, u16 cell)
{
    put(t, cell | CELL_END, 0); // the cell that is kept
    t->line = t->head;
}

static void send_signal(struct tty *t, int sig, u8 c)
{
    if (!tty_is_set(t, NOFLSH)) {
        mutex_lock(&t->out_lock);
        tty_flush_output_locked(t);
        mutex_unlock(&t->out_lock);
        tty_flush_input_locked(t);
    }
    if (t->termios.iflag & IXON) {
        tty_stop(t, false);
    }
    if (tty_is_set(t, ECHO)) {
        tty_echo_visible(t, c);
    }
    tty_echo_commit(t);
    job_tty_signal(&t->job, sig);
}

static bool signal_key(struct tty *t, u8 c)
{
    static const struct {
        enum termios_cc which;
        int sig;
    } keys[] = {{VINTR, SIGINT}, {VQUIT, SIGQUIT}, {VSUSP, SIGTSTP}};
    for (unsigned i = 0; i < array_size(keys) && tty_is_set(t, ISIG); i++) {
        if (is_key(t, c, keys[i].which)) {
            send_signal(t, keys[i].sig, c);
            return true;
        }
    }
    return false;
}

static bool flow_key(struct tty *t, u8 c)
{
    if (!(t->termios.iflag & IXON)) {
        return false;
    }
    if (is_key(t, c, VSTART)) {
        tty_stop(t, false);
        return true;
    }
    if (is_key(t, c, VSTOP)) {
        tty_stop(t, true);
        return true;
    }
    return false;
}

// The keys that edit a line; false: c is text.
static bool edit_key(struct tty *t, u8 c)
{
    bool extended = tty_is_set(t, IEXTEN);
    if (is_key(t, c, VERASE)) {
        if (t->head != t->line) {
            erase_one(t, VERASE);
        }
    } else if (is_key(t, c, VKILL)) {
        erase_line(t);
    } else if (extended && is_key(t, c, VWERASE)) {
        erase_word(t);
    } else if (extended && is_key(t, c, VLNEXT)) {
        t->literal = true;
        if (tty_is_set(t, ECHO) && tty_is_set(t, ECHOCTL)) {
            erasing_end(t);
            tty_echo_byte(t, '^');
            tty_echo_byte(t, '\b');
        }
    } else if (extended && is_key(t, c, VREPRINT) && tty_is_set(t, ECHO)) {
        reprint(t);
    } else if (is_key(t, c, VEOF)) {
        line_end(t, CELL_EOF);
    } else if (c == '\n') {
        if (tty_is_set(t, ECHO | ECHONL)) {
            erasing_end(t);
            tty_echo_byte(t, '\n');
        }
        line_end(t, '\n');
    } else if (is_key(t, c, VEOL) || (extended && is_key(t, c, VEOL2))) {
        echo_typed(t, c);
        line_end(t, c);
    } else {
        return false;
    }
    return true;
}

static void receive_byte(struct tty *t, u8 c)
{
    if (t->literal) {
        t->literal = false;
        text(t, (t->termios.iflag & ISTRIP) ? c & 0x7f : c);
        return;
    }
    if (t->termios.iflag & ISTRIP) {
        c &= 0x7f;
    }
    if ((t->termios.iflag & IUCLC) && tty_is_set(t, IEXTEN) && c >= 'A' && c <= 'Z') {
        c |= 32;
    }
    if (tty_is_set(t, EXTPROC)) {
        text(t, c);
        return;
    }
    if (flow_key(t, c) || signal_key(t, c)) {
        return;
    }
    if (load_relaxed(&t->stopped) && (t->termios.iflag & IXON) && (t->termios.iflag & IXANY)) {
        tty_stop(t, false);
    }
    if (c == '\r') {
        if (t->termios.iflag & IGNCR) {
            return;
        }
        c = (t->termios.iflag & ICRNL) ? '\n' : c;
    } else if (c == '\n' && (t->termios.iflag & INLCR)) {
        c = '\r';
    }
    if (!tty_is_set(t, ICANON) || !edit_key(t, c)) {
        text(t, c);
    }
}

static bool has_room_locked(const struct tty *t)
{
    bool editing = tty_is_set(t, ICANON) && t->line == t->tail;
    return editing || t->head - t->tail + 3 < TTY_CELLS; // a doubled byte and the end of a line
}

// Like has_room_locked, for those who wait without the lock; wrong for a moment at most.
bool tty_has_room(struct tty *t)
{
    bool editing = tty_is_set(t, ICANON) && load_relaxed(&t->nr_readable) == 0;
    return editing || load_acquire(&t->nr_typed) + 3 < TTY_CELLS || load_relaxed(&t->gone);
}

size_t tty_receive(struct tty *t, const u8 *buf, size_t n)
{
    size_t done = 0;
    mutex_lock(&t->in_lock);
    while (done < n && has_room_locked(t)) {
        receive_byte(t, buf[done++]);
        cond_resched();
    }
    tty_echo_commit(t);
    tty_publish_locked(t);
    mutex_unlock(&t->in_lock);
    return done;
}
