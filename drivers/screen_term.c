// The screen, 2: characters, and where they go. A subset of the VT100 and of xterm: what the
// terminfo entries "linux" and "vt102" use and what programs send without asking.
//
// References: ECMA-48; the VT100 User Guide, chapter 3; console_codes(4).
#include <k/string.h>
#include "screen_priv.h"

struct term term;

cell_t *term_line(unsigned row)
{
    return term.line[(term.base + row) % term.nr_lines];
}

void term_dirty_all(void)
{
    memset(term.dirty, true, term.rows);
}

static cell_t blank(void)
{
    return ' ' | CELL_COLOURS(term.now.fg, term.now.bg); // erasing uses the colours, not reverse
}

static cell_t cell_of(u32 code)
{
    const struct cursor *c = &term.now;
    unsigned fg = c->fg | (c->bold ? 8u : 0u), bg = c->bg;
    return CELL_CHAR(code) | (c->reverse ? CELL_COLOURS(bg, fg) : CELL_COLOURS(fg, bg)) |
           (c->underline ? CELL_UNDERLINE : 0);
}

void term_clear(unsigned row, unsigned from, unsigned to)
{
    cell_t *line = term_line(row);
    for (unsigned i = from; i < to; i++) {
        line[i] = blank();
    }
    term.dirty[row] = true;
}

// --- Scrolling

// Lines move as pointers; one that leaves the screen at the top of it becomes history.
static void scroll_whole(void)
{
    term.base = (term.base + 1) % term.nr_lines;
    if (term.history + term.rows < term.nr_lines) {
        term.history++;
    }
}

static void rotate_up(unsigned top, unsigned bottom)
{
    cell_t *first = term_line(top);
    for (unsigned i = top; i + 1 < bottom; i++) {
        term.line[(term.base + i) % term.nr_lines] = term_line(i + 1);
    }
    term.line[(term.base + bottom - 1) % term.nr_lines] = first;
}

static void rotate_down(unsigned top, unsigned bottom)
{
    cell_t *last = term_line(bottom - 1);
    for (unsigned i = bottom - 1; i > top; i--) {
        term.line[(term.base + i) % term.nr_lines] = term_line(i - 1);
    }
    term.line[(term.base + top) % term.nr_lines] = last;
}

void term_scroll_up(unsigned top, unsigned bottom, unsigned n)
{
    n = min(n, bottom - top);
    for (unsigned i = 0; i < n; i++) {
        if (top == 0 && bottom == term.rows && !term.alternate) {
            scroll_whole();
        } else {
            rotate_up(top, bottom);
        }
        term_clear(bottom - 1, 0, term.cols);
    }
    memset(term.dirty + top, true, bottom - top);
}

void term_scroll_down(unsigned top, unsigned bottom, unsigned n)
{
    n = min(n, bottom - top);
    for (unsigned i = 0; i < n; i++) {
        rotate_down(top, bottom);
        term_clear(top, 0, term.cols);
    }
    memset(term.dirty + top, true, bottom - top);
}

// --- The cursor

void term_move(unsigned row, unsigned col)
{
    term.dirty[term.now.row] = true;
    term.now.row = min(row, term.rows - 1);
    term.now.col = min(col, term.cols - 1);
    term.now.wrap = false;
    term.dirty[term.now.row] = true;
}

void term_line_feed(void)
{
    term.dirty[term.now.row] = true;
    if (term.now.row + 1 == term.bottom) {
        term_scroll_up(term.top, term.bottom, 1);
    } else if (term.now.row + 1 < term.rows) {
        term.now.row++;
    }
    term.now.wrap = false;
    term.dirty[term.now.row] = true;
}

static void reverse_line_feed(void)
{
    if (term.now.row == term.top) {
        term_scroll_down(term.top, term.bottom, 1);
        term.now.wrap = false;
    } else if (term.now.row > 0) {
        term_move(term.now.row - 1, term.now.col);
    }
}

