"""Debian packages of a suite, with a private apt root that leaves the system untouched.

The idea: the machine already knows a mirror it may use and keys it trusts. So its own apt sources
are read, the suite in them is replaced, and the result goes into a root below the build folder with
lists, cache and status of its own. Of the system's apt settings only those that say how to reach
a mirror (proxies and such) are taken over; its hooks, which would refresh caches of the system
after an update, are not.
"""
import glob
import os
import re
import shutil
import subprocess

ARCH = "amd64"
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
        text += (f"Types: deb deb-src\nURIs: {entry['uris']}\nSuites: {entry['suites']}\n"
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


def download_with_dependencies(root, packages):
    """The .deb files of the packages and of all they depend on; make_root and update first."""
    apt(root, "apt-get", "-q", "-y", "--no-install-recommends", "--download-only", "install",
        *packages)
    return sorted(glob.glob(f"{root}/cache/archives/*.deb"))


def download_source(root, package):
    """The files of a source package; make_root and update first."""
    folder = f"{root}/deb"
    apt(root, "apt-get", "-q", "--download-only", "source", package, cwd=folder)
    return sorted(glob.glob(f"{folder}/{package}_*"))
