"""Builds an initramfs (cpio, "newc" format) in memory. The same input gives the same bytes.

Modes, owners and times are those of the host's files, but what belongs to whoever runs this is
root's. Layout: see docs/BOOT.md, "Initramfs".
"""
import collections
import os
import stat

Node = collections.namedtuple("Node", "mode content uid gid mtime")


class Initramfs:
    def __init__(self):
        self._nodes = {}  # path without the leading slash -> Node
        for path, mode in (("dev", 0o755), ("proc", 0o555), ("sys", 0o555), ("tmp", 0o1777),
                           (".run", 0o755), ("bin", 0o755)):
            self._nodes[path] = Node(stat.S_IFDIR | mode, b"", 0, 0, 0)

    def add_bytes(self, guest, content, mode=0o644):
        self._add(guest, Node(stat.S_IFREG | mode, content, 0, 0, 0))

    def conflicts(self, guest, host=None):
        """Is something there already that is not the file `host`?"""
        path = self._resolve(guest)
        if path not in self._nodes:
            return False
        mode, content = self._nodes[path][:2]
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
                self._add(guest, _node(info, file.read()))
        else:
            raise OSError(f"{host}: neither a file nor a folder")

    def _add_folder(self, host, guest):
        if guest.strip("/"):
            self._add(guest, _node(os.stat(host), b""))
        for name in sorted(os.listdir(host)):
            path, inside = os.path.join(host, name), guest.rstrip("/") + "/" + name
            if os.path.islink(path):
                self._add(inside, _node(os.lstat(path), os.fsencode(os.readlink(path))))
            elif os.path.isdir(path) or os.path.isfile(path):
                self.add(path, inside)
            # else a device or the like: the kernel has its own /dev

    def _resolve(self, guest):
        """The path of a node, without links on the way: a root may have /bin -> usr/bin."""
        path = os.path.normpath("/" + guest).strip("/")
        for _ in range(40):
            names = path.split("/")
            for length in range(1, len(names)):
                mode, target = self._nodes.get("/".join(names[:length]), (0, b""))[:2]
                if stat.S_ISLNK(mode):
                    before = "/" + "/".join(names[:length - 1])
                    path = os.path.join(before, os.fsdecode(target), *names[length:])
                    path = os.path.normpath(path).strip("/")
                    break
            else:
                return path
        raise OSError(f"{guest}: too many symbolic links")

    def _add(self, guest, node):
        path = self._resolve(guest)
        if not path:
            raise OSError(f"{guest}: not a path for a file")
        parent = os.path.dirname(path)
        if parent and parent not in self._nodes:
            self._add(parent, Node(stat.S_IFDIR | 0o755, b"", 0, 0, 0))
        if stat.S_ISDIR(node.mode) and path in self._nodes:
            return
        if stat.S_ISDIR(self._nodes.get(path, (0,))[0]) and any(
                other.startswith(path + "/") for other in self._nodes):
            raise OSError(f"{guest}: a folder with something in it is there already")
        self._nodes[path] = node

    def pack(self):
        out = []
        for ino, (path, node) in enumerate(sorted(self._nodes.items()), 1):
            out.append(_record(ino, path, node))
        out.append(_record(0, "TRAILER!!!", Node(0, b"", 0, 0, 0)))
        return b"".join(out)


def _pad4(data):
    return data + bytes(-len(data) % 4)


def _node(info, content):
    uid = 0 if info.st_uid == os.geteuid() else info.st_uid
    gid = 0 if info.st_gid == os.getegid() else info.st_gid
    return Node(info.st_mode, content, uid, gid, min(max(int(info.st_mtime), 0), 0xffffffff))


def _record(ino, path, node):
    name = os.fsencode(path) + b"\0"
    nlink = 2 if stat.S_ISDIR(node.mode) else 1
    # ino mode uid gid nlink mtime size devmajor devminor rdevmajor rdevminor namesize check
    fields = (ino, node.mode, node.uid, node.gid, nlink, node.mtime, len(node.content), 0, 0, 0, 0,
              len(name), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _pad4(header + name) + _pad4(node.content)
