// The text files below /proc/PID and /proc/PID/task/TID, as proc(5) describes them.
//
// Each reading looks the process up by its number and asks kernel/look.c and mm/procmaps.c; of a
// process that is gone the files are empty. Figures Faultline does not keep are what Linux shows
// where it has no such thing: 0, and -1 for a terminal that is none.
#include <arch/uaccess.h>
#include <jobctl.h>
#include <k/printk.h>
#include <k/string.h>
#include <mm.h>
#include <smp.h>
#include <strace.h>
#include <uapi/time.h>
#include "proc_priv.h"

#define KIB(pages) ((unsigned long)((pages) * (PAGE_SIZE >> 10)))
#define TICK_NS    (NSEC_PER_SEC / USER_HZ)

struct process *pid_process(const struct inode *i)
{
    return process_get_by_pid(pid_of(i));
}

struct mm *pid_mm(const struct inode *i)
{
    struct process *p = pid_process(i);
    struct mm *mm = NULL;
    if (p && process_get_mm_for_file(p, &mm)) {
        mm = NULL;
    }
    if (p) {
        process_put(p);
    }
    return mm;
}

int pid_may_look(const struct inode *i)
{
    struct process *p = pid_process(i);
    int err = p ? process_may_look(p) : 0;
    if (p) {
        process_put(p);
    }
    return err;
}

// ---- Memory -----------------------------------------------------------------------------------

static size_t mm_chunk(struct inode *i, u64 *pos, char *buf, size_t size,
                       size_t (*text)(struct mm *, u64 *, char *, size_t))
{
    struct mm *mm = pid_mm(i);
    size_t n = 0;
    if (mm) {
        n = text(mm, pos, buf, size);
        mm_put(mm);
    } else {
        *pos = ~0ull;
    }
    return n;
}

static size_t maps_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    return mm_chunk(i, pos, buf, size, mm_maps_text);
}

static size_t smaps_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    return mm_chunk(i, pos, buf, size, mm_smaps_text);
}

static size_t rollup_text(struct mm *mm, u64 *pos, char *buf, size_t size)
{
    *pos = ~0ull;
    return mm_smaps_rollup_text(mm, buf, size);
}

static size_t rollup_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    return mm_chunk(i, pos, buf, size, rollup_text);
}

static size_t faultline_text(struct mm *mm, u64 *pos, char *buf, size_t size)
{
    *pos = ~0ull;
    return mm_counters_text(mm, buf, size);
}

static size_t faultline_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    return mm_chunk(i, pos, buf, size, faultline_text);
}

// The strings exec left on the stack; *pos counts their bytes.
static size_t strings_chunk(struct inode *i, bool env, u64 *pos, char *buf, size_t size)
{
    struct process *p = pid_process(i);
    struct mm *mm = !p ? NULL : env ? pid_mm(i) : process_get_mm(p);
    struct process_look l;
    size_t got = 0, n = 0;
    u64 len = 0;
    if (mm) {
        process_look(p, &l);
        vaddr_t start = env ? l.env_start : l.arg_start;
        len = (env ? l.env_end : l.arg_end) - start;
        n = *pos < len ? (size_t)min(len - *pos, (u64)size) : 0;
        got = n - (n ? mm_copy_from(mm, buf, start + *pos, n) : 0);
        mm_put(mm);
    }
    if (p) {
        process_put(p);
    }
    *pos = got == n && *pos + n < len ? *pos + n : ~0ull;
    return got;
}

static size_t cmdline_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    return strings_chunk(i, false, pos, buf, size);
}

static size_t environ_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    return strings_chunk(i, true, pos, buf, size);
}

// The words exec left at the start of the stack: argc, argv..., 0, envp..., 0, then pairs up to
// AT_NULL. *pos counts the bytes of the pairs; they are few enough for one buffer.
static size_t auxv_text(struct mm *mm, vaddr_t at, char *buf, size_t size)
{
    size_t n = 0;
    u64 pair[2] = {1, 0}, word = 0;
    if (!at || mm_copy_from(mm, &word, at, sizeof(word))) {
        return 0;
    }
    at += (word + 2) * sizeof(word);
    do {
        if (mm_copy_from(mm, &word, at, sizeof(word))) {
            return 0;
        }
        at += sizeof(word);
        cond_resched();
    } while (word && !thread_signal_pending());
    for (; n + sizeof(pair) <= size && pair[0]; n += sizeof(pair), at += sizeof(pair)) {
        if (mm_copy_from(mm, pair, at, sizeof(pair))) {
            break;
        }
        memcpy(buf + n, pair, sizeof(pair));
    }
    return n;
}

