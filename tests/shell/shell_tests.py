"""A shell as a person has it: on the serial console, and on the screen with the keyboard.

busybox (Debian's, unmodified) as tools/mkroot lays it out. Nothing here depends on how long a
thing takes: what is expected is waited for.
"""
import os
import subprocess
import tempfile
import threading
import time

from bochs import Bochs
from machine import Lost, Machine, PROMPT, START, TOP, efi_arguments, pack_root
from screen_text import read_screen

LINE_START = r"(?:^|\n)"
root_lock = threading.Lock()


def shell_root(out):
    """Made once, for all who want it."""
    root = os.path.join(out, "shell", "root")
    with root_lock:
        if not os.path.exists(os.path.join(root, "etc", "start")):
            done = subprocess.run([os.path.join(TOP, "tools", "mkroot"), root],
                                  capture_output=True, text=True)
            if done.returncode != 0:
                raise Lost(f"tools/mkroot failed:\n{done.stdout}{done.stderr}")
    return root


def must(condition, text):
    if not condition:
        raise Lost(text)


# --- The serial console --------------------------------------------------------------------------


def run_line(machine, command, pattern):
    """Runs it at the prompt; what it prints must match in full, line by line."""
    machine.send(command + "\r")
    return machine.expect(pattern)


def job_control(machine):
    # Started first and awaited by its own words, so that ^C meets the program and not the shell.
    machine.send("sh -c 'echo up; exec sleep 1000'\r")
    machine.expect(LINE_START + "up\n")
    machine.send("\x03")
    machine.expect(r"\^C")
    run_line(machine, "echo status=$?", LINE_START + "status=130\n")
    machine.send("sh -c 'echo on; exec sleep 1000'\r")
    machine.expect(LINE_START + "on\n")
    machine.send("\x1a")
    machine.expect(r"\[1\]\+\s+Stopped")
    run_line(machine, "bg", r"\[1\] ")
    run_line(machine, "jobs", r"\[1\]\+\s+Running")
    machine.send("fg\r")
    machine.expect(LINE_START + r"sh -c [^\n]*\n")
    machine.send("\x03")
    machine.expect(r"\^C")
    run_line(machine, "echo status=$?", LINE_START + "status=130\n")


def line_editing(machine):
    run_line(machine, "echo first$((1+1))", LINE_START + "first2\n")
    run_line(machine, "echo second$((1+2))", LINE_START + "second3\n")
    machine.send("\x1b[A\x1b[A\r")  # up, up: the first again
    machine.expect(LINE_START + "first2\n")
    machine.send("cho home-$((2+2))\x01e\r")  # ^A: to the beginning
    machine.expect(LINE_START + "home-4\n")
    machine.send("echo left-13\x1b[D2\x1b[C4\r")
    machine.expect(LINE_START + "left-1234\n")
    machine.send("echo erased-12\x7f3\r")
    machine.expect(LINE_START + "erased-13\n")
    run_line(machine, "stty | head -1", LINE_START + "speed 115200 baud")
    run_line(machine, "tty", LINE_START + "/dev/ttyS0\n")


def serial(out, kernel):
    with tempfile.TemporaryDirectory(prefix="faultline-") as work:
        boot = ["-kernel", kernel, "-initrd", pack_root(shell_root(out), work), "-append", START]
        with Machine(boot) as machine:
            machine.expect(PROMPT)
            run_line(machine, "echo $((6*7)) | sed s/4/four-/",
                     LINE_START + "four-2\n")
            job_control(machine)
            line_editing(machine)
            machine.send("poweroff\r")
            status = machine.wait_end()
            must(status == 0, f"QEMU's status is {status}")


# Machines by what they have to restart with and to switch off with, in QEMU 7.2.
ENDS = {
    "q35": "q35",                                     # ACPI's reset register is a port; PM1
    "pc": "pc",                                       # no such register: the keyboard controller
    "pc_bare": "pc,i8042=off",                        # neither: the chipset's own reset; PM1
    "microvm": "microvm,acpi=on,isa-serial=off",      # reduced hardware, registers in memory
    "no_acpi": "microvm,acpi=off,isa-serial=off",     # a triple fault; cannot be switched off
}


def ends(out, kernel, name):
    with tempfile.TemporaryDirectory(prefix="faultline-") as work:
        boot = ["-kernel", kernel, "-initrd", pack_root(shell_root(out), work), "-append", START]
        with Machine(boot, "-M", ENDS[name]) as machine:
            machine.expect(PROMPT)
            machine.send("reboot\r")
            machine.expect("Faultline, started by")  # again
            machine.expect(PROMPT)
            machine.send("poweroff -f\r")
            if name == "no_acpi":
                machine.expect("power-off has no effect here; halted")
                return
            must(machine.wait_end() == 0, "QEMU's status is not 0")


# --- The screen ----------------------------------------------------------------------------------


def await_screen(machine, what, wanted):
    """Looks until wanted(lines) is true; returns the lines."""
    path = os.path.join(machine.work, "screen.ppm")
    deadline = time.monotonic() + machine.patience_s
    while True:
        lines = read_screen(machine.screenshot(path))
        if wanted(lines):
            return lines
        if time.monotonic() > deadline:
            shown = "\n".join(line for line in lines if line)
            raise Lost(f"the screen does not show {what}; it shows:\n{shown}")
        time.sleep(0.5)


def at_prompt(lines):
    shown = [line for line in lines if line]
    return bool(shown) and shown[-1].startswith(PROMPT.strip()) and \
        shown[-1][len(PROMPT.strip()):].strip("\ufffd\u2588 ") == ""


