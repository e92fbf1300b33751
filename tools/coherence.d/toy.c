/*
 * toy.c: a kernel for testing the plugin. Two CPUs take turns and make accesses whose transfers
 * can be counted by hand; ./test knows the results. It is a 32-bit multiboot program, and the
 * plugin is told that all code is the kernel's.
 */
#include "marks.h"

#include <stdint.h>

#define ROUNDS     10
#define STACK_SIZE 4096
#define APIC       0xfee00000u
#define APIC_EOI   0x0b0
#define APIC_ICR   0x300
#define APIC_ICR_2 0x310
#define EXIT_PORT  0xf4
#define AP_START   0x8000

/* A mark between jumps begins and ends a block of QEMU's translator, so that instructions are
 * counted from the same point each time. */
#define mark(number)                                                                               \
    __asm__ volatile("jmp 1f; 1: .byte 0x0f, 0x1f, 0x80; .long %c0; jmp 2f; 2:"                    \
                     :                                                                             \
                     : "i"(MARK_MAGIC + (number))                                                  \
                     : "memory")

void toy_main(void);
void toy_second(void);

uint8_t stacks[2][STACK_SIZE] __attribute__((aligned(64)));
static uint8_t areas[32][64 * ROUNDS] __attribute__((aligned(4096))); /* one a run */
static uint8_t *shared;
static unsigned batch; /* 0: the warm one */
static uint8_t own[2][128] __attribute__((aligned(64)));
static volatile unsigned turn __attribute__((aligned(64)));

static void put(void *p)
{
    __asm__ volatile("movl $1, (%0)" : : "r"(p) : "memory");
}

static void get(const void *p)
{
    uint32_t value;
    __asm__ volatile("movl (%1), %0" : "=r"(value) : "r"(p) : "memory");
}

static void nothing(unsigned cpu, unsigned round)
{
    (void)cpu;
    (void)round;
}

static void private(unsigned cpu, unsigned round)
{
    (void)round;
    put(own[cpu]);
    get(own[cpu] + 4);
}

static void read_both(unsigned cpu, unsigned round)
{
    (void)cpu;
    (void)round;
    get(shared);
}

static void write_both(unsigned cpu, unsigned round)
{
    (void)cpu;
    (void)round;
    put(shared);
}

static void write_and_read(unsigned cpu, unsigned round)
{
    (void)round;
    if (cpu == 0) {
        put(shared);
    } else {
        get(shared);
    }
}

static void locked(unsigned cpu, unsigned round)
{
    (void)cpu;
    (void)round;
    __asm__ volatile("lock incl (%0)" : : "r"(shared) : "memory");
}

static void exchange(unsigned cpu, unsigned round)
{
    (void)cpu;
    __asm__ volatile("xchgl %0, (%1)" : "+r"(round) : "r"(shared) : "memory");
}

static void unlocked(unsigned cpu, unsigned round)
{
    (void)cpu;
    (void)round;
    __asm__ volatile("incl (%0)" : : "r"(shared) : "memory");
}

static void false_sharing(unsigned cpu, unsigned round)
{
    (void)round;
    put(shared + 60 * cpu);
}

static void straddle(unsigned cpu, unsigned round)
{
    (void)cpu;
    (void)round;
    put(shared + 62);
}

/* In each batch one CPU alone: no line moves but from batch to batch. */
static void recycled(unsigned cpu, unsigned round)
{
    if (cpu == batch) {
        put(shared + 64 * round);
    }
}

static void recycled_unlocked(unsigned cpu, unsigned round)
{
    if (cpu == batch) {
        __asm__ volatile("incl (%0)" : : "r"(shared + 64 * round) : "memory");
    }
}

/* What one wrote before the batch, both read in it. */
static void prepared(unsigned cpu, unsigned round)
{
    (void)round;
    if (batch == 1) {
        get(shared);
    } else if (cpu == 0) {
        put(shared);
    }
}

/* CPU 1 has it before the batch; in it, CPU 0 alone. */
static void taken_over(unsigned cpu, unsigned round)
{
    (void)round;
    if (cpu != batch) {
        put(shared);
    }
}

/* CPU 0 writes it, but not in its window: see batch_run. */
static void written_outside(unsigned cpu, unsigned round)
{
    (void)round;
    if (cpu == 1) {
        get(shared);
    }
}

static void string(unsigned cpu, unsigned round)
{
    void *to = own[cpu];
    uint32_t nr = 32;

    (void)round;
    __asm__ volatile("rep stosl" : "+D"(to), "+c"(nr) : "a"(0) : "memory");
}

