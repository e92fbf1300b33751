"""Boots with what no kernel should be given: command lines, archives and machines.

Whatever is wrong, the kernel does not panic and does not hang: the program runs, or the status says
that it could not be started (126, 127), and the console says why.
"""
import os
import random
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                                "tools"))
from initramfs import Initramfs  # noqa: E402

LONG = "x" * 300
# What is appended to the command line, and what the console must say of it, if anything.
COMMAND_LINES = [
    ("", b""),
    ("mm.scheme=bogus", b"bogus"),
    ("mm.scheme=", b"no such scheme"),
    ("mm.scheme", b""),
    ("mm.scheme=" + LONG, b"too long"),
    ("mm.fault_around=99999999999999999999999", b"mm.fault_around=9"),
    ("mm.fault_around=-1 mm.fault_around=0x11", b"mm.fault_around=0x11"),
    ("mm.fault_around=" + LONG, b"too long"),
    ("inject=,,,", b"not understood"),
    ("inject=nobody:18446744073709551616", b""),
    ("inject=" + "nobody:1," * 40, b"too long"),
    ("inject=nobody:every:1", b""),
    ("explore=" + LONG, b""),
    ("ktest=no-such-test", b""),
    ("chan=com2 " * 50, b""),
    ("= == =x ,, \" \"\" =\"", b""),
    ("\"" + LONG, b""),
    (" ".join(f"word{i}=value{i}" for i in range(250)), b""),
    ("\x01\x7f\xff\u20ac", b""),
    ("run=", b"cannot start"),
    ("run=/no/such/file", b"cannot start"),
    ("run=/bin", b"cannot start"),
    ("run=/bin/streams", b"cannot start"),  # not a list of arguments
    ("run=/" + LONG * 4, b"cannot start"),
    ("-- and words for a program", b""),
    ("-- " + "x " * 900, b""),
]
COULD_NOT_START = (126, 127)
ANYTHING = set(range(256)) - {70, 71, 124}  # but a panic, an end of QEMU, no end


def check(holds, text):
    if not holds:
        raise AssertionError(text)


def lived(what, result, allowed=(0,) + COULD_NOT_START):
    status, out, err = result
    text = f"{what}\nstatus {status}\n{(out + err).decode(errors='replace')}"
    check(b"panic" not in err, text)
    check(status in allowed, text)
    said = b"\n".join(line for line in err.splitlines() if b"command line: " not in line)
    return status, said, text


def command_lines(guest):
    for words, says in COMMAND_LINES:
        status, err, text = lived(words, guest.boot("streams", "exit", "0",
                                                    options=["-v", f"--append={words}"]))
        check(says in err, text)
        wanted = COULD_NOT_START if words.startswith("run=") else (0,)
        check(status in wanted, text)


def archive(guest, argv=b"/bin/streams\0exit\x000\0"):
    files = Initramfs()
    files.add(guest.program("streams"), "/bin/streams")
    files.add_bytes("/.run/argv", argv)
    return files.pack()


def boot_archive(guest, data):
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        # QEMU takes the last -initrd.
        return guest.boot("streams", "exit", "0",
                          options=["-v", "--qemu", f"-initrd {file.name}"])


def truncated(guest):
    """Cut at every kind of place: in a header, a name, the padding, the data, the trailer."""
    whole = archive(guest)
    name = whole.index(b"bin/streams\0")
    places = [0, 1, 6, 109, 110, 111, 115, 200, name - 110, name - 50, name, name + 5, name + 12,
              name + 14, name + 2000, len(whole) // 2, len(whole) - 300, len(whole) - 125,
              len(whole) - 124, len(whole) - 60, len(whole) - 15, len(whole) - 1, len(whole)]
    for place in places:
        status, err, text = lived(f"cut at {place} of {len(whole)}",
                                  boot_archive(guest, whole[:place]))
        check(place != len(whole) or status == 0, text)
        check(place == 0 or b"initramfs:" in err, text)


def corrupted(guest):
    whole, seed = archive(guest), random.randrange(1 << 32)
    draw = random.Random(seed)
    for turn in range(16):
        data = bytearray(whole)
        for _ in range(1 << turn % 8):
            # Headers and names are in the beginning; the rest is the program.
            at = draw.randrange(1200) if turn % 2 else draw.randrange(len(data))
            data[at] = draw.randrange(256)
        # A program whose bytes have changed may do anything but break the kernel.
        lived(f"seed {seed}, turn {turn}", boot_archive(guest, bytes(data)), ANYTHING)


def argument_lists(guest):
    """What /.run/argv may hold."""
    lists = [b"", b"\0", b"/bin/streams", b"\0\0\0", b"/bin/streams\0" + b"x\0" * 5000,
             b"/bin/streams\0" + b"y" * 70000 + b"\0", b"/bin/streams\0exit\0" + b"\xff" * 100,
             b"/" * 300000, b"/bin/streams\0" * 100000]
    for number, argv in enumerate(lists):
        lived(f"list {number}", boot_archive(guest, archive(guest, argv)), ANYTHING)


SMALL = ["streams exit 0", "threads", "futex", "signals", "files", "pipes", "tmpfs", "clone", "exec",
         "mm_mmap", "mm_brk", "mm_file", "mm_mremap", "mm_mprotect", "mm_madvise", "mm_stack",
         "mm_errno"]


def small_memory(guest):
    for words in SMALL:
        name, *args = words.split()
        lived(words, guest.boot(name, *args, options=["-v", "--mem", "32M"], timeout=120), (0,))


def out_of_memory(guest):
    _, err, text = lived("oom_eat", guest.boot("oom_eat", options=["-v", "--mem", "32M"]), (0,))
    check(b"out of memory: killing" in err, text)


def tests(guest):
    for function in (command_lines, truncated, corrupted, argument_lists, small_memory,
                     out_of_memory):
        yield (f"bad.{function.__name__.replace('_', '-')}",
               lambda function=function: function(guest))
