// Fault injection: make chosen allocations fail, so that error paths run.
//
// A rule is SITE:N (the n-th allocation at SITE fails, once) or SITE:every:N (every n-th does);
// SITE is the allocating function's name or "*". Rules are replaced as a whole. The allocators test
// inject_active, which is false nearly always; only then do they come here.
//
// While rules hold, or "count", which is no rule and fails nothing, each site that allocates is
// noted with how often it did and how often it was refused. That is how a test knows that an
// operation allocates at all, and has reached every place where it does. "off" keeps the notes for
// reading; setting rules begins new ones. A site beyond MAX_SEEN is not noted.
//
// inject_lock [RANK_SPIN_MISC, a leaf] protects rules and counts: they are exact, and the cost does
// not matter while a test injects faults.
#include <k/errno.h>
#include <k/lock.h>
#include <k/string.h>
#include <slab.h>

#define MAX_RULES 16
#define MAX_SITE  64
#define MAX_SEEN  128

struct inject_rule {
    char site[MAX_SITE];
    u64 n;     // > 0
    u64 count; // matching allocations so far
    bool every;
};

struct inject_seen {
    const char *site;
    u64 nr, nr_failed;
};

atomic_bool inject_active;

static struct spinlock inject_lock = SPINLOCK_INIT(RANK_SPIN_MISC);
static struct inject_rule rules[MAX_RULES]; // [inject_lock]
static unsigned nr_rules;                   // [inject_lock]
static u64 nr_failed;                       // [inject_lock]
static struct inject_seen seen[MAX_SEEN];   // [inject_lock]
static unsigned nr_seen;                    // [inject_lock]

static bool rule_fires(struct inject_rule *r, const char *site)
{
    if (strcmp(r->site, "*") != 0 && strcmp(r->site, site) != 0) {
        return false;
    }
    r->count++;
    return r->every ? r->count % r->n == 0 : r->count == r->n;
}

// Names of inlined functions may exist more than once: compare the text.
static void site_note_locked(const char *site, bool failed)
{
    unsigned i = 0;

    while (i < nr_seen && strcmp(seen[i].site, site) != 0) {
        i++;
    }
    if (i == MAX_SEEN) {
        return;
    }
    if (i == nr_seen) {
        seen[nr_seen++] = (struct inject_seen){.site = site};
    }
    seen[i].nr++;
    seen[i].nr_failed += failed;
}

bool inject_seen_nth(unsigned i, const char **site, u64 *nr, u64 *failed)
{
    spin_lock(&inject_lock);
    bool found = i < nr_seen;
    if (found) {
        *site = seen[i].site;
        *nr = seen[i].nr;
        *failed = seen[i].nr_failed;
    }
    spin_unlock(&inject_lock);
    return found;
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
    site_note_locked(site, fail);
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

static bool text_is(const char *text, const char *word)
{
    size_t n = strlen(word);

    return strncmp(text, word, n) == 0 && (!text[n] || strcmp(text + n, "\n") == 0);
}

int inject_set(const char *text)
{
    struct inject_rule parsed[MAX_RULES]; // 1.3 KiB of stack
    bool off = text_is(text, "off");
    int nr = 0;

    if (!off && !text_is(text, "count")) {
        nr = rules_parse(parsed, text);
        if (nr < 0) {
            return nr;
        }
    }
    spin_lock(&inject_lock);
    memcpy(rules, parsed, (size_t)nr * sizeof(parsed[0]));
    nr_rules = (unsigned)nr;
    nr_seen = off ? nr_seen : 0;
    store_relaxed(&inject_active, !off);
    spin_unlock(&inject_lock);
    return 0;
}
