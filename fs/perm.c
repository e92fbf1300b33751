// Who may do what to a file: mode bits and owners, path_resolution(7), capabilities(7).
//
// An inode has an owner, a group and three times rwx. Exactly one of the three counts for who asks:
// the owner's, else the group's if the asker is in it, else the others'. An owner whom the mode
// denies is denied, even if it lets all others. Two capabilities stand above that:
//
//                            read   write   search a directory   run
//     CAP_DAC_READ_SEARCH     x                   x
//     CAP_DAC_OVERRIDE        x       x           x               if anybody at all may
//
// What is not about the bytes, but about the inode (mode, times, the sticky bit's names), is the
// owner's, or CAP_FOWNER's.
//
// Who asks is the current process with its fsuid and fsgid, which follow the effective numbers;
// only access(2) asks for the real ones. Kernel threads and the boot may do everything.
//
// The answer is about a moment: mode and owner are read without the inode's lock, and may change
// right after, as they may between any look and any use. What a process has open stays open.
#include <proc.h>
#include "fs_priv.h"

static struct creds asker(bool real)
{
    struct creds c = creds_now();
    if (real) {
        c.fsuid = c.uid;
        c.fsgid = c.gid;
        c.cap_effective = c.uid ? 0 : c.cap_permitted;
    }
    return c;
}

static bool asker_in_group(const struct creds *c, u32 gid)
{
    return c->fsgid == gid || current_in_group(gid);
}

static bool asker_has_cap(const struct creds *c, unsigned cap)
{
    return c->cap_effective >> cap & 1;
}

// The capabilities' part of it: see above.
static bool caps_allow(const struct creds *c, u32 mode, unsigned may)
{
    bool dir = S_ISDIR(mode);
    bool looks = dir ? !(may & MAY_WRITE) : may == MAY_READ;
    if (looks && asker_has_cap(c, CAP_DAC_READ_SEARCH)) {
        return true;
    }
    bool runs = (may & MAY_EXEC) && !dir;
    return (!runs || (mode & 0111)) && asker_has_cap(c, CAP_DAC_OVERRIDE);
}

static int permission(const struct inode *i, unsigned may, bool real)
{
    u32 mode = i->mode, everybody = mode & mode >> 3 & mode >> 6;
    if ((may & MAY_WRITE) && (S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode))) {
        int err = super_may_write(i->sb);
        if (err) {
            return err;
        }
    }
    if (!(may & ~everybody)) {
        return 0;
    }
    struct creds c = asker(real);
    u32 bits = c.fsuid == i->uid ? mode >> 6 : asker_in_group(&c, i->gid) ? mode >> 3 : mode;
    return !(may & ~bits) || caps_allow(&c, mode, may) ? 0 : -EACCES;
}

int inode_permission(const struct inode *i, unsigned may)
{
    return permission(i, may, false);
}

int inode_permission_real(const struct inode *i, unsigned may)
{
    return permission(i, may, true);
}

bool inode_is_mine(const struct inode *i)
{
    struct creds c = creds_now();
    return c.fsuid == i->uid || asker_has_cap(&c, CAP_FOWNER);
}

bool group_is_mine(u32 gid)
{
    struct creds c = creds_now();
    return asker_in_group(&c, gid) || asker_has_cap(&c, CAP_FSETID);
}

int dir_may_delete(const struct inode *dir, const struct inode *victim)
{
    int err = inode_permission(dir, MAY_WRITE | MAY_EXEC);
    if (err) {
        return err;
    }
    bool sticky = dir->mode & S_ISVTX;
    return sticky && !inode_is_mine(victim) && creds_now().fsuid != dir->uid ? -EPERM : 0;
}

int inode_may_chown(const struct inode *i, u32 uid, u32 gid)
{
    struct creds c = creds_now();
    bool own = c.fsuid == i->uid;
    bool uid_ok = uid == ~0u || (own && uid == i->uid);
    bool gid_ok = gid == ~0u || (own && (gid == i->gid || asker_in_group(&c, gid)));
    return (uid_ok && gid_ok) || asker_has_cap(&c, CAP_CHOWN) ? 0 : -EPERM;
}

u32 inode_mode_drops(const struct inode *i)
{
    u32 mode = i->mode;
    bool sgid = (mode & S_ISGID) && ((mode & S_IXGRP) || !group_is_mine(i->gid));
    return S_ISDIR(mode) ? 0 : (mode & S_ISUID) | (sgid ? S_ISGID : 0);
}

void inode_will_change_locked(struct inode *i)
{
    mutex_assert_held(&i->lock);
    if (unlikely(i->mode & (S_ISUID | S_ISGID)) && !current_has_cap(CAP_FSETID)) {
        i->mode &= ~inode_mode_drops(i);
    }
}

void file_exec_ids(struct file *f, struct exec_ids *out)
{
    struct inode *i = f->inode;
    *out = (struct exec_ids){CRED_KEEP, CRED_KEEP};
    mutex_lock(&i->lock); // bits and owner are of one moment
    if (!(load_relaxed(&i->sb->flags) & MS_NOSUID)) {
        out->uid = i->mode & S_ISUID ? i->uid : CRED_KEEP;
        bool gives_group = (i->mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP);
        out->gid = gives_group ? i->gid : CRED_KEEP;
    }
    mutex_unlock(&i->lock);
}

// A directory that has the set-group-ID bit gives its group to what is made in it, and the bit to
// directories; a program that would run with a group which its maker is not in does not get it.
void inode_set_owner(struct inode *i, const struct inode *dir)
{
    struct creds c = creds_now();
    i->uid = c.fsuid;
    i->gid = c.fsgid;
    if (!dir || !(dir->mode & S_ISGID) || !current_process()) {
        return;
    }
    i->gid = dir->gid;
    if (S_ISDIR(i->mode)) {
        i->mode |= S_ISGID;
    } else if ((i->mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && !group_is_mine(dir->gid)) {
        i->mode &= ~(u32)S_ISGID;
    }
}
