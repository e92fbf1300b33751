/* Touching user memory: loops whose instructions may fault, see asm/uaccess.h. The callers in
   uaccess.c have checked the range. */
#include <asm/uaccess.h>
#include <k/errno.h>

    .macro FUNCTION name
    .globl \name
    .type \name, @function
\name:
    .endm

    .text

/* size_t user_copy(void *dst, const void *src, size_t n): bytes not copied; either may be the
   user's. A fault among the words goes on bytewise, to stop at the exact byte. */
FUNCTION user_copy
    mov %rdx, %rcx
    shr $3, %rcx
    and $7, %edx
    STAC
1:  rep movsq
    mov %edx, %ecx
2:  rep movsb
3:  CLAC
    mov %rcx, %rax
    ret
4:  lea (%rdx, %rcx, 8), %rcx
    jmp 2b
    EX_TABLE(1b, 4b)
    EX_TABLE(2b, 3b)
    .size user_copy, . - user_copy

/* size_t user_clear(void *dst, size_t n): bytes not cleared. */
FUNCTION user_clear
    mov %rsi, %rcx
    shr $3, %rcx
    and $7, %esi
    xor %eax, %eax
    STAC
1:  rep stosq
    mov %esi, %ecx
2:  rep stosb
3:  CLAC
    mov %rcx, %rax
    ret
4:  lea (%rsi, %rcx, 8), %rcx
    jmp 2b
    EX_TABLE(1b, 4b)
    EX_TABLE(2b, 3b)
    .size user_clear, . - user_clear

/* ssize_t user_strncpy(char *dst, const char *src, size_t max): length, max if no NUL, -EFAULT. */
FUNCTION user_strncpy
    xor %eax, %eax
    STAC
1:  cmp %rdx, %rax
    je 3f
2:  movzbl (%rsi, %rax), %ecx
    mov %cl, (%rdi, %rax)
    test %cl, %cl
    jz 3f
    inc %rax
    jmp 1b
3:  CLAC
    ret
4:  mov $-EFAULT, %rax
    jmp 3b
    EX_TABLE(2b, 4b)
    .size user_strncpy, . - user_strncpy

/* int user_load32(const u32 *addr, u32 *out) */
FUNCTION user_load32
    STAC
1:  mov (%rdi), %edx
    CLAC
    mov %edx, (%rsi)
    xor %eax, %eax
    ret
2:  CLAC
    mov $-EFAULT, %eax
    ret
    EX_TABLE(1b, 2b)
    .size user_load32, . - user_load32

/* int user_cas32(u32 *addr, u32 *expected, u32 desired) */
FUNCTION user_cas32
    mov (%rsi), %eax
    STAC
1:  lock cmpxchg %edx, (%rdi)
    CLAC
    mov %eax, (%rsi)
    xor %eax, %eax
    ret
2:  CLAC
    mov $-EFAULT, %eax
    ret
    EX_TABLE(1b, 2b)
    .size user_cas32, . - user_cas32

/* From here to nofault_end a fault goes to its fix-up at once, whatever the address. */
    .globl nofault_start
nofault_start:

/* int user_load32_nofault(const u32 *addr, u32 *out) */
FUNCTION user_load32_nofault
    STAC
1:  mov (%rdi), %edx
    CLAC
    mov %edx, (%rsi)
    xor %eax, %eax
    ret
2:  CLAC
    mov $-EFAULT, %eax
    ret
    EX_TABLE(1b, 2b)
    .size user_load32_nofault, . - user_load32_nofault

/* bool kernel_probe(u64 addr, u64 *out): read a kernel word that may not be mapped (backtraces). */
FUNCTION kernel_probe
1:  mov (%rdi), %rdx
    mov %rdx, (%rsi)
    mov $1, %eax
    ret
2:  xor %eax, %eax
    ret
    EX_TABLE(1b, 2b)
    .size kernel_probe, . - kernel_probe

    .globl nofault_end
nofault_end:

    .section .note.GNU-stack, "", %progbits
