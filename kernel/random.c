// Random bytes for getrandom, AT_RANDOM and /dev/urandom.
//
// A ChaCha20 generator with fast key erasure (Bernstein 2017): each request makes one block of key
// stream from the CPU's own key, overwrites that key with the first half, and uses the second half
// as the key of the bytes it hands out. So what was handed out before cannot be computed from
// memory read later, and no lock or shared line is involved: the key is per CPU and the kernel is
// not preempted.
//
// Seeds: a root key, from the processor's random instruction if there is one, and the cycle counter
// and clocks of boot if not. Without that instruction the seed is only as good as the jitter of
// boot; random_init() says so on the console once.
#include <arch/cpu.h>
#include <arch/time.h>
#include <k/assert.h>
#include <k/lock.h>
#include <k/percpu.h>
#include <k/printk.h>
#include <k/string.h>
#include <proc.h>

#define KEY_WORDS     8
#define BLOCK_WORDS   16
#define RESEED_BLOCKS (1u << 16)

struct generator {
    u32 key[KEY_WORDS];
    u32 nr_uses; // since the seed; 0: never seeded
};

static DEFINE_PER_CPU(struct generator, generator);
static struct spinlock root_lock = SPINLOCK_INIT(RANK_SPIN_MISC);
static u32 root_key[KEY_WORDS]; // [root_lock]

static u32 rotate(u32 x, unsigned n)
{
    return x << n | x >> (32 - n);
}

static void quarter_round(u32 *x, unsigned a, unsigned b, unsigned c, unsigned d)
{
    x[a] += x[b];
    x[d] = rotate(x[d] ^ x[a], 16);
    x[c] += x[d];
    x[b] = rotate(x[b] ^ x[c], 12);
    x[a] += x[b];
    x[d] = rotate(x[d] ^ x[a], 8);
    x[c] += x[d];
    x[b] = rotate(x[b] ^ x[c], 7);
}

// RFC 8439, 2.3, with a 64-bit block counter and a nonce of zero.
static void chacha20_block(const u32 key[KEY_WORDS], u64 counter, u32 out[BLOCK_WORDS])
{
    u32 in[BLOCK_WORDS] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};

    memcpy(in + 4, key, KEY_WORDS * sizeof(u32));
    in[12] = (u32)counter;
    in[13] = (u32)(counter >> 32);
    memcpy(out, in, sizeof(in));
    for (unsigned round = 0; round < 10; round++) {
        quarter_round(out, 0, 4, 8, 12);
        quarter_round(out, 1, 5, 9, 13);
        quarter_round(out, 2, 6, 10, 14);
        quarter_round(out, 3, 7, 11, 15);
        quarter_round(out, 0, 5, 10, 15);
        quarter_round(out, 1, 6, 11, 12);
        quarter_round(out, 2, 7, 8, 13);
        quarter_round(out, 3, 4, 9, 14);
    }
    for (unsigned i = 0; i < BLOCK_WORDS; i++) {
        out[i] += in[i];
    }
}

// Stir what the machine can give now into the key. root_lock held.
static void root_stir_locked(void)
{
    u32 block[BLOCK_WORDS];

    for (unsigned i = 0; i < KEY_WORDS; i += 2) {
        u64 r = 0;

        arch_random(&r);
        r ^= cpu_cycles() ^ clock_ns() << 32;
        root_key[i] ^= (u32)r;
        root_key[i + 1] ^= (u32)(r >> 32);
        chacha20_block(root_key, i, block);
        memcpy(root_key, block, sizeof(root_key));
    }
}

void random_init(void)
{
    u64 r;

    spin_lock(&root_lock);
    root_key[0] = (u32)arch_boot_wall_ns();
    for (unsigned i = 0; i < 64; i++) {
        root_stir_locked();
    }
    spin_unlock(&root_lock);
    if (!arch_random(&r)) {
        printk("random: the processor has no random instruction; seeded from clock jitter\n");
    }
}

static void generator_seed(struct generator *g)
{
    u32 block[BLOCK_WORDS];

    spin_lock(&root_lock);
    root_stir_locked();
    chacha20_block(root_key, 0, block);
    memcpy(root_key, block, sizeof(root_key));
    memcpy(g->key, block + KEY_WORDS, sizeof(g->key));
    spin_unlock(&root_lock);
    g->nr_uses = 1;
    memset(block, 0, sizeof(block));
}

// A key that is used once. Does not sleep.
static void key_take(u32 key[KEY_WORDS])
{
    struct generator *g = &this_cpu(generator);
    u32 block[BLOCK_WORDS];

    if (g->nr_uses == 0 || g->nr_uses > RESEED_BLOCKS) {
        generator_seed(g);
    }
    g->nr_uses++;
    chacha20_block(g->key, 0, block);
    memcpy(g->key, block, sizeof(g->key));
    memcpy(key, block + KEY_WORDS, KEY_WORDS * sizeof(u32));
}

void random_bytes(void *buf, size_t n)
{
    u32 key[KEY_WORDS], block[BLOCK_WORDS];
    u8 *p = buf;

    key_take(key);
    for (u64 i = 0; n > 0; i++) {
        size_t part = min(n, sizeof(block));

        chacha20_block(key, i, block);
        memcpy(p, block, part);
        p += part;
        n -= part;
    }
    memset(key, 0, sizeof(key));
    memset(block, 0, sizeof(block));
    compiler_barrier();
}

u64 name_hash(const void *name, size_t n)
{
    static _Atomic u64 salt; // not 0 from the first use on
    u64 h = load_relaxed(&salt), old = 0;

    if (!h) {
        random_bytes(&h, sizeof(h));
        h |= 1;
        h = atomic_compare_exchange_strong(&salt, &old, h) ? h : old; // pairs with itself
    }
    for (const u8 *p = name; n > 0; n--) {
        h = (h ^ *p++) * 0x9e3779b97f4a7c15ull;
        h ^= h >> 29;
    }
    return h;
}
