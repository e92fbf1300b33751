// SOURCES: drivers/acpi.c tests/host/shim/panic.c
//
// The ACPI tables' reader, on tables that are made here.
//
//     0x1000 RSDP     0x2000 RSDT     0x3000 XSDT     0x4000 FADT     0x5000 DSDT     others behind
//
// Each mapping is a copy of exactly the bytes asked for: AddressSanitizer sees a read beyond.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <acpi.h>
#include <arch/boot.h>
#include <bootinfo.h>
#include <shim.h>

#define RAM_SIZE 0x20000u
#define RSDP     0x1000u
#define RSDT     0x2000u
#define XSDT     0x3000u
#define FADT     0x4000u
#define DSDT     0x5000u
#define MORE     0x6000u
#define HEADER   36u
#define FADT_1   116u // lengths of its revisions
#define FADT_3   244u
#define FADT_5   268u

struct bootinfo bootinfo;
static u8 ram[RAM_SIZE];
static void *mapped[256];
static unsigned nr_mapped;

const void *arch_map_firmware(paddr_t pa, u64 len)
{
    if (pa > RAM_SIZE || len > RAM_SIZE - pa || nr_mapped == array_size(mapped)) {
        return NULL;
    }
    void *copy = malloc(len);
    memcpy(copy, ram + pa, len);
    mapped[nr_mapped++] = copy;
    return copy;
}

static void put(u32 at, u64 value, unsigned size)
{
    memcpy(ram + at, &value, size);
}

static void seal(u32 at, u32 len, u32 sum_at)
{
    u8 sum = 0;
    ram[at + sum_at] = 0;
    for (u32 i = 0; i < len; i++) {
        sum = (u8)(sum + ram[at + i]);
    }
    ram[at + sum_at] = (u8)-sum;
}

static void table_begin(u32 at, const char *name, u32 len, u8 revision)
{
    memset(ram + at, 0, len);
    memcpy(ram + at, name, 4);
    put(at + 4, len, 4);
    put(at + 8, revision, 1);
}

static void table_end(u32 at)
{
    u32 len;
    memcpy(&len, ram + at + 4, 4);
    seal(at, len, 9);
}

static void aml_table(u32 at, const char *name, const void *aml, u32 len)
{
    table_begin(at, name, HEADER + len, 2);
    memcpy(ram + at + HEADER, aml, len);
    table_end(at);
}

#define AML(at, name, ...)                                                                         \
    aml_table(at, name, (const u8[]){__VA_ARGS__}, sizeof((const u8[]){__VA_ARGS__}))

// Roots that lead to what the list of addresses, ended by 0, names.
static void roots(const u32 *list)
{
    unsigned n = 0;
    while (list[n]) {
        n++;
    }
    table_begin(RSDT, "RSDT", HEADER + 4 * n, 1);
    table_begin(XSDT, "XSDT", HEADER + 8 * n, 1);
    for (unsigned i = 0; i < n; i++) {
        put(RSDT + HEADER + 4 * i, list[i], 4);
        put(XSDT + HEADER + 8 * i, list[i], 8);
    }
    table_end(RSDT);
    table_end(XSDT);
    memset(ram + RSDP, 0, HEADER);
    memcpy(ram + RSDP, "RSD PTR ", 8);
    put(RSDP + 15, 2, 1);
    put(RSDP + 16, RSDT, 4);
    put(RSDP + 20, 36, 4);
    put(RSDP + 24, XSDT, 8);
    seal(RSDP, 20, 8);
    seal(RSDP, 36, 32);
}

#define ROOTS(...) roots((const u32[]){__VA_ARGS__, 0})

static void read_all(void)
{
    bootinfo.acpi_rsdp = RSDP;
    memset(&acpi, 0, sizeof(acpi));
    acpi_init();
    while (nr_mapped > 0) {
        free(mapped[--nr_mapped]);
    }
}

// A FADT of ACPI 1.0 with all its ports, not sealed.
static void fadt_ports(u32 len, u8 revision)
{
    table_begin(FADT, "FACP", len, revision);
    put(FADT + 40, DSDT, 4);
    put(FADT + 48, 0xb2, 4); // SMI_CMD, ACPI_ENABLE
    put(FADT + 52, 0xf1, 1);
    put(FADT + 56, 0x400, 4); // PM1a, PM1b events
    put(FADT + 60, 0x480, 4);
    put(FADT + 64, 0x404, 4); // PM1a, PM1b control
    put(FADT + 68, 0x484, 4);
    put(FADT + 76, 0x408, 4); // timer
    put(FADT + 80, 0x420, 4); // GPE0, GPE1
    put(FADT + 84, 0x4a0, 4);
    put(FADT + 88, 4, 1);
    put(FADT + 92, 8, 1);
    put(FADT + 93, 6, 1);
}

