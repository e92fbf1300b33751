// The font of the screen: glyphs by code point.
#include <k/types.h>
#include "screen_priv.h"

struct glyph {
    u16 code;
    u64 rows[2]; // bytes in memory order are the rows from the top
} __attribute__((packed));

static const struct glyph glyphs[] = {
#define GLYPH(code, top, bottom) {code, {top, bottom}},
#include "font_fixed16.def"
#undef GLYPH
};

static const u8 unknown[16] = {0, 0, 0, 0x7e, 0x42, 0x42, 0x42, 0x42, 0x42, 0x42, 0x42, 0x7e};

static const u8 *glyph_find(u32 code)
{
    unsigned low = 0, high = array_size(glyphs); // [low, high)
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (glyphs[middle].code == code) {
            return (const u8 *)glyphs[middle].rows;
        }
        if (glyphs[middle].code < code) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

const u8 *font_glyph(u32 code)
{
    const u8 *g = glyph_find(code);
    if (!g) {
        g = glyph_find(0xfffd);
    }
    return g ? g : unknown;
}
