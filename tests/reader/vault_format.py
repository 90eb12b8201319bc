"""Manifests, packed objects, leaves and records of a vault (VAULT.md §3 to §6)."""

from collections import namedtuple
from typing import Any, Callable

import zstandard
from blake3 import blake3

from vault_keys import SLOT_LEN, Master, Rows, opened, slot_of
from words import Damage, Refused, hash16, id_text, need

VERSION = 1
DATA, PAGES, INDEX, RECORDS = 1, 2, 3, 4
MANIFEST_HEAD, BODY_MAX = 112, 64 << 20
OBJECT_HEAD, OBJECT_MAX, TAG = 144, 65 << 20, 16
FRAME_PLAIN_MAX, FRAMES_MAX, CHUNKS_MAX, LEAF_MAX = 2 << 20, 65_536, 1 << 20, 4096
NOWHERE = 2**32 - 1
RAW, ZSTD = 0, 2

Frame = namedtuple("Frame", "index offset stored_len plain_len codec")
Place = namedtuple("Place", "object frame start len")  # of a chunk
Leaf = namedtuple("Leaf", "object pool first last frame")
Index = namedtuple("Index", "object rank leaves")
RecordObject = namedtuple("RecordObject", "object rank frame_count")
VaultPoint = namedtuple("VaultPoint", "id source pool result klass at committed_at recipe "
                        "recipe_digest bytes_source entries recipe_place root_place root attributes")
OBJECT_ROW = "r16 8 r16 4 1 1 z2"


class ObjectRow(namedtuple("ObjectRow", "id shipment check len kind klass")):
    @property
    def name(self) -> str:
        return f"{' dpir'[self.kind]}/{self.klass:x}/{self.shipment:016x}/{id_text(self.id)}"


def object_row(f: Rows) -> ObjectRow:
    row = ObjectRow(*f.row(OBJECT_ROW))
    sound = 1 <= row.kind <= 4 and row.klass < (16 if row.kind < INDEX else 1)
    need(sound and OBJECT_HEAD <= row.len <= OBJECT_MAX, f.place, "such an object cannot be")
    return row


def frame_in(object: ObjectRow, frame: Frame, place: str) -> Frame:
    inside = OBJECT_HEAD <= frame.offset and frame.offset + frame.stored_len <= object.len
    sound = frame.plain_len <= FRAME_PLAIN_MAX and frame.codec in (RAW, ZSTD)
    need(inside and sound and frame.index < FRAMES_MAX and frame.stored_len >= TAG, place,
         "such a frame cannot be")
    return frame


def unpacked(codec: int, data: bytes, plain_len: int, place: str) -> bytes:
    try:
        if codec == ZSTD:
            need(zstandard.frame_content_size(data) in (plain_len, -1), place, "wrong length")
            data = zstandard.ZstdDecompressor().decompress(data, max_output_size=plain_len)
    except zstandard.ZstdError as error:
        raise Damage(f"{place}: {error}") from error
    need(codec in (RAW, ZSTD) and len(data) == plain_len, place, "it does not unpack")
    return data


def open_frame(master: Master, object: ObjectRow, frame: Frame, stored: bytes) -> bytes:
    place = f"{object.name}, frame {frame.index}"
    need(len(stored) == frame.stored_len, place, "it is not there as a whole")
    index = frame.index.to_bytes(4, "little")
    bound = (VERSION.to_bytes(2, "little") + bytes([object.kind]) + master.vault + object.id + index
             + frame.plain_len.to_bytes(4, "little") + bytes([frame.codec]))
    plain = opened(master.of_object(object.id), b"\1" + bytes(7) + index, bound, stored, place)
    return unpacked(frame.codec, plain, frame.plain_len, place)


class Table:
    """Rows that others name by their place: in the order of their first use, and each is used."""

    def __init__(self, rows: list, what: str) -> None:
        self.rows, self.used, self.what = rows, 0, what

    def row(self, at: int) -> Any:
        need(at <= self.used and at < len(self.rows), self.what, f"row {at} is out of its order")
        self.used = max(self.used, at + 1)
        return self.rows[at]

    def end(self) -> None:
        need(self.used == len(self.rows), self.what, "nothing uses the last rows")