static void gas(u32 offset, u8 space, u64 address)
{
    put(FADT + offset, space, 1);
    put(FADT + offset + 1, 8, 1);
    put(FADT + offset + 4, address, 8);
}

static void check_register(const struct acpi_register *r, u8 space, u64 address, u8 len)
{
    assert_int_equal(r->address, address);
    assert_int_equal(r->space, space);
    assert_int_equal(r->len_bytes, len);
}

// \_S5 of QEMU's tables: a package of 6 + 4 bytes {0x05, 0x06, 0, 0}.
#define S5_PLAIN 0x08, '_', 'S', '5', '_', 0x12, 0x08, 0x04, 0x0a, 0x05, 0x0a, 0x06, 0x00, 0x00

// --- Cases

static void test_first_revision(void **state)
{
    (void)state;
    fadt_ports(FADT_1, 1);
    table_end(FADT);
    put(FADT + 140, 0x7777777777, 8); // beyond its end: not ours
    AML(DSDT, "DSDT", 0x10, S5_PLAIN);
    ROOTS(FADT);
    read_all();
    assert_true(acpi.have_fadt && acpi.have_s5);
    assert_int_equal(acpi.s5_type_a, 5);
    assert_int_equal(acpi.s5_type_b, 6);
    assert_int_equal(acpi.smi_command, 0xb2);
    assert_int_equal(acpi.acpi_enable, 0xf1);
    check_register(&acpi.pm1a_event, ACPI_SPACE_IO, 0x400, 4);
    check_register(&acpi.pm1b_event, ACPI_SPACE_IO, 0x480, 4);
    check_register(&acpi.pm1a_control, ACPI_SPACE_IO, 0x404, 0);
    check_register(&acpi.pm1b_control, ACPI_SPACE_IO, 0x484, 0);
    check_register(&acpi.gpe0, ACPI_SPACE_IO, 0x420, 8);
    check_register(&acpi.gpe1, ACPI_SPACE_IO, 0x4a0, 6);
    assert_int_equal(acpi.pm_timer, 0x408);
    assert_false(acpi.pm_timer_32bit || acpi.no_i8042);
    assert_int_equal(acpi.reset.address, 0);
    assert_int_equal(acpi.sleep_control.address, 0);
}

