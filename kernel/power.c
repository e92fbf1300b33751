// System call reboot, and Ctrl-Alt-Delete.
//
// All that is written lives in memory, so there is nothing to bring to a disk before.
#include <arch/boot.h>
#include <arch/cpu.h>
#include <k/atomic.h>
#include <k/errno.h>
#include <k/printk.h>
#include <power.h>
#include <proc.h>
#include <signal.h>
#include <smp.h>
#include <syscalls.h>
#include <uapi/misc.h>

static atomic_bool cad_off; // Ctrl-Alt-Delete is for process 1

static noreturn_fn void end(void *off)
{
    if (*(bool *)off) {
        arch_poweroff();
    }
    arch_reboot();
}

// It is the boot CPU that asks, since there is firmware that expects no other.
static noreturn_fn void leave(bool off)
{
    smp_call_mask(1, end, &off); // returns on the boot CPU only, and there at once
    end(&off);
}

void ctrl_alt_delete(void)
{
    if (!load_relaxed(&cad_off)) {
        printk("restarting\n");
        leave(false);
    }
    struct process *init = process_get_by_pid(1);
    if (init) {
        struct ksiginfo info = {.signo = SIGINT, .code = SI_KERNEL};
        (void)signal_send_process(init, &info);
        process_put(init);
    }
}

s64 sys_reboot(const u64 *a)
{
    u32 magic2 = (u32)a[1];
    if (!current_has_cap(CAP_SYS_BOOT)) {
        return -EPERM;
    }
    if ((u32)a[0] != REBOOT_MAGIC1 || (magic2 != REBOOT_MAGIC2 && magic2 != REBOOT_MAGIC2A &&
                                       magic2 != REBOOT_MAGIC2B && magic2 != REBOOT_MAGIC2C)) {
        return -EINVAL;
    }
    switch ((u32)a[2]) {
    case REBOOT_CMD_RESTART:
    case REBOOT_CMD_RESTART2:
        printk("restarting\n");
        leave(false);
    case REBOOT_CMD_POWER_OFF:
        printk("switching off\n");
        leave(true);
    case REBOOT_CMD_HALT:
        printk("halted\n");
        irq_disable();
        smp_stop_others();
        cpu_stop();
    case REBOOT_CMD_CAD_ON:
    case REBOOT_CMD_CAD_OFF:
        store_relaxed(&cad_off, (u32)a[2] == REBOOT_CMD_CAD_OFF);
        return 0;
    default:
        return -EINVAL;
    }
}
