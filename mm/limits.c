// RLIMIT_AS and RLIMIT_DATA (getrlimit(2)): looks at words that the process itself changes, by the
// writers of an address space, which hold its edit lock. Without a process nothing is limited.

#include <mm.h>
#include <proc.h>
#include "mm_priv.h"

bool mm_within_limits(struct mm *mm, u64 nr_pages, u32 flags)
{
    struct process *p = current_process();
    if (!p) {
        return true;
    }
    u64 all = p->rlimit[RLIMIT_AS].cur >> PAGE_SHIFT;
    u64 data = p->rlimit[RLIMIT_DATA].cur >> PAGE_SHIFT;
    if (nr_pages > all || mm->total_pages > all - nr_pages) {
        return false;
    }
    return !vma_flags_are_data(flags) || (nr_pages <= data && mm->data_pages <= data - nr_pages);
}

bool mm_heap_within_limits(struct mm *mm, vaddr_t brk)
{
    struct process *p = current_process();
    return !p || brk - mm->brk_start <= p->rlimit[RLIMIT_DATA].cur;
}