static void test_extended(void **state)
{
    (void)state;
    fadt_ports(FADT_3, 3);
    put(FADT + 112, 1u << 10 | 1u << 8, 4); // a reset register; a timer of 32 bits
    gas(116, ACPI_SPACE_IO, 0xcf9);
    put(FADT + 128, 6, 1);
    put(FADT + 140, MORE, 8);                // X_DSDT, before DSDT
    gas(148, ACPI_SPACE_MEMORY, 0xfed80800); // PM1a events
    gas(160, ACPI_SPACE_PCI, 0x10000);       // PM1b events: nonsense, the port holds
    gas(172, ACPI_SPACE_MEMORY, 0xfed80804); // PM1a control
    gas(184, 0x7f, 0x1234);                  // PM1b control: likewise
    gas(208, ACPI_SPACE_MEMORY, 0xfed80808); // timer: we read ports only
    gas(220, ACPI_SPACE_IO, 0x1820);         // GPE0
    AML(DSDT, "DSDT", S5_PLAIN);
    AML(MORE, "DSDT", 0x08, '\\', '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0x0a, 7, 0x01, 0, 0);
    table_end(FADT);
    ROOTS(FADT);
    read_all();
    assert_int_equal(acpi.s5_type_a, 7);
    assert_int_equal(acpi.s5_type_b, 1);
    check_register(&acpi.reset, ACPI_SPACE_IO, 0xcf9, 0);
    assert_int_equal(acpi.reset_value, 6);
    check_register(&acpi.pm1a_event, ACPI_SPACE_MEMORY, 0xfed80800, 4);
    check_register(&acpi.pm1b_event, ACPI_SPACE_IO, 0x480, 4);
    check_register(&acpi.pm1a_control, ACPI_SPACE_MEMORY, 0xfed80804, 0);
    check_register(&acpi.pm1b_control, ACPI_SPACE_IO, 0x484, 0);
    check_register(&acpi.gpe0, ACPI_SPACE_IO, 0x1820, 8);
    assert_int_equal(acpi.pm_timer, 0);
    assert_true(acpi.pm_timer_32bit && acpi.no_i8042);

    put(FADT + 109, 2, 2); // there is an i8042
    gas(116, ACPI_SPACE_PCI, 31ull << 32 | 2ull << 16 | 0xab);
    table_end(FADT);
    read_all();
    assert_false(acpi.no_i8042);
    check_register(&acpi.reset, ACPI_SPACE_PCI, 31ull << 32 | 2ull << 16 | 0xab, 0);

    gas(116, 0x7f, 0xcf9); // a space that we do not know
    table_end(FADT);
    read_all();
    assert_int_equal(acpi.reset.address, 0);

    gas(116, ACPI_SPACE_IO, 0xcf9);
    put(FADT + 112, 0, 4); // not said to be there
    table_end(FADT);
    read_all();
    assert_int_equal(acpi.reset.address, 0);
}

static void test_reduced_hardware(void **state)
{
    (void)state;
    fadt_ports(FADT_5, 5);
    put(FADT + 112, 1u << 20, 4);
    gas(244, ACPI_SPACE_MEMORY, 0xfea00000);
    gas(256, ACPI_SPACE_MEMORY, 0xfea00001);
    table_end(FADT);
    AML(DSDT, "DSDT", S5_PLAIN);
    ROOTS(FADT);
    read_all();
    assert_true(acpi.have_s5);
    check_register(&acpi.sleep_control, ACPI_SPACE_MEMORY, 0xfea00000, 0);
    check_register(&acpi.sleep_status, ACPI_SPACE_MEMORY, 0xfea00001, 0);
    assert_int_equal(acpi.pm1a_control.address, 0);
    assert_int_equal(acpi.smi_command, 0);
    assert_int_equal(acpi.pm_timer, 0);
}

struct s5_case {
    const char *aml;
    u32 len;
    int a, b; // -1: no S5
};

#define CASE(text, a, b)                                                                           \
    {                                                                                              \
        text, sizeof(text) - 1, a, b                                                               \
    }

static const struct s5_case s5_cases[] = {
    CASE("\x08_S5_\x12\x06\x02\x0a\x05\x0a\x06", 5, 6),
    CASE("\x08_S5_\x12\x04\x02\x00\x01", 0, 1),
    CASE("\x08_S5_\x12\x0a\x02\x0b\x05\x00\x0c\x06\x00\x00\x00", 5, 6),
    CASE("\x08_S5_\x12\x0e\x02\x0e\x07\x00\x00\x00\x00\x00\x00\x00\x0a\x07", 7, 7),
    CASE("\x08_S5_\x12\x40\x06\x02\x0a\x05\x0a\x06", 5, 6), // a length in two bytes
    CASE("\x08_S5_\x12\x05\x01\x0b\x05\x06", 5, 6),         // both in one
    CASE("\x08_S5_\x12\x04\x01\x0a\x05", 5, 0),
    CASE("_S5_\x12\x06\x02\x0a\x05\x0a\x06", -1, -1),     // only mentioned
    CASE("\x08_S5_\x14\x06\x02\x0a\x05\x0a\x06", -1, -1), // a method
    CASE("\x08_S5_\x12\x06\x00\x0a\x05\x0a\x06", -1, -1), // empty
    CASE("\x08_S5_\x12\x06\x02\x0d\x05\x0a\x06", -1, -1), // a string
    CASE("\x08_S5_\x12\x06\x02\x0a\x05\x0a", -1, -1),     // cut off
    CASE("\x08_S5_\x12\x06\x02\x0a\x05", -1, -1),
    CASE("\x08_S5_\x12\x06\x02", -1, -1),
    CASE("\x08_S5_\x12\x06", -1, -1),
    CASE("\x08_S5_\x12", -1, -1),
    CASE("\x08_S5_", -1, -1),
    CASE("\x08_S5", -1, -1),
    CASE("_S5_\x12\x06\x02\x00\x00\x08_S5_\x12\x06\x02\x0a\x05\x0a\x06", 5, 6), // the second
};

static void test_s5(void **state)
{
    (void)state;
    fadt_ports(FADT_1, 1);
    table_end(FADT);
    ROOTS(FADT);
    for (unsigned i = 0; i < array_size(s5_cases); i++) {
        const struct s5_case *c = &s5_cases[i];
        aml_table(DSDT, "DSDT", c->aml, c->len);
        read_all();
        if (acpi.have_s5 != (c->a >= 0) ||
            (acpi.have_s5 && (acpi.s5_type_a != c->a || acpi.s5_type_b != c->b))) {
            fail_msg("case %u: have %d, types %d %d", i, acpi.have_s5, acpi.s5_type_a,
                     acpi.s5_type_b);
        }
    }
}

static void test_s5_elsewhere(void **state)
{
    (void)state;
    fadt_ports(FADT_1, 1);
    table_end(FADT);
    AML(DSDT, "DSDT", 0x10, 0x20);
    AML(MORE, "SSDT", 0x10, 0x20);
    AML(MORE + 0x1000, "SSDT", S5_PLAIN);
    ROOTS(FADT, MORE, MORE + 0x1000);
    read_all();
    assert_true(acpi.have_s5);
    assert_int_equal(acpi.s5_type_b, 6);

    // Before the FADT, and with a sum that is forgotten.
    ROOTS(MORE + 0x1000, FADT);
    ram[MORE + 0x1000 + 9]++;
    read_all();
    assert_true(acpi.have_s5);
    assert_int_equal(acpi.s5_type_a, 5);

    // The DSDT's is the one, wherever the other stands.
    AML(DSDT, "DSDT", 0x08, '_', 'S', '5', '_', 0x12, 0x04, 0x02, 0x01, 0x00);
    ram[DSDT + 9]++;
    for (int turn = 0; turn < 2; turn++) {
        read_all();
        assert_true(acpi.have_s5);
        assert_int_equal(acpi.s5_type_a, 1);
        ROOTS(FADT, MORE + 0x1000);
    }
}

static void test_sums(void **state)
{
    (void)state;
    fadt_ports(FADT_1, 1);
    table_end(FADT);
    AML(DSDT, "DSDT", S5_PLAIN);
    ROOTS(FADT);
    ram[XSDT + 9]++; // the older root is still there
    read_all();
    assert_true(acpi.have_fadt);
    ram[RSDT + 9]++;
    read_all();
    assert_false(acpi.have_fadt);
    ROOTS(FADT);
    ram[FADT + 9]++;
    read_all();
    assert_false(acpi.have_fadt || acpi.have_s5);
}

static void test_garbage(void **state)
{
    (void)state;
    u64 seed = shim_seed();
    for (unsigned round = 0; round < 3000; round++) {
        u32 len = HEADER + (u32)(shim_random(&seed) % 260);
        table_begin(FADT, "FACP", len, (u8)(shim_random(&seed) % 7));
        for (u32 i = HEADER; i < len; i++) {
            ram[FADT + i] = (u8)shim_random(&seed);
        }
        if (round % 2 && len >= 44) {
            put(FADT + 40, DSDT, 4);
        }
        if (round % 2 && len >= 148) {
            put(FADT + 140, 0, 8);
        }
        table_end(FADT);
        u8 aml[64];
        u32 n = (u32)(shim_random(&seed) % sizeof(aml)), at = n ? (u32)(shim_random(&seed) % n) : 0;
        for (u32 i = 0; i < n; i++) {
            aml[i] = (u8)(shim_random(&seed) % 16);
        }
        memcpy(aml + at, "\x08_S5_\x12", min(n - at, 6u));
        aml_table(DSDT, "DSDT", aml, n);
        u32 entries = round % 100 ? 0 : n; // seldom, since each mistake in them is reported
        table_begin(MORE, "APIC", HEADER + 8 + entries, 3);
        memcpy(ram + MORE + HEADER + 8, aml, entries);
        table_end(MORE);
        ROOTS(FADT, MORE);
        read_all();
        assert_true(acpi.have_fadt && acpi.have_madt);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_garbage),  cmocka_unit_test(test_first_revision),
        cmocka_unit_test(test_extended), cmocka_unit_test(test_reduced_hardware),
        cmocka_unit_test(test_s5),       cmocka_unit_test(test_s5_elsewhere),
        cmocka_unit_test(test_sums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