static void interrupted(unsigned cpu, unsigned round)
{
    (void)round;
    put(shared);
    if (cpu == 1) {
        *(volatile uint32_t *)(APIC + APIC_EOI) = 0;
    }
}

static void interrupting(unsigned cpu, unsigned round)
{
    (void)round;
    if (cpu == 1) {
        *(volatile uint32_t *)(APIC + APIC_ICR_2) = 7u << 24; /* there is no such CPU */
        *(volatile uint32_t *)(APIC + APIC_ICR) = 0x40;
    }
}

static void (*const runs[])(unsigned cpu, unsigned round) = {
    nothing,  private,    read_both,       write_both, write_and_read, locked,
    exchange, unlocked,   false_sharing,   straddle,   recycled,       recycled_unlocked,
    prepared, taken_over, written_outside, string,     interrupted,    interrupting,
};

static void batch_begin(unsigned run, unsigned number)
{
    if (number == 0) {
        mark(MARK_RUN);
        mark(MARK_BATCH_WARM);
    } else {
        mark(MARK_BATCH);
    }
    shared = areas[run];
    batch = number;
}

static void batch_end(void)
{
    mark(MARK_BATCH_END);
    if (batch == 1) {
        mark(MARK_RUN_END);
    }
}

static void batch_run(unsigned me, unsigned run, unsigned number)
{
    for (unsigned round = 0; round < ROUNDS; round++) {
        while (turn != me) {
            __asm__ volatile("pause");
        }
        if (me == 0 && round == 0) {
            batch_begin(run, number);
        }
        if (me == 0 && runs[run] == written_outside) {
            put(shared);
        }
        mark(MARK_BEGIN);
        runs[run](me, round);
        mark(MARK_END);
        if (me == 1 && round == ROUNDS - 1) {
            batch_end();
        }
        turn = 1 - me;
    }
}

static void run_all(unsigned me)
{
    for (unsigned run = 0; run < sizeof(runs) / sizeof(runs[0]); run++) {
        batch_run(me, run, 0);
        batch_run(me, run, 1);
    }
}

static void wait_a_bit(void)
{
    for (volatile unsigned i = 0; i < 100000; i++) {
    }
}

static void second_start(void)
{
    extern const uint8_t ap_code[], ap_code_end[];
    uint8_t *to = (uint8_t *)AP_START;

    __asm__ volatile("" : "+r"(to));
    for (const uint8_t *p = ap_code; p < ap_code_end; p++) {
        *to++ = *p;
    }
    *(volatile uint32_t *)(APIC + 0xf0) = 0x1ff;
    *(volatile uint32_t *)(APIC + APIC_ICR_2) = 1u << 24;
    *(volatile uint32_t *)(APIC + APIC_ICR) = 0x4500;
    wait_a_bit();
    *(volatile uint32_t *)(APIC + APIC_ICR) = 0x4600 | AP_START >> 12;
}

void toy_second(void)
{
    *(volatile uint32_t *)(APIC + 0xf0) = 0x1ff;
    run_all(1);
    for (;;) {
        __asm__ volatile("cli; hlt");
    }
}

void toy_main(void)
{
    second_start();
    run_all(0);
    while (turn != 0) {
    }
    for (;;) {
        __asm__ volatile("outb %0, %1" : : "a"((uint8_t)0), "Nd"((uint16_t)EXIT_PORT));
    }
}

/* The multiboot header and its first instructions; what the second CPU does in real mode. */
__asm__(".section .start, \"ax\"\n"
        ".long 0x1badb002, 0, -0x1badb002\n"
        ".global _start\n"
        "_start: cli\n"
        "movl $stacks + 4096, %esp\n"
        "call toy_main\n"
        ".balign 8\n"
        "gdt: .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff\n"
        "gdt_pointer: .word 23\n"
        ".long gdt\n"
        ".global ap_code, ap_code_end\n"
        ".code16\n"
        "ap_code: cli\n"
        "xorw %ax, %ax\n"
        "movw %ax, %ds\n"
        "lgdtl 0x8000 + ap_gdt_pointer - ap_code\n"
        "movl %cr0, %eax\n"
        "orl $1, %eax\n"
        "movl %eax, %cr0\n"
        "ljmpl $8, $ap_protected\n"
        "ap_gdt_pointer: .word 23\n"
        ".long gdt\n"
        "ap_code_end:\n"
        ".code32\n"
        "ap_protected: movw $16, %ax\n"
        "movw %ax, %ds\n"
        "movw %ax, %es\n"
        "movw %ax, %ss\n"
        "movl $stacks + 8192, %esp\n"
        "call toy_second\n"
        ".text\n");