class Manifest:
    """Read without keys; `open` gives the rest. One that was opened is `full`, or to be merged."""

    def __init__(self, number: int, data: bytes, place: str) -> None:
        self.place, self.data, self.link = place, data, blake3(data).digest()
        f = Rows(data, place)
        need(f.raw(4) == b"KHVM", place, "it is no manifest")
        if (version := f.int(2)) != VERSION:
            raise Refused(f"{place}: version {version} is not known here")
        (slot_count, self.codec, self.key_number, self.body_len, self.vault, self.number,
         self.plain_len, self.salt, self.check, checksum) = f.row("1 1 4 4 r16 8 4 z4 r16 r32 r16")
        self.end = MANIFEST_HEAD + slot_count * SLOT_LEN  # of head and slots
        sound = 1 <= slot_count <= 8 and self.plain_len <= BODY_MAX and self.key_number > 0
        need(sound and self.end + self.body_len == len(data), place, "wrong length")
        need(hash16(data[:96] + data[112:]) == checksum, place, "wrong checksum")
        need(self.number == number, place, f"it is manifest {self.number}")
        self.slots = [slot_of(data[at : at + SLOT_LEN], f"{place}, slot at {at}")
                      for at in range(MANIFEST_HEAD, self.end, SLOT_LEN)]
        need(len({slot.number for slot in self.slots}) == slot_count, place, "a slot stands twice")

    def open(self, master: Master) -> "Manifest":
        same = (self.vault, self.key_number, self.check) == (master.vault, master.number, master.check)
        need(same, self.place, "it is of another vault or master key")
        bound = self.data[:96] + self.data[MANIFEST_HEAD : self.end]
        plain = opened(master.of_manifest(self.salt, self.number), bytes(12), bound,
                       self.data[self.end :], self.place)
        self.body(Rows(unpacked(self.codec, plain, self.plain_len, self.place), self.place))
        return self

    def body(self, f: Rows) -> None:
        (parent_number, parent, base_number, base, self.made_at, self.witnessed, pools, objects,
         points, gone_points, gone_objects, indexes, leaves, records, locks, text_len) = f.row(
            "8 r32 8 r32 t t 4 4 4 4 4 4 4 4 4 4")
        self.parent, self.base = self.other(parent_number, parent), self.other(base_number, base)

        def rows(count: int, row: Callable[[Rows], Any]) -> list:
            return [row(f) for _ in range(count)]

        self.pools = Table(rows(pools, lambda f: f.raw(16)), f"{f.place}, pools")
        self.objects = Table(rows(objects, object_row), f"{f.place}, objects")
        raw_points = rows(points, lambda f: self.point(f))
        self.gone_points = rows(gone_points, lambda f: f.raw(16))
        self.gone_objects = rows(gone_objects, lambda f: f.raw(16))
        raw_indexes = rows(indexes, lambda f: f.row("4 4 8"))
        raw_leaves = rows(leaves, lambda f: f.row("8 8 4 4 4 4 4 1 z3"))
        raw_records = rows(records, lambda f: f.row("4 4 8"))
        self.locks = dict(rows(locks, lambda f: f.row("1 z7 t")))
        need(len(f.data) - f.at == text_len, f.place, "wrong length of texts")
        self.points = {}
        for point, root_len, attributes_len in raw_points:
            texts = {"root": f.raw(root_len), "attributes": f.raw(attributes_len)}
            self.points[point.id] = point._replace(**texts)
        self.indexes, left = {}, iter(raw_leaves)
        for at, count, rank in raw_indexes:
            object = self.objects.row(at)
            own = [self.leaf(object, row, f.place) for _, row in zip(range(count), left)]
            need(object.kind == INDEX and len(own) == count, f.place, "it is no index")
            self.indexes[object.id] = Index(object, rank, own)
        self.records = {}
        for at, frame_count, rank in raw_records:
            object = self.objects.row(at)
            need(object.kind == RECORDS, f.place, "it is no object of records")
            self.records[object.id] = RecordObject(object, rank, frame_count)
        need(next(left, None) is None and len(self.records) <= 8, f.place, "too many rows")
        f.end()
        self.pools.end()
        self.objects.end()
        for row, count in ((self.points, points), (self.indexes, indexes), (self.records, records)):
            need(len(row) == count, f.place, "something stands twice")
        for ids in (list(self.points), self.gone_points, self.gone_objects):
            need(ids == sorted(set(ids)), f.place, "ids are out of order")
        for found in (self.indexes, self.records):
            order = [(row.rank, row.object.id) for row in found.values()]
            need(order == sorted(order), f.place, "ranks are out of order")
        need(bool(self.base) or not self.gone_points + self.gone_objects, f.place,
             "something has left a full manifest")

    def other(self, number: int, link: bytes) -> tuple[int, bytes] | None:
        need((number > 0) == any(link) and number < self.number, self.place,
             "its parent or base cannot be")
        return (number, link) if number else None

    def point(self, f: Rows) -> tuple[VaultPoint, int, int]:
        id, source, pool, *facts, root_len, attributes_len = f.row(
            "r16 r16 4 1 1 z2 t t 8 r16 8 8 4 4")
        pool, recipe, root = self.pools.row(pool), self.where(f), self.where(f)
        sound = facts[0] <= 1 and facts[1] < 16 and root_len <= 256 and attributes_len <= 64 << 10
        need(sound and recipe is not None, f.place, "such a point cannot be")
        return VaultPoint(id, source, pool, *facts, recipe, root, b"", b""), root_len, attributes_len

    def where(self, f: Rows) -> Place | None:
        at, *row, start, length, codec = f.row("4 4 4 4 4 4 4 1 z3")
        if at == NOWHERE:
            need(not any([*row, start, length, codec]), f.place, "nowhere has no place")
            return None
        object = self.objects.row(at)
        frame = frame_in(object, Frame(*row, codec), f.place)
        need(start + length <= frame.plain_len and object.kind < INDEX, f.place,
             "such a place cannot be")
        return Place(object, frame, start, length)

    def leaf(self, object: ObjectRow, row: list, place: str) -> Leaf:
        first, last, pool, *frame = row
        need(first <= last, place, "such a leaf cannot be")
        return Leaf(object, self.pools.row(pool), first, last,
                    frame_in(object, Frame(*frame), place))

    def over(self, base: "Manifest") -> None:
        """Becomes what a vault holds that differs from its base by this."""
        points = dict(base.points)
        for id in self.gone_points:
            need(points.pop(id, None) is not None, self.place, "a point has left that was not there")
        self.points = points | self.points
        indexes, records = dict(base.indexes), dict(base.records)
        for id in self.gone_objects:
            there = indexes.pop(id, None) or records.pop(id, None)
            need(there is not None, self.place, "an object has left that was not there")
        twice = indexes.keys() & self.indexes.keys() or records.keys() & self.records.keys()
        need(not twice, self.place, "an object came that was there")
        self.indexes, self.records = indexes | self.indexes, records | self.records


