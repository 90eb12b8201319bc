"""Recipes, pages and the content of files (FORMAT.md §10, disk/src/tree/PAGES.md)."""

from collections import namedtuple
from typing import Iterator

from words import VERSION, Chunks, Fields, Point, need

ENTRIES, INNER, CONTENT = 1, 2, 3
PATH_MAX = 64 << 10
LEVEL_MAX = 40
FILE, DIRECTORY, SYMLINK, FIFO, SOCKET, CHARACTER_DEVICE, BLOCK_DEVICE = range(7)
NOTHING, INLINE, EXTENTS, PAGES = range(4)

# `mtime` in nanoseconds, `group` the identity of a link group, `content` what the tag says.
Entry = namedtuple("Entry", "path kind mode uid gid mtime size target device group xattrs "
                   "tag content")
# `first` and `digest` are None in a hole.
Extent = namedtuple("Extent", "first count len digest")


def attributes(f: Fields) -> list:
    """The table "Attributes" (§10)."""
    tag = f.int(1)
    kind = tag & 7
    need(tag < 32 and kind <= BLOCK_DEVICE, f.place, f"unknown tag {tag} of an entry")
    mode, uid, gid, seconds, nanoseconds = f.row("v v v s v")
    need(mode <= 0o7777 and nanoseconds < 10**9, f.place, "impossible mode or time")
    size = f.varint() if kind == FILE else 0
    target = f.bytes() if kind == SYMLINK else None
    device = f.row("v v") if kind in (CHARACTER_DEVICE, BLOCK_DEVICE) else None
    group = tuple(f.row("v v")) if tag & 8 else None
    xattrs = f.list(lambda f: f.row("b b")) if tag & 16 else []
    f.end()
    mtime = seconds * 10**9 + nanoseconds
    return [kind, mode, uid, gid, mtime, size, target, device, group, xattrs]


def extents(f: Fields, count: int, after: int) -> tuple[list[Extent], int]:
    """So many extents, `after` being the number behind the span before; and that number anew."""
    found = []
    for _ in range(count):
        chunks = f.varint()
        if chunks == 0:
            found.append(Extent(None, 0, f.varint(), None))
            continue
        first = after + f.signed()
        found.append(Extent(first, chunks, *f.row("v r16")))
        after = first + chunks
        need(0 <= first and first // 256 == (after - 1) // 256, f.place, "impossible span")
    need(all(extent.len > 0 for extent in found), f.place, "empty extent")
    return found, after


class Tree:
    """The entries of a point."""

    def __init__(self, chunks: Chunks, point: Point) -> None:
        self.chunks = chunks
        f = chunks.single(point.recipe, point.recipe_digest)
        need(f.int(1) == VERSION, f.place, "unknown version of a recipe")
        *whose, root, _delta, _references, _attributes = f.row("r16 r16 r16 s b b b b")
        f.end()
        own = [chunks.pool, point.id, point.source, point.at]
        need(whose == own, f.place, "the recipe is not that of the point")
        self.root = Fields(root, f"{f.place}, root of the tree")

    def entries(self) -> Iterator[Entry]:
        """All of them in path order."""
        tag = self.root.int(1)
        if tag == 0:
            return
        number, digest, *sums = self.root.row("v r16 v v v v")
        self.root.end()
        last = None
        for entry in self.below(tag - 1, number, digest, sums):
            order = entry.path.split(b"/") if entry.path else []
            need(last is None or last < order, self.root.place, f"{entry.path!r} is out of order")
            last = order
            yield entry

    def page(self, number: int, digest: bytes, kind: int, level: int) -> tuple[Fields, int]:
        f = self.chunks.single(number, digest)
        found = (f.int(1), f.int(1))
        need(found == (kind, level), f.place, f"no page of kind {kind}, level {level}")
        count = f.varint()
        need(count > 0 and level <= LEVEL_MAX, f.place, "impossible page")
        return f, count

    def below(self, level: int, number: int, digest: bytes, sums: list[int]) -> Iterator[Entry]:
        """The entries below a page, which are what its parent says."""
        f, count = self.page(number, digest, INNER if level else ENTRIES, level)
        found = [0, 0, 0, 0]
        for entry in self.inner(f, count, level) if level else self.leaf(f, count):
            files, directories = entry.kind == FILE, entry.kind == DIRECTORY
            found = [a + b for a, b in zip(found, (1, entry.size, files, directories))]
            yield entry
        f.end()
        need(found == sums, f.place, "its sums are not those of the page above")

    def inner(self, f: Fields, count: int, level: int) -> Iterator[Entry]:
        path, number = b"", 0
        for _ in range(count):
            path = path[: f.varint()] + f.bytes()
            number += f.signed()
            digest, *sums = f.row("r16 v v v v")
            first = True
            for entry in self.below(level - 1, number, digest, sums):
                need(not first or entry.path == path, f.place, f"{entry.path!r} is not first below")
                first = False
                yield entry
            number += 1

    def leaf(self, f: Fields, count: int) -> Iterator[Entry]:
        path, after = b"", 0
        for _ in range(count):
            path = path[: f.varint()] + f.bytes()
            need(len(path) <= PATH_MAX, f.place, "a path is too long")
            own = attributes(Fields(f.bytes(), f"{f.place}, attributes of {path!r}"))
            tag, content = f.int(1), None
            need(tag <= PAGES, f.place, f"unknown tag {tag} of content")
            if tag == INLINE:
                content = f.bytes()
            elif tag == EXTENTS:
                content, after = extents(f, f.varint(), after)
            elif tag == PAGES:
                content = f.row("1 v r16")
            yield Entry(path, *own, tag, content)

    def content(self, entry: Entry) -> Iterator[tuple[int, bytes]]:
        """What a file holds: offset and proved bytes. What is left out are holes."""
        at = 0
        if entry.tag == INLINE:
            yield 0, entry.content
            at = len(entry.content)
        found: Iterator[Extent] = iter(())
        if entry.tag == EXTENTS:
            found = iter(entry.content)
        elif entry.tag == PAGES:
            found = self.extents_below(*entry.content, entry.size)
        for extent in found:
            if extent.count:
                yield from self.span(extent, at)
            at += extent.len
        need(at == entry.size, repr(entry.path), f"{at} bytes of content, its size is {entry.size}")

    def span(self, extent: Extent, at: int) -> Iterator[tuple[int, bytes]]:
        chunks = self.chunks.span(extent.first, extent.count, extent.digest)
        size = sum(chunk.len for chunk in chunks)
        need(size == extent.len, f"chunk {extent.first}", f"{size} bytes, not {extent.len}")
        for chunk in chunks:
            data = self.chunks.chunk(chunk)
            yield at, data
            at += len(data)

    def extents_below(self, level: int, number: int, digest: bytes, size: int) -> Iterator[Extent]:
        f, count = self.page(number, digest, CONTENT, level)
        found = 0
        if level == 0:
            own, _ = extents(f, count, 0)
            found = sum(extent.len for extent in own)
            yield from own
        number = 0
        for _ in range(count if level else 0):
            number += f.signed()
            digest, length = f.row("r16 v")
            yield from self.extents_below(level - 1, number, digest, length)
            found, number = found + length, number + 1
        f.end()
        need(found == size, f.place, f"{found} bytes where the page above has {size}")