static size_t auxv_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    struct process *p = pid_process(i);
    struct mm *mm = p ? pid_mm(i) : NULL;
    struct process_look l;
    size_t n = 0;
    *pos = ~0ull;
    if (mm) {
        process_look(p, &l);
        n = auxv_text(mm, l.start_stack, buf, min(size, (size_t)1024));
        mm_put(mm);
    }
    if (p) {
        process_put(p);
    }
    return n;
}

// ---- One look at a process ----------------------------------------------------------------------

struct look {
    struct process_look p;
    struct task_look t;
    struct mm_usage mm;
    struct proc_usage usage;
    u64 tty_rdev; // of the controlling terminal, 0: none
    s32 tty_fg;   // its foreground group
    bool has_mm;
    vaddr_t brk_start;
};

// A look to be freed, or NULL. It is too big for a kernel stack.
static struct look *look_take(const struct inode *i)
{
    struct process *p = pid_process(i);
    struct look *l = p ? kzalloc(sizeof(*l), GFP_KERNEL) : NULL;
    if (l && !task_look(p, tid_of(i), &l->t)) {
        kfree(l);
        l = NULL;
    }
    struct mm *mm = l ? process_get_mm(p) : NULL;
    if (l) {
        process_look(p, &l->p);
        process_usage(p, &l->usage);
        job_tty_look(p, &l->tty_rdev, &l->tty_fg);
    }
    if (mm) {
        struct file *exe = process_get_exe(p);
        mm_usage_get(mm, exe ? exe->inode : NULL, &l->mm);
        if (exe) {
            file_put(exe);
        }
        l->has_mm = true;
        l->brk_start = mm->brk_start;
        mm_put(mm);
    }
    if (p) {
        process_put(p);
    }
    return l;
}

static size_t look_chunk(struct inode *i, u64 *pos, char *buf, size_t size,
                         size_t (*text)(const struct look *, const struct inode *, char *, size_t))
{
    struct look *l = look_take(i);
    size_t n = l ? text(l, i, buf, size) : 0;
    kfree(l);
    *pos = ~0ull;
    return n;
}

// ---- comm -------------------------------------------------------------------------------------

static size_t comm_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    struct process *p = pid_process(i);
    struct task_look t;
    size_t n = p && task_look(p, tid_of(i), &t) ? text_add(buf, size, 0, "%s\n", t.name) : 0;
    if (p) {
        process_put(p);
    }
    *pos = ~0ull;
    return n;
}

// As on Linux, for threads of the caller's own process only.
static int comm_store(struct inode *i, const char *text)
{
    struct process *p = current_process();
    return p && p->pid == pid_of(i) ? task_set_name(p, tid_of(i), text) : -EINVAL;
}

// ---- status -----------------------------------------------------------------------------------

static const char *state_name(char c)
{
    switch (c) {
    case 'R':
        return "R (running)";
    case 'S':
        return "S (sleeping)";
    case 'D':
        return "D (disk sleep)";
    case 'T':
        return "T (stopped)";
    case 'Z':
        return "Z (zombie)";
    default:
        return "X (dead)";
    }
}

static size_t status_memory(const struct look *l, char *buf, size_t size, size_t n)
{
    const struct mm_usage *u = &l->mm;
    u64 rss = (u64)(u->anon + u->file);
    n = text_add(buf, size, n,
                 "VmPeak:\t%8lu kB\nVmSize:\t%8lu kB\nVmLck:\t%8lu kB\nVmPin:\t%8u kB\n"
                 "VmHWM:\t%8lu kB\nVmRSS:\t%8lu kB\nRssAnon:\t%8lu kB\nRssFile:\t%8lu kB\n"
                 "RssShmem:\t%8u kB\n",
                 KIB(u->peak_total), KIB(u->total), KIB(u->locked), 0, KIB(u->peak_rss), KIB(rss),
                 KIB((u64)u->anon), KIB((u64)u->file), 0);
    return text_add(buf, size, n,
                    "VmData:\t%8lu kB\nVmStk:\t%8lu kB\nVmExe:\t%8lu kB\nVmLib:\t%8lu kB\n"
                    "VmPTE:\t%8lu kB\nVmSwap:\t%8u kB\nHugetlbPages:\t%8u kB\n"
                    "CoreDumping:\t0\nTHP_enabled:\t0\n",
                    KIB(u->data - min(u->data, u->stack)), KIB(u->stack), KIB(u->exec), KIB(u->lib),
                    KIB((u64)u->tables), 0, 0);
}

