// ACPI: the few static tables that starting and stopping a machine needs.
//
//   RSDP -> XSDT or RSDT -> MADT (CPUs, interrupt controllers), HPET, SSDT,
//                           FADT (power, timer) -> DSDT
//
// Tables are untrusted: every one is mapped by its header first, must have a sane length and a zero
// byte sum, and is then read by offset through field(), which gives 0 beyond the end (older
// revisions are shorter, and 0 means "none" in every field used here). Offsets are those of the
// ACPI specification 6.4, chapter 5.2.
//
// There is no AML interpreter. Power-off needs two numbers from the package \_S5, which is in
// practice a constant in the DSDT, rarely in an SSDT: we look for the name's bytes and decode what
// follows strictly; anything unexpected means no S5. The sum of these two kinds is not asked for:
// firmware that edits its AML while it starts is known to forget it.
#include <acpi.h>
#include <arch/boot.h>
#include <arch/mmu.h>
#include <bootinfo.h>
#include <k/printk.h>
#include <k/string.h>

#define HEADER_LEN    36u
#define TABLE_LEN_MAX (16u << 20)

struct table {
    const u8 *bytes;
    u32 len;
};

struct acpi_info acpi;

// The little-endian number of `size` bytes at offset; 0 if it is not all inside the table.
static u64 field(const struct table *t, u32 offset, unsigned size)
{
    u64 v = 0;
    if (offset > t->len || size > t->len - offset) {
        return 0;
    }
    for (unsigned i = 0; i < size; i++) {
        v |= (u64)t->bytes[offset + i] << (8 * i);
    }
    return v;
}

static bool sum_is_zero(const u8 *p, u32 len)
{
    u8 sum = 0;
    for (u32 i = 0; i < len; i++) {
        sum = (u8)(sum + p[i]);
    }
    return sum == 0;
}

static bool has_signature(const struct table *t, const char *name)
{
    return memcmp(t->bytes, name, 4) == 0;
}

// Map the table at pa and check it.
static bool table_open(paddr_t pa, struct table *t)
{
    t->len = HEADER_LEN;
    t->bytes = pa ? arch_map_firmware(pa, HEADER_LEN) : NULL;
    if (!t->bytes) {
        return false;
    }
    u32 len = (u32)field(t, 4, 4);
    if (len < HEADER_LEN || len > TABLE_LEN_MAX) {
        printk("acpi: table at %#llx has length %u: ignored\n", (unsigned long long)pa, len);
        return false;
    }
    t->bytes = arch_map_firmware(pa, len);
    t->len = len;
    if (!t->bytes) {
        return false;
    }
    bool is_aml = has_signature(t, "DSDT") || has_signature(t, "SSDT");
    if (!is_aml && !sum_is_zero(t->bytes, len)) {
        printk("acpi: table at %#llx has a bad checksum: ignored\n", (unsigned long long)pa);
        return false;
    }
    return true;
}

// --- MADT

static void cpu_add(u32 apic_id, u32 flags)
{
    bool enabled = flags & 1;
    if (!enabled) {
        return;
    }
    for (unsigned i = 0; i < acpi.nr_cpus; i++) {
        if (acpi.cpu_apic_id[i] == apic_id) {
            return;
        }
    }
    if (acpi.nr_cpus == MAX_CPUS) {
        acpi.nr_cpus_ignored++;
        return;
    }
    acpi.cpu_apic_id[acpi.nr_cpus++] = apic_id;
}

static void override_add(const struct table *t, u32 at)
{
    u16 flags = (u16)field(t, at + 8, 2);
    if (acpi.nr_overrides < ACPI_MAX_OVERRIDES) {
        acpi.override[acpi.nr_overrides++] = (struct acpi_override){
            .isa = (u8)field(t, at + 3, 1),
            .gsi = (u32)field(t, at + 4, 4),
            .active_low = (flags & 3) == 3,
            .level = (flags >> 2 & 3) == 3,
        };
    }
}

