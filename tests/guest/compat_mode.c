// TEST: smp=2 scheme=rcu status=139
// A far jump to the selector where Linux has its 32-bit user code: there is none here, so it must
// end in SIGSEGV. `syscall` from compatibility mode would enter the kernel where nothing expects
// it.
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define CODE 0x10000000ul

int main(void)
{
#ifdef __x86_64__
    static const struct {
        uint32_t offset;
        uint16_t selector;
    } __attribute__((packed)) far = {CODE, 0x23};
    void *p = mmap((void *)CODE, 8192, PROT_READ | PROT_WRITE | PROT_EXEC,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (p == MAP_FAILED) {
        return 1;
    }
    memcpy(p, "\x0f\x05\xf4", 3); // syscall; hlt
    __asm__ volatile("ljmp *%0" ::"m"(far));
#endif
    return 2;
}
