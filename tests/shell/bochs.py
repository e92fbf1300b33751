"""Bochs: a machine whose chipset, firmware, keyboard controller and processors are not QEMU's.

Debian's Bochs has its debugger built in: it waits for a command before the first instruction, and
after a triple fault, where the end of its input then ends it. Its "term" display is a terminal of
its own, whose name it prints: what is typed there are keys of the emulated keyboard, and what it
shows is the VGA's text. Graphics modes it refuses, so the VGA gets no VESA extension, as a very old
one, and GRUB leaves it in text mode.

Time in the machine is counted in instructions and passes in no time while its processors sleep.
"""
import fcntl
import os
import re
import socket
import struct
import termios
import threading
import time
import tty

from machine import Console, Lost

SECTOR, HEADS, PER_TRACK = 512, 16, 63
SCREEN_ROWS, SCREEN_COLUMNS = 50, 132  # larger than the VGA's text, so that all of it is shown
POWERED_OFF = "ACPI control: soft power off"  # Bochs calls that a panic
MOVES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()].|[\x00-\x20]")
SETTINGS = """\
display_library: term
cpu: {cpu}, ips=50000000, reset_on_triple_fault=1, ignore_bad_msrs=1
memory: guest=256, host=256
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/vgabios/vgabios.bin
vga: extension=none
mouse: enabled=0
pci: enabled=1, chipset=i440fx
clock: sync=none, time0=utc
ata0-master: {drive}
boot: {boot}
log: {work}/log
panic: action=fatal
error: action=report
info: action=report
debug: action=ignore
com1: enabled=1, mode=socket-client, dev=localhost:{port}
sound: driver=dummy
speaker: enabled=0
"""


class Bochs(Console):
    """A PC that boots `image` as a "cdrom" or a "disk"; `cpu` is Bochs's model and count."""

    def __init__(self, image, boot, cpu, patience_s):
        super().__init__(patience_s)
        self.screen = self.keyboard = None
        self.shown = ""  # what was sent to the screen's terminal
        listener = socket.create_server(("127.0.0.1", 0))
        settings = os.path.join(self.work, "settings")
        with open(settings, "w") as file:
            file.write(SETTINGS.format(cpu=cpu, drive=self._drive(image, boot), boot=boot,
                                       work=self.work, port=listener.getsockname()[1]))
        commands = os.path.join(self.work, "commands")
        with open(commands, "w") as file:
            file.write("c\n")
        environment = {**os.environ, "TERM": "vt100", "LINES": str(SCREEN_ROWS),
                       "COLUMNS": str(SCREEN_COLUMNS)}
        self.start(["bochs", "-q", "-f", settings, "-rc", commands], env=environment)
        self.serial = self.connect(listener)
        listener.close()
        self.listen()
        try:
            self._open_screen()
        except Lost:
            self.stop()
            raise

    def stop(self):
        super().stop()
        if self.keyboard is not None:
            os.close(self.keyboard)
            self.keyboard = None

    def _drive(self, image, boot):
        if boot == "cdrom":
            return f"type=cdrom, path={image}, status=inserted"
        # A copy, as it may be written, of as many whole cylinders as Bochs wants.
        cylinder = SECTOR * HEADS * PER_TRACK
        cylinders = -(-os.path.getsize(image) // cylinder)
        copy = os.path.join(self.work, "disk")
        with open(image, "rb") as source, open(copy, "wb") as file:
            file.write(source.read())
            file.truncate(cylinders * cylinder)
        return (f"type=disk, mode=flat, path={copy}, cylinders={cylinders}, heads={HEADS}, "
                f"spt={PER_TRACK}")

    # --- The screen and the keyboard

    def _open_screen(self):
        deadline = time.monotonic() + self.patience_s
        while not (found := re.search(r'connected to screen "([^"]+)"', self.said())):
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise Lost(f"Bochs shows no screen; it says:\n{self.said()[-1500:]}")
            time.sleep(0.1)
        self.keyboard = os.open(found.group(1), os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self.keyboard)
        fcntl.ioctl(self.keyboard, termios.TIOCSWINSZ,
                    struct.pack("HHHH", SCREEN_ROWS, SCREEN_COLUMNS, 0, 0))
        self.screen = os.dup(self.keyboard)
        threading.Thread(target=self._watch, args=(self.screen,), daemon=True).start()

    def _watch(self, screen):
        while True:
            try:
                data = os.read(screen, 65536)
            except OSError:
                data = b""
            with self.news:
                self.shown += data.decode(errors="replace")
                self.news.notify_all()
            if not data:
                os.close(screen)
                return

    def type(self, text):
        """Each key waits until the one before is on the screen: the emulated keyboard remembers
        four, however slow the machine is."""
        for key in text:
            before = len(self.shown)
            os.write(self.keyboard, key.encode())
            self.expect_shown(key if key.isprintable() and key != " " else "", before)

    def expect_shown(self, text, start=0):
        """Waits until the screen's terminal has got it, and anything at all, behind `start`. Spaces
        do not count, since the terminal is told to move instead, and may be in between."""
        wanted = text.replace(" ", "")
        with self.news:
            if not self.news.wait_for(lambda: len(self.shown) > start and wanted in
                                      MOVES.sub("", self.shown[start:]), self.patience_s):
                raise Lost(f"{text!r} is not shown; the screen's end:\n{self.shown[-1500:]!r}")

    def log(self):
        with open(os.path.join(self.work, "log"), errors="replace") as file:
            return file.read()

    def wait_power_off(self):
        """Bochs's end, and that its power management asked for it."""
        self.wait_end()
        if POWERED_OFF not in self.log():
            raise Lost(f"Bochs ended otherwise than by power-off: {self.said()[-1500:]}")
