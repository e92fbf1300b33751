"""What stands on the screen: a screenshot, read with the kernel's own font.

Each cell of 8x16 pixels (or a multiple) is compared with the glyphs of drivers/font_fixed16.def.
A cell's upper left pixel is its ground, whatever its colours are, because no glyph has that pixel;
so colours, and the cursor, do not matter.
"""
import os
import re

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WIDTH, HEIGHT = 8, 16


def glyphs():
    found = {}
    with open(os.path.join(TOP, "drivers", "font_fixed16.def")) as file:
        for code, top, bottom in re.findall(r"GLYPH\(0x(\w+), 0x(\w+), 0x(\w+)\)", file.read()):
            rows = b"".join(int(half, 16).to_bytes(8, "little") for half in (top, bottom))
            found.setdefault(rows, chr(int(code, 16)))
    return found


def read_ppm(path):
    """(width, height, bytes of three to a pixel)"""
    with open(path, "rb") as file:
        data = file.read()
    header = re.match(rb"P6\s+(\d+)\s+(\d+)\s+255\s", data)
    if not header:
        raise ValueError(f"{path} is not a screenshot")
    return int(header.group(1)), int(header.group(2)), data[header.end():]


def cell_rows(pixels, width, left, top):
    """The cell as a glyph's 16 bytes."""
    ground = pixels[(top * width + left) * 3:][:3]
    rows = bytearray()
    for y in range(top, top + HEIGHT):
        start = (y * width + left) * 3
        line = pixels[start:start + WIDTH * 3]
        rows.append(sum(0x80 >> x for x in range(WIDTH) if line[3 * x:3 * x + 3] != ground))
    return bytes(rows)


def read_screen(path):
    """Lines of text; a cell that is no glyph is shown as U+FFFD."""
    width, height, pixels = read_ppm(path)
    known, lines = glyphs(), []
    for top in range(0, height - HEIGHT + 1, HEIGHT):
        line = "".join(known.get(cell_rows(pixels, width, left, top), "\ufffd")
                       for left in range(0, width - WIDTH + 1, WIDTH))
        lines.append(line.rstrip())
    return lines