// A CPU mask as words of 32 bits, and as ranges.
static size_t mask_text(u64 mask, char *buf, size_t size, size_t n)
{
    unsigned last = max(nr_cpus, 1u) - 1;
    mask &= ~0ull >> (63 - last);
    n = text_add(buf, size, n, "Cpus_allowed:\t");
    n = last >= 32 ? text_add(buf, size, n, "%08x,%08x\n", (u32)(mask >> 32), (u32)mask)
                   : text_add(buf, size, n, "%x\n", (u32)mask);
    n = text_add(buf, size, n, "Cpus_allowed_list:\t");
    const char *comma = "";
    for (unsigned c = 0; c <= last; c++) {
        unsigned from = c;
        if (!(mask >> c & 1)) {
            continue;
        }
        while (c < last && mask >> (c + 1) & 1) {
            c++;
        }
        n = from == c ? text_add(buf, size, n, "%s%u", comma, from)
                      : text_add(buf, size, n, "%s%u-%u", comma, from, c);
        comma = ",";
    }
    return text_add(buf, size, n, "\n");
}

static size_t status_signals(const struct look *l, char *buf, size_t size, size_t n)
{
    return text_add(buf, size, n,
                    "Threads:\t%u\nSigQ:\t%u/%lu\nSigPnd:\t%016lx\nShdPnd:\t%016lx\n"
                    "SigBlk:\t%016lx\nSigIgn:\t%016lx\nSigCgt:\t%016lx\n",
                    l->p.nr_threads ? l->p.nr_threads : 1, l->p.nr_sigqueue,
                    (unsigned long)l->p.rlimit[RLIMIT_SIGPENDING].cur,
                    (unsigned long)l->t.sig_pending, (unsigned long)l->p.sig_pending,
                    (unsigned long)l->t.sig_blocked, (unsigned long)l->p.sig_ignored,
                    (unsigned long)l->p.sig_caught);
}

static size_t status_text(const struct look *l, const struct inode *i, char *buf, size_t size)
{
    const struct creds *c = &l->p.cred;
    s32 tid = tid_of(i) ? tid_of(i) : l->p.pid;
    size_t n = text_add(
        buf, size, 0,
        "Name:\t%s\nUmask:\t%04o\nState:\t%s\nTgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\n"
        "TracerPid:\t0\nUid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\nFDSize:\t%u\nGroups:\t \n"
        "NStgid:\t%d\nNSpid:\t%d\nNSpgid:\t%d\nNSsid:\t%d\n",
        l->t.name, l->p.umask, state_name(l->t.state), l->p.pid, tid, l->p.ppid, c->uid, c->euid,
        c->suid, c->fsuid, c->gid, c->egid, c->sgid, c->fsgid, 64, l->p.pid, tid, l->p.pgid,
        l->p.sid);
    if (l->has_mm) {
        n = status_memory(l, buf, size, n);
    }
    n = status_signals(l, buf, size, n);
    n = text_add(buf, size, n,
                 "CapInh:\t%016lx\nCapPrm:\t%016lx\nCapEff:\t%016lx\nCapBnd:\t%016lx\n"
                 "CapAmb:\t%016lx\nNoNewPrivs:\t%u\nSeccomp:\t0\nSeccomp_filters:\t0\n",
                 (unsigned long)c->cap_inheritable, (unsigned long)c->cap_permitted,
                 (unsigned long)c->cap_effective, (unsigned long)c->cap_bounding,
                 (unsigned long)c->cap_ambient, l->p.flags.no_new_privs);
    n = mask_text(l->t.affinity, buf, size, n);
    return text_add(buf, size, n,
                    "Mems_allowed:\t1\nMems_allowed_list:\t0\nvoluntary_ctxt_switches:\t%u\n"
                    "nonvoluntary_ctxt_switches:\t%u\n",
                    l->t.switches_asked, l->t.switches_forced);
}

static size_t status_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    return look_chunk(i, pos, buf, size, status_text);
}

// ---- stat -------------------------------------------------------------------------------------

