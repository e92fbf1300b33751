"""Boots kernels with user/coherence in them and the plugin beside it, and gathers what both say.

What tools/coherence and tools/profile have in common; `opts` is what either's command line gave.
"""
import bisect
import fnmatch
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading

import build
import linux_image
import records

TOOLS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOP = os.path.dirname(TOOLS)
ARCH = "x86_64"
FAR = 0x100000  # from a symbol: what is further away does not belong to it


class Failure(Exception):
    pass


def progress(text):
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K" + text)
        sys.stderr.flush()


# --- Options -------------------------------------------------------------------------------------


def add_options(add, cpus):
    """Those that say what to boot and what to run in it; `cpus` is the default."""
    add("--suite", action="append", default=[], metavar="NAME",
        help="also Debian's Linux of this release; repeatable")
    add("--linux", action="append", default=[], metavar="VMLINUZ",
        help="also this Linux kernel; repeatable")
    add("--no-faultline", action="store_true", help="run Linux alone")
    add("--kernel", metavar="ELF", help=f"our kernel (build/{ARCH}/faultline.elf)")
    add("--program", metavar="FILE", help="the program (user/coherence beside the kernel)")
    add("--scheme", metavar="NAME", help="Faultline's locking scheme")
    add("--append", default="", metavar="TEXT", help="add to the kernels' command line")
    add("--operation", action="append", default=[], metavar="GLOB",
        help="which operations; repeatable (all)")
    add("--list", action="store_true", help="list the operations and exit")
    add("--cpus", default=cpus, metavar="N[,N]", help="numbers of CPUs (%(default)s)")
    add("--warm", type=int, default=2, metavar="N", help="batches before counting (%(default)s)")
    add("--batches", type=int, default=6, metavar="N", help="batches that count (%(default)s)")
    add("--json", action="store_true", help="print one JSON object instead of a table")
    add("--mem", default="1G", metavar="SIZE", help="memory of the machine (%(default)s)")
    add("--timeout", type=int, default=600, metavar="S", help="for one boot (%(default)s s)")


def settle_options(parser, opts):
    if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", opts.cpus):
        parser.error(f"--cpus {opts.cpus}: numbers and commas")
    opts.cpus = [int(n) for n in opts.cpus.split(",")]
    if max(opts.cpus) > 64 or min(opts.warm, opts.batches) < 1:
        parser.error("at most 64 CPUs, at least one batch of each kind")
    opts.kernel = opts.kernel or os.path.join(TOP, "build", ARCH, "faultline.elf")
    opts.program = opts.program or os.path.join(os.path.dirname(opts.kernel), "user", "coherence")
    for path in [opts.program] + opts.linux + ([] if opts.no_faultline else [opts.kernel]):
        if not os.path.exists(path):
            parser.error(f"{path} is not there" + ("" if path in opts.linux else ": run `make`"))
    if opts.no_faultline and not opts.linux and not opts.suite:
        parser.error("no kernel to run: name one with --suite or --linux")


def operations_known(opts):
    """[(name, title)] of what the program offers and the options choose."""
    done = subprocess.run([opts.program, "--list"], stdout=subprocess.PIPE, text=True, check=True)
    known = [line.split(None, 1) for line in done.stdout.splitlines()]
    chosen = [(name, title) for name, title in known
              if not opts.operation or any(fnmatch.fnmatchcase(name, glob)
                                           for glob in opts.operation)]
    if not chosen:
        raise Failure("no operation of that name; --list names them")
    return chosen


# --- Symbols -------------------------------------------------------------------------------------


class ElfSymbols:
    """Names from an ELF file: what `nm` lists, and `addr2line` for the line of the source."""

    def __init__(self, path):
        self.path = path
        out = subprocess.run(["nm", "-n", path], stdout=subprocess.PIPE, text=True, check=True)
        self.starts, self.names = [], []
        for line in out.stdout.splitlines():
            match = re.match(r"([0-9a-f]+) ([A-Za-z]) (\S+)$", line)
            if match and match.group(2) not in "aAU":
                self.starts.append(int(match.group(1), 16))
                self.names.append(match.group(3))

    def name(self, address):
        at = bisect.bisect_right(self.starts, address) - 1
        if at < 0 or address - self.starts[at] > FAR:
            return None
        return f"{self.names[at]}+0x{address - self.starts[at]:x}"

    def lines(self, addresses):
        """{address: "FILE:LINE"} where it is known."""
        addresses = list(addresses)
        done = subprocess.run(["addr2line", "-e", self.path], stdout=subprocess.PIPE, text=True,
                              input="".join(f"{a:x}\n" for a in addresses))
        found = {}
        for address, line in zip(addresses, done.stdout.splitlines()):
            match = re.match(r"([^?]\S*:\d+)", line)
            if match:
                found[address] = os.path.relpath(match.group(1), TOP)
        return found


