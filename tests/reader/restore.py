"""Points as lists and files: the same for points of a pool and of a vault."""

import json
import os
import resource
import stat
import sys
from datetime import datetime, timezone
from typing import Any

import tree
from tree import Entry, Tree
from words import Damage, Point, id_text, need

NODES = {tree.FIFO: stat.S_IFIFO, tree.SOCKET: stat.S_IFSOCK,
         tree.CHARACTER_DEVICE: stat.S_IFCHR, tree.BLOCK_DEVICE: stat.S_IFBLK}


class Restore:
    """Writes entries as they come. Directories are open while something may come below them, so no
    path is longer than the kernel takes; they get their attributes when they are left."""

    def __init__(self, source: Tree, target: str) -> None:
        self.tree, self.target = source, os.fsencode(target)
        self.open: list[tuple[Entry, int]] = []
        self.linked: dict[tuple, bytes] = {}  # link group -> path of its first name
        self.count, self.failed = 0, []
        # A tree may be deeper than the usual limit of open files.
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    def run(self) -> None:
        try:
            for entry in self.tree.entries():
                self.entry(entry)
                self.count += 1
        finally:
            while self.open:
                self.leave()
        for failed in self.failed:
            print(f"{failed['path']}: {failed['error']}", file=sys.stderr)

    def entry(self, entry: Entry) -> None:
        if not self.open:
            first = entry.path == b"" and entry.kind == tree.DIRECTORY
            need(first, repr(entry.path), "the first entry is not the root")
            self.enter(entry, self.target)
            return
        parent, _, name = entry.path.rpartition(b"/")
        need(name not in (b"", b".", b"..") and b"\0" not in name, repr(entry.path), "no name")
        while self.open[-1][0].path != parent:
            need(len(self.open) > 1, repr(entry.path), "its directory does not stand before it")
            self.leave()
        place = b"/proc/self/fd/%d/%s" % (self.open[-1][1], name)
        if entry.kind == tree.DIRECTORY:
            self.enter(entry, place)
            return
        try:
            self.make(entry, place)
        except (Damage, OSError) as error:
            self.failed.append({"path": os.fsdecode(entry.path), "error": str(error)})

    def enter(self, entry: Entry, place: bytes) -> None:
        os.mkdir(place, 0o700)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        self.open.append((entry, os.open(place, flags)))

    def leave(self) -> None:
        entry, fd = self.open.pop()
        try:
            self.attributes(entry, b"/proc/self/fd/%d/." % fd)
        except OSError as error:
            self.failed.append({"path": os.fsdecode(entry.path), "error": str(error)})
        os.close(fd)

    def make(self, entry: Entry, place: bytes) -> None:
        if entry.group in self.linked:
            self.link(self.linked[entry.group], place)
            return
        if entry.kind == tree.SYMLINK:
            os.symlink(entry.target, place)
        elif entry.kind == tree.FILE:
            self.file(entry, place)
        else:
            os.mknod(place, NODES[entry.kind] | 0o600, os.makedev(*(entry.device or (0, 0))))
        self.attributes(entry, place)
        if entry.group:
            self.linked[entry.group] = entry.path

    def file(self, entry: Entry, place: bytes) -> None:
        fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(fd, entry.size)
            for at, data in self.tree.content(entry):
                while data:
                    done = os.pwrite(fd, data, at)
                    at, data = at + done, data[done:]
        except BaseException:
            os.unlink(place)  # what is not whole is not there
            raise
        finally:
            os.close(fd)

    def link(self, first: bytes, place: bytes) -> None:
        """Another name for what has one already, reached step by step from the root."""
        *folders, name = first.split(b"/")
        fd = os.dup(self.open[0][1])
        for folder in folders:
            below = os.open(folder, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
            os.close(fd)
            fd = below
        try:
            os.link(b"/proc/self/fd/%d/%s" % (fd, name), place, follow_symlinks=False)
        finally:
            os.close(fd)

    def attributes(self, entry: Entry, place: bytes) -> None:
        """Owner first: changing it takes setuid and capabilities away. Time last."""
        if os.geteuid() == 0:
            os.chown(place, entry.uid, entry.gid, follow_symlinks=False)
        for name, value in entry.xattrs:
            os.setxattr(place, name, value, follow_symlinks=False)
        if entry.kind != tree.SYMLINK:
            os.chmod(place, entry.mode)
        os.utime(place, ns=(entry.mtime, entry.mtime), follow_symlinks=False)


def time(at: int) -> str:
    text = datetime.fromtimestamp(at // 10**9, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{at // 10**6 % 1000:03}Z"


def listed(records: dict[bytes, bytes], point: Point) -> dict[str, Any]:
    """A point with the names and facts that records and attributes give (§7, §15)."""

    def record(name: str) -> Any:
        value = records.get(name.encode())
        return None if value is None else json.loads(value)

    source = record(f"source/{id_text(point.source)}")
    machine = record(f"machine/{source['machine']}") if source else None
    facts = json.loads(point.attributes or b"{}")
    return {
        "id": id_text(point.id),
        "source": f"{machine['name']}/{source['name']}" if machine else id_text(point.source),
        "source_id": id_text(point.source),
        "at": time(point.at),
        "at_ns": point.at,
        "committed_at": time(point.committed_at),
        "committed_at_ns": point.committed_at,
        "result": {0: "ok", 1: "partial"}.get(point.result, point.result),
        "recipe": point.recipe,
        "recipe_digest": point.recipe_digest.hex(),
        "bytes_source": point.bytes_source,
        "entries": point.entries,
        "trashed_until": time(point.trashed_until) if point.trashed_until else None,
        "skipped_count": facts.get("skipped_count", 0),
        "consistency": facts.get("consistency", ""),
        "tags": facts.get("tags", []),
        "pin": facts.get("pin"),
        "note": record(f"note/{id_text(point.id)}"),
        "attributes": facts,
    }
