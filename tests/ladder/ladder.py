"""The ladder: programs from Debian packages, unmodified, run here and on Linux.

A rung is a shell script tests/ladder/NAME.sh that busybox's shell executes as the only program of a
machine whose root holds the packages it names. Lines at its top say how:

    # RUNG: packages="bash coreutils" mem=1G smp=2 timeout=120

    packages   Debian packages; they come with all they depend on (tools/debroot)
    prepare    a program tests/ladder/prepare/WORD that fills a folder with more files; its arguments
               are the folder, the suite, and the words that follow
    suite      the Debian release whose Linux is run beside us, and whose source packages are taken:
               own (this machine's) or a name
    linux      same: standard output must be the same on Linux; no: the script judges by itself
    cases      yes: the output has lines "PASS: case", "FAIL: case" or "SKIP: case"; see below

A rung without cases passes when its status is 0 and its output that of Linux.

A rung with cases passes when every case in NAME.passed passes. That file may only grow: a case that
passes and is not in it is named, for somebody to add it, and at most `differ` cases (0) may
have another result than on Linux; docs/CAVEATS.md explains those. The packages of another suite than
our own change without us: a case that they have no longer, on Linux neither, is named too.
"""
import glob
import importlib.machinery
import importlib.util
import os
import re
import shlex
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
DEFAULTS = {"packages": "", "prepare": "", "mem": "1G", "smp": "2", "timeout": "180",
            "linux": "same", "cases": "no", "differ": "0", "scheme": "rcu", "suite": "own"}


class Failed(Exception):
    """A rung does not hold; the text says why."""


def debroot(packages):
    loader = importlib.machinery.SourceFileLoader("debroot", os.path.join(TOP, "tools", "debroot"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("debroot", loader))
    loader.exec_module(module)
    try:
        return module.root_of(packages)
    except module.debian.Failure as failure:
        raise Failed(str(failure)) from None


def settings_of(path):
    settings = dict(DEFAULTS)
    with open(path) as file:
        words = " ".join(line[7:] for line in file.readlines()[:15] if line.startswith("# RUNG:"))
    settings.update(word.split("=", 1) for word in shlex.split(words))
    unknown = set(settings) - set(DEFAULTS)
    if unknown:
        raise Failed(f"{path}: RUNG: what is {' '.join(unknown)}?")
    return settings


def names():
    return sorted(os.path.basename(path)[:-3] for path in glob.glob(os.path.join(HERE, "*.sh")))


class Rung:
    def __init__(self, name, out, kernel=None, patience=1):
        self.path = os.path.join(HERE, f"{name}.sh")
        self.name, self.out, self.kernel, self.patience = name, out, kernel, patience
        self.settings = settings_of(self.path)

    def options(self):
        packages = self.settings["packages"].split()
        options = ["--add", f"{self.path}:/rung.sh", "--mem", self.settings["mem"]]
        for folder in [debroot(packages)] if packages else []:
            options += ["--add", folder]
        if self.settings["prepare"]:
            folder = os.path.join(self.out, "ladder", self.name)
            os.makedirs(folder, exist_ok=True)
            program, *words = self.settings["prepare"].split()
            command = [os.path.join(HERE, "prepare", program), folder, self.settings["suite"]]
            done = subprocess.run(command + words, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True)
            if done.returncode != 0:
                raise Failed(f"preparing: status {done.returncode}\n{done.stdout}")
            options += ["--add", folder]
        return options

    def boot(self, *options):
        """Standard output; whatever goes wrong fails the rung."""
        limit = int(int(self.settings["timeout"]) * self.patience)
        busybox = os.path.join(debroot(["busybox-static"]), "bin", "busybox")
        command = [os.path.join(TOP, "tools", "run"), "--accel", "tcg", "--timeout", str(limit),
                   *options, "--", busybox, "sh", "/rung.sh"]
        done = subprocess.run(command, cwd=TOP, stdin=subprocess.DEVNULL, capture_output=True)
        out = done.stdout.decode(errors="replace")
        if done.returncode != 0:
            raise Failed(f"status {done.returncode}\n{tail(out)}\n"
                         f"--- standard error\n{tail(done.stderr.decode(errors='replace'))}")
        return out

    def here(self):
        options = ["--smp", self.settings["smp"], "--scheme", self.settings["scheme"]]
        if self.kernel:
            options += ["--kernel", os.path.abspath(self.kernel)]
        return self.boot(*options, *self.options())

    def there(self, vmlinuz):
        # User space ends at the same address in both.
        return self.boot("--linux", vmlinuz, "--append", "no5lvl", "--smp", self.settings["smp"],
                         *self.options())

    def climb(self, vmlinuz):
        """vmlinuz(suite): path of the suite's Linux kernel; None: of this machine's own suite."""
        ours = self.here()
        if self.settings["linux"] == "no" and self.settings["cases"] == "no":
            return
        suite = None if self.settings["suite"] == "own" else self.settings["suite"]
        theirs = self.there(vmlinuz(suite)) if self.settings["linux"] == "same" else None
        if self.settings["cases"] == "yes":
            self.judge(results_of(ours), theirs and results_of(theirs))
        elif ours != theirs:
            raise Failed(f"--- Linux\n{tail(theirs)}\n--- Faultline\n{tail(ours)}")

    def judge(self, ours, theirs):
        wanted = self.pass_list()
        if theirs is not None and self.settings["suite"] != "own":
            gone = sorted(case for case in wanted if case not in ours and case not in theirs)
            wanted -= set(gone)
            if gone:
                print(f"# {self.name}: {self.settings['suite']} has no more: {' '.join(gone)}",
                      flush=True)
        lost = sorted(case for case in wanted if ours.get(case) != "PASS")
        gained = sorted(case for case in ours if ours[case] == "PASS" and case not in wanted)
        text = ""
        if gained:
            print(f"# {self.name}: {len(gained)} more pass, to be added to {self.name}.passed: "
                  f"{' '.join(gained)}", flush=True)
        if lost:
            text += f"passed before, not now: {' '.join(lost)}\n"
        if theirs is not None:
            other = sorted(case for case in set(ours) | set(theirs)
                           if ours.get(case) != theirs.get(case))
            if len(other) > int(self.settings["differ"]):
                text += "another result than on Linux: " + ", ".join(
                    f"{case} ({theirs.get(case)}, here {ours.get(case)})" for case in other)
        if text:
            raise Failed(text)

    def pass_list(self):
        with open(os.path.join(HERE, f"{self.name}.passed")) as file:
            return {line.strip() for line in file if line.strip() and not line.startswith("#")}


def results_of(text):
    """{case: result}; a name that is there again gets a number."""
    results = {}
    for result, name in re.findall(r"^(PASS|FAIL|SKIP): (.*?)\s*$", text, re.M):
        case, times = name, 1
        while case in results:
            times += 1
            case = f"{name} ({times})"
        results[case] = result
    return results


def tail(text, lines=60):
    rows = text.splitlines()
    return "\n".join(rows[-lines:])
