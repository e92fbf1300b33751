// Between jobctl.c and jobctl_tty.c. Everything is under the table lock.
#ifndef KERNEL_JOBCTL_PRIV_H
#define KERNEL_JOBCTL_PRIV_H

#include <jobctl.h>

#include "proc_priv.h"

struct session {
    s32 id;               // [I] the pid of who made it
    unsigned ref;         // [H] groups
    struct job_tty *tty;  // [H] the controlling terminal, NULL: none
    struct pgrp *hung_fg; // [H] counted; after a hang-up, until the leader ends: the foreground was
    struct list hash_link; // [H]
};

struct pgrp {
    s32 id;                  // [I]
    unsigned ref;            // [H] members, and the terminal whose foreground it is
    struct session *session; // [I] counted
    struct list members;     // [H] process.pgrp_link
    struct list hash_link;   // [H]
    u64 look;                // [H] of jobctl_orphans_locked, the last that met it
};

void pgrp_put_locked(struct pgrp *g);
// From the kernel, to each member.
void pgrp_signal_locked(struct pgrp *g, int sig);

#endif
