// Looks a return address up in the symbol tables. They are sorted by address; tools/ksyms writes
// them from the first link's symbols. The weak, empty ones here make that first link possible. They
// are not C objects, because the compiler would believe their sizes and values.
#include <ksyms.h>

__asm__(".pushsection .rodata.ksyms_none, \"a\"\n"
        ".weak ksyms_nr, ksyms_addr, ksyms_name_off, ksyms_names\n"
        ".type ksyms_nr, %object; .type ksyms_addr, %object\n" // not functions, to nm
        ".type ksyms_name_off, %object; .type ksyms_names, %object\n"
        ".balign 8\n"
        "ksyms_nr:\n"
        "ksyms_addr:\n"
        "ksyms_name_off:\n"
        "ksyms_names:\n"
        ".quad 0\n"
        ".popsection\n");

extern const u64 ksyms_nr;
extern const u64 ksyms_addr[];
extern const u32 ksyms_name_off[];
extern const char ksyms_names[];

bool ksym_lookup(u64 addr, const char **name, u64 *off)
{
    u64 low = 0, high = ksyms_nr; // the last entry not above addr is in [low, high)
    if (high == 0 || addr < ksyms_addr[0]) {
        return false;
    }
    while (high - low > 1) {
        u64 mid = low + (high - low) / 2;
        if (ksyms_addr[mid] <= addr) {
            low = mid;
        } else {
            high = mid;
        }
    }
    *name = ksyms_names + ksyms_name_off[low];
    *off = addr - ksyms_addr[low];
    return true;
}
