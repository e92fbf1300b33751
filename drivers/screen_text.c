// The screen, 5: the VGA's own text mode, where a machine was started without a framebuffer. Its
// glyphs are those of code page 437.
#include <arch/boot.h>
#include <arch/mmu.h>
#include <k/errno.h>
#include "screen_priv.h"

#define CRTC_INDEX    0x3d4
#define CRTC_DATA     0x3d5
#define CURSOR_START  0x0a
#define CURSOR_OFF    0x20
#define UNKNOWN_GLYPH 0xfe // a small block

static volatile u16 *video;
static u32 cells_per_row;

// Code page 437, from 0x80 on.
static const u16 upper_half[128] = {
    0x00c7, 0x00fc, 0x00e9, 0x00e2, 0x00e4, 0x00e0, 0x00e5, 0x00e7, 0x00ea, 0x00eb, 0x00e8, 0x00ef,
    0x00ee, 0x00ec, 0x00c4, 0x00c5, 0x00c9, 0x00e6, 0x00c6, 0x00f4, 0x00f6, 0x00f2, 0x00fb, 0x00f9,
    0x00ff, 0x00d6, 0x00dc, 0x00a2, 0x00a3, 0x00a5, 0x20a7, 0x0192, 0x00e1, 0x00ed, 0x00f3, 0x00fa,
    0x00f1, 0x00d1, 0x00aa, 0x00ba, 0x00bf, 0x2310, 0x00ac, 0x00bd, 0x00bc, 0x00a1, 0x00ab, 0x00bb,
    0x2591, 0x2592, 0x2593, 0x2502, 0x2524, 0x2561, 0x2562, 0x2556, 0x2555, 0x2563, 0x2551, 0x2557,
    0x255d, 0x255c, 0x255b, 0x2510, 0x2514, 0x2534, 0x252c, 0x251c, 0x2500, 0x253c, 0x255e, 0x255f,
    0x255a, 0x2554, 0x2569, 0x2566, 0x2560, 0x2550, 0x256c, 0x2567, 0x2568, 0x2564, 0x2565, 0x2559,
    0x2558, 0x2552, 0x2553, 0x256b, 0x256a, 0x2518, 0x250c, 0x2588, 0x2584, 0x258c, 0x2590, 0x2580,
    0x03b1, 0x00df, 0x0393, 0x03c0, 0x03a3, 0x03c3, 0x00b5, 0x03c4, 0x03a6, 0x0398, 0x03a9, 0x03b4,
    0x221e, 0x03c6, 0x03b5, 0x2229, 0x2261, 0x00b1, 0x2265, 0x2264, 0x2320, 0x2321, 0x00f7, 0x2248,
    0x00b0, 0x2219, 0x00b7, 0x221a, 0x207f, 0x00b2, 0x25a0, 0x00a0,
};

static int text_init(const struct boot_screen *b, unsigned *rows, unsigned *cols)
{
    if (b->width < 40 || b->height < 20 || b->width > SCREEN_MAX_COLS ||
        b->height > SCREEN_MAX_ROWS || b->pitch_bytes < b->width * 2) {
        return -EINVAL;
    }
    video = mmu_map_device(b->address, (u64)b->pitch_bytes * b->height);
    if (!video) {
        return -ENOMEM;
    }
    arch_port_write8(CRTC_INDEX, CURSOR_START);
    arch_port_write8(CRTC_DATA, CURSOR_OFF); // ours is a cell in reverse
    cells_per_row = b->pitch_bytes / 2;
    *rows = b->height;
    *cols = b->width;
    return 0;
}

static u8 glyph_of(u32 code)
{
    if (code >= 32 && code < 127) {
        return (u8)code;
    }
    for (unsigned i = 0; i < array_size(upper_half); i++) {
        if (upper_half[i] == code) {
            return (u8)(128 + i);
        }
    }
    return code == 0xa0 ? ' ' : UNKNOWN_GLYPH;
}

// The VGA numbers its colours with red and blue the other way round.
static u8 colour_of(unsigned c)
{
    return (u8)((c & 10u) | (c & 1u) << 2 | (c & 4u) >> 2);
}

static void text_draw(unsigned row, unsigned col, const cell_t *cells, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        u8 fg = colour_of(CELL_FG(cells[i])), bg = colour_of(CELL_BG(cells[i]) & 7u);
        u8 colours = (cells[i] & CELL_CURSOR) ? (u8)(bg | (fg & 7u) << 4) : (u8)(fg | bg << 4);
        video[row * cells_per_row + col + i] = (u16)(glyph_of(CELL_CHAR(cells[i])) | colours << 8);
    }
}

const struct painter painter_text = {.init = text_init, .draw = text_draw};
