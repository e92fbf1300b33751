"""Builds an initramfs (cpio, "newc" format) in memory. The same input gives the same bytes.

Layout: see docs/BOOT.md, "Initramfs".
"""
import os
import stat


class Initramfs:
    def __init__(self):
        self._nodes = {}  # path without the leading slash -> (mode, content)
        for path, mode in (("dev", 0o755), ("proc", 0o555), ("sys", 0o555), ("tmp", 0o1777),
                           (".run", 0o755), ("bin", 0o755)):
            self._nodes[path] = (stat.S_IFDIR | mode, b"")

    def add_bytes(self, guest, content, mode=0o644):
        self._add(guest, stat.S_IFREG | mode, content)

    def conflicts(self, guest, host=None):
        """Is something there already that is not the file `host`?"""
        path = self._resolve(guest)
        if path not in self._nodes:
            return False
        mode, content = self._nodes[path]
        if host is None or not stat.S_ISREG(mode):
            return True
        with open(host, "rb") as file:
            return file.read() != content

    def add(self, host, guest):
        """A host file becomes `guest`; a folder's content goes below `guest`."""
        info = os.lstat(host)
        if stat.S_ISLNK(info.st_mode) and not os.path.isdir(host):
            info = os.stat(host)
        if os.path.isdir(host):
            self._add_folder(host, guest)
        elif stat.S_ISREG(info.st_mode):
            with open(host, "rb") as file:
                self.add_bytes(guest, file.read(), 0o755 if info.st_mode & 0o111 else 0o644)
        else:
            raise OSError(f"{host}: neither a file nor a folder")

    def _add_folder(self, host, guest):
        if guest.strip("/"):
            self._add(guest, stat.S_IFDIR | 0o755, b"")
        for name in sorted(os.listdir(host)):
            path, inside = os.path.join(host, name), guest.rstrip("/") + "/" + name
            if os.path.islink(path):
                self._add(inside, stat.S_IFLNK | 0o777, os.readlink(path).encode())
            elif os.path.isdir(path) or os.path.isfile(path):
                self.add(path, inside)
            # else a device or the like: the kernel has its own /dev

    def _resolve(self, guest):
        """The path of a node, without links on the way: a root may have /bin -> usr/bin."""
        path = os.path.normpath("/" + guest).strip("/")
        for _ in range(40):
            names = path.split("/")
            for length in range(1, len(names)):
                mode, target = self._nodes.get("/".join(names[:length]), (0, b""))
                if stat.S_ISLNK(mode):
                    before = "/" + "/".join(names[:length - 1])
                    path = os.path.join(before, os.fsdecode(target), *names[length:])
                    path = os.path.normpath(path).strip("/")
                    break
            else:
                return path
        raise OSError(f"{guest}: too many symbolic links")

    def _add(self, guest, mode, content):
        path = self._resolve(guest)
        if not path:
            raise OSError(f"{guest}: not a path for a file")
        parent = os.path.dirname(path)
        if parent and parent not in self._nodes:
            self._add(parent, stat.S_IFDIR | 0o755, b"")
        if stat.S_ISDIR(mode) and path in self._nodes:
            return
        if stat.S_ISDIR(self._nodes.get(path, (0,))[0]) and any(
                node.startswith(path + "/") for node in self._nodes):
            raise OSError(f"{guest}: a folder with something in it is there already")
        self._nodes[path] = (mode, content)

    def pack(self):
        out = []
        for ino, (path, (mode, content)) in enumerate(sorted(self._nodes.items()), 1):
            out.append(_record(ino, path, mode, content))
        out.append(_record(0, "TRAILER!!!", 0, b""))
        return b"".join(out)


def _pad4(data):
    return data + bytes(-len(data) % 4)


def _record(ino, path, mode, content):
    name = os.fsencode(path) + b"\0"
    nlink = 2 if stat.S_ISDIR(mode) else 1
    # ino mode uid gid nlink mtime size devmajor devminor rdevmajor rdevminor namesize check
    fields = (ino, mode, 0, 0, nlink, 0, len(content), 0, 0, 0, 0, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _pad4(header + name) + _pad4(content)
