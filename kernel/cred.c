// Who a process is: user and group numbers, capabilities.
//
// They are kept, inherited and changed by Linux's rules: credentials(7), capabilities(7). What they
// allow is asked where it is done: for files in fs/perm.c, here for what one process may do to
// another.
//
// On Linux these belong to a thread, and the C library sets them in all threads one by one. Here
// they belong to the process: the first thread's call sets them, the others' change nothing.
#include <arch/uaccess.h>
#include <fs.h>
#include <k/errno.h>
#include <k/string.h>
#include <mm.h>
#include <proc.h>
#include <slab.h>
#include <syscalls.h>
#include <uapi/misc.h>

#include "proc_priv.h"

#define GROUPS_MAX         65536
#define CAP_ALL            ((1ull << 41) - 1) // CAP_CHECKPOINT_RESTORE is the last
#define CAP_SYS_PTRACE_BIT (1ull << CAP_SYS_PTRACE)
#define KEEP               CRED_KEEP // (uid_t)-1: leave it

struct cred_groups {
    atomic_int ref;
    unsigned nr; // [I]
    u32 id[];    // [I] in ascending order
};

void creds_init(struct creds *c)
{
    *c =
        (struct creds){.cap_permitted = CAP_ALL, .cap_effective = CAP_ALL, .cap_bounding = CAP_ALL};
}

struct cred_groups *cred_groups_get(struct cred_groups *g)
{
    if (g) {
        fetch_add_relaxed(&g->ref, 1);
    }
    return g;
}

void cred_groups_put(struct cred_groups *g)
{
    if (g && atomic_fetch_sub(&g->ref, 1) == 1) { // who frees sees what the others did before
        kfree(g);
    }
}

struct creds creds_now(void)
{
    struct process *p = current_process();
    struct creds c;

    if (!p) { // process 1 is being made
        creds_init(&c);
        return c;
    }
    spin_lock(&p->lock);
    c = p->cred;
    spin_unlock(&p->lock);
    return c;
}

bool current_in_group(u32 gid)
{
    struct process *p = current_process();
    struct cred_groups *g;
    bool found = false;

    if (!p) {
        return false;
    }
    spin_lock(&p->lock);
    g = cred_groups_get(p->cred.groups);
    spin_unlock(&p->lock);
    for (unsigned from = 0, to = g ? g->nr : 0; from < to && !found;) {
        unsigned mid = from + (to - from) / 2;

        found = g->id[mid] == gid;
        if (g->id[mid] < gid) {
            from = mid + 1;
        } else {
            to = mid;
        }
    }
    cred_groups_put(g);
    return found;
}

s64 sys_getuid(const u64 *a)
{
    (void)a;
    return creds_now().uid;
}

s64 sys_geteuid(const u64 *a)
{
    (void)a;
    return creds_now().euid;
}

s64 sys_getgid(const u64 *a)
{
    (void)a;
    return creds_now().gid;
}

s64 sys_getegid(const u64 *a)
{
    (void)a;
    return creds_now().egid;
}

static s64 three_to_user(const u64 *a, u32 r, u32 e, u32 s)
{
    return arch_copy_to_user((void *)a[0], &r, sizeof(r)) ||
                   arch_copy_to_user((void *)a[1], &e, sizeof(e)) ||
                   arch_copy_to_user((void *)a[2], &s, sizeof(s))
               ? -EFAULT
               : 0;
}

s64 sys_getresuid(const u64 *a)
{
    struct creds c = creds_now();

    return three_to_user(a, c.uid, c.euid, c.suid);
}

s64 sys_getresgid(const u64 *a)
{
    struct creds c = creds_now();

    return three_to_user(a, c.gid, c.egid, c.sgid);
}

// PTRACE_MODE_ATTACH_REALCREDS of ptrace(2).
static bool may_trace_locked(struct process *p, const struct creds *me)
{
    const struct creds *c = &p->cred;

    spin_assert_held(&p->lock);
    return p == current_process() || (me->cap_effective & CAP_SYS_PTRACE_BIT) ||
           (c->uid == me->uid && c->euid == me->uid && c->suid == me->uid && c->gid == me->gid &&
            c->egid == me->gid && c->sgid == me->gid && p->flags.dumpable == 1 &&
            !(c->cap_permitted & ~me->cap_permitted));
}