static size_t stat_text(const struct look *l, const struct inode *i, char *buf, size_t size)
{
    bool one = tid_of(i);
    const struct process_look *p = &l->p;
    u64 rss = (u64)(l->mm.anon + l->mm.file);
    size_t n = text_add(
        buf, size, 0, "%d (%s) %c %d %d %d %d %d 0 %lu %lu %lu %lu ", one ? tid_of(i) : p->pid,
        l->t.name, l->t.state, p->ppid, p->pgid, p->sid, (s32)l->tty_rdev, l->tty_fg,
        (unsigned long)l->usage.minor_faults, (unsigned long)p->child_usage.minor_faults,
        (unsigned long)l->usage.major_faults, (unsigned long)p->child_usage.major_faults);
    n = text_add(buf, size, n, "%lu %lu %lu %lu %d %d %u 0 %lu %lu %lu %lu ",
                 (unsigned long)((one ? l->t.user_ns : p->user_ns) / TICK_NS),
                 (unsigned long)((one ? l->t.kernel_ns : p->kernel_ns) / TICK_NS),
                 (unsigned long)(p->child_usage.user_ns / TICK_NS),
                 (unsigned long)(p->child_usage.kernel_ns / TICK_NS), 20 + l->t.nice, l->t.nice,
                 p->nr_threads ? p->nr_threads : 1, (unsigned long)(p->start_ns / TICK_NS),
                 (unsigned long)(l->mm.total << PAGE_SHIFT), (unsigned long)rss,
                 (unsigned long)p->rlimit[RLIMIT_RSS].cur);
    // Code: 1 and 1, as Linux shows who may not look; kernel stack and instruction pointers: 0.
    n = text_add(buf, size, n, "1 1 %lu 0 0 %lu %lu %lu %lu 0 0 0 17 %u 0 0 0 0 0 ",
                 (unsigned long)p->start_stack, (unsigned long)l->t.sig_pending,
                 (unsigned long)l->t.sig_blocked, (unsigned long)(p->sig_ignored & 0x7fffffff),
                 (unsigned long)(p->sig_caught & 0x7fffffff), l->t.cpu);
    return text_add(buf, size, n, "0 0 %lu %lu %lu %lu %lu %d\n", (unsigned long)l->brk_start,
                    (unsigned long)p->arg_start, (unsigned long)p->arg_end,
                    (unsigned long)p->env_start, (unsigned long)p->env_end,
                    p->nr_threads ? 0 : p->exit_status);
}

static size_t stat_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    return look_chunk(i, pos, buf, size, stat_text);
}

static size_t statm_text(const struct look *l, const struct inode *i, char *buf, size_t size)
{
    const struct mm_usage *u = &l->mm;
    (void)i;
    return text_add(buf, size, 0, "%lu %lu %lu %lu 0 %lu 0\n", (unsigned long)u->total,
                    (unsigned long)(u->anon + u->file), (unsigned long)u->file,
                    (unsigned long)u->exec, (unsigned long)u->data);
}

static size_t statm_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    return look_chunk(i, pos, buf, size, statm_text);
}

// ---- The small ones ---------------------------------------------------------------------------

static size_t limit_value(u64 v, char *buf, size_t size, size_t n)
{
    return v == RLIM_INFINITY ? text_add(buf, size, n, "%-21s", "unlimited")
                              : text_add(buf, size, n, "%-21lu", (unsigned long)v);
}

static size_t limits_text(const struct look *l, const struct inode *i, char *buf, size_t size)
{
    static const char *const names[RLIM_NLIMITS][2] = {
        [RLIMIT_CPU] = {"Max cpu time", "seconds"},
        [RLIMIT_FSIZE] = {"Max file size", "bytes"},
        [RLIMIT_DATA] = {"Max data size", "bytes"},
        [RLIMIT_STACK] = {"Max stack size", "bytes"},
        [RLIMIT_CORE] = {"Max core file size", "bytes"},
        [RLIMIT_RSS] = {"Max resident set", "bytes"},
        [RLIMIT_NPROC] = {"Max processes", "processes"},
        [RLIMIT_NOFILE] = {"Max open files", "files"},
        [RLIMIT_MEMLOCK] = {"Max locked memory", "bytes"},
        [RLIMIT_AS] = {"Max address space", "bytes"},
        [RLIMIT_LOCKS] = {"Max file locks", "locks"},
        [RLIMIT_SIGPENDING] = {"Max pending signals", "signals"},
        [RLIMIT_MSGQUEUE] = {"Max msgqueue size", "bytes"},
        [RLIMIT_NICE] = {"Max nice priority", ""},
        [RLIMIT_RTPRIO] = {"Max realtime priority", ""},
        [RLIMIT_RTTIME] = {"Max realtime timeout", "us"},
    };
    size_t n = text_add(buf, size, 0, "%-26s%-21s%-21s%-10s\n", "Limit", "Soft Limit", "Hard Limit",
                        "Units");
    (void)i;
    for (unsigned k = 0; k < RLIM_NLIMITS; k++) {
        n = text_add(buf, size, n, "%-26s", names[k][0]);
        n = limit_value(l->p.rlimit[k].cur, buf, size, n);
        n = limit_value(l->p.rlimit[k].max, buf, size, n);
        n = text_add(buf, size, n, "%-10s\n", names[k][1]);
    }
    return n;
}

static size_t limits_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    return look_chunk(i, pos, buf, size, limits_text);
}

