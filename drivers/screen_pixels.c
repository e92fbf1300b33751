// The screen, 4: glyphs on a linear framebuffer of 15 to 32 bits a pixel.
//
// A row of a run of cells is made in memory and stored to video memory in one go, so that write
// combining has whole lines to work with. Where a screen has so many pixels that 8x16 would be too
// small to read, glyphs are drawn two or three times as large.
#include <arch/mmu.h>
#include <k/errno.h>
#include <k/printk.h>
#include <k/string.h>
#include "screen_priv.h"

#define GLYPH_W    8u
#define GLYPH_H    16u
#define LARGE_FROM 1400u // pixels of height from which glyphs are doubled
#define SCALE_MAX  4u
#define ROW_BYTES  (SCREEN_MAX_COLS * GLYPH_W * SCALE_MAX * 4u)

static volatile u8 *video;
static u32 pitch, bytes_per_pixel, scale = 1;
static u32 colours[16];

static const u8 palette[16][3] = {
    {0, 0, 0},       {190, 40, 40},   {60, 170, 60},   {190, 130, 30},
    {70, 110, 210},  {170, 80, 180},  {50, 165, 165},  {200, 200, 200},
    {100, 100, 100}, {240, 90, 90},   {110, 225, 110}, {240, 225, 90},
    {125, 165, 255}, {235, 130, 240}, {110, 230, 230}, {255, 255, 255},
};

static u32 component(u8 value, u8 pos, u8 bits)
{
    return bits && bits <= 8 && pos < 32 ? (u32)(value >> (8 - bits)) << pos : 0;
}

static int pixels_init(const struct boot_screen *b, unsigned *rows, unsigned *cols)
{
    bytes_per_pixel = (b->bits + 7u) / 8;
    pitch = b->pitch_bytes;
    if (bytes_per_pixel < 2 || bytes_per_pixel > 4 || b->width < 320 || b->height < 200 ||
        b->width > 16384 || b->height > 16384 || (u64)b->width * bytes_per_pixel > pitch) {
        printk("screen: %ux%u with %u bits a pixel: not one we can use\n", b->width, b->height,
               b->bits);
        return -EINVAL;
    }
    while (scale < SCALE_MAX &&
           (b->height >= LARGE_FROM * scale || b->width / (GLYPH_W * scale) > SCREEN_MAX_COLS)) {
        scale++;
    }
    video = mmu_map_stream(b->address, (u64)pitch * b->height);
    if (!video) {
        printk("screen: no memory to map it\n");
        return -ENOMEM;
    }
    for (unsigned i = 0; i < 16; i++) {
        colours[i] = component(palette[i][0], b->red_pos, b->red_bits) |
                     component(palette[i][1], b->green_pos, b->green_bits) |
                     component(palette[i][2], b->blue_pos, b->blue_bits);
    }
    *rows = b->height / (GLYPH_H * scale);
    *cols = b->width / (GLYPH_W * scale);
    return 0;
}

static u8 *pixel_put(u8 *to, u32 colour)
{
    for (u32 i = 0; i < bytes_per_pixel; i++) {
        *to++ = (u8)(colour >> (8 * i));
    }
    return to;
}

// One line of pixels of n cells at `to`; its end.
static u8 *line_make(u8 *to, const cell_t *cells, const u8 *const *glyphs, unsigned n, unsigned y)
{
    for (unsigned i = 0; i < n; i++) {
        u32 fg = colours[CELL_FG(cells[i])], bg = colours[CELL_BG(cells[i])];
        u8 bits = glyphs[i][y];
        if ((cells[i] & CELL_UNDERLINE) && y == GLYPH_H - 2) {
            bits = 0xff;
        }
        if (cells[i] & CELL_CURSOR) {
            bits = (u8)~bits;
        }
        for (unsigned x = 0; x < GLYPH_W * scale; x++) {
            to = pixel_put(to, bits & (0x80u >> (x / scale)) ? fg : bg);
        }
    }
    return to;
}

static void line_store(volatile u8 *to, const u8 *from, size_t n)
{
    for (; n >= 4; n -= 4, to += 4, from += 4) {
        u32 word;
        memcpy(&word, from, sizeof(word));
        *(volatile u32 *)to = word;
    }
    for (; n > 0; n--) {
        *to++ = *from++;
    }
}

static void pixels_draw(unsigned row, unsigned col, const cell_t *cells, unsigned n)
{
    static u8 line[ROW_BYTES]; // under screen_lock
    static const u8 *glyphs[SCREEN_MAX_COLS];
    for (unsigned i = 0; i < n; i++) {
        glyphs[i] = font_glyph(CELL_CHAR(cells[i]));
    }
    for (unsigned y = 0; y < GLYPH_H; y++) {
        size_t len = (size_t)(line_make(line, cells, glyphs, n, y) - line);
        for (unsigned i = 0; i < scale; i++) {
            u64 at = (u64)(row * GLYPH_H * scale + y * scale + i) * pitch +
                     (u64)col * GLYPH_W * scale * bytes_per_pixel;
            line_store(video + at, line, len);
        }
    }
}

const struct painter painter_pixels = {.init = pixels_init, .draw = pixels_draw};
