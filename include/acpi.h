// What the firmware's ACPI tables say, as far as we read them (drivers/acpi.c).
#ifndef ACPI_H
#define ACPI_H

#include <k/types.h>

#define ACPI_MAX_IOAPICS   8
#define ACPI_MAX_OVERRIDES 16

enum acpi_space {
    ACPI_SPACE_MEMORY = 0,
    ACPI_SPACE_IO = 1,
    ACPI_SPACE_PCI = 2, // configuration space of bus 0; the reset register only
};

// A register, or several in a row: address 0 means there is none.
struct acpi_register {
    u64 address;
    u8 space;              // enum acpi_space
    u8 len_bytes;          // of a block of event registers; else 0
    volatile void *mapped; // of one in memory: where the architecture has mapped it
};

struct acpi_ioapic {
    paddr_t address;
    u32 gsi_base;
};

// ISA interrupt `isa` arrives as global interrupt `gsi`.
struct acpi_override {
    u8 isa;
    u32 gsi;
    bool active_low, level;
};

struct acpi_info {
    bool have_madt, have_fadt;
    // MADT
    paddr_t lapic_address;
    u32 cpu_apic_id[MAX_CPUS]; // enabled CPUs in table order
    unsigned nr_cpus;
    unsigned nr_cpus_ignored; // beyond MAX_CPUS
    struct acpi_ioapic ioapic[ACPI_MAX_IOAPICS];
    unsigned nr_ioapics;
    struct acpi_override override[ACPI_MAX_OVERRIDES];
    unsigned nr_overrides;
    // FADT
    struct acpi_register pm1a_control, pm1b_control;  // S5 through these when have_s5...
    struct acpi_register sleep_control, sleep_status; // ... or through these on reduced hardware
    // Events: in each block the first half is status, cleared by writing ones, the second enables.
    struct acpi_register pm1a_event, pm1b_event, gpe0, gpe1;
    bool have_s5;
    u8 s5_type_a, s5_type_b;
    u32 smi_command; // I/O port, 0: none; writing acpi_enable there turns ACPI mode on
    u8 acpi_enable;  // 0: there is no other mode
    struct acpi_register reset;
    u8 reset_value;
    u32 pm_timer; // I/O port, 0: none
    bool pm_timer_32bit;
    bool no_i8042; // there is no keyboard controller
    // HPET
    paddr_t hpet_address; // 0: none
};

extern struct acpi_info acpi; // read only after acpi_init, but for `mapped`

// Read the tables that bootinfo.acpi_rsdp leads to. Boot CPU, before the allocators. A missing or
// damaged table leaves its part of `acpi` empty and is reported.
void acpi_init(void);

#endif
