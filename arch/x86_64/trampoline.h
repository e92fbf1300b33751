// The page in the first MiB where secondary CPUs start. Also included by assembly.
#ifndef X86_64_TRAMPOLINE_H
#define X86_64_TRAMPOLINE_H

#define TRAMPOLINE_PA 0x8000

#endif
