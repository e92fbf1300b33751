// What execve makes of who a process is: capabilities(7), "Transformation of capabilities during
// execve()", for files that have none, and execve(2) for the numbers.
//
// It is where what a process kept after it stopped being root is lost: the saved number that would
// bring root back becomes the effective one, and permitted capabilities that keep_caps, or a root
// number that is still there, had left to it go. Root gets all that the bounding set allows.
//
// And it is where a program gets more than who runs it has: a file's set-user-ID and set-group-ID
// bits give it the file's numbers to act as. Such a program must not be steered by its caller, so
// it is told (AT_SECURE: the C library looks at fewer of the environment's variables), nobody but
// root looks into it, no signal comes for its parent's end, and it has its directories for itself
// (exec_unshare).
//
// This runs twice: once early, for the new program's stack, while the call may still fail and other
// threads may run; once under the lock, when there are no others, and that one counts. If they have
// changed the numbers in between, the stack tells of the earlier ones.
#include <proc.h>
#include <uapi/misc.h>

#include "proc_priv.h"

// With no_new_privs nobody gains: root's number does not help who has given its capabilities up,
// and an effective number that is not the real one is no more.
static bool caps_exec(struct creds *c, bool no_new_privs)
{
    bool root = !(c->securebits & SECBIT_NOROOT), all = root && !c->euid;
    bool acts = c->uid != c->euid || c->gid != c->egid; // as somebody else
    u64 permitted = root && (!c->uid || !c->euid) ? c->cap_bounding | c->cap_inheritable : 0;

    if (acts) {
        c->cap_ambient = 0;
    }
    if (no_new_privs) {
        permitted &= c->cap_permitted;
        c->euid = c->uid;
        c->egid = c->gid;
    }
    c->cap_permitted = permitted | c->cap_ambient;
    c->cap_effective = all ? c->cap_permitted : c->cap_ambient;
    return acts || (c->uid && (all || (permitted & ~c->cap_ambient)));
}

bool creds_change(const struct creds *old, const struct creds *c)
{
    return old->euid != c->euid || old->egid != c->egid || old->fsuid != c->fsuid ||
           old->fsgid != c->fsgid || (c->cap_permitted & ~old->cap_permitted);
}

bool creds_exec(struct creds *c, const struct exec_ids *file, bool no_new_privs)
{
    bool secure;

    if (!no_new_privs) {
        c->euid = file->uid == CRED_KEEP ? c->euid : file->uid;
        c->egid = file->gid == CRED_KEEP ? c->egid : file->gid;
    }
    secure = caps_exec(c, no_new_privs);
    c->suid = c->fsuid = c->euid;
    c->sgid = c->fsgid = c->egid;
    c->securebits &= ~SECBIT_KEEP_CAPS;
    return secure;
}

void creds_exec_locked(struct process *p, const struct exec_image *img)
{
    struct creds *c = &p->cred, old = *c;

    spin_assert_held(&p->lock);
    creds_exec(c, &img->ids, p->flags.no_new_privs);
    // Who acts for another, has just begun or stopped to, has gained something, or runs what it may
    // not read, is not looked into.
    p->flags.dumpable =
        old.uid == old.euid && old.gid == old.egid && !creds_change(&old, c) && !img->unreadable;
}