// One section, in which neither p's numbers nor its memory change. With two, who was root comes
// by between them:
//
//      looker                              p
//      mm = that of root's program
//                                          setuid: dumpable = 0
//                                          execve: dumpable = 1, another mm
//      may trace: the user's own process
static int get_mm(struct process *p, const struct creds *me, struct mm **out)
{
    int err = 0;

    spin_lock(&p->lock);
    if (!p->nr_threads || !p->mm) {
        err = -ESRCH;
    } else if (!may_trace_locked(p, me)) {
        err = -EPERM;
    } else {
        *out = p->mm;
        mm_get(p->mm);
    }
    spin_unlock(&p->lock);
    return err;
}

int creds_get_mm(struct process *p, struct mm **out)
{
    struct creds me = creds_now();

    return get_mm(p, &me, out);
}

int creds_get_files(struct process *p, struct files **out)
{
    struct creds me = creds_now();
    int err = 0;

    spin_lock(&p->lock);
    if (!p->nr_threads || !p->files) {
        err = -ESRCH;
    } else if (!may_trace_locked(p, &me)) {
        err = -EPERM;
    } else {
        *out = files_get(p->files);
    }
    spin_unlock(&p->lock);
    return err;
}

// PTRACE_MODE_READ_FSCREDS: files of /proc ask who asks for files.
static struct creds file_creds(void)
{
    struct creds me = creds_now();

    me.uid = me.fsuid;
    me.gid = me.fsgid;
    me.cap_permitted = me.cap_effective;
    return me;
}

int process_get_mm_for_file(struct process *p, struct mm **out)
{
    struct creds me = file_creds();
    int err = get_mm(p, &me, out);

    return err == -EPERM ? -EACCES : err;
}

int process_may_look(struct process *p)
{
    struct creds me = file_creds();
    bool may;

    spin_lock(&p->lock);
    may = may_trace_locked(p, &me);
    spin_unlock(&p->lock);
    return may ? 0 : -EACCES;
}

// kill(2), "DESCRIPTION".
int creds_may_signal(struct process *p, int sig)
{
    struct process *self = current_process();
    struct creds me = creds_now(), c;
    s32 sid;

    spin_lock(&p->lock);
    c = p->cred;
    sid = p->sid;
    spin_unlock(&p->lock);
    if (p == self || me.euid == c.uid || me.euid == c.suid || me.uid == c.uid || me.uid == c.suid ||
        current_has_cap(CAP_KILL)) {
        return 0;
    }
    return sig == SIGCONT && sid == self->sid ? 0 : -EPERM;
}

bool creds_own_locked(struct process *p)
{
    u32 me = data_race(current_process()->cred.euid); // a look: p is locked, so we cannot be

    spin_assert_held(&p->lock);
    return p->cred.uid == me || p->cred.euid == me || current_has_cap(CAP_SYS_NICE);
}

// Who has given capabilities up does not slow down those who have not.
bool creds_reach_locked(struct process *p)
{
    spin_assert_held(&p->lock);
    u64 me = data_race(current_process()->cred.cap_permitted); // the same

    return !(p->cred.cap_permitted & ~me) || current_has_cap(CAP_SYS_NICE);
}

bool creds_may_schedule_locked(struct process *p)
{
    return creds_own_locked(p) && creds_reach_locked(p);
}

bool creds_may_schedule(struct process *p)
{
    bool may;

    spin_lock(&p->lock);
    may = creds_may_schedule_locked(p);
    spin_unlock(&p->lock);
    return may;
}

// --- Changing them -------------------------------------------------------------------------------

// Leaving root takes the capabilities along, and coming back brings the effective ones
// (capabilities(7), "Effect of user ID changes"), unless a process has asked for numbers that are
// just numbers.
static void caps_follow(struct creds *c, u32 uid, u32 euid, u32 suid)
{
    bool was_root = !uid || !euid || !suid;
    bool is_root = !c->uid || !c->euid || !c->suid;

    if (c->securebits & SECBIT_NO_SETUID_FIXUP) {
        return;
    }
    if (was_root && !is_root) {
        if (!(c->securebits & SECBIT_KEEP_CAPS)) {
            c->cap_permitted = 0;
            c->cap_effective = 0;
        }
        c->cap_ambient = 0;
    }
    if (!euid && c->euid) {
        c->cap_effective = 0;
    } else if (euid && !c->euid) {
        c->cap_effective = c->cap_permitted;
    }
}

// setfsuid takes along, and brings back, what is about files: CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH,
// FOWNER, FSETID, LINUX_IMMUTABLE, MKNOD and MAC_OVERRIDE (capabilities(7), the same place).
#define CAPS_OF_FILES (0x1full | 1ull << 9 | 1ull << 27 | 1ull << 32)

