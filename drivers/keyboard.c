// The keyboard: PS/2 behind an i8042, as PCs and nearly all laptops have it or pretend to.
//
// The interrupt moves scan codes (set 1, which the controller makes of what the keyboard sends)
// into a ring. The thread that carries keys to the terminal turns them into bytes, as a US keyboard
// and TERM=linux have them; it also scrolls the screen back (Shift and PageUp), which takes too
// long for an interrupt, and restarts the machine on Ctrl-Alt-Delete.
//
// The controller may not exist, and a port without one reads as 0xff: ACPI may say so, and every
// wait has an end. It is set up by polling, with both devices off, so that nothing it says is taken
// for a key. Answers to the command that sets the lamps arrive among the scan codes and are
// recognised there. Reference: the IBM PS/2 Hardware Interface Technical Reference, keyboard and
// auxiliary device controller.
#include <acpi.h>
#include <arch/boot.h>
#include <arch/cpu.h>
#include <arch/time.h>
#include <k/errno.h>
#include <k/lock.h>
#include <k/printk.h>
#include <k/string.h>
#include <power.h>
#include <sched.h>
#include <screen.h>

#define PORT_DATA    0x60
#define PORT_STATUS  0x64
#define KEYBOARD_IRQ 1
#define STATUS_OUT   0x01 // a byte for us
#define STATUS_IN    0x02 // still busy with our last byte
#define STATUS_AUX   0x20 // the byte is the mouse's
#define CONFIG_IRQ   0x01
#define CONFIG_AUX   0x02 // the mouse's interrupt
#define CONFIG_OFF   0x10 // the keyboard's clock stands still
#define CONFIG_SET1  0x40 // translate to set 1
#define WAIT_NS      20000000ull
#define ANSWER_NS    200000000ull // a keyboard may take its time
#define ACK          0xfa
#define RESEND       0xfe
#define RELEASED     0x80
#define RING         256u // a power of two

static struct spinlock kbd_lock = SPINLOCK_INIT(RANK_TTY);
static u8 codes[RING], bytes[RING]; // [kbd_lock] what the interrupt got, what is for the terminal
static u32 codes_head, codes_tail, bytes_head, bytes_tail; // [kbd_lock] free-running
static struct waitq typed = WAITQ_INIT(typed);

// Of the thread that takes.
static bool shift_left, shift_right, ctrl_left, ctrl_right, alt_left, alt_right;
static bool caps, num;
static bool extended;    // behind an e0
static unsigned swallow; // codes to leave out, behind an e1

// --- The controller

static bool await_status(u8 mask, u8 value, u64 patience_ns)
{
    u64 deadline = clock_ns() + patience_ns;
    while ((arch_port_read8(PORT_STATUS) & mask) != value) {
        if (clock_ns() > deadline) {
            return false;
        }
        cpu_relax();
    }
    return true;
}

static bool command(u8 c)
{
    if (!await_status(STATUS_IN, 0, WAIT_NS)) {
        return false;
    }
    arch_port_write8(PORT_STATUS, c);
    return true;
}

static bool put_data(u8 c)
{
    if (!await_status(STATUS_IN, 0, WAIT_NS)) {
        return false;
    }
    arch_port_write8(PORT_DATA, c);
    return true;
}

static bool get_data(u8 *c, u64 patience_ns)
{
    if (!await_status(STATUS_OUT, STATUS_OUT, patience_ns)) {
        return false;
    }
    *c = arch_port_read8(PORT_DATA);
    return true;
}

static void discard(void)
{
    for (unsigned i = 0; i < 64 && (arch_port_read8(PORT_STATUS) & STATUS_OUT); i++) {
        (void)arch_port_read8(PORT_DATA);
    }
}

static bool controller_setup(void)
{
    u8 config, answer;
    if (arch_port_read8(PORT_STATUS) == 0xff) {
        return false;
    }
    if (!command(0xad) || !command(0xa7)) { // both devices off
        return false;
    }
    discard();
    if (!command(0x20) || !get_data(&config, WAIT_NS)) {
        return false;
    }
    config = (u8)((config & ~(CONFIG_AUX | CONFIG_OFF | CONFIG_IRQ)) | CONFIG_SET1);
    if (!command(0x60) || !put_data(config) || !command(0xae)) {
        return false;
    }
    // Let it send keys. One that does not answer may still be there, or be plugged in later.
    if (put_data(0xf4) && get_data(&answer, ANSWER_NS) && answer != ACK) {
        printk("keyboard: it answered %#x\n", answer);
    }
    discard();
    return command(0x60) && put_data(config | CONFIG_IRQ);
}