void term_save(void)
{
    term.saved = term.now;
}

void term_restore(void)
{
    term.dirty[term.now.row] = true;
    term.now = term.saved;
    term.dirty[term.now.row] = true;
}

static void tab(void)
{
    unsigned col = term.now.col + 1;
    while (col < term.cols && !term.tab_stop[col]) {
        col++;
    }
    term_move(term.now.row, col);
}

void term_reset(void)
{
    const struct cursor home = {.fg = COLOUR_TEXT, .bg = COLOUR_GROUND};
    term_alternate(false, false);
    term.now = term.saved = home;
    term.top = 0;
    term.bottom = term.rows;
    term.no_autowrap = term.insert = term.origin = term.hidden = term.app_keys = false;
    for (unsigned i = 0; i < term.cols; i++) {
        term.tab_stop[i] = i % 8 == 0;
    }
    for (unsigned i = 0; i < term.rows; i++) {
        term_clear(i, 0, term.cols);
    }
}

void term_init(unsigned rows, unsigned cols)
{
    term.rows = rows;
    term.cols = cols;
    term_reset();
}

// --- Characters

// The line-drawing set of the VT100, code points of '`' to '~'.
static u32 graphics_of(u32 c)
{
    static const u16 set[] = {0x25c6, 0x2592, 0x2409, 0x240c, 0x240d, 0x240a, 0x00b0, 0x00b1,
                              0x2424, 0x240b, 0x2518, 0x2510, 0x250c, 0x2514, 0x253c, 0x23ba,
                              0x23bb, 0x2500, 0x23bc, 0x23bd, 0x251c, 0x2524, 0x2534, 0x252c,
                              0x2502, 0x2264, 0x2265, 0x03c0, 0x2260, 0x00a3, 0x00b7};
    return c >= '`' && c <= '~' ? set[c - '`'] : c;
}

static void put(u32 code)
{
    struct cursor *c = &term.now;
    if (code >= 0x300 && code <= 0x36f) {
        return; // combining marks: no room in a cell
    }
    code = c->graphics ? graphics_of(code) : code;
    if (c->wrap && !term.no_autowrap) {
        c->col = 0;
        term_line_feed();
    }
    cell_t *line = term_line(c->row);
    if (term.insert) {
        memmove(line + c->col + 1, line + c->col, (term.cols - c->col - 1) * sizeof(*line));
    }
    line[c->col] = cell_of(code);
    term.dirty[c->row] = true;
    term.last = code;
    c->wrap = c->col + 1 == term.cols;
    c->col += !c->wrap;
}

// More than the screen holds would only scroll, with interrupts off.
void term_repeat(unsigned n)
{
    term.repeated = true;
    for (n = min(n, term.rows * term.cols); n > 0 && term.last; n--) {
        put(term.last);
    }
}

// A byte of UTF-8; what is malformed shows as the replacement character.
static void utf8(u8 c)
{
    if (c < 0x80) {
        if (term.more) {
            term.more = 0;
            put(0xfffd);
        }
        put(c);
        return;
    }
    if ((c & 0xc0) == 0x80) {
        if (!term.more) {
            put(0xfffd);
            return;
        }
        term.partial = term.partial << 6 | (c & 0x3f);
        if (--term.more == 0) {
            put(term.partial > 0x10ffff || term.partial < 0x80 ? 0xfffd : term.partial);
        }
        return;
    }
    if (term.more) {
        put(0xfffd);
    }
    term.more = c >= 0xf8 || c < 0xc2 ? 0 : c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
    term.partial = c & (0x3fu >> term.more);
    if (!term.more) {
        put(0xfffd);
    }
}

// --- Bytes

