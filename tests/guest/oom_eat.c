// TEST: smp=2 mem=32M status=137 timeout=60
// A program that writes to more memory than there is: it is killed, and the kernel lives to tell
// its status. (Faultline only.)
#include "mm_test.h"

int main(void)
{
    // More than a whole could not be mapped; parts can.
    for (int i = 0; i < 16; i++) {
        char *p = mmap(NULL, 8ul << 20, RW, ANON, -1, 0);
        MUST(p != MAP_FAILED);
        for (unsigned long at = 0; at < 8ul << 20; at += PAGE) {
            p[at] = 1;
        }
    }
    return 1; // there is no such memory
}
