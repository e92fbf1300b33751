// What the loader told us, in one form whichever loader ran (PVH, multiboot2, later a device tree).
// Filled by arch boot code before kernel_main; read only afterwards.
#ifndef BOOTINFO_H
#define BOOTINFO_H

#include <k/types.h>

#define BOOT_MAX_REGIONS 128
#define BOOT_CMDLINE_MAX 4096

enum boot_region_kind {
    BOOT_RAM,      // free to use but for what `reserved` below covers
    BOOT_RESERVED, // anything else: firmware, holes the loader listed
};

struct boot_region {
    paddr_t start, end; // [start, end), page aligned inwards for RAM
    enum boot_region_kind kind;
};

// What can show text. address 0: nothing.
enum boot_screen_kind {
    BOOT_SCREEN_PIXELS, // a linear framebuffer
    BOOT_SCREEN_TEXT,   // the VGA's text mode: width and height in characters
};

struct boot_screen {
    paddr_t address;
    enum boot_screen_kind kind;
    u32 pitch_bytes, width, height;
    u8 bits;                         // of a pixel: 15, 16, 24, 32
    u8 red_pos, green_pos, blue_pos; // lowest bit of each colour
    u8 red_bits, green_bits, blue_bits;
};

struct bootinfo {
    const char *loader; // "pvh", "multiboot2"
    char cmdline[BOOT_CMDLINE_MAX];
    struct boot_region region[BOOT_MAX_REGIONS]; // sorted, disjoint
    unsigned nr_regions;
    struct boot_region reserved[16]; // kernel image, initramfs, loader data still in use
    unsigned nr_reserved;
    paddr_t initramfs_start, initramfs_end; // 0,0: none
    paddr_t acpi_rsdp;                      // 0: none
    struct boot_screen screen;
};

extern struct bootinfo bootinfo;

// The value of the last "name=value" word on the command line into buf; false if absent or if the
// value does not fit (the console says so). Double quotes protect spaces. boot_flag: "name" alone
// or "name=1".
bool boot_arg(const char *name, char *buf, size_t size);
bool boot_flag(const char *name);
// The words after a lone "--": pointer into the command line, "" if none.
const char *boot_init_args(void);

#endif