// The control bytes work in the middle of a sequence, too. False: it is none.
static bool control(u8 c)
{
    switch (c) {
    case '\b':
        if (term.now.col > 0 || term.now.wrap) {
            term_move(term.now.row, term.now.col - !term.now.wrap);
        }
        return true;
    case '\t':
        tab();
        return true;
    case '\n':
    case '\v':
    case '\f':
        term_line_feed();
        return true;
    case '\r':
        term_move(term.now.row, 0);
        return true;
    case 0x0e:
    case 0x0f:
        term.now.graphics = c == 0x0e;
        return true;
    case 0x18:
    case 0x1a:
        term.state = TERM_TEXT;
        return true;
    case 0x1b:
        term.state = TERM_ESC;
        term.intermediate = 0;
        return true;
    default:
        return c < 32 || c == 127;
    }
}

static void csi_begin(void)
{
    term.state = TERM_CSI;
    term.private = term.intermediate = 0;
    term.nr_args = 0;
    memset(term.arg, 0, sizeof(term.arg));
}

static void escape(u8 c)
{
    term.state = TERM_TEXT;
    switch (c) {
    case '[':
        csi_begin();
        return;
    case ']':
    case 'P':
    case '^':
    case '_':
    case 'X':
        term.state = TERM_STRING;
        term.skip = 0;
        return;
    case '(':
    case ')':
    case '#':
    case '%':
    case ' ':
        term.state = TERM_CHARSET;
        term.intermediate = (char)c;
        return;
    case '7':
        term_save();
        return;
    case '8':
        term_restore();
        return;
    case 'D':
        term_line_feed();
        return;
    case 'E':
        term_line_feed();
        term_move(term.now.row, 0);
        return;
    case 'M':
        reverse_line_feed();
        return;
    case 'H':
        term.tab_stop[term.now.col] = true;
        return;
    case 'c':
        term_reset();
        return;
    default:
        return; // keypad modes and what we do not know
    }
}

// A parameter's digit, a separator, or the end.
static void csi_byte(u8 c)
{
    unsigned *arg = &term.arg[min(term.nr_args, CSI_MAX_ARGS - 1u)];
    if (c >= '0' && c <= '9') {
        *arg = min(*arg * 10 + (c - '0'), 9999u);
    } else if (c == ';' || c == ':') {
        term.nr_args++;
    } else if (c >= '<' && c <= '?') {
        term.private = (char)c;
    } else if (c == '[' && term.nr_args == 0 && term.arg[0] == 0) {
        term.state = TERM_SKIP; // the linux console's function keys, echoed
        term.skip = 1;
    } else if (c >= 0x20 && c <= 0x2f) {
        term.intermediate = (char)c;
    } else {
        term.nr_args = min(term.nr_args + 1, (unsigned)CSI_MAX_ARGS);
        term.state = TERM_TEXT;
        if (!term.intermediate) {
            term_csi(c);
        }
    }
}

// Titles and the like, up to BEL or ST. The linux console's palette commands have no end: ESC ] R,
// and ESC ] P with seven digits.
static void string_byte(u8 c)
{
    if (c == '\a') {
        term.state = TERM_TEXT;
    } else if (c == 0x1b) {
        term.state = TERM_CHARSET; // a backslash follows
        term.intermediate = '\\';
    } else if (term.skip == 0 && c == 'R') {
        term.state = TERM_TEXT;
    } else if (term.skip == 0 && c == 'P') {
        term.state = TERM_SKIP;
        term.skip = 7;
        return;
    }
    term.skip = 1;
}

void term_byte(u8 c)
{
    if (term.state == TERM_STRING) {
        string_byte(c);
        return;
    }
    if ((c < 32 || c == 127) && control(c)) {
        return;
    }
    switch (term.state) {
    case TERM_TEXT:
        utf8(c);
        break;
    case TERM_ESC:
        escape(c);
        break;
    case TERM_CSI:
        csi_byte(c);
        break;
    case TERM_CHARSET:
        if (term.intermediate == '(') {
            term.now.graphics = c == '0';
        }
        term.state = TERM_TEXT;
        break;
    case TERM_SKIP:
        if (--term.skip == 0) {
            term.state = TERM_TEXT;
        }
        break;
    case TERM_STRING:
        break;
    }
}
