// The screen, 3: control sequences, ESC [ arguments final.
#include <k/printk.h>
#include <k/string.h>
#include "screen_priv.h"

// Argument i, or what stands for a missing or zero one.
static unsigned arg(unsigned i, unsigned missing)
{
    return i < term.nr_args && term.arg[i] ? term.arg[i] : missing;
}

// --- Colours

// The nearest of our 16 colours to red, green, blue of 0..255.
static u8 nearest(unsigned r, unsigned g, unsigned b)
{
    unsigned high = max(g, b);
    high = max(high, r);
    unsigned level = high > 192 ? 96 : high / 2;
    u8 c = (u8)((r > level) | (g > level) << 1 | (b > level) << 2);
    if (high < 48) {
        return 0;
    }
    return c == 7 && high < 160 ? 8 : (u8)(c | (high > 224 ? 8 : 0));
}

static u8 colour_of_256(unsigned n)
{
    if (n < 16) {
        return (u8)n;
    }
    if (n < 232) {
        n -= 16;
        return nearest(n / 36 * 51, n / 6 % 6 * 51, n % 6 * 51);
    }
    n = (n - 232) * 10 + 8;
    return n < 60 ? 0 : n < 130 ? 8 : n < 200 ? 7 : 15;
}

// 38;5;n and 38;2;r;g;b. Returns how many arguments belong to it.
static unsigned extended_colour(unsigned i, u8 *colour)
{
    if (arg(i + 1, 0) == 5) {
        *colour = colour_of_256(min(arg(i + 2, 0), 255u));
        return 2;
    }
    if (arg(i + 1, 0) == 2) {
        *colour = nearest(arg(i + 2, 0), arg(i + 3, 0), arg(i + 4, 0));
        return 4;
    }
    return 0;
}

static void attribute(unsigned n)
{
    struct cursor *c = &term.now;
    switch (n) {
    case 0:
        c->bold = c->underline = c->reverse = false;
        c->fg = COLOUR_TEXT;
        c->bg = COLOUR_GROUND;
        break;
    case 1:
    case 22:
        c->bold = n == 1;
        break;
    case 4:
    case 24:
        c->underline = n == 4;
        break;
    case 7:
    case 27:
        c->reverse = n == 7;
        break;
    case 39:
        c->fg = COLOUR_TEXT;
        break;
    case 49:
        c->bg = COLOUR_GROUND;
        break;
    default:
        if (n >= 30 && n <= 37) {
            c->fg = (u8)(n - 30);
        } else if (n >= 40 && n <= 47) {
            c->bg = (u8)(n - 40);
        } else if (n >= 90 && n <= 97) {
            c->fg = (u8)(n - 90) | 8;
        } else if (n >= 100 && n <= 107) {
            c->bg = (u8)(n - 100) | 8;
        }
        break;
    }
}

static void attributes(void)
{
    for (unsigned i = 0; i < term.nr_args; i++) {
        if (term.arg[i] == 38) {
            i += extended_colour(i, &term.now.fg);
        } else if (term.arg[i] == 48) {
            i += extended_colour(i, &term.now.bg);
        } else {
            attribute(term.arg[i]);
        }
    }
}

// --- Erasing, inserting, deleting

static void erase_display(void)
{
    unsigned how = arg(0, 0), from = term.now.row + 1, to = term.rows;
    if (how == 0) {
        term_clear(term.now.row, term.now.col, term.cols);
    } else if (how == 1) {
        term_clear(term.now.row, 0, term.now.col + 1);
        from = 0;
        to = term.now.row;
    } else {
        from = 0;
    }
    if (how == 3) {
        term.history = 0;
    }
    for (unsigned i = from; i < to; i++) {
        term_clear(i, 0, term.cols);
    }
    term.now.wrap = false;
}

static void erase_line(void)
{
    unsigned how = arg(0, 0);
    term_clear(term.now.row, how == 0 ? term.now.col : 0, how == 1 ? term.now.col + 1 : term.cols);
    term.now.wrap = false;
}

static void insert_chars(unsigned n)
{
    cell_t *line = term_line(term.now.row);
    unsigned col = term.now.col;
    n = min(n, term.cols - col);
    memmove(line + col + n, line + col, (term.cols - col - n) * sizeof(*line));
    term_clear(term.now.row, col, col + n);
}

static void delete_chars(unsigned n)
{
    cell_t *line = term_line(term.now.row);
    unsigned col = term.now.col;
    n = min(n, term.cols - col);
    memmove(line + col, line + col + n, (term.cols - col - n) * sizeof(*line));
    term_clear(term.now.row, term.cols - n, term.cols);
}

static void shift_lines(bool insert, unsigned n)
{
    if (term.now.row < term.top || term.now.row >= term.bottom) {
        return;
    }
    if (insert) {
        term_scroll_down(term.now.row, term.bottom, n);
    } else if (term.now.row > 0 || term.bottom < term.rows) {
        term_scroll_up(term.now.row, term.bottom, n);
    } else { // deleted lines are not history
        for (unsigned i = 0; i < min(n, term.rows); i++) {
            bool was = term.alternate;
            term.alternate = true;
            term_scroll_up(0, term.rows, 1);
            term.alternate = was;
        }
    }
}

// --- Modes

static void swap_screens(void)
{
    for (unsigned i = 0; i < term.rows; i++) {
        unsigned at = (term.base + i) % term.nr_lines;
        cell_t *line = term.line[at];
        term.line[at] = term.other[i];
        term.other[i] = line;
    }
    term.alternate = !term.alternate;
    term_dirty_all();
}

