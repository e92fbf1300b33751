// x86_64: the exception table. A kernel instruction that may fault on a user address, or on a value
// that user code chose, has an entry that says where to go on instead.
#ifndef ASM_UACCESS_H
#define ASM_UACCESS_H

// The instructions' three bytes, little endian.
#define SMAP_OP_CLAC 0xca010f
#define SMAP_OP_STAC 0xcb010f

#ifdef __ASSEMBLER__
// clang-format off
#define EX_TABLE(insn, fixup)                                                                      \
    .pushsection .ex_table, "a";                                                                   \
    .balign 8;                                                                                     \
    .quad insn, fixup;                                                                             \
    .popsection

// Open and close the door to user memory. A CPU without SMAP has no such instructions, so the
// places hold a no-op until cpu.c patches them; the table lists them with the instruction as the
// "fixup", which no address can equal.
#define SMAP_PATCH(opcode)                                                                         \
    770: nopl (%rax);                                                                              \
    EX_TABLE(770b, opcode)
#define CLAC SMAP_PATCH(SMAP_OP_CLAC)
#define STAC SMAP_PATCH(SMAP_OP_STAC)
// clang-format on
#else
#include <k/types.h>

// For inline assembly.
#define EX_TABLE(insn, fixup)                                                                      \
    ".pushsection .ex_table, \"a\"\n"                                                              \
    ".balign 8\n"                                                                                  \
    ".quad " insn ", " fixup "\n"                                                                  \
    ".popsection\n"

extern struct ex_entry {
    u64 insn, fixup;
} ex_table_start[], ex_table_end[]; // kernel.ld

// Where to go on after a fault at ip, 0 if nowhere.
u64 ex_table_find(u64 ip);
#endif
#endif
