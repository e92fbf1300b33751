"""Gets Debian's own kernel of a suite, with a private apt root that leaves the system untouched.

The idea: the machine already knows a mirror it may use and keys it trusts. So its own apt sources
are read, the suite in them is replaced, and the result goes into a root below the build folder with
lists, cache and status of its own. Of the system's apt settings only those that say how to reach
a mirror (proxies and such) are taken over; its hooks, which would refresh caches of the system
after an update, are not.

    build/linux/SUITE/apt/       the private root; may be deleted
    build/linux/SUITE/vmlinuz    the kernel
    build/linux/SUITE/stamp      package and version, written last; with it, nothing is fetched
"""
import fcntl
import glob
import json
import os
import re
import shutil
import subprocess
import tarfile

ARCH = "amd64"
META_PACKAGE = f"linux-image-{ARCH}"
# Suites that have no "-updates" and "-security" beside them.
ROLLING = ("sid", "unstable", "testing", "experimental")
SIDE_SUITE = re.compile(r"-(updates|security|backports.*|proposed-updates)$|/")
# What of the system's apt settings says how to reach a mirror.
REACH = re.compile(r"Acquire::(http|https|ftp|tor|Retries|ForceIPv|Check-Valid-Until|Proxy)", re.I)


class Failure(Exception):
    pass


# --- The machine's apt sources -------------------------------------------------------------------