void term_alternate(bool on, bool with_cursor)
{
    if (on == term.alternate) {
        return;
    }
    if (on && with_cursor) {
        term.main_cursor = term.now;
    }
    swap_screens();
    if (on) {
        for (unsigned i = 0; i < term.rows; i++) {
            term_clear(i, 0, term.cols);
        }
    } else if (with_cursor) {
        term.now = term.main_cursor;
    }
}

static void private_mode(unsigned mode, bool on)
{
    switch (mode) {
    case 1:
        term.app_keys = on;
        break;
    case 6:
        term.origin = on;
        term_move(on ? term.top : 0, 0);
        break;
    case 7:
        term.no_autowrap = !on;
        break;
    case 25:
        term.hidden = !on;
        term.dirty[term.now.row] = true;
        break;
    case 47:
    case 1047:
    case 1049:
        term_alternate(on, mode == 1049);
        break;
    case 1048:
        if (on) {
            term_save();
        } else {
            term_restore();
        }
        break;
    default:
        break; // blinking, mouse, bracketed paste: nothing to do
    }
}

static void modes(bool on)
{
    for (unsigned i = 0; i < term.nr_args; i++) {
        if (term.private == '?') {
            private_mode(term.arg[i], on);
        } else if (!term.private && term.arg[i] == 4) {
            term.insert = on;
        }
    }
}

static void set_region(void)
{
    unsigned top = arg(0, 1) - 1, bottom = min(arg(1, term.rows), term.rows);
    if (top + 1 < bottom) {
        term.top = top;
        term.bottom = bottom;
        term_move(term.origin ? top : 0, 0);
    }
}

// --- Reports

static void answer(const char *text)
{
    size_t n = strlen(text);
    if (term.answer_len + n <= sizeof(term.answer)) {
        memcpy(term.answer + term.answer_len, text, n);
        term.answer_len += (unsigned)n;
    }
}

static void report(unsigned what)
{
    char text[24];
    if (what == 5) {
        answer("\033[0n");
    } else if (what == 6) {
        unsigned row = term.now.row - (term.origin ? term.top : 0);
        snprintf(text, sizeof(text), "\033[%u;%uR", row + 1, term.now.col + 1);
        answer(text);
    }
}

// --- The sequences

static void go(unsigned row, unsigned col)
{
    if (term.origin) {
        row = min(row + term.top, term.bottom - 1);
    }
    term_move(row, col);
}

// Up and down stop at the edge of the scroll region if they began inside it.
static void up(unsigned n)
{
    unsigned edge = term.now.row >= term.top ? term.top : 0;
    term_move(term.now.row - min(n, term.now.row - edge), term.now.col);
}

static void down(unsigned n)
{
    unsigned edge = term.now.row < term.bottom ? term.bottom : term.rows;
    term_move(term.now.row + min(n, edge - 1 - term.now.row), term.now.col);
}

static void next_tab(unsigned n, bool back)
{
    unsigned col = term.now.col;
    for (; n > 0 && col > 0 && back; n--) {
        do {
            col--;
        } while (col > 0 && !term.tab_stop[col]);
    }
    for (; n > 0 && col + 1 < term.cols && !back; n--) {
        do {
            col++;
        } while (col + 1 < term.cols && !term.tab_stop[col]);
    }
    term_move(term.now.row, col);
}

static void clear_tabs(void)
{
    if (arg(0, 0) == 3) {
        memset(term.tab_stop, 0, sizeof(term.tab_stop));
    } else if (arg(0, 0) == 0) {
        term.tab_stop[term.now.col] = 0;
    }
}

// False: not one of these.
static bool cursor_sequence(u8 final)
{
    unsigned n = arg(0, 1);
    switch (final) {
    case 'A':
        up(n);
        return true;
    case 'B':
    case 'e':
        down(n);
        return true;
    case 'C':
    case 'a':
        term_move(term.now.row, term.now.col + n);
        return true;
    case 'D':
        term_move(term.now.row, term.now.col - min(n, term.now.col));
        return true;
    case 'E':
        down(n);
        term_move(term.now.row, 0);
        return true;
    case 'F':
        up(n);
        term_move(term.now.row, 0);
        return true;
    case 'G':
    case '`':
        term_move(term.now.row, n - 1);
        return true;
    case 'd':
        go(n - 1, term.now.col);
        return true;
    case 'H':
    case 'f':
        go(n - 1, arg(1, 1) - 1);
        return true;
    case 'I':
    case 'Z':
        next_tab(min(n, term.cols), final == 'Z');
        return true;
    case 's':
        term_save();
        return true;
    case 'u':
        term_restore();
        return true;
    default:
        return false;
    }
}

static void edit_sequence(u8 final)
{
    unsigned n = arg(0, 1);
    switch (final) {
    case 'J':
        erase_display();
        break;
    case 'K':
        erase_line();
        break;
    case 'L':
    case 'M':
        shift_lines(final == 'L', n);
        break;
    case 'P':
        delete_chars(n);
        break;
    case '@':
        insert_chars(n);
        break;
    case 'X':
        term_clear(term.now.row, term.now.col, min(term.now.col + n, term.cols));
        break;
    case 'S':
        term_scroll_up(term.top, term.bottom, n);
        break;
    case 'T':
        term_scroll_down(term.top, term.bottom, n);
        break;
    case 'b':
        term_repeat(n);
        break;
    case 'g':
        clear_tabs();
        break;
    case 'm':
        attributes();
        break;
    case 'n':
        report(arg(0, 0));
        break;
    case 'c':
        answer("\033[?6c"); // a VT102
        break;
    case 'r':
        set_region();
        break;
    default:
        break;
    }
}

void term_csi(u8 final)
{
    if (final == 'h' || final == 'l') {
        modes(final == 'h');
    } else if (!term.private && !cursor_sequence(final)) {
        edit_sequence(final);
    }
}