static void caps_follow_fs(struct creds *c, u32 fsuid)
{
    if (c->securebits & SECBIT_NO_SETUID_FIXUP) {
        return;
    }
    if (!fsuid && c->fsuid) {
        c->cap_effective &= ~CAPS_OF_FILES;
    } else if (fsuid && !c->fsuid) {
        c->cap_effective |= c->cap_permitted & CAPS_OF_FILES;
    }
}

// Who changes who it is may hold what was another's: nobody else looks into it until it has called
// execve (prctl(2), PR_SET_DUMPABLE).
static void dumpable_follow(struct process *p, bool changed)
{
    if (changed) {
        p->flags.dumpable = 0;
    }
}

// A process's user numbers, or its group numbers: the rules are the same for both.
struct ids {
    u32 real, effective, saved, fs;
};

static struct ids ids_of(const struct creds *c, bool groups)
{
    return groups ? (struct ids){c->gid, c->egid, c->sgid, c->fsgid}
                  : (struct ids){c->uid, c->euid, c->suid, c->fsuid};
}

static void ids_set_locked(struct process *p, bool groups, struct ids n)
{
    struct creds *c = &p->cred;
    struct ids old = ids_of(c, groups);

    if (groups) {
        c->gid = n.real;
        c->egid = n.effective;
        c->sgid = n.saved;
        c->fsgid = n.fs;
    } else {
        c->uid = n.real;
        c->euid = n.effective;
        c->suid = n.saved;
        c->fsuid = n.fs;
        caps_follow(c, old.real, old.effective, old.saved);
    }
    dumpable_follow(p, old.effective != n.effective || old.fs != n.fs);
}

// What a call makes of the numbers: 0 or -EPERM. root: it may set them to anything, which is what
// CAP_SETUID and CAP_SETGID are for.
typedef int (*ids_rule)(struct ids *n, const u32 *want, bool root);

static bool one_of_three(u32 id, u32 r, u32 e, u32 s)
{
    return id == KEEP || id == r || id == e || id == s;
}

static u32 id_or(u32 want, u32 old)
{
    return want == KEEP ? old : want;
}

static int rule_setres(struct ids *n, const u32 *want, bool root)
{
    for (int i = 0; i < 3; i++) {
        if (!root && !one_of_three(want[i], n->real, n->effective, n->saved)) {
            return -EPERM;
        }
    }
    n->real = id_or(want[0], n->real);
    n->effective = n->fs = id_or(want[1], n->effective);
    n->saved = id_or(want[2], n->saved);
    return 0;
}

// The saved number becomes the effective one when the real one is set, or the effective one is to
// something else than the real one was (setreuid(2)).
static int rule_setre(struct ids *n, const u32 *want, bool root)
{
    u32 r = want[0], e = want[1];
    bool saved = r != KEEP || (e != KEEP && e != n->real);

    if (!root && (!one_of_three(r, n->real, n->effective, n->real) ||
                  !one_of_three(e, n->real, n->effective, n->saved))) {
        return -EPERM;
    }
    n->real = id_or(r, n->real);
    n->effective = n->fs = id_or(e, n->effective);
    n->saved = saved ? n->effective : n->saved;
    return 0;
}

// Root sets all three; others only the effective one, to one they have.
static int rule_set(struct ids *n, const u32 *want, bool root)
{
    if (root) {
        n->real = n->saved = want[0];
    } else if (want[0] != n->real && want[0] != n->saved) {
        return -EPERM;
    }
    n->effective = n->fs = want[0];
    return 0;
}

static int rule_setfs(struct ids *n, const u32 *want, bool root)
{
    if (root || want[0] == n->fs || one_of_three(want[0], n->real, n->effective, n->saved)) {
        n->fs = id_or(want[0], n->fs);
    }
    return 0;
}

