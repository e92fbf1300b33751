// bootinfo and the command line.
//
// The line is a list of words separated by spaces. A word "name=value" sets something, a word
// "name" switches it on; double quotes anywhere in a word protect spaces and disappear from the
// value. A lone "--" ends the kernel's words: the rest belongs to the first program and is not
// looked at here. If a name appears twice the last one counts, so that a user's addition overrides
// a default.
#include <bootinfo.h>
#include <k/printk.h>
#include <k/string.h>

struct bootinfo bootinfo;

// A word of the line, quotes included: [start, end). *at moves behind it. False at the end.
static bool word_next(const char **at, const char **start, const char **end)
{
    const char *p = *at;
    bool quoted = false;
    while (*p == ' ' || *p == '\t' || *p == '\n') {
        p++;
    }
    *start = p;
    while (*p && (quoted || (*p != ' ' && *p != '\t' && *p != '\n'))) {
        quoted ^= *p++ == '"';
    }
    *end = *at = p;
    return p > *start;
}

static bool word_is_separator(const char *start, const char *end)
{
    return end - start == 2 && start[0] == '-' && start[1] == '-';
}

// The last kernel word that is `name` alone or begins with "name=": [value, end), NULL: none. A
// name alone gives an empty value with *bare set.
static const char *arg_find(const char *name, const char **value_end, bool *bare)
{
    const char *at = bootinfo.cmdline, *start, *end, *found = NULL;
    size_t len = strlen(name);
    while (word_next(&at, &start, &end) && !word_is_separator(start, end)) {
        while (*start == '"') { // GRUB quotes a word as a whole
            start++;
        }
        if (start >= end || (size_t)(end - start) < len || strncmp(start, name, len) != 0) {
            continue;
        }
        if (start + len == end || start[len] == '=') {
            *bare = start + len == end;
            found = start + len + !*bare;
            *value_end = end;
        }
    }
    return found;
}

bool boot_arg(const char *name, char *buf, size_t size)
{
    const char *end;
    bool bare;
    const char *p = arg_find(name, &end, &bare);
    size_t n = 0;
    if (!p || bare) {
        return false;
    }
    for (; p < end; p++) {
        if (*p == '"') {
            continue;
        }
        if (n + 1 >= size) {
            printk("%s=: the value is too long, not used\n", name);
            return false;
        }
        buf[n++] = *p;
    }
    buf[n] = 0;
    return size > 0;
}

bool boot_flag(const char *name)
{
    const char *end;
    bool bare;
    const char *p = arg_find(name, &end, &bare);
    return p && (bare || (end - p == 1 && *p == '1'));
}

const char *boot_init_args(void)
{
    const char *at = bootinfo.cmdline, *start, *end;
    while (word_next(&at, &start, &end)) {
        if (word_is_separator(start, end)) {
            while (*at == ' ') {
                at++;
            }
            return at;
        }
    }
    return "";
}
