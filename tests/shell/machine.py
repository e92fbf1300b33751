"""A machine with a person before it: the serial console, the keyboard, the screen."""
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tools"))
from initramfs import Initramfs  # noqa: E402

PROMPT = "root@faultline:~# "
START = "init=/bin/sh -- /etc/start"


class Lost(Exception):
    """What was expected did not come; the text says what came."""


def pack_root(folder, work):
    files = Initramfs()
    files.add(folder, "/")
    path = os.path.join(work, "initramfs")
    with open(path, "wb") as file:
        file.write(files.pack())
    return path


def efi_arguments(work):
    """OVMF, with a copy of its variables that may be written."""
    for suffix in ("_4M", ""):
        code = f"/usr/share/OVMF/OVMF_CODE{suffix}.fd"
        variables = f"/usr/share/OVMF/OVMF_VARS{suffix}.fd"
        if os.path.exists(code) and os.path.exists(variables):
            copy = shutil.copy(variables, os.path.join(work, "vars.fd"))
            return ["-drive", f"if=pflash,format=raw,readonly=on,file={code}",
                    "-drive", f"if=pflash,format=raw,file={copy}"]
    raise Lost("no OVMF firmware found: tools/setup iso")


class Console:
    """An emulator's process and the serial console of its machine, which is a socket."""

    def __init__(self, patience_s):
        self.patience_s = patience_s
        self.work = tempfile.mkdtemp(prefix="faultline-shell-")
        self.errors = open(os.path.join(self.work, "errors"), "w+")
        self.news = threading.Condition()
        self.text = ""
        self.at = 0  # in text: what was expected lies before
        self.ended = False  # the serial line is closed
        self.process = None
        self.serial = None

    def start(self, command, stdin=subprocess.DEVNULL, env=None):
        self.process = subprocess.Popen(command, stdin=stdin, stdout=self.errors,
                                        stderr=self.errors, env=env)

    def connect(self, listener):
        """The other end of a socket on which the process is to call."""
        listener.settimeout(60)
        try:
            return listener.accept()[0]
        except socket.timeout:
            said = self.said()
            self.stop()
            raise Lost(f"the emulator did not start: {said}") from None

    def said(self):
        with open(os.path.join(self.work, "errors"), errors="replace") as file:
            return file.read()

    def listen(self):
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.errors.close()
        shutil.rmtree(self.work, ignore_errors=True)

    def _listen(self):
        """A thread of its own, since a port that nobody reads holds the kernel up."""
        while True:
            try:
                data = self.serial.recv(65536)
            except OSError:
                data = b""
            with self.news:
                self.text += data.decode(errors="replace").replace("\r", "")
                self.ended = not data
                self.news.notify_all()
            if not data:
                return

    def expect(self, pattern):
        """Waits until the console shows it, behind what was expected before."""
        deadline = time.monotonic() + self.patience_s
        with self.news:
            while True:
                match = re.compile(pattern).search(self.text, self.at)
                if match:
                    self.at = match.end()
                    return match
                left = deadline - time.monotonic()
                if left < 0 or self.ended:
                    raise Lost(f"no {pattern!r} came; the console's end:\n{self.text[-1500:]}")
                self.news.wait(left)

    def send(self, text):
        self.serial.sendall(text.encode())

    def wait_end(self):
        """The emulator's status after the machine has switched itself off."""
        deadline = time.monotonic() + self.patience_s
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                raise Lost(f"the machine is still on; the console's end:\n{self.text[-1500:]}")
            time.sleep(0.1)
        return self.process.returncode


class Machine(Console):
    """QEMU, with its monitor on a socket, too. `boot` are its arguments for what to start."""

    def __init__(self, boot, *more, patience_s=120):
        super().__init__(patience_s)
        names = {name: os.path.join(self.work, name) for name in ("serial", "monitor")}
        listeners = {}
        for name, path in names.items():
            listeners[name] = socket.socket(socket.AF_UNIX)
            listeners[name].bind(path)
            listeners[name].listen(1)
        command = ["qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max",
                   "-smp", "2", "-m", "512M", "-nodefaults", "-no-user-config", "-display", "none",
                   "-chardev", f"socket,id=con,path={names['serial']}",
                   "-device", "isa-serial,chardev=con",
                   "-chardev", f"socket,id=mon,path={names['monitor']}",
                   "-mon", "chardev=mon,mode=readline", *boot, *more]
        self.start(command)
        self.serial = self.connect(listeners["serial"])
        self.monitor = self.connect(listeners["monitor"])
        self.listen()
        self._monitor_reply()

    # --- The monitor, the keyboard and the screen

    def _monitor_reply(self):
        reply = b""
        self.monitor.settimeout(60)
        while not reply.endswith(b"(qemu) "):
            data = self.monitor.recv(4096)
            if not data:
                raise Lost("QEMU's monitor is gone")
            reply += data
        return reply.decode(errors="replace")

    def ask(self, command):
        self.monitor.sendall(command.encode() + b"\n")
        return self._monitor_reply()

    def keys(self, *names):
        for name in names:
            self.ask(f"sendkey {name} 40")
            time.sleep(0.06)

    def type(self, text):
        special = {" ": "spc", "\n": "ret", "-": "minus", "=": "equal", "/": "slash", ".": "dot",
                   ",": "comma", ";": "semicolon", "'": "apostrophe", "$": "shift-4",
                   "|": "shift-backslash", ">": "shift-dot", "<": "shift-comma", "&": "shift-7",
                   '"': "shift-apostrophe", "_": "shift-minus", "*": "shift-8", "(": "shift-9",
                   ")": "shift-0", "!": "shift-1", "#": "shift-3", "%": "shift-5", ":": "shift-semicolon",
                   "\\": "backslash", "[": "bracket_left", "?": "shift-slash"}
        for c in text:
            if not (c.isascii() and c.isalnum()) and c not in special:
                raise ValueError(f"no key for {c!r}")
            self.keys(special.get(c, f"shift-{c.lower()}" if c.isupper() else c))

    def screenshot(self, path):
        """A PPM file of the screen."""
        self.ask(f"screendump {path}")
        return path