def use_screen(machine):
    await_screen(machine, "a prompt", at_prompt)
    machine.type("echo $((6*7)) on $(tty)\n")
    await_screen(machine, "what echo printed", lambda lines: "42 on /dev/tty1" in lines)
    machine.type("sleep 1000\n")
    await_screen(machine, "sleep", lambda lines: any(line.endswith("sleep 1000") for line in lines))
    machine.keys("ctrl-z")
    await_screen(machine, "the stopped job",
                 lambda lines: any("Stopped" in line for line in lines))
    machine.type("kill %1\n")
    machine.type("clear\n")
    await_screen(machine, "an empty screen", lambda lines: at_prompt(lines) and
                 not any("Stopped" in line for line in lines))
    machine.type("seq 1 200\n")
    await_screen(machine, "the end of seq", lambda lines: "200" in lines and at_prompt(lines))
    machine.keys("shift-pgup", "shift-pgup", "shift-pgup", "shift-pgup")
    await_screen(machine, "older lines", lambda lines: "110" in lines and "200" not in lines)
    machine.keys("up")
    await_screen(machine, "the command before", lambda lines: "200" in lines and any(
        line.startswith(PROMPT) and "seq 1 200" in line for line in lines))
    machine.keys("ctrl-u")
    machine.type("vi /etc/motd\n")
    await_screen(machine, "vi", lambda lines: lines[0].startswith("Faultline.") and
                 lines[2] == "~")
    machine.type("dd:q!\n")
    await_screen(machine, "a prompt after vi", at_prompt)
    # A reset leaves the alternate screen: the way back from there finds nothing to do. And a
    # thousand repetitions of more than a screenful end.
    machine.type("printf '\\033[?1049h\\033ckept\\033[?1049l\\n'\n")
    await_screen(machine, "what was written after a reset",
                 lambda lines: "kept" in lines and at_prompt(lines))
    machine.type("for i in $(seq 1000); do printf 'x\\033[9999b'; done; printf '\\033cdone\\n'\n")
    await_screen(machine, "the end of repetitions",
                 lambda lines: "done" in lines and at_prompt(lines))
    machine.type("poweroff\n")
    status = machine.wait_end()
    must(status == 0, f"QEMU's status is {status}")


def make_image(out, kernel, work, programs=()):
    """The image of `make usb`, with some of the guest tests besides."""
    image = os.path.join(work, "boot.iso")
    added = [f"--add={os.path.join(out, 'tests', name)}:/bin/{name}" for name in programs]
    made = subprocess.run([os.path.join(TOP, "tools", "mkiso"), "-o", image, "--kernel", kernel,
                           "--add", shell_root(out), *added, f"--cmdline={START}"],
                          capture_output=True, text=True)
    must(made.returncode == 0, made.stdout + made.stderr)
    return image


def screen(out, kernel, efi):
    with tempfile.TemporaryDirectory(prefix="faultline-") as work:
        image = make_image(out, kernel, work)
        boot = ["-drive", f"if=none,id=stick,format=raw,snapshot=on,file={image}",
                "-device", "qemu-xhci", "-device", "usb-storage,drive=stick", "-vga", "std"]
        with Machine(*[(efi_arguments(work) if efi else []) + boot], patience_s=240) as machine:
            use_screen(machine)


# --- Another machine -----------------------------------------------------------------------------

TOO_OLD = "faultline: this processor has no 64-bit mode or no NX bit"
BOCHS_PROGRAMS = {1: ["signals", "mm_mprotect"], 2: ["proc_fork", "race_stale", "mm_threads"]}


def bochs(out, kernel, boot, cpu, cpus):
    with tempfile.TemporaryDirectory(prefix="faultline-") as work:
        image = make_image(out, kernel, work, BOCHS_PROGRAMS[cpus])
        with Bochs(image, boot, cpu, patience_s=400) as machine:
            machine.expect(f"smp: {cpus} of {cpus} CPUs online")
            machine.expect(PROMPT)
            machine.type("echo On $(tty) >/dev/ttyS0\n")
            machine.expect("On /dev/tty1\n")
            machine.type("sh -c 'echo up >/dev/ttyS0; exec cat'\n")
            machine.expect("up\n")  # so that ^C meets the program and not the shell
            machine.type("\x03")
            machine.type("echo =$? >/dev/ttyS0\n")
            machine.expect("=130\n")
            for name in BOCHS_PROGRAMS[cpus]:
                run_line(machine, f"{name} >/dev/null; echo {name}=$?", LINE_START + f"{name}=0\n")
            machine.send("reboot\r")
            machine.expect("Faultline, started by")  # again
            machine.expect(PROMPT)
            machine.send("poweroff\r")
            machine.expect("switching off")
            machine.wait_power_off()


def bochs_too_old(out, kernel):
    """A processor of 32 bits is told so, on the line and on the screen."""
    with tempfile.TemporaryDirectory(prefix="faultline-") as work:
        with Bochs(make_image(out, kernel, work), "cdrom", "model=p4_willamette",
                   patience_s=400) as machine:
            machine.expect(TOO_OLD)
            machine.expect_shown(TOO_OLD)


def tests(out, kernel):
    yield "shell.serial", lambda: serial(out, kernel)
    for name in ENDS:
        yield f"shell.ends_{name}", lambda name=name: ends(out, kernel, name)
    yield "shell.screen_bios", lambda: screen(out, kernel, False)
    yield "shell.screen_uefi", lambda: screen(out, kernel, True)
    yield "shell.bochs_cd", lambda: bochs(out, kernel, "cdrom", "model=ryzen", 1)
    yield "shell.bochs_disk", lambda: bochs(out, kernel, "disk",
                                            "model=phenom_8650_toliman, count=2", 2)
    yield "shell.bochs_too_old", lambda: bochs_too_old(out, kernel)
