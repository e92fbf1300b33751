// Fault injection: make chosen allocations fail, so that error paths run.
//
// A rule is SITE:N (the n-th allocation at SITE fails, once) or SITE:every:N (every n-th does);
// SITE is the allocating function's name or "*". Rules are replaced as a whole. The allocators test
// inject_active, which is false nearly always; only then do they come here.
//
// inject_lock [RANK_SPIN_MISC, a leaf] protects rules and counts: they are exact, and the cost does
// not matter while a test injects faults.
#include <k/errno.h>
#include <k/lock.h>
#include <k/string.h>
#include <slab.h>

#define MAX_RULES 16
#define MAX_SITE  64

struct inject_rule {
    char site[MAX_SITE];
    u64 n;     // > 0
    u64 count; // matching allocations so far
    bool every;
};

atomic_bool inject_active;

static struct spinlock inject_lock = SPINLOCK_INIT(RANK_SPIN_MISC);
static struct inject_rule rules[MAX_RULES]; // [inject_lock]
static unsigned nr_rules;                   // [inject_lock]
static u64 nr_failed;                       // [inject_lock]

static bool rule_fires(struct inject_rule *r, const char *site)
{
    if (strcmp(r->site, "*") != 0 && strcmp(r->site, site) != 0) {
        return false;
    }
    r->count++;
    return r->every ? r->count % r->n == 0 : r->count == r->n;
}

bool inject_should_fail_slow(const char *site)
{
    bool fail = false;

    if (!site) {
        return false; // an allocator's own allocation
    }
    spin_lock(&inject_lock);
    for (unsigned i = 0; i < nr_rules; i++) {
        fail |= rule_fires(&rules[i], site); // no short cut: every rule counts
    }
    nr_failed += fail;
    spin_unlock(&inject_lock);
    return fail;
}

u64 inject_nr_failed(void)
{
    spin_lock(&inject_lock);
    u64 nr = nr_failed;
    spin_unlock(&inject_lock);
    return nr;
}

// Parse one rule at *text and move *text behind it. 0 or -EINVAL.
static int rule_parse(struct inject_rule *r, const char **text)
{
    const char *s = *text, *colon = strchr(s, ':'), *end;
    size_t len = colon ? (size_t)(colon - s) : 0;

    if (len == 0 || len >= MAX_SITE) {
        return -EINVAL;
    }
    memset(r, 0, sizeof(*r));
    memcpy(r->site, s, len);
    if (strchr(r->site, ',')) {
        return -EINVAL;
    }
    s = colon + 1;
    if (strncmp(s, "every:", 6) == 0) {
        r->every = true;
        s += 6;
    }
    r->n = parse_u64(s, &end);
    if (end == s || r->n == 0) {
        return -EINVAL;
    }
    *text = end;
    return 0;
}

// All of text into out. The number of rules or -EINVAL.
static int rules_parse(struct inject_rule *out, const char *text)
{
    unsigned nr = 0;

    for (;;) {
        if (nr == MAX_RULES || rule_parse(&out[nr], &text) < 0) {
            return -EINVAL;
        }
        nr++;
        if (*text == '\n') {
            text++;
        }
        if (*text == '\0') {
            return (int)nr;
        }
        if (*text++ != ',') {
            return -EINVAL;
        }
    }
}

int inject_set(const char *text)
{
    struct inject_rule parsed[MAX_RULES]; // 1.3 KiB of stack
    int nr = 0;

    if (strcmp(text, "off") != 0 && strcmp(text, "off\n") != 0) {
        nr = rules_parse(parsed, text);
        if (nr < 0) {
            return nr;
        }
    }
    spin_lock(&inject_lock);
    memcpy(rules, parsed, (size_t)nr * sizeof(parsed[0]));
    nr_rules = (unsigned)nr;
    store_relaxed(&inject_active, nr > 0);
    spin_unlock(&inject_lock);
    return 0;
}
