"""A vault in a directory: the newest manifest, records, chunks by number (VAULT.md §3, §6, §8)."""

import json
import os
from typing import Any, Iterator

from vault_format import (Leaf, Manifest, ObjectRow, Place, VaultPoint, by_rank, open_frame,
                          read_leaf, read_records, unpacked, verify_object)
from vault_keys import Master, Secret
from words import Chunk, Chunks, Damage, Kept, Point, Refused, need

TRIED_MAX = 64  # manifests in one go
CONTENT_KEYS = "content-keys"


class Store:
    """A directory. Counts what a store would be asked for."""

    def __init__(self, path: str) -> None:
        self.path, self.requests, self.bytes = path, 0, 0

    def names(self, folder: str) -> list[str]:
        self.requests += 1
        path = os.path.join(self.path, folder)
        return sorted(os.listdir(path)) if os.path.isdir(path) else []

    def read(self, name: str, at: int = 0, size: int | None = None) -> bytes:
        self.requests += 1
        try:
            fd = os.open(os.path.join(self.path, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with open(fd, "rb") as file:
                file.seek(at)
                data = file.read(-1 if size is None else size)
        except OSError as error:
            raise Damage(f"{name}: {error.strerror}") from error
        self.bytes += len(data)
        return data


class Vault:
    def __init__(self, path: str, secret: Secret, wanted: int | None = None) -> None:
        self.store, self.void = Store(path), {}
        self.numbers = sorted(self.listed(), reverse=True)
        self.master, self.newest = self.find(secret, wanted)
        if self.newest.base:
            number, link = self.newest.base
            base = self.manifest(number)
            need(base.link == link, base.place, "it is not the base that is meant")
            need(base.open(self.master).base is None, base.place, "the base is a difference itself")
            self.newest.over(base)
        self.frames = Kept(64, self.read_frame)
        self.leaves = Kept(64, lambda row: read_leaf(self.frames.of(row.object, row.frame), row))
        self.records: dict[str, bytes] = {}
        self.series: dict[str, dict[int, bytes]] = {}
        self.replay()

    def listed(self) -> Iterator[int]:
        for name in self.store.names("m"):
            if len(name) == 16 and set(name) <= set("0123456789abcdef"):
                yield 2**64 - 1 - int(name, 16)

    def manifest(self, number: int) -> Manifest:
        name = f"m/{2**64 - 1 - number:016x}"
        return Manifest(number, self.store.read(name), name)

    def find(self, secret: Secret, wanted: int | None) -> tuple[Master, Manifest]:
        """The highest number that opens. Slots of an older one may give the key of a newer."""
        master, found = None, []
        for number in [n for n in self.numbers if wanted in (None, n)][:TRIED_MAX]:
            try:
                manifest = self.manifest(number)
                found.append(manifest)
                master = secret.master(manifest.slots, manifest.vault, manifest.check,
                                       manifest.place)
            except (Damage, Refused) as error:
                self.void[number] = str(error)
            if master:
                break
        if master is None:
            why = "".join(f"\n  {number}: {error}" for number, error in self.void.items())
            raise Refused(f"this opens none of {len(found)} manifests{why}")
        for manifest in found:
            try:
                return master, manifest.open(master)
            except Damage as error:
                self.void[manifest.number] = str(error)
        raise Refused("no manifest that was tried opens under the vault's master key")

    def read_frame(self, object: ObjectRow, frame: Any) -> bytes:
        stored = self.store.read(object.name, frame.offset, frame.stored_len)
        return open_frame(self.master, object, frame, stored)

    def replay(self) -> None:
        for row in by_rank(self.newest.records):
            plain, _ = verify_object(self.master, row.object, self.store.read(row.object.name))
            need(len(plain) == row.frame_count, row.object.name, "it has not all of its frames")
            for frame, data in plain.items():
                for entry in read_records(data, f"{row.object.name}, frame {frame.index}"):
                    self.take(*entry)

    def take(self, what: int, name: str, version: int, value: bytes) -> None:
        if what == 1:
            self.records[name] = value
        elif what == 2:
            self.records.pop(name, None)
        elif what == 3:
            self.series.setdefault(name, {})[version] = value
        else:
            entries = self.series.get(name, {})
            self.series[name] = {n: entry for n, entry in entries.items() if n >= version}

    def id_key(self) -> bytes:
        try:
            key = bytes.fromhex(json.loads(self.records[CONTENT_KEYS])["id_key_hex"])
            need(len(key) == 32, f"record {CONTENT_KEYS}", "the id key has not 32 bytes")
            return key
        except (KeyError, TypeError, ValueError) as error:
            raise Damage(f"record {CONTENT_KEYS}: {error!r}") from error

    def leaves_by_rank(self) -> list[Leaf]:
        """The one that counts first."""
        return [leaf for row in reversed(by_rank(self.newest.indexes)) for leaf in row.leaves]


class PointChunks(Chunks):
    """The numbers of the pool of a point. Recipe and root page are known without the index."""

    def __init__(self, vault: Vault, point: VaultPoint) -> None:
        super().__init__(vault.id_key())
        self.vault, self.pool, self.row = vault, point.pool, point
        self.index = [leaf for leaf in vault.leaves_by_rank() if leaf.pool == point.pool]
        self.point = Point(point.id, point.source, False, point.at, point.committed_at, point.result,
                           point.recipe, point.recipe_digest, point.bytes_source, point.entries, 0,
                           point.attributes)
        self.known = {point.recipe: point.recipe_place}

    def root_is(self, number: int) -> None:
        self.known[number] = self.row.root_place

    def find(self, number: int) -> Chunk:
        if place := self.known.get(number):
            # Its id is that of what lies there: the digest that names it is the proof.
            return Chunk(number, self.id_of(self.bytes_at(place)), place.len, place)
        for leaf in self.index:
            if leaf.first <= number <= leaf.last:
                if there := self.vault.leaves.of(leaf).get(number):
                    id, place = there
                    return Chunk(number, id, place.len, place)
        raise Damage(f"chunk {number}: it is in no leaf")

    def bytes_at(self, place: Place) -> bytes:
        return self.vault.frames.of(place.object, place.frame)[place.start :][: place.len]

    def read(self, chunk: Chunk) -> tuple[bytes, str]:
        place = chunk.where
        return self.bytes_at(place), f"{place.object.name}, chunk {chunk.number}"


class Verification:
    """Every manifest, object, chunk and point. Findings are named, and the rest goes on."""

    def __init__(self, vault: Vault) -> None:
        self.vault, self.findings = vault, []
        self.counts = dict.fromkeys(("manifests", "objects", "frames", "chunks", "entries", "points"),
                                    0)
        # What lies where, by the directories of the objects themselves.
        self.placed: dict[Place, bytes] = {}

    def attempt(self, name: str, what: Any) -> Any:
        try:
            return what()
        except (Damage, Refused) as error:
            self.findings.append({"name": name, "error": str(error)})
            return None

    def chain(self) -> None:
        """What is named as parent or base is there as it was named, if it is there. A number that
        does not open and that nobody names is void."""
        links, named = {}, {}
        for number in self.vault.numbers:
            if number > self.vault.newest.number:
                continue
            try:
                manifest = self.vault.manifest(number).open(self.vault.master)
            except (Damage, Refused) as error:
                self.vault.void[number] = str(error)
                continue
            links[number] = manifest.link
            named |= {other: number for other in (manifest.parent, manifest.base) if other}
            self.counts["manifests"] += 1
        for (number, link), by in named.items():
            if number in self.vault.numbers and links.get(number) != link:
                error = self.vault.void.pop(number, "another one stands there")
                error = f"it is not what manifest {by} names: {error}"
                self.findings.append({"name": f"manifest {number}", "error": error})

    def object(self, row: ObjectRow, id_key: bytes) -> None:
        data = self.vault.store.read(row.name)
        plain, chunks = verify_object(self.vault.master, row, data)
        own = Chunks(id_key)
        for number, id, place in chunks:
            bytes_there = plain[place.frame][place.start :][: place.len]
            need(own.id_of(bytes_there) == id, f"{row.name}, chunk {number}", "wrong id")
            self.placed[place] = id
        self.counts["objects"] += 1
        self.counts["frames"] += len(plain)
        self.counts["chunks"] += len(chunks)

    def leaf(self, leaf: Leaf) -> set[ObjectRow]:
        found = self.vault.leaves.of(leaf)
        return {place.object for _, place in found.values()}

    def entries(self, leaf: Leaf) -> None:
        for number, (id, place) in self.vault.leaves.of(leaf).items():
            need(self.placed.get(place) == id, f"{leaf.object.name}, number {number}",
                 f"{place.object.name} has another chunk at that place, or none")
            self.counts["entries"] += 1

    def run(self, walk: Any) -> dict[str, Any]:
        vault, id_key = self.vault, self.vault.id_key()
        self.chain()
        leaves = vault.leaves_by_rank()
        places = [place for point in vault.newest.points.values()
                  for place in (point.recipe_place, point.root_place) if place]
        objects = {place.object for place in places}
        objects |= {row.object for row in vault.newest.indexes.values()}
        objects |= {row.object for row in vault.newest.records.values()}
        for leaf in leaves:
            objects |= self.attempt(leaf.object.name, lambda: self.leaf(leaf)) or set()
        for row in sorted(objects, key=lambda row: row.name):
            self.attempt(row.name, lambda: self.object(row, id_key))
        for leaf in leaves:
            self.attempt(leaf.object.name, lambda: self.entries(leaf))
        for id, point in vault.newest.points.items():
            self.attempt(f"point {id.hex()}", lambda: walk(point))
            self.counts["points"] += 1
        return {**self.counts, "bytes": vault.store.bytes, "findings": self.findings}
