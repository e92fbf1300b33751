// From the first portable instruction to the first process.
//
// kernel_main runs on the boot CPU's first stack, interrupts off, and becomes that CPU's idle
// thread; an idle thread must not sleep, so everything that might is left to the thread "init",
// which ends as the first process.
#include <arch/boot.h>
#include <arch/cpu.h>
#include <arch/mmu.h>
#include <arch/smp.h>
#include <bootinfo.h>
#include <fs.h>
#include <hostchan.h>
#include <k/assert.h>
#include <k/printk.h>
#include <k/rcu.h>
#include <ktest.h>
#include <maple.h>
#include <mm.h>
#include <page.h>
#include <proc.h>
#include <san.h>
#include <screen.h>
#include <sched.h>
#include <signal.h>
#include <slab.h>
#include <smp.h>
#include <syscalls.h>
#include <tty.h>

#define INITRAMFS_PIECE (1u << 20)

// What was unpacked is given back at once, so that a large archive is not in memory twice.
static void initramfs_used(size_t upto)
{
    static paddr_t from;
    paddr_t to = page_align_down(bootinfo.initramfs_start + upto);

    from = max(from, bootinfo.initramfs_start);
    if (to > from && to - from >= INITRAMFS_PIECE) {
        page_add_range(from, to);
        from = to;
    }
}

static void initramfs_load(void)
{
    u64 len = bootinfo.initramfs_end - bootinfo.initramfs_start;
    if (len == 0) {
        printk("boot: no initramfs\n");
        return;
    }
    int err = cpio_unpack(phys_to_virt(bootinfo.initramfs_start), len, initramfs_used);
    if (err) {
        printk("boot: the initramfs is damaged (error %d); going on with what was good\n", -err);
    }
    page_add_range(bootinfo.initramfs_start, bootinfo.initramfs_end);
    tmpfs_set_room();
}

static void init_thread(void *arg)
{
    char prefix[32];

    (void)arg;
    mm_init();
    signal_init();
    futex_init();
    random_init();
    proc_init();
    loadavg_init();
    syscall_init();
    hostchan_init();
    tty_consoles_init();
    file_put_later_init();
    vfs_init();
    initramfs_load();
    smp_start_others();
    kcsan_start();
    san_provoke();
    if (boot_arg("ktest", prefix, sizeof(prefix))) {
        ktest_run(prefix[0] == '1' && !prefix[1] ? "" : prefix);
    }
    provoke_from_command_line();
    proc_start_init();
}

noreturn_fn void kernel_main(void)
{
    printk("Faultline, started by %s\n", bootinfo.loader);
    printk("command line: %s\n", bootinfo.cmdline);
    arch_init_early();
    smp_init_boot_cpu();
    arch_init_cpu(0);
    wall_init();
    page_init();
    slab_init();
    maple_init();
    rcu_init();
    sched_init();
    arch_init_late();
    screen_init();
    if (!kthread_create("init", init_thread, NULL)) {
        panic("no memory for the first thread");
    }
    sched_idle_loop();
}