def by_rank(rows: dict) -> list:
    """In the order in which they say what counts: the last word is the highest rank's."""
    return sorted(rows.values(), key=lambda row: (row.rank, row.object.id))


def read_leaf(plain: bytes, row: Leaf) -> dict[int, tuple[bytes, Place]]:
    """Id and place of each number."""
    place = f"{row.object.name}, leaf {row.frame.index}"
    f = Rows(plain, place)
    pool, objects, frames, entries = f.row("r16 4 4 4 z4")
    need(max(objects, frames, entries) <= LEAF_MAX and entries > 0, place, "impossible counts")
    objects = [object_row(f) for _ in range(objects)]
    rows = [f.row("2 1 z1 4 4 4 4") for _ in range(frames)]
    need(all(at < len(objects) and objects[at].kind < INDEX for at, *_ in rows), place,
         "a frame of no object")
    frames = [(objects[at], frame_in(objects[at], Frame(*frame, codec), place))
              for at, codec, *frame in rows]
    found, last = {}, -1
    for _ in range(entries):
        number, id, at, kind, start, length = f.row("8 r32 2 1 z1 4 4")
        sound = last < number and at < len(frames) and kind <= 5
        need(sound and start + length <= frames[at][1].plain_len, place, "such an entry cannot be")
        found[number], last = (id, Place(*frames[at], start, length)), number
    f.end()
    need((pool, min(found), last) == (row.pool, row.first, row.last), place,
         "it is not the leaf that the manifest means")
    return found


