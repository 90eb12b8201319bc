"""Words, rows and operations: what the bytes of a pool say (FORMAT.md §2, §6, §7, §11)."""

import base64
from collections import OrderedDict, namedtuple
from typing import Any, Callable

from blake3 import blake3

VERSION = 1  # of the format, of tables, index segments and recipes


class Damage(Exception):
    """Bytes that are not what was written, and where they lie."""


class Refused(Exception):
    """Sound, but not something this reader can serve."""


def need(holds: bool, place: str, what: str) -> None:
    if not holds:
        raise Damage(f"{place}: {what}")


def id_text(raw: bytes) -> str:
    return base64.b32encode(raw).decode().rstrip("=").lower()


def hash16(data: bytes, key: bytes | None = None) -> bytes:
    return (blake3(data, key=key) if key else blake3(data)).digest(16)


def derive(context: str, material: bytes) -> bytes:
    return blake3(material, derive_key_context=context).digest()


def checksum_key(secret: bytes, salt: bytes = bytes(16)) -> bytes:
    return derive("keelhold 2026 structure checksum", secret + salt)


class Kept(OrderedDict):
    """The last few of what is costly to make."""

    def __init__(self, limit: int, make: Callable[..., Any]) -> None:
        super().__init__()
        self.limit, self.make = limit, make

    def of(self, *key: Any) -> Any:
        if key not in self:
            self[key] = self.make(*key)
            if len(self) > self.limit:
                self.popitem(last=False)
        self.move_to_end(key)
        return self[key]


class Fields:
    """Reads the words of §2 one after another; every error names the structure they are in."""

    def __init__(self, data: bytes, place: str) -> None:
        self.data, self.at, self.place = data, 0, place

    def raw(self, size: int) -> bytes:
        need(self.at + size <= len(self.data), self.place, f"too short for its fields at {self.at}")
        self.at += size
        return self.data[self.at - size : self.at]

    def int(self, size: int) -> int:
        return int.from_bytes(self.raw(size), "little")

    def varint(self) -> int:
        value, shift, byte = 0, 0, 128
        while byte >= 128:
            byte = self.int(1)
            value |= (byte & 127) << shift
            shift += 7
        shortest = (byte > 0 or shift == 7) and value < 1 << 64
        need(shortest, self.place, f"the number before {self.at} is not in its shortest form")
        return value

    def signed(self) -> int:
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def bytes(self) -> bytes:
        return self.raw(self.varint())

    def flag(self) -> bool:
        value = self.int(1)
        need(value < 2, self.place, f"the byte before {self.at} is neither 0 nor 1")
        return value == 1

    def word(self, word: str) -> Any:
        if word[0] == "?":
            return self.word(word[1:]) if self.flag() else None
        if word[0] == "r":
            return self.raw(int(word[1:]))
        named = {"v": self.varint, "s": self.signed, "b": self.bytes, "f": self.flag,
                 "S": self.slots}
        return named[word]() if word in named else self.int(int(word))

    def slots(self) -> list[tuple[int, int]]:
        """Position of a disk and slot on it, of each copy of a container (§2)."""
        count = self.int(1)
        need(count in (1, 2), self.place, f"{count} copies of a container")
        return [(self.int(2), self.int(4)) for _ in range(count)]

    def row(self, words: str) -> list[Any]:
        """By a line as "4 r16 v s b f S ?r16": an integer of 4 bytes, 16 bytes as they are, varint,
        signed, bytes, flag, slots, and 16 bytes behind a flag that says whether they are there."""
        return [self.word(word) for word in words.split()]

    def list(self, row: Callable[["Fields"], Any]) -> list[Any]:
        return [row(self) for _ in range(self.varint())]

    def end(self) -> None:
        need(self.at == len(self.data), self.place, f"bytes are left over from {self.at} on")

    def zeros(self) -> None:
        need(not any(self.data[self.at :]), self.place, "reserved bytes are not zero")


RUN_REF = "4 8 2 4 r16"  # §6
RunRef = namedtuple("RunRef", "container generation block blocks check")
POINT = "r16 r16 f s s 1 v r16 v v s b"  # §7
Point = namedtuple("Point", "id source working at committed_at result recipe recipe_digest "
                   "bytes_source entries trashed_until attributes")
SESSION = "r16 r16 r16 ?r16 s s"


def source_row(f: Fields) -> Point | None:
    """The working state is all of it that matters to a reader (§11)."""
    f.row("r16 r16 v v")
    if f.flag():
        f.row("r16 b")
    return Point(*f.row(POINT + " b b")[:-2]) if f.flag() else None


def run_ref(f: Fields) -> RunRef:
    return RunRef(*f.row(RUN_REF))


# A chunk that was found: `where` is for who gets its bytes.
Chunk = namedtuple("Chunk", "number id len where")


class Chunks:
    """Chunks by the numbers of one pool, proved by ids and digests (§2)."""

    def __init__(self, id_key: bytes) -> None:
        self.id_key, self.span_key = id_key, derive("keelhold 2026 span digest", id_key)

    def find(self, number: int) -> Chunk:
        raise NotImplementedError

    def read(self, chunk: Chunk) -> tuple[bytes, str]:
        """The bytes that lie there, not proved yet, and a word for the place."""
        raise NotImplementedError

    def id_of(self, data: bytes) -> bytes:
        return blake3(data, key=self.id_key).digest()

    def span(self, first: int, count: int, digest: bytes) -> list[Chunk]:
        """Consecutive chunks, proved to be those meant."""
        found = [self.find(number) for number in range(first, first + count)]
        ids = b"".join(chunk.id for chunk in found)
        need(count > 0 and hash16(ids, self.span_key) == digest, f"chunk {first}",
             f"the ids of {count} chunks are not those meant")
        return found

    def proved(self, chunk: Chunk) -> tuple[bytes, str]:
        data, place = self.read(chunk)
        need(self.id_of(data) == chunk.id, place, "wrong id")
        return data, place

    def chunk(self, chunk: Chunk) -> bytes:
        return self.proved(chunk)[0]

    def single(self, number: int, digest: bytes) -> Fields:
        """A recipe or a page: a chunk for itself."""
        [chunk] = self.span(number, 1, digest)
        return Fields(*self.proved(chunk))