static void keyboard_interrupt(void *arg)
{
    bool news = false;
    u8 status;
    (void)arg;
    unsigned long flags = spin_lock_irq(&kbd_lock);
    for (unsigned i = 0; i < RING; i++) {
        status = arch_port_read8(PORT_STATUS);
        if (!(status & STATUS_OUT) || status == 0xff) {
            break;
        }
        u8 code = arch_port_read8(PORT_DATA);
        if (!(status & STATUS_AUX) && codes_head - codes_tail < RING) {
            codes[codes_head++ % RING] = code;
            news = true;
        }
    }
    spin_unlock_irq(&kbd_lock, flags);
    if (news) {
        waitq_wake_all(&typed);
    }
}

void keyboard_init(void)
{
    if (acpi.have_fadt && acpi.no_i8042) {
        printk("keyboard: this machine has no i8042\n");
        return;
    }
    if (!controller_setup()) {
        printk("keyboard: no i8042 answers\n");
        return;
    }
    int err = arch_irq_register(KEYBOARD_IRQ, keyboard_interrupt, NULL);
    if (err) {
        printk("keyboard: no interrupt (error %d)\n", -err);
        return;
    }
    keyboard_interrupt(NULL); // a key during the set-up must not hold up the edge of the next one
}

// --- Bytes for the terminal

static void push(const char *s, size_t n)
{
    unsigned long flags = spin_lock_irq(&kbd_lock);
    for (size_t i = 0; i < n && bytes_head - bytes_tail < RING; i++) {
        bytes[bytes_head++ % RING] = (u8)s[i];
    }
    spin_unlock_irq(&kbd_lock, flags);
}

static void push_string(const char *s)
{
    push(s, strlen(s));
}

static void push_byte(char c)
{
    if (alt_left) {
        push("\033", 1);
    }
    push(&c, 1);
}

void keyboard_type(const char *text, size_t n)
{
    push(text, n);
    waitq_wake_all(&typed);
}

// --- Keys

static const char plain[] =
    "\0\0331234567890-=\177\tqwertyuiop[]\r\0asdfghjkl;'`\0\\zxcvbnm,./\0*\0 ";
static const char shifted[] =
    "\0\033!@#$%^&*()_+\177\tQWERTYUIOP{}\r\0ASDFGHJKL:\"~\0|ZXCVBNM<>?\0*\0 ";

static bool is_letter(char c)
{
    return c >= 'a' && c <= 'z';
}

static char with_ctrl(char c)
{
    if (is_letter(c) || (c >= '[' && c <= ']')) {
        return (char)(c & 0x1f);
    }
    switch (c) {
    case ' ':
    case '2':
    case '`':
        return 0;
    case '6':
        return 0x1e;
    case '-':
    case '/':
        return 0x1f;
    case '3':
        return 0x1b;
    case '4':
        return 0x1c;
    case '5':
        return 0x1d;
    case '8':
        return 0x7f;
    default:
        return c;
    }
}

static void character(u8 code)
{
    char c = plain[code];
    bool shift = shift_left || shift_right;
    if (c == '\t' && shift) {
        push_string("\033[Z");
        return;
    }
    if (ctrl_left || ctrl_right) {
        push_byte(c == 0x7f ? '\b' : with_ctrl(c));
        return;
    }
    if (is_letter(c) && caps) {
        shift = !shift;
    }
    push_byte(shift ? shifted[code] : c);
}

// Cursor and editing keys, by their codes on the keypad from 0x47 on.
static void navigation(u8 code)
{
    static const char *const names[] = {"[1~", "[A",  "[5~", NULL,  "[D",  "[G", "[C",
                                        NULL,  "[4~", "[B",  "[6~", "[2~", "[3~"};
    const char *name = names[code - 0x47];
    bool shift = shift_left || shift_right;
    if (shift && (code == 0x49 || code == 0x51)) {
        screen_scroll_back(code == 0x49 ? 1 : -1);
        return;
    }
    if ((ctrl_left || ctrl_right) && (alt_left || alt_right) && code == 0x53) {
        ctrl_alt_delete();
        return;
    }
    if (!name) {
        return;
    }
    push("\033", 1);
    if (name[1] >= 'A' && name[1] <= 'D' && screen_keys_application()) {
        push("O", 1);
        push(name + 1, 1);
    } else {
        push_string(name);
    }
}