def read_records(plain: bytes, place: str) -> list[tuple[int, str, int, bytes]]:
    """What, name, version and value, one after another."""
    f, found = Rows(plain, place), []
    while f.at < len(plain):
        name_len, what, value_len, version = f.row("2 1 z1 4 8")
        sound = 1 <= name_len <= 256 and value_len <= (1 << 20 if what in (1, 3) else 0)
        need(sound and 1 <= what <= 4, place, "such a record cannot be")
        try:
            name = f.raw(name_len).decode()
        except UnicodeDecodeError as error:
            raise Damage(f"{place}: {error}") from error
        found.append((what, name, version, f.raw(value_len)))
    return found


def verify_object(master: Master, row: ObjectRow, data: bytes) -> tuple[dict, list]:
    """A whole object: every byte is proved. Gives its plain frames, and number, id and place of its
    chunks, whose content is for who has the id key."""
    place, f = row.name, Rows(data, row.name)
    need(f.raw(4) == b"KHVO", place, "it is no object")
    if (version := f.int(2)) != VERSION:
        raise Refused(f"{place}: version {version} is not known here")
    kind, klass, key_number, vault, id, shipment, length, body_hash, sealed, checksum = f.row(
        "1 1 4 z4 r16 r16 8 8 r32 r32 r16")
    need(hash16(data[:128]) == checksum, place, "wrong checksum")
    own = ObjectRow(id, shipment, checksum, length, kind, klass)
    need((own, vault) == (row, master.vault), place, "it is another object than the one meant")
    need(length == len(data) and blake3(data[OBJECT_HEAD:]).digest() == body_hash, place,
         "it is not what was written")
    need(key_number == master.number, place, "it is sealed under another master key")
    key = master.of_object(id)

    def unsealed(nonce: int, bound: int, sealed: bytes, what: str) -> bytes:
        return opened(key, bytes([nonce]) + bytes(11), data[:bound], sealed, f"{place}, {what}")

    counts = Rows(unsealed(3, 96, sealed, "counts"), f"{place}, counts")
    directory_len, frame_count, chunk_count, padding_len = counts.row("4 4 4 4")
    need(frame_count <= FRAMES_MAX and chunk_count <= CHUNKS_MAX and padding_len <= length
         and directory_len == 16 + 16 * frame_count + 48 * chunk_count + TAG, counts.place,
         "such counts cannot be")
    f = Rows(unsealed(2, 64, f.raw(directory_len), "directory"), f"{place}, directory")
    pool, frames, end = f.raw(16), [], OBJECT_HEAD + directory_len
    need(kind < INDEX or (chunk_count == 0 and not any(pool)), f.place, "chunks without a pool")
    for index in range(frame_count):
        frame = frame_in(row, Frame(index, *f.row("4 4 4 1 z3")), f.place)
        need(frame.offset == end, f.place, f"a gap before frame {index}")
        frames.append(frame)
        end += frame.stored_len
    need(end + padding_len == length, f.place, "wrong length of the padding")
    chunks, last, start = [], 0, 0
    for _ in range(chunk_count):
        number, id, size, at, kind = f.row("8 r32 4 2 1 z1")
        start = start if at == last else 0
        sound = last <= at < frame_count and kind <= 5
        need(sound and start + size <= frames[at].plain_len, f.place, "such a chunk cannot be")
        chunks.append((number, id, Place(row, frames[at], start, size)))
        last, start = at, start + size
    f.end()
    if padding_len:
        padding = unsealed(4, 64, data[length - padding_len :], "padding")
        need(not any(padding), place, "padding that is not zero")
    plain = {frame: open_frame(master, row, frame, data[frame.offset :][: frame.stored_len])
             for frame in frames}
    return plain, chunks
