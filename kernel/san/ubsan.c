// Undefined behaviour, reported by the code that gcc adds with -fsanitize=undefined and friends.
//
// The compiler tests before each risky operation and calls one of the functions below, with a
// constant record that says where and of which types, and the operands. With
// -fno-sanitize-recover it does not expect us to return, hence the names in _abort; the two for
// code that must not be reached at all never had another name.
//
// An operand travels in one register if its type has at most 64 bits: sign or zero extended as the
// type asks. Wider operands and floating point do not occur in this kernel.
#include <stdarg.h>
#include <k/assert.h>
#include <k/printk.h>
#include <k/types.h>
#include <san.h>

struct place {
    const char *file;
    u32 line, column;
};

struct type {
    u16 kind; // 0: integer
    u16 info; // integer: bit 0 signed, the rest log2 of the bits
    char name[];
};

struct overflow_data {
    struct place at;
    struct type *type;
};
struct shift_data {
    struct place at;
    struct type *left, *right;
};
struct bounds_data {
    struct place at;
    struct type *array, *index;
};
struct value_data {
    struct place at;
    struct type *type;
};
struct mismatch_data {
    struct place at;
    struct type *type;
    u8 log_align, access;
};
struct place_data {
    struct place at;
};

static const char *const access_name[] = {
    "load of",        "store to",    "reference to", "member access in", "member call on",
    "constructor of", "downcast of", "downcast of",  "upcast of",        "cast to virtual base of",
};

// What gcc may call. Each: the record, then the operands.
noreturn_fn void __ubsan_handle_add_overflow_abort(struct overflow_data *d, u64 a, u64 b);
noreturn_fn void __ubsan_handle_sub_overflow_abort(struct overflow_data *d, u64 a, u64 b);
noreturn_fn void __ubsan_handle_mul_overflow_abort(struct overflow_data *d, u64 a, u64 b);
noreturn_fn void __ubsan_handle_divrem_overflow_abort(struct overflow_data *d, u64 a, u64 b);
noreturn_fn void __ubsan_handle_negate_overflow_abort(struct overflow_data *d, u64 a);
noreturn_fn void __ubsan_handle_pointer_overflow_abort(struct place_data *d, u64 base, u64 result);
noreturn_fn void __ubsan_handle_shift_out_of_bounds_abort(struct shift_data *d, u64 a, u64 b);
noreturn_fn void __ubsan_handle_out_of_bounds_abort(struct bounds_data *d, u64 index);
noreturn_fn void __ubsan_handle_load_invalid_value_abort(struct value_data *d, u64 value);
noreturn_fn void __ubsan_handle_type_mismatch_v1_abort(struct mismatch_data *d, u64 addr);
noreturn_fn void __ubsan_handle_vla_bound_not_positive_abort(struct value_data *d, u64 bound);
noreturn_fn void __ubsan_handle_nonnull_arg_abort(struct place_data *d);
noreturn_fn void __ubsan_handle_invalid_builtin_abort(struct place_data *d);
noreturn_fn void __ubsan_handle_builtin_unreachable(struct place_data *d);
noreturn_fn void __ubsan_handle_missing_return(struct place_data *d);

static bool type_signed(const struct type *t)
{
    return t->kind == 0 && (t->info & 1);
}

#define NUMBER_MAX 24

// The operand in decimal, as its type has it.
static const char *number(char *buf, const struct type *t, u64 v)
{
    unsigned bits = 1u << (t->info >> 1);

    if (t->kind == 0 && bits < 64) {
        v = v << (64 - bits) >> (64 - bits);
        if (type_signed(t) && (v >> (bits - 1))) {
            v |= ~0ull << bits;
        }
    }
    if (type_signed(t)) {
        snprintf(buf, NUMBER_MAX, "%lld", (long long)v);
    } else {
        snprintf(buf, NUMBER_MAX, "%llu", (unsigned long long)v);
    }
    return buf;
}

static noreturn_fn printf_like(2, 3) void report(const struct place *at, const char *fmt, ...)
{
    char what[160];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    panic("ubsan: %s (%s:%u:%u)", what, at->file, at->line, at->column);
}

static noreturn_fn void report_overflow(const struct overflow_data *d, u64 a, u64 b, char op)
{
    char x[NUMBER_MAX], y[NUMBER_MAX];

    report(&d->at, "%s %c %s does not fit in %s", number(x, d->type, a), op, number(y, d->type, b),
           d->type->name);
}

void __ubsan_handle_add_overflow_abort(struct overflow_data *d, u64 a, u64 b)
{
    report_overflow(d, a, b, '+');
}

void __ubsan_handle_sub_overflow_abort(struct overflow_data *d, u64 a, u64 b)
{
    report_overflow(d, a, b, '-');
}

void __ubsan_handle_mul_overflow_abort(struct overflow_data *d, u64 a, u64 b)
{
    report_overflow(d, a, b, '*');
}

void __ubsan_handle_divrem_overflow_abort(struct overflow_data *d, u64 a, u64 b)
{
    report_overflow(d, a, b, '/'); // by zero, too
}

void __ubsan_handle_negate_overflow_abort(struct overflow_data *d, u64 a)
{
    report_overflow(d, 0, a, '-');
}

void __ubsan_handle_pointer_overflow_abort(struct place_data *d, u64 base, u64 result)
{
    report(&d->at, "pointer %#lx moved to %#lx", (unsigned long)base, (unsigned long)result);
}

void __ubsan_handle_shift_out_of_bounds_abort(struct shift_data *d, u64 a, u64 b)
{
    char x[NUMBER_MAX], y[NUMBER_MAX];

    report(&d->at, "shift of %s by %s, type %s", number(x, d->left, a), number(y, d->right, b),
           d->left->name);
}

void __ubsan_handle_out_of_bounds_abort(struct bounds_data *d, u64 index)
{
    char x[NUMBER_MAX];

    report(&d->at, "index %s out of bounds of %s", number(x, d->index, index), d->array->name);
}

void __ubsan_handle_load_invalid_value_abort(struct value_data *d, u64 value)
{
    report(&d->at, "%lu is no value of %s", (unsigned long)value, d->type->name);
}

void __ubsan_handle_type_mismatch_v1_abort(struct mismatch_data *d, u64 addr)
{
    const char *access = d->access < array_size(access_name) ? access_name[d->access] : "use of";

    if (addr == 0) {
        report(&d->at, "%s a null pointer of type %s", access, d->type->name);
    } else if (addr & ((1ull << d->log_align) - 1)) {
        report(&d->at, "%s %#lx, which is not aligned to %u, type %s", access, (unsigned long)addr,
               1u << d->log_align, d->type->name);
    }
    report(&d->at, "%s %#lx: not enough room for type %s", access, (unsigned long)addr,
           d->type->name);
}

void __ubsan_handle_vla_bound_not_positive_abort(struct value_data *d, u64 bound)
{
    char x[NUMBER_MAX];

    report(&d->at, "array of %s elements", number(x, d->type, bound));
}

void __ubsan_handle_nonnull_arg_abort(struct place_data *d)
{
    report(&d->at, "null passed for an argument that must not be");
}

void __ubsan_handle_invalid_builtin_abort(struct place_data *d)
{
    report(&d->at, "count of leading or trailing zeroes of 0");
}

void __ubsan_handle_builtin_unreachable(struct place_data *d)
{
    report(&d->at, "unreachable code was reached");
}

void __ubsan_handle_missing_return(struct place_data *d)
{
    report(&d->at, "a function that returns a value ended without one");
}

void san_panic_print(void)
{
}