static void keypad(u8 code)
{
    static const char digits[] = "789-456+1230.";
    char c = digits[code - 0x47];
    if (c == '-' || c == '+' || num) {
        push_byte(c);
    } else {
        navigation(code);
    }
}

static void function_key(u8 code)
{
    char text[8];
    unsigned n = code >= 0x57 ? code - 0x57u + 11 : code - 0x3bu + 1;
    if (n <= 5) {
        snprintf(text, sizeof(text), "\033[[%c", (char)('A' + n - 1));
    } else {
        snprintf(text, sizeof(text), "\033[%u~", n <= 10 ? n + 11 : n + 12);
    }
    push_string(text);
}

static void lamps(void)
{
    // Each byte is acknowledged by one that the interrupt takes; a moment's sleep leaves it time.
    if (put_data(0xed)) {
        sleep_ns(5000000);
        put_data((u8)(num << 1 | caps << 2));
    }
}

// Keys that only change what others mean. False: another key.
static bool modifier(u8 code, bool down, bool ext)
{
    switch (code) {
    case 0x2a:
    case 0x36:
        if (!ext) { // with e0 it is no key: keyboards wrap cursor keys in such
            *(code == 0x2a ? &shift_left : &shift_right) = down;
        }
        return true;
    case 0x1d:
        *(ext ? &ctrl_right : &ctrl_left) = down;
        return true;
    case 0x38:
        *(ext ? &alt_right : &alt_left) = down;
        return true;
    case 0x3a:
    case 0x45:
        if (down && !ext) {
            bool *lock = code == 0x3a ? &caps : &num;
            *lock = !*lock;
            lamps();
        }
        return true;
    default:
        return false;
    }
}

static void key_down(u8 code, bool ext)
{
    if (ext) {
        if (code >= 0x47 && code <= 0x53) {
            navigation(code);
        } else if (code == 0x1c || code == 0x35) {
            character(code);
        }
    } else if ((code >= 0x3b && code <= 0x44) || code == 0x57 || code == 0x58) {
        function_key(code);
    } else if (code >= 0x47 && code <= 0x53) {
        keypad(code);
    } else if (code == 0x56) { // the key beside the left shift of other countries
        push_byte(shift_left || shift_right ? '>' : '<');
    } else if (code < sizeof(plain) - 1 && plain[code]) {
        character(code);
    }
}

static void scan_code(u8 code)
{
    bool ext = extended;
    if (swallow > 0) {
        swallow--;
        return;
    }
    extended = code == 0xe0;
    if (code == 0xe1) { // Pause: two more
        swallow = 2;
        return;
    }
    if (extended || code == ACK || code == RESEND || code == 0 || code == 0xff) {
        return;
    }
    bool down = !(code & RELEASED);
    code &= (u8)~RELEASED;
    if (!modifier(code, down, ext) && down) {
        key_down(code, ext);
    }
}

// --- For the thread

bool keyboard_readable(void)
{
    unsigned long flags = spin_lock_irq(&kbd_lock);
    bool any = codes_head != codes_tail || bytes_head != bytes_tail;
    spin_unlock_irq(&kbd_lock, flags);
    return any;
}

static bool code_take(u8 *code)
{
    unsigned long flags = spin_lock_irq(&kbd_lock);
    bool any = codes_head != codes_tail;
    if (any) {
        *code = codes[codes_tail++ % RING];
    }
    spin_unlock_irq(&kbd_lock, flags);
    return any;
}

size_t keyboard_take(u8 *buf, size_t n)
{
    size_t done = 0;
    u8 code;
    while (code_take(&code)) {
        scan_code(code);
    }
    unsigned long flags = spin_lock_irq(&kbd_lock);
    while (done < n && bytes_tail != bytes_head) {
        buf[done++] = bytes[bytes_tail++ % RING];
    }
    spin_unlock_irq(&kbd_lock, flags);
    return done;
}

struct waitq *keyboard_waitq(void)
{
    return &typed;
}