class State:
    """What checkpoint and journal tell, as far as reading needs it."""

    def __init__(self) -> None:
        # Generation, salt, and where the copies lie.
        self.containers: dict[int, tuple[int, bytes, list[tuple[int, int]]]] = {}
        self.points: dict[bytes, Point] = {}
        self.working: dict[bytes, Point] = {}  # by source
        self.records: dict[bytes, bytes] = {}
        self.runs: list[RunRef] = []  # of the journal: their chunks are not in the index yet
        # Number of a chunk -> container, the run's block in it, ordinal in the run's chunk table.
        self.index: dict[int, tuple[int, int, int]] = {}

    def tables(self, f: Fields) -> None:
        """§11"""
        need(f.int(1) == VERSION, f.place, "unknown version")
        f.row("v v")
        rows = f.list(lambda f: f.row("4 8 1 r16 S f f 4 v v v"))
        for container, generation, _, salt, slots, *_ in rows:
            self.containers[container] = (generation, salt, slots)
        f.list(lambda f: f.row("2 4 v"))
        self.working = {point.source: point for point in f.list(source_row) if point}
        self.points = {row[0]: Point(*row) for row in f.list(lambda f: f.row(POINT))}
        f.list(lambda f: f.row(SESSION + " b"))
        self.records = {name: value for name, _, value in f.list(lambda f: f.row("b v b"))}
        f.list(lambda f: f.row("b v") + f.list(Fields.bytes))
        f.row("b v b")
        f.end()

    def segment(self, f: Fields, count: int) -> None:
        """Index segment (§11)."""
        need(f.int(1) == VERSION, f.place, "unknown version")
        number, place = 0, None
        for _ in range(count):
            word, _fingerprint = f.varint(), f.raw(8)
            number, kind = number + (word >> 2), word & 3
            if kind == 2:
                self.index.pop(number, None)
            else:
                need(kind == 1 or (kind == 0 and place is not None), f.place, "unknown entry kind")
                place = (f.int(4), f.int(2), f.int(2)) if kind == 1 else (*place[:2], place[2] + 1)
                f.raw(3)
                self.index[number] = place
            number += 1
        f.end()

    # What operations do. One about something that is not there changes nothing (§7).

    def container_opened(self, number: int, generation: int, _purpose: int, salt: bytes,
                         slots: list[tuple[int, int]]) -> None:
        self.containers[number] = (generation, salt, slots)

    def container_slots(self, number: int, slots: list[tuple[int, int]]) -> None:
        if number in self.containers:
            self.containers[number] = (*self.containers[number][:2], slots)

    def container_freed(self, number: int) -> None:
        self.containers.pop(number, None)

    def run_placed(self, *row: Any) -> None:
        self.runs.append(RunRef(*row[:5]))

    def point_committed(self, _session: bytes, *row: Any) -> None:
        point = Point(*row)
        self.working.pop(point.source, None)
        (self.working if point.working else self.points)[
            point.source if point.working else point.id] = point

    def working_dropped(self, source: bytes) -> None:
        self.working.pop(source, None)

    def working_promoted(self, source: bytes, id: bytes, attributes: bytes) -> None:
        if (point := self.working.get(source)) and point.id == id:
            del self.working[source]
            self.points[id] = point._replace(working=False, attributes=attributes)

    def point_attributes(self, id: bytes, attributes: bytes) -> None:
        if point := self.points.get(id):
            self.points[id] = point._replace(attributes=attributes)

    def points_trashed(self, until: int, ids: bytes) -> None:
        for at in range(0, len(ids), 16):
            if point := self.points.get(ids[at : at + 16]):
                self.points[point.id] = point._replace(trashed_until=until)

    def point_dropped(self, id: bytes) -> None:
        self.points.pop(id, None)

    def record(self, name: bytes, _version: int, value: bytes | None) -> None:
        self.records.pop(name, None)
        if value is not None:
            self.records[name] = value


# Code -> fields, and what it does to the state; None: nothing that matters to a reader (§7).
OPERATIONS: dict[int, tuple[str, Callable[..., None] | None]] = {
    1: ("r16 r16 v v", None),  # lease
    2: ("4 v 1 r16 S", State.container_opened),
    3: (RUN_REF + " r16 v f", State.run_placed),
    4: ("4 f", None),  # container sealed
    5: ("4", State.container_freed),
    6: (SESSION, None),
    7: ("r16 b", None),  # session step
    8: ("r16", None),  # session ended
    9: ("r16 " + POINT, State.point_committed),
    10: ("r16 b", State.point_attributes),
    11: ("r16", State.point_dropped),
    12: ("b v ?b", State.record),
    13: ("b v b", None),  # series appended
    14: ("b", None),  # chunks dropped: no point needs them
    15: ("r16", State.working_dropped),
    19: ("r16 r16 b", State.working_promoted),
    16: ("s b", State.points_trashed),
    21: ("b v", None),  # series trimmed
    17: ("b", None),  # chunks lost
    18: ("b", None),  # chunks found
    20: ("4 S", State.container_slots),
}