static void madt_entry(const struct table *t, u32 at, u8 type)
{
    switch (type) {
    case 0: // local APIC
        if (field(t, at + 3, 1) != 0xff) {
            cpu_add((u32)field(t, at + 3, 1), (u32)field(t, at + 4, 4));
        }
        break;
    case 1: // I/O APIC
        if (acpi.nr_ioapics < ACPI_MAX_IOAPICS) {
            acpi.ioapic[acpi.nr_ioapics++] =
                (struct acpi_ioapic){field(t, at + 4, 4), (u32)field(t, at + 8, 4)};
        }
        break;
    case 2:
        override_add(t, at);
        break;
    case 5:
        acpi.lapic_address = field(t, at + 4, 8);
        break;
    case 9: // local x2APIC
        cpu_add((u32)field(t, at + 4, 4), (u32)field(t, at + 8, 4));
        break;
    default:
        break;
    }
}

static void madt_read(const struct table *t)
{
    static const u8 min_len[] = {[0] = 8, [1] = 12, [2] = 10, [5] = 12, [9] = 16};
    acpi.have_madt = true;
    acpi.lapic_address = field(t, 36, 4);
    for (u32 at = 44; at + 2 <= t->len;) {
        u8 type = t->bytes[at], len = t->bytes[at + 1];
        if (len < 2 || len > t->len - at) {
            printk("acpi: MADT entry at %u has length %u: the rest is ignored\n", at, len);
            break;
        }
        if (type < array_size(min_len) && min_len[type] && len >= min_len[type]) {
            madt_entry(t, at, type);
        }
        at += len;
    }
}

// --- AML: \_S5

// An integer at *at: ZeroOp, OneOp, or a prefix and its bytes (20.2.3). False: something else.
static bool aml_integer(const struct table *t, u32 *at, u64 *out)
{
    static const u8 bytes_of[] = {
        [0x00] = 0, [0x01] = 0, [0x0a] = 1, [0x0b] = 2, [0x0c] = 4, [0x0e] = 8};
    u8 op = (u8)field(t, *at, 1);
    bool plain = op <= 1, prefix = op < array_size(bytes_of) && bytes_of[op] > 0;
    u32 bytes = prefix ? bytes_of[op] : 0;
    if ((!plain && !prefix) || *at >= t->len || bytes >= t->len - *at) {
        return false;
    }
    *out = prefix ? field(t, *at + 1, bytes) : op;
    *at += 1 + bytes;
    return true;
}

// At `at` stand "_S5_", PackageOp, PkgLength, NumElements, then the integers for PM1a and PM1b; or
// one with both, PM1b's in the second byte, as some firmware has it.
static bool s5_decode(const struct table *t, u32 at)
{
    u64 a, b;
    bool named = (at >= 1 && t->bytes[at - 1] == 0x08) ||
                 (at >= 2 && t->bytes[at - 1] == '\\' && t->bytes[at - 2] == 0x08);
    if (!named || field(t, at + 4, 1) != 0x12) {
        return false;
    }
    at += 5;
    at += 1 + (u32)(field(t, at, 1) >> 6); // PkgLength: the top two bits count further bytes
    u8 elements = (u8)field(t, at, 1);
    at++;
    if (elements == 0 || !aml_integer(t, &at, &a)) {
        return false;
    }
    b = a >> 8;
    if (elements > 1 && !aml_integer(t, &at, &b)) {
        return false;
    }
    acpi.s5_type_a = (u8)a;
    acpi.s5_type_b = (u8)b;
    return true;
}

static void s5_find(const struct table *t)
{
    for (u32 at = HEADER_LEN; at + 4 <= t->len; at++) {
        if (memcmp(t->bytes + at, "_S5_", 4) == 0 && s5_decode(t, at)) {
            acpi.have_s5 = true;
            return;
        }
    }
}

// --- FADT

// A generic address structure.
static struct acpi_register register_at(const struct table *t, u32 at)
{
    struct acpi_register r = {.address = field(t, at + 4, 8), .space = (u8)field(t, at, 1)};
    if (r.space > ACPI_SPACE_PCI) {
        r.address = 0;
    }
    return r;
}

