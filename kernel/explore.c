// Seeded yield points; k/explore.h tells what they are for.
//
// Each CPU draws from its own generator, so that what one does at a point depends on its own past
// only. Most points pass at once; one in eight waits, mostly shortly: the wait is 2^k turns, each k
// as likely as the next. A turn is one cpu_relax, which under the emulator gives the turn to
// another CPU.
//
// The boot CPU does not halt. Where all have halted QEMU's main thread moves the clock on to the
// next timer and wakes them (icount_start_warp_timer). It does so as soon as it sees them idle,
// which is before or after the thread of the CPUs has gone round once more, as the host likes; and
// that decides which CPU comes first. One run in fifteen had a schedule of its own.
#include <arch/cpu.h>
#include <bootinfo.h>
#include <fs.h>
#include <k/atomic.h>
#include <k/explore.h>
#include <k/percpu.h>
#include <k/printk.h>
#include <k/string.h>

#if CONFIG_EXPLORE

#define LONGEST_LOG2 9
#define IDLE_LOOPS   256u

static u64 explore_seed; // [I] 0: off
// What came after what: every point of every CPU changes it. Relaxed and not one step, because a
// barrier here would hide the races it is here to show. Where CPUs take turns nothing is lost.
static _Atomic u64 explore_hash, explore_nr;
static DEFINE_PER_CPU(u64, explore_state);

static u64 mix(u64 z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

void explore_point(const char *name)
{
    if (!explore_seed) {
        return;
    }
    u64 *state = &this_cpu(explore_state);
    *state += 0x9e3779b97f4a7c15ull + (u64)name[0];
    u64 draw = mix(*state ^ (explore_seed << 8) ^ cpu_id());
    store_relaxed(&explore_hash, mix(load_relaxed(&explore_hash) ^ draw));
    store_relaxed(&explore_nr, load_relaxed(&explore_nr) + 1);
    if (draw & 7) {
        return;
    }
    for (u64 turns = 1ull << ((draw >> 8) % (LONGEST_LOG2 + 1)); turns > 0; turns--) {
        cpu_relax();
    }
}

bool explore_stay_awake(void)
{
    if (!explore_seed || cpu_id() != 0) {
        return false;
    }
    irq_enable();
    for (volatile unsigned n = 0; n < IDLE_LOOPS; n++) {
    }
    cpu_relax(); // the others' turn
    irq_disable();
    return true;
}

static size_t explore_show(char *buf, size_t size)
{
    return (size_t)snprintf(buf, size, "seed %lu points %lu schedule %016lx\n",
                            (unsigned long)explore_seed, (unsigned long)load_relaxed(&explore_nr),
                            (unsigned long)load_relaxed(&explore_hash));
}

void explore_init(void)
{
    char text[32];
    const char *end;
    knob_register("explore", explore_show, NULL);
    if (!boot_arg("explore", text, sizeof(text))) {
        return;
    }
    explore_seed = parse_u64(text, &end);
    if (end == text || *end || !explore_seed) {
        explore_seed = 0;
        printk("explore=%s: not a seed\n", text);
    }
}

#else

void explore_init(void)
{
    char text[32];
    if (boot_arg("explore", text, sizeof(text))) {
        printk("explore=%s: this kernel has no yield points (make EXPLORE=1)\n", text);
    }
}

#endif
