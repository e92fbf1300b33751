// vsnprintf: formatted output into a buffer, as far as a kernel needs it. No floating point, no
// allocation, no locale; any context, as panic uses it.
#include <k/printk.h>
#include <k/string.h>

struct out {
    char *buf;
    size_t size, len; // len counts on past size: it is the return value
};

struct spec {
    bool left, zero, plus, space, alt;
    int width, precision; // precision -1: none given
    int length;           // bytes of the integer argument
    char conv;
};

static void out_char(struct out *o, char c)
{
    if (o->len < o->size) {
        o->buf[o->len] = c;
    }
    o->len++;
}

static void out_pad(struct out *o, char c, int n)
{
    while (n-- > 0) {
        out_char(o, c);
    }
}

static void out_string(struct out *o, const struct spec *f, const char *s)
{
    if (!s) {
        s = "(null)";
    }
    size_t n = f->precision >= 0 ? strnlen(s, (size_t)f->precision) : strlen(s);
    int pad = f->width - (int)n;
    if (!f->left) {
        out_pad(o, ' ', pad);
    }
    for (size_t i = 0; i < n; i++) {
        out_char(o, s[i]);
    }
    if (f->left) {
        out_pad(o, ' ', pad);
    }
}

// Sign or base prefix, zeros up to precision (or width), digits; blanks on one side.
static void out_number(struct out *o, const struct spec *f, u64 v, unsigned base,
                       const char *prefix)
{
    const char *set = f->conv == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    char digits[24]; // 22 octal digits
    int n = 0;

    for (u64 rest = v; rest > 0 || (n == 0 && f->precision != 0); rest /= base) {
        digits[n++] = set[rest % base];
    }
    int plen = (int)strlen(prefix);
    int zeros = f->precision - n;
    if (f->precision < 0 && f->zero && !f->left) {
        zeros = f->width - plen - n;
    }
    zeros = max(zeros, 0);
    int pad = f->width - plen - zeros - n;
    if (!f->left) {
        out_pad(o, ' ', pad);
    }
    while (*prefix) {
        out_char(o, *prefix++);
    }
    out_pad(o, '0', zeros);
    while (n > 0) {
        out_char(o, digits[--n]);
    }
    if (f->left) {
        out_pad(o, ' ', pad);
    }
}

static void out_signed(struct out *o, const struct spec *f, s64 v)
{
    const char *sign = v < 0 ? "-" : f->plus ? "+" : f->space ? " " : "";

    out_number(o, f, v < 0 ? 0 - (u64)v : (u64)v, 10, sign);
}

static int parse_int(const char **fmt)
{
    int n = 0;

    while (**fmt >= '0' && **fmt <= '9') {
        n = n * 10 + (*(*fmt)++ - '0');
    }
    return n;
}

static const char *parse_flags(const char *fmt, struct spec *f)
{
    for (;; fmt++) {
        switch (*fmt) {
        case '-':
            f->left = true;
            break;
        case '0':
            f->zero = true;
            break;
        case '+':
            f->plus = true;
            break;
        case ' ':
            f->space = true;
            break;
        case '#':
            f->alt = true;
            break;
        default:
            return fmt;
        }
    }
}

static const char *parse_length(const char *fmt, struct spec *f)
{
    f->length = sizeof(int);
    switch (*fmt) {
    case 'l':
        f->length = sizeof(long);
        fmt += fmt[1] == 'l' ? 2 : 1;
        break;
    case 'z':
    case 't':
    case 'j':
        f->length = sizeof(long);
        fmt++;
        break;
    case 'h':
        f->length = fmt[1] == 'h' ? 1 : 2;
        fmt += fmt[1] == 'h' ? 2 : 1;
        break;
    default:
        break;
    }
    return fmt;
}

// What is left of a narrow argument after its promotion to int.
static u64 truncate_to(u64 v, int length)
{
    return length == 8 ? v : v & ((1ull << length * 8) - 1);
}

static s64 extend_from(u64 v, int length)
{
    int shift = 64 - length * 8;

    return (s64)(v << shift) >> shift;
}

static const char *base_prefix(const struct spec *f, u64 v)
{
    if (!f->alt || v == 0) {
        return "";
    }
    return f->conv == 'o' ? "0" : f->conv == 'X' ? "0X" : "0x";
}

// An integer argument is fetched by the caller: a va_list cannot be passed on portably.
static void out_integer(struct out *o, const struct spec *f, u64 v)
{
    switch (f->conv) {
    case 'd':
    case 'i':
        out_signed(o, f, extend_from(v, f->length));
        break;
    case 'u':
        out_number(o, f, truncate_to(v, f->length), 10, "");
        break;
    case 'o':
        v = truncate_to(v, f->length);
        out_number(o, f, v, 8, base_prefix(f, v));
        break;
    default: // x X
        v = truncate_to(v, f->length);
        out_number(o, f, v, 16, base_prefix(f, v));
        break;
    }
}

int vsnprintf(char *buf, size_t size, const char *fmt, va_list ap)
{
    struct out o = {buf, size, 0};

    while (*fmt) {
        if (*fmt != '%') {
            out_char(&o, *fmt++);
            continue;
        }
        const char *start = fmt++;
        struct spec f = {.precision = -1};
        fmt = parse_flags(fmt, &f);
        if (*fmt == '*') {
            f.width = va_arg(ap, int);
            f.left |= f.width < 0;
            f.width = f.width < 0 ? -f.width : f.width;
            fmt++;
        } else {
            f.width = parse_int(&fmt);
        }
        if (*fmt == '.') {
            fmt++;
            f.precision = *fmt == '*' ? (fmt++, va_arg(ap, int)) : parse_int(&fmt);
        }
        fmt = parse_length(fmt, &f);
        f.conv = *fmt ? *fmt++ : '\0';
        switch (f.conv) {
        case 'd':
        case 'i':
        case 'u':
        case 'o':
        case 'x':
        case 'X':
            out_integer(&o, &f, f.length == 8 ? va_arg(ap, u64) : va_arg(ap, unsigned));
            break;
        case 'c':
            out_string(&o, &(struct spec){.left = f.left, .width = f.width, .precision = 1},
                       (char[2]){(char)va_arg(ap, int), '\0'});
            break;
        case 's':
            out_string(&o, &f, va_arg(ap, const char *));
            break;
        case 'p':
            f.conv = 'x';
            out_number(&o, &f, (uintptr_t)va_arg(ap, void *), 16, "0x");
            break;
        case '%':
            out_char(&o, '%');
            break;
        default: // not ours: show it as it stands; its argument cannot be skipped
            while (start < fmt) {
                out_char(&o, *start++);
            }
            break;
        }
    }
    if (size > 0) {
        buf[min(o.len, size - 1)] = '\0';
    }
    return (int)o.len;
}

int snprintf(char *buf, size_t size, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(buf, size, fmt, ap);
    va_end(ap);
    return n;
}