class LearntSymbols:
    """Names as a running Linux knows them: those that it was asked for."""

    def __init__(self):
        self.known = {}

    def learn(self, address, name):
        if int(name.rpartition("+")[2], 16) <= FAR:
            self.known[address] = name

    def name(self, address):
        return self.known.get(address)

    def lines(self, _addresses):
        return {}


# --- One kernel ----------------------------------------------------------------------------------


class Side:
    """A kernel, and what it did."""

    def __init__(self, title, options, elf=None):
        self.title = title
        self.options = options  # for tools/run
        self.elf = elf          # ours
        self.symbols = ElfSymbols(elf) if elf else LearntSymbols()
        self.release = ""
        self.runs = {}          # (operation, CPUs) -> Record
        self.why = {}           # (operation, CPUs) -> why there is no record
        self.errors = []


class Study:
    """What a tool wants to know: the options it gives to the plugin, and the function that tells of
    which addresses in a Record it needs the names (None: of none)."""

    def __init__(self, plugin_options="", addresses=None):
        self.plugin = None  # the file, once it is compiled
        self.plugin_options = plugin_options
        self.addresses = addresses


class Boot:
    """One start of one kernel with the program in it."""

    def __init__(self, opts, study, side, names, folder):
        self.opts = opts
        self.study = study
        self.side = side
        self.names = names
        self.out = os.path.join(folder, "records")
        self.current = None  # (operation, CPUs) that has started and not ended
        self.ended = {}      # number -> (operation, CPUs)
        self.started = False  # the program has
        self.done = False

    def command(self):
        opts, side = self.opts, self.side
        cpus = max(opts.cpus)
        append = f"nokaslr {opts.append}".strip() if side.elf is None else opts.append
        command = [os.path.join(TOOLS, "run"), "--kernel", opts.kernel, "--smp", str(cpus),
                   "--mem", opts.mem, "--accel", "tcg,thread=multi", f"--append={append}",
                   "--timeout", str(opts.timeout), *side.options,
                   "--qemu", f"-plugin {self.study.plugin},out={self.out}"
                   + self.study.plugin_options, "--", opts.program,
                   "--threads", ",".join(map(str, opts.cpus)), "--warm", str(opts.warm),
                   "--batches", str(opts.batches)]
        return command + (["--symbols"] if self.asks_symbols() else []) + self.names

    def asks_symbols(self):
        return self.study.addresses is not None and self.side.elf is None

    def run(self):
        """The program's exit status, as tools/run passes it on."""
        child = subprocess.Popen(self.command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True, errors="replace")
        errors = []
        reader = threading.Thread(target=lambda: errors.extend(child.stderr))
        reader.start()
        try:
            for line in child.stdout:
                self.take(line.split(None, 4))
                if line == "done\n":
                    self.ask_symbols(child.stdin)
            return child.wait(), errors
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait()
            reader.join()

    def take(self, words):
        side = self.side
        if words[:1] == ["system"]:
            self.started = True
            side.release = words[1]
            if side.elf is None:
                side.title = "Linux " + ".".join(words[1].split(".")[:2])
        elif words[:1] == ["start"]:
            self.current = (words[1], int(words[2]))
            progress(f"{side.title}: {words[1]}, {words[2]} CPUs")
        elif words[:1] == ["run"]:
            verdict = words[4].split(None, 1)[1].strip()
            self.current = None
            key = (words[2], int(words[3]))
            if verdict == "ok":
                self.ended[int(words[1])] = key
            else:
                side.why[key] = "FAILED"
                side.errors.append(f"{side.title}: {key[0]} on {key[1]} CPUs {verdict}")
        elif words[:1] == ["skip"]:
            for cpus in self.opts.cpus if words[2] == "0" else [int(words[2])]:
                side.why[(words[1], cpus)] = "n/a"
        elif words[:1] == ["symbol"]:
            self.side.symbols.learn(int(words[1], 16), words[2])
        elif words[:1] == ["done"]:
            self.done = True

    def ask_symbols(self, stdin):
        if self.asks_symbols():
            wanted = set()
            for run in records.read(self.out).values():
                wanted.update(self.study.addresses(run))
            stdin.write("".join(f"{address:x}\n" for address in sorted(wanted)))
        stdin.close()

    def collect(self):
        """Gives the side the records of all runs that ended."""
        found = records.read(self.out) if os.path.exists(self.out) else {}
        for number, key in self.ended.items():
            run = found.get(number)
            if run is None or not run.ended or run.total("windows") == 0:
                self.side.why[key] = "LOST"
                self.side.errors.append(f"{self.side.title}: {key[0]} on {key[1]} CPUs: "
                                        "the plugin counted nothing")
                continue
            self.side.runs[key] = run