// want: as many of the call's arguments as the rule looks at. *before: what they were.
static int ids_change(bool groups, const u64 *a, ids_rule rule, struct ids *before)
{
    u32 want[3] = {(u32)a[0], (u32)a[1], (u32)a[2]};
    struct process *p = current_process();
    struct account *spare = groups ? NULL : account_alloc(), *account = NULL;
    struct creds old;
    struct ids n;
    bool changed;
    int err;

    spin_lock(&p->lock);
    old = p->cred;
    n = *before = ids_of(&p->cred, groups);
    err = rule(&n, want, current_has_cap(groups ? CAP_SETGID : CAP_SETUID));
    if (!err && !groups && n.real != before->real) {
        account = account_of(n.real, &spare);
        err = account ? 0 : -EAGAIN; // setuid(2)
    }
    if (!err) {
        ids_set_locked(p, groups, n);
        account = account ? account_move_locked(p, account) : NULL;
        if (rule == rule_setfs && !groups) {
            caps_follow_fs(&p->cred, before->fs);
        }
    }
    changed = creds_change(&old, &p->cred);
    spin_unlock(&p->lock);
    account_put(account); // the old one
    account_free(spare);
    if (changed) { // prctl(2), PR_SET_PDEATHSIG
        family_forget_pdeath(p);
    }
    return err;
}

static int ids_call(bool groups, const u64 *a, ids_rule rule)
{
    struct ids before;

    return ids_change(groups, a, rule, &before);
}

s64 sys_setresuid(const u64 *a)
{
    return ids_call(false, a, rule_setres);
}

s64 sys_setresgid(const u64 *a)
{
    return ids_call(true, a, rule_setres);
}

s64 sys_setreuid(const u64 *a)
{
    return ids_call(false, a, rule_setre);
}

s64 sys_setregid(const u64 *a)
{
    return ids_call(true, a, rule_setre);
}

s64 sys_setuid(const u64 *a)
{
    return (u32)a[0] == KEEP ? -EINVAL : ids_call(false, a, rule_set);
}

s64 sys_setgid(const u64 *a)
{
    return (u32)a[0] == KEEP ? -EINVAL : ids_call(true, a, rule_set);
}

// These two report no error, but the number from before (setfsuid(2)).
s64 sys_setfsuid(const u64 *a)
{
    struct ids before;

    ids_change(false, a, rule_setfs, &before);
    return before.fs;
}

s64 sys_setfsgid(const u64 *a)
{
    struct ids before;

    ids_change(true, a, rule_setfs, &before);
    return before.fs;
}

// --- Supplementary groups ------------------------------------------------------------------------

s64 sys_getgroups(const u64 *a)
{
    struct process *p = current_process();
    struct cred_groups *g;
    s64 r;

    if ((int)a[0] < 0) {
        return -EINVAL;
    }
    spin_lock(&p->lock);
    g = cred_groups_get(p->cred.groups);
    spin_unlock(&p->lock);
    r = g ? g->nr : 0;
    if (a[0] && (s64)(int)a[0] < r) {
        r = -EINVAL;
    } else if (a[0] && r && arch_copy_to_user((void *)a[1], g->id, (size_t)r * sizeof(u32))) {
        r = -EFAULT;
    }
    cred_groups_put(g);
    return r;
}

// The largest of a heap goes to its end, again and again (Williams, "Heapsort", 1964).
static void sift_down(u32 *id, unsigned at, unsigned nr)
{
    for (unsigned child; (child = 2 * at + 1) < nr; at = child) {
        u32 moved = id[at];

        child += child + 1 < nr && id[child] < id[child + 1];
        if (moved >= id[child]) {
            return;
        }
        id[at] = id[child];
        id[child] = moved;
    }
}

static void groups_sort(struct cred_groups *g)
{
    for (unsigned i = g->nr / 2; i-- > 0;) {
        sift_down(g->id, i, g->nr);
    }
    for (unsigned i = g->nr; i-- > 1;) {
        u32 largest = g->id[0];

        g->id[0] = g->id[i];
        g->id[i] = largest;
        sift_down(g->id, 0, i);
    }
}

// In ascending order, which is how getgroups tells them, as on Linux, and how they are found.
static int groups_read(u64 from, unsigned nr, struct cred_groups **out)
{
    struct cred_groups *g = kmalloc(sizeof(*g) + nr * sizeof(u32), GFP_KERNEL);

    if (!g) {
        return -ENOMEM;
    }
    store_relaxed(&g->ref, 1);
    g->nr = nr;
    if (arch_copy_from_user(g->id, (const void *)from, nr * sizeof(u32))) {
        kfree(g);
        return -EFAULT;
    }
    groups_sort(g);
    if (g->id[nr - 1] == ~0u) { // nobody's number
        kfree(g);
        return -EINVAL;
    }
    *out = g;
    return 0;
}

