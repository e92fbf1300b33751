// What execve makes of who a process is: capabilities(7), "Transformation of capabilities during
// execve()", for files that have none, and execve(2) for the numbers.
//
// It is where what a process kept after it stopped being root is lost: the saved number that would
// bring root back becomes the effective one, and permitted capabilities that keep_caps, or a root
// number that is still there, had left to it go. Root gets all that the bounding set allows.
#include <proc.h>
#include <uapi/misc.h>

#include "proc_priv.h"

// With no_new_privs nobody gains: root's number does not help who has given its capabilities up,
// and an effective number that is not the real one is no more.
static void caps_exec(struct creds *c, bool no_new_privs)
{
    bool root = !(c->securebits & SECBIT_NOROOT), all = root && !c->euid;
    u64 permitted = root && (!c->uid || !c->euid) ? c->cap_bounding | c->cap_inheritable : 0;

    if (c->uid != c->euid || c->gid != c->egid) {
        c->cap_ambient = 0;
    }
    if (no_new_privs) {
        permitted &= c->cap_permitted;
        c->euid = c->uid;
        c->egid = c->gid;
    }
    c->cap_permitted = permitted | c->cap_ambient;
    c->cap_effective = all ? c->cap_permitted : c->cap_ambient;
}

void creds_exec_locked(struct process *p)
{
    struct creds *c = &p->cred, old = *c;

    spin_assert_held(&p->lock);
    caps_exec(c, p->flags.no_new_privs);
    c->suid = c->fsuid = c->euid;
    c->sgid = c->fsgid = c->egid;
    c->securebits &= ~SECBIT_KEEP_CAPS;
    // No set-user-ID bit is honoured; but who acts for another, has just stopped to, or has gained
    // something is not looked into.
    p->flags.dumpable = old.uid == old.euid && old.gid == old.egid && old.fsuid == c->fsuid &&
                        old.fsgid == c->fsgid && !(c->cap_permitted & ~old.cap_permitted);
}