# Linux changes its own code while other processors run it, and QEMU's translations of it lag behind:
# with 8 processors Linux 7.2 meets an int3 that it has taken back, in one boot of five or so. That
# says nothing about what is counted afterwards. Our own kernel gets one boot: if it dies, it shows.
LINUX_BOOTS = 6


def run_side(opts, study, side, names):
    """Boots until every operation has its records or is known to kill this kernel."""
    boots_left = LINUX_BOOTS if side.elf is None else 1
    while names:
        with tempfile.TemporaryDirectory(prefix="coherence-") as folder:
            boot = Boot(opts, study, side, names, folder)
            progress(f"{side.title}: booting")
            status, errors = boot.run()
            boot.collect()
        if boot.done:
            break
        boots_left -= 0 if boot.started else 1
        if not boot.started and boots_left > 0:
            print(f"{side.title}: died before it ran anything; once more", file=sys.stderr)
            continue
        tail = "".join("\n    " + line.rstrip() for line in errors[:30])
        if boot.current is None:
            side.errors.append(f"{side.title}: ended with status {status} outside an operation"
                               + tail)
            break
        name, cpus = boot.current
        side.errors.append(f"{side.title}: ended with status {status} in {name} on {cpus} CPUs"
                           + tail)
        for other in opts.cpus:
            if (name, other) not in side.runs:
                side.why[(name, other)] = "DIED"
        names = names[names.index(name) + 1:]


def sides_of(opts):
    sides = []
    for path in opts.linux:
        sides.append(Side(os.path.basename(path).replace("vmlinuz", "linux")[-22:],
                          ["--linux", path]))
    for suite in dict.fromkeys(opts.suite):
        path = linux_image.kernel_of(suite, os.path.join(TOP, "build"), progress)
        sides.append(Side(f"Linux of {suite}", ["--linux", path]))
    if not opts.no_faultline:
        scheme = ["--scheme", opts.scheme] if opts.scheme else []
        sides.append(Side("Faultline", scheme, elf=opts.kernel))
    return sides


# --- Everything ----------------------------------------------------------------------------------


def run_all(tool, opts, study, report):
    chosen = operations_known(opts)
    if opts.list:
        for name, title in chosen:
            print(f"{name:14} {title}")
        return 0
    sides = sides_of(opts)
    with tempfile.TemporaryDirectory(prefix=tool + "-") as folder:
        study.plugin = build.plugin(folder)
        for side in sides:
            run_side(opts, study, side, [name for name, _ in chosen])
    progress("")
    report(opts, sides, chosen)
    sys.stdout.flush()
    errors = [error for side in sides for error in side.errors]
    for error in errors:
        print(f"{tool}: {error}", file=sys.stderr)
    return 1 if errors else 0


def main(tool, opts, study, report):
    """Runs what the options choose and calls report(opts, sides, [(name, title)]); returns the
    exit status."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda n, _frame: sys.exit(128 + n))
    try:
        return run_all(tool, opts, study, report)
    except (Failure, linux_image.Failure, subprocess.CalledProcessError) as failure:
        print(f"{tool}: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