// The extended form at `ext` if it is filled in, else the port at `old`.
static struct acpi_register register_either(const struct table *t, u32 ext, u32 old)
{
    struct acpi_register r = register_at(t, ext);
    if (r.address && r.space != ACPI_SPACE_PCI) {
        return r;
    }
    return (struct acpi_register){.address = field(t, old, 4), .space = ACPI_SPACE_IO};
}

// The same for a block of events, whose length is at `len`.
static struct acpi_register events_at(const struct table *t, u32 ext, u32 old, u32 len)
{
    struct acpi_register r = register_either(t, ext, old);
    r.len_bytes = (u8)field(t, len, 1);
    return r;
}

static void fadt_read_pm1(const struct table *t, u32 flags)
{
    acpi.smi_command = (u32)field(t, 48, 4);
    acpi.acpi_enable = (u8)field(t, 52, 1);
    acpi.pm1a_event = events_at(t, 148, 56, 88);
    acpi.pm1b_event = events_at(t, 160, 60, 88);
    acpi.pm1a_control = register_either(t, 172, 64);
    acpi.pm1b_control = register_either(t, 184, 68);
    acpi.gpe0 = events_at(t, 220, 80, 92);
    acpi.gpe1 = events_at(t, 232, 84, 93);
    struct acpi_register timer = register_either(t, 208, 76);
    acpi.pm_timer = timer.space == ACPI_SPACE_IO ? (u32)timer.address : 0;
    acpi.pm_timer_32bit = flags & (1u << 8);
}

static void fadt_read(const struct table *t)
{
    u32 flags = (u32)field(t, 112, 4);
    bool hardware_reduced = flags & (1u << 20);
    struct table dsdt;
    acpi.have_fadt = true;
    // IAPC_BOOT_ARCH, where bit 1 stands for the i8042, came with revision 3.
    acpi.no_i8042 = field(t, 8, 1) >= 3 && !(field(t, 109, 2) & 2);
    if (hardware_reduced) {
        acpi.sleep_control = register_at(t, 244);
        acpi.sleep_status = register_at(t, 256);
    } else {
        fadt_read_pm1(t, flags);
    }
    if (flags & (1u << 10)) { // RESET_REG_SUP
        acpi.reset = register_at(t, 116);
        acpi.reset_value = (u8)field(t, 128, 1);
    }
    paddr_t where = field(t, 140, 8);
    if (table_open(where ? where : field(t, 40, 4), &dsdt)) {
        s5_find(&dsdt); // whatever an SSDT said
    }
}

// --- The roots

static void table_read(paddr_t pa)
{
    struct table t;
    if (!table_open(pa, &t)) {
        return;
    }
    if (has_signature(&t, "APIC") && !acpi.have_madt) {
        madt_read(&t);
    } else if (has_signature(&t, "FACP") && !acpi.have_fadt) {
        fadt_read(&t);
    } else if (has_signature(&t, "SSDT") && !acpi.have_s5) {
        s5_find(&t);
    } else if (has_signature(&t, "HPET") && field(&t, 40, 1) == ACPI_SPACE_MEMORY) {
        acpi.hpet_address = field(&t, 44, 8);
    }
}

void acpi_init(void)
{
    const u8 *rsdp = bootinfo.acpi_rsdp ? arch_map_firmware(bootinfo.acpi_rsdp, HEADER_LEN) : NULL;
    struct table root, r = {rsdp, HEADER_LEN};
    if (!rsdp || memcmp(rsdp, "RSD PTR ", 8) != 0 || !sum_is_zero(rsdp, 20)) {
        printk("acpi: no root pointer\n");
        return;
    }
    bool extended = rsdp[15] >= 2 && sum_is_zero(rsdp, HEADER_LEN) && field(&r, 24, 8) != 0 &&
                    table_open(field(&r, 24, 8), &root);
    unsigned size = extended ? 8 : 4;
    if (!extended && !table_open(field(&r, 16, 4), &root)) {
        return;
    }
    for (u32 at = HEADER_LEN; at + size <= root.len; at += size) {
        table_read(field(&root, at, size));
    }
}