s64 sys_setgroups(const u64 *a)
{
    struct process *p = current_process();
    struct cred_groups *g = NULL, *old;
    int err = 0;

    if (!current_has_cap(CAP_SETGID)) {
        return -EPERM;
    }
    if ((u32)a[0] > GROUPS_MAX) {
        return -EINVAL;
    }
    if ((u32)a[0]) {
        err = groups_read(a[1], (u32)a[0], &g);
    }
    if (err) {
        return err;
    }
    spin_lock(&p->lock);
    old = p->cred.groups;
    p->cred.groups = g;
    spin_unlock(&p->lock);
    cred_groups_put(old);
    return 0;
}

// --- Capabilities --------------------------------------------------------------------------------

#define CAP_VERSION_1 0x19980330u // one word each
#define CAP_VERSION_2 0x20071026u // two words each
#define CAP_VERSION_3 0x20080522u

struct uapi_cap_header {
    u32 version;
    s32 pid;
};
struct uapi_cap_data {
    u32 effective, permitted, inheritable;
};

// Words for each set; 0: a version we do not know, and the one we would like is stored.
static int cap_header_read(u64 from, struct uapi_cap_header *h, unsigned *words)
{
    u32 ours = CAP_VERSION_3;

    if (arch_copy_from_user(h, (const void *)from, sizeof(*h))) {
        return -EFAULT;
    }
    *words = h->version == CAP_VERSION_1                                  ? 1
             : h->version == CAP_VERSION_2 || h->version == CAP_VERSION_3 ? 2
                                                                          : 0;
    return *words || !arch_copy_to_user((void *)from, &ours, sizeof(ours)) ? 0 : -EFAULT;
}

s64 sys_capget(const u64 *a)
{
    struct uapi_cap_data d[2];
    struct uapi_cap_header h;
    struct process *p;
    struct creds c;
    unsigned words;
    int err = cap_header_read(a[0], &h, &words);

    if (err || !words) {
        return err ? err : a[1] ? -EINVAL : 0;
    }
    if (h.pid < 0) {
        return -EINVAL;
    }
    p = process_get_by_tid(h.pid ? h.pid : current_process()->pid);
    if (!p) {
        return -ESRCH;
    }
    spin_lock(&p->lock);
    c = p->cred;
    spin_unlock(&p->lock);
    process_put(p);
    for (unsigned i = 0; i < 2; i++) {
        d[i] = (struct uapi_cap_data){(u32)(c.cap_effective >> 32 * i),
                                      (u32)(c.cap_permitted >> 32 * i),
                                      (u32)(c.cap_inheritable >> 32 * i)};
    }
    return arch_copy_to_user((void *)a[1], d, words * sizeof(d[0])) ? -EFAULT : 0;
}

static int caps_set_locked(struct creds *c, u64 effective, u64 permitted, u64 inheritable)
{
    if ((permitted & ~c->cap_permitted) || (effective & ~permitted) ||
        (inheritable & ~(c->cap_inheritable | c->cap_bounding)) ||
        (inheritable & ~(c->cap_inheritable | c->cap_permitted) && !current_has_cap(CAP_SETPCAP))) {
        return -EPERM;
    }
    c->cap_effective = effective;
    c->cap_permitted = permitted;
    c->cap_inheritable = inheritable;
    c->cap_ambient &= permitted & inheritable;
    return 0;
}

s64 sys_capset(const u64 *a)
{
    struct process *p = current_process();
    struct uapi_cap_data d[2] = {0};
    struct uapi_cap_header h;
    unsigned words;
    int err = cap_header_read(a[0], &h, &words);

    if (err || !words) {
        return err ? err : -EINVAL;
    }
    if (h.pid && h.pid != p->pid && h.pid != current_task()->tid) {
        return -EPERM;
    }
    if (arch_copy_from_user(d, (const void *)a[1], words * sizeof(d[0]))) {
        return -EFAULT;
    }
    spin_lock(&p->lock);
    err = caps_set_locked(&p->cred, (d[0].effective | (u64)d[1].effective << 32) & CAP_ALL,
                          (d[0].permitted | (u64)d[1].permitted << 32) & CAP_ALL,
                          (d[0].inheritable | (u64)d[1].inheritable << 32) & CAP_ALL);
    spin_unlock(&p->lock);
    return err;
}

// --- Personality ---------------------------------------------------------------------------------

// Remembered; what its flags would change is not done.
s64 sys_personality(const u64 *a)
{
    struct process *p = current_process();
    u32 old;

    spin_lock(&p->lock);
    old = p->flags.personality;
    if ((u32)a[0] != 0xffffffff) {
        p->flags.personality = (u32)a[0];
    }
    spin_unlock(&p->lock);
    return old;
}