def parse_one_line(text):
    """sources.list: `deb [options] URI SUITE COMPONENT...`, a line each."""
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^]]*)\]\s*)?(\S+)\s+(\S+)\s*([^#]*)", line)
        if match:
            options = re.search(r"signed-by=(\S+)", match.group(1) or "")
            yield {"uris": match.group(2), "suites": match.group(3),
                   "components": match.group(4).strip(),
                   "signed-by": " " + options.group(1) if options else ""}


def parse_deb822(text):
    """*.sources: paragraphs of `Field: value`; a value may go on in indented lines."""
    text = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for paragraph in re.split(r"\n\s*\n", text):
        fields = {}
        for name, value in re.findall(r"^([\w-]+):((?:.*)(?:\n[ \t].*)*)", paragraph, re.M):
            fields[name.lower()] = value
        off = fields.get("enabled", "yes").strip().lower() in ("no", "false", "0")
        if "deb" in fields.get("types", "").split() and not off:
            yield {"uris": fields.get("uris", "").strip(),
                   "suites": fields.get("suites", "").strip(),
                   "components": fields.get("components", "").strip(),
                   "signed-by": fields.get("signed-by", "")}


def machine_sources(etc="/etc/apt"):
    """All enabled binary sources with a `main`, one suite each."""
    found = []
    names = [f"{etc}/sources.list"] + sorted(glob.glob(f"{etc}/sources.list.d/*"))
    for name in names:
        parser = {".list": parse_one_line, ".sources": parse_deb822}.get(os.path.splitext(name)[1])
        if parser is None or not os.path.isfile(name):
            continue
        with open(name, encoding="utf-8", errors="replace") as file:
            entries = list(parser(file.read()))
        for entry in entries:
            if "main" in entry["components"].split():
                found += [dict(entry, suites=suite) for suite in entry["suites"].split()]
    return found


def own_release(sources):
    """The source that serves the machine's release itself."""
    main = [entry for entry in sources if not SIDE_SUITE.search(entry["suites"])]
    if not main:
        raise Failure("no apt source of this machine serves a release's `main`; "
                      "get a kernel yourself and name it with --linux")
    try:
        with open("/etc/os-release", encoding="utf-8") as file:
            codename = re.search(r'^VERSION_CODENAME="?([\w-]+)', file.read(), re.M)
    except OSError:
        codename = None
    own = [entry for entry in main if codename and entry["suites"] == codename.group(1)]
    return (own or main)[0]


def own_suite():
    return own_release(machine_sources())["suites"]


def suite_sources(suite):
    """What apt must read to find the suite's newest kernel."""
    sources = machine_sources()
    own = own_release(sources)
    chosen = [dict(own, suites=suite)]
    if suite == own["suites"] and suite not in ROLLING:
        chosen += [entry for entry in sources
                   if entry["suites"] in (f"{suite}-updates", f"{suite}-security")]
    return chosen


# --- The private apt root ------------------------------------------------------------------------


def write_text(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def apt_settings(root):
    dump = subprocess.run(["apt-config", "dump"], stdout=subprocess.PIPE, text=True, check=True)
    lines = [line for line in dump.stdout.splitlines() if REACH.match(line)]
    settings = {
        "APT::Architecture": ARCH,
        "APT::Sandbox::User": "root",
        "APT::Get::List-Cleanup": "false",
        "Acquire::Languages": "none",
        "Dir::Etc::Main": "/dev/null",
        "Dir::Etc::Parts": "/dev/null",
        "Dir::Etc::SourceList": "/dev/null",
        "Dir::Etc::SourceParts": f"{root}/sources",
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null",
        "Dir::State": f"{root}/state",
        "Dir::State::status": f"{root}/state/status",
        "Dir::Cache": f"{root}/cache",
        "Dir::Log": f"{root}/log",
    }
    lines += [f'{name} "{value}";' for name, value in settings.items()]
    lines.append(f'APT::Architectures {{ "{ARCH}"; }};')
    return "\n".join(lines) + "\n"


def make_root(root, suite):
    shutil.rmtree(root, ignore_errors=True)
    for folder in ("sources", "state/lists/partial", "cache/archives/partial", "log", "deb"):
        os.makedirs(f"{root}/{folder}")
    write_text(f"{root}/state/status", "")
    text = ""
    for entry in suite_sources(suite):
        text += (f"Types: deb\nURIs: {entry['uris']}\nSuites: {entry['suites']}\n"
                 "Components: main\n")
        text += f"Signed-By:{entry['signed-by']}\n\n" if entry["signed-by"].strip() else "\n"
    write_text(f"{root}/sources/suite.sources", text)
    write_text(f"{root}/apt.conf", apt_settings(root))


def apt(root, *words, cwd=None):
    env = dict(os.environ, APT_CONFIG=f"{root}/apt.conf", LC_ALL="C")
    done = subprocess.run(words, env=env, cwd=cwd, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise Failure(f"`{' '.join(words)}` failed:\n{done.stderr.strip()}")
    return done.stdout


def image_package(root):
    """The package that holds the kernel: the one behind the meta package, or, since Debian put the
    kernel and its modules into packages of their own, the one behind that."""
    package = META_PACKAGE
    for wanted in (r"linux-image-\d\S*", r"linux-binary-\d\S*"):
        out = apt(root, "apt-cache", "depends", "--important", package)
        match = re.search(rf"Depends: ({wanted})", out)
        if match:
            package = match.group(1)
        elif package == META_PACKAGE:
            raise Failure(f"{META_PACKAGE} depends on no linux-image-*:\n{out}")
    return package


def extract_kernel(deb, target):
    """Only the kernel: its modules are hundreds of megabytes and come after it."""
    unpack = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
    found = False
    try:
        with tarfile.open(fileobj=unpack.stdout, mode="r|") as tar:
            for member in tar:
                if member.isfile() and re.search(r"(^|/)(boot/vmlinuz-|modules/[^/]+/vmlinuz$)",
                                                 member.name):
                    with open(target, "wb") as file:
                        shutil.copyfileobj(tar.extractfile(member), file)
                    found = True
                    break
    except tarfile.TarError:
        pass
    unpack.kill()
    errors = unpack.communicate()[1].decode(errors="replace")
    if not found:
        raise Failure(f"no vmlinuz in {os.path.basename(deb)}: {errors.strip()}")


def fetch(suite, folder, say):
    root = os.path.join(folder, "apt")
    say(f"Linux of {suite}: reading the package lists")
    make_root(root, suite)
    apt(root, "apt-get", "-q", "update")
    package = image_package(root)
    say(f"Linux of {suite}: downloading {package}")
    apt(root, "apt-get", "-q", "download", package, cwd=f"{root}/deb")
    debs = glob.glob(f"{root}/deb/*.deb")
    if len(debs) != 1:
        raise Failure(f"apt downloaded no {package}")
    say(f"Linux of {suite}: unpacking")
    kernel = os.path.join(folder, "vmlinuz")
    extract_kernel(debs[0], kernel + ".part")
    os.rename(kernel + ".part", kernel)
    version = os.path.basename(debs[0]).split("_")[1].replace("%3a", ":")
    shutil.rmtree(root)
    write_text(os.path.join(folder, "stamp"), json.dumps({"package": package, "version": version}))


def kernel_of(suite, build, say):
    """Path of the suite's kernel below `build`, fetched if it is not there yet."""
    if not re.fullmatch(r"[a-z][a-z0-9.-]*", suite):
        raise Failure(f"{suite}: not the name of a suite")
    folder = os.path.join(build, "linux", suite)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kernel = os.path.join(folder, "vmlinuz")
        if not (os.path.exists(os.path.join(folder, "stamp")) and os.path.exists(kernel)):
            for tool in ("apt-get", "dpkg-deb"):
                if not shutil.which(tool):
                    raise Failure(f"{tool} is missing, so no kernel can be fetched; "
                                  "get one yourself and name it with --linux")
            fetch(suite, os.path.abspath(folder), say)
    return kernel