static size_t oom_adj_text(const struct look *l, const struct inode *i, char *buf, size_t size)
{
    (void)i;
    return text_add(buf, size, 0, "%d\n", l->p.flags.oom_score_adj);
}

static size_t oom_adj_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    return look_chunk(i, pos, buf, size, oom_adj_text);
}

static size_t personality_text(const struct look *l, const struct inode *i, char *buf, size_t size)
{
    (void)i;
    return text_add(buf, size, 0, "%08x\n", l->p.flags.personality);
}

static size_t personality_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    return look_chunk(i, pos, buf, size, personality_text);
}

// Kept and shown; who runs out of memory dies, whatever the score.
static int oom_adj_store(struct inode *i, const char *text)
{
    bool minus = *text == '-';
    const char *end;
    s64 v = (s64)parse_u64(text + minus, &end);
    if (end == text + minus || *end || v < 0 || v > 1000) {
        return -EINVAL;
    }
    struct process *p = pid_process(i);
    if (!p) {
        return -ESRCH;
    }
    spin_lock(&p->lock);
    p->flags.oom_score_adj = (int)(minus ? -v : v);
    spin_unlock(&p->lock);
    process_put(p);
    return 0;
}

static size_t strace_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    struct process *p = pid_process(i);
    size_t n = p ? text_add(buf, size, 0, "%u\n", load_relaxed(&p->strace)) : 0;
    if (p) {
        process_put(p);
    }
    *pos = ~0ull;
    return n;
}

static int strace_store(struct inode *i, const char *text)
{
    struct process *p = pid_process(i);
    bool good = (text[0] == '0' || text[0] == '1') && !text[1];
    if (p && good) {
        strace_set(p, text[0] == '1');
    }
    if (p) {
        process_put(p);
    }
    return !p ? -ESRCH : good ? 0 : -EINVAL;
}

// The same text for every process.
static size_t fixed_chunk(u64 *pos, char *buf, size_t size, const char *text)
{
    *pos = ~0ull;
    return text_add(buf, size, 0, "%s", text);
}

static size_t cgroup_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    (void)i;
    return fixed_chunk(pos, buf, size, "0::/\n");
}

static size_t wchan_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    (void)i;
    return fixed_chunk(pos, buf, size, "0");
}

static size_t id_map_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    (void)i;
    return fixed_chunk(pos, buf, size, "         0          0 4294967295\n");
}

static size_t mounts_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    (void)i;
    return mounts_text(pos, buf, size, false);
}

static size_t mountinfo_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    (void)i;
    return mounts_text(pos, buf, size, true);
}

static const struct pid_file files[] = {
    {"maps", 0444, .text = {.may_open = pid_may_look, .chunk = maps_chunk}},
    {"smaps", 0444, .text = {.may_open = pid_may_look, .chunk = smaps_chunk}},
    {"smaps_rollup", 0444, .text = {.may_open = pid_may_look, .chunk = rollup_chunk}},
    {"cmdline", 0444, .text = {.chunk = cmdline_chunk}},
    {"environ", 0400, .text = {.may_open = pid_may_look, .chunk = environ_chunk}},
    {"auxv", 0400, .text = {.may_open = pid_may_look, .chunk = auxv_chunk}},
    {"comm", 0644, .text = {.chunk = comm_chunk, .store = comm_store}},
    {"status", 0444, .text = {.chunk = status_chunk}},
    {"stat", 0444, .text = {.chunk = stat_chunk}},
    {"statm", 0444, .text = {.chunk = statm_chunk}},
    {"limits", 0444, .text = {.chunk = limits_chunk}},
    {"oom_score_adj", 0644, .text = {.chunk = oom_adj_chunk, .store = oom_adj_store}},
    {"cgroup", 0444, .text = {.chunk = cgroup_chunk}},
    {"wchan", 0444, .text = {.chunk = wchan_chunk}},
    {"personality", 0400, .text = {.chunk = personality_chunk}},
    {"uid_map", 0444, .text = {.chunk = id_map_chunk}},
    {"gid_map", 0444, .text = {.chunk = id_map_chunk}},
    {"mounts", 0444, .text = {.chunk = mounts_chunk}},
    {"faultline", 0444, .text = {.may_open = pid_may_look, .chunk = faultline_chunk}},
    {"faultline_strace", 0644, .process_only = true,
     .text = {.chunk = strace_chunk, .store = strace_store}},
    {"mountinfo", 0444, .text = {.chunk = mountinfo_chunk}},
};

const struct pid_file *pid_text_file(unsigned n)
{
    return n < array_size(files) ? &files[n] : NULL;
}
