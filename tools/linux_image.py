"""Gets Debian's own kernel of a suite.

    build/linux/SUITE/apt/       a private apt root (tools/debian.py); may be deleted
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

from debian import ARCH, Failure, apt, make_root, own_suite, write_text  # noqa: F401

META_PACKAGE = f"linux-image-{ARCH}"


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
