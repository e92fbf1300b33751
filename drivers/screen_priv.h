// What the files of the screen share. drivers/screen.c tells the theory. All of it is under
// screen_lock but for what is fixed by screen_init.
#ifndef SCREEN_PRIV_H
#define SCREEN_PRIV_H

#include <bootinfo.h>
#include <screen.h>

#define SCREEN_MAX_ROWS  128u
#define SCREEN_MAX_COLS  256u
#define SCREEN_HISTORY   1000u // lines that have left at the top and can be looked back at
#define SCREEN_MAX_LINES (SCREEN_MAX_ROWS + SCREEN_HISTORY)

// A character on the screen: 21 bits of code point, two colours of 16, attributes.
typedef u32 cell_t;
#define CELL_CHAR(c)       ((c)&0x1fffffu)
#define CELL_FG(c)         ((c) >> 21 & 15u)
#define CELL_BG(c)         ((c) >> 25 & 15u)
#define CELL_UNDERLINE     (1u << 29)
#define CELL_CURSOR        (1u << 30) // only on its way to a painter
#define CELL_UNKNOWN       ~0u        // what the hardware shows is not known
#define CELL_COLOURS(f, b) ((u32)(f) << 21 | (u32)(b) << 25)
#define COLOUR_TEXT        7u
#define COLOUR_GROUND      0u

// What puts cells on the hardware.
struct painter {
    // 0 and the size in cells, or errno after a clear line.
    int (*init)(const struct boot_screen *b, unsigned *rows, unsigned *cols);
    // n cells of a row, left to right.
    void (*draw)(unsigned row, unsigned col, const cell_t *cells, unsigned n);
};
extern const struct painter painter_pixels, painter_text;

// The glyph of a code point, 16 rows; what stands for a missing one when there is none.
const u8 *font_glyph(u32 code);

#define CSI_MAX_ARGS 16

struct cursor {
    unsigned row, col;
    bool wrap; // stands behind the last column: the next character goes to the next line
    u8 fg, bg;
    bool bold, underline, reverse;
    bool graphics; // G0 is the line-drawing set
};

enum term_state { TERM_TEXT, TERM_ESC, TERM_CSI, TERM_CHARSET, TERM_STRING, TERM_SKIP };

struct term {
    unsigned rows, cols; // [I]
    // Lines in a ring: the screen is line[(base + row) % nr_lines], above it `history` old ones.
    cell_t *line[SCREEN_MAX_LINES];
    unsigned nr_lines; // [I]
    unsigned base, history;
    cell_t *other[SCREEN_MAX_ROWS]; // the lines of the screen not shown: main or alternate
    bool alternate;
    struct cursor now, saved, main_cursor;
    unsigned top, bottom; // scroll region, rows [top, bottom)
    bool no_autowrap, insert, origin, hidden, app_keys;
    u8 tab_stop[SCREEN_MAX_COLS];
    enum term_state state;
    char private; // of a CSI: '?', '>', 0
    char intermediate;
    unsigned arg[CSI_MAX_ARGS], nr_args;
    unsigned skip; // TERM_SKIP: bytes to leave out
    u32 partial;   // UTF-8
    unsigned more; // bytes of it to come
    u32 last;      // for REP
    bool repeated; // REP has worked since screen_write last looked
    char answer[SCREEN_ANSWER];
    unsigned answer_len;
    bool dirty[SCREEN_MAX_ROWS];
};
extern struct term term;

cell_t *term_line(unsigned row);
void term_init(unsigned rows, unsigned cols);
void term_reset(void);
void term_byte(u8 c);
// screen_term.c has the characters, screen_csi.c the sequences.
void term_csi(u8 final);
void term_scroll_up(unsigned top, unsigned bottom, unsigned n);
void term_scroll_down(unsigned top, unsigned bottom, unsigned n);
void term_clear(unsigned row, unsigned from, unsigned to);
void term_move(unsigned row, unsigned col);
void term_line_feed(void);
void term_repeat(unsigned n);
// To the alternate screen or back; with_cursor: the main screen's cursor is kept and comes back.
void term_alternate(bool on, bool with_cursor);
void term_save(void);
void term_restore(void);
void term_dirty_all(void);

#endif
