"""Disks, checkpoint, journal, runs and chunks of a pool (FORMAT.md §3 to §9, §11, §13)."""

import os
import struct
from collections import namedtuple
from typing import Any, Callable

import lz4.block
import zstandard
from blake3 import blake3

from words import (OPERATIONS, VERSION, Chunk, Chunks, Damage, Fields, Kept, Refused, RunRef, State,
                   checksum_key, hash16, need, run_ref)

BLOCK = 4096
FRONT = 65_536  # bytes before the first journal zone, and behind the second
SLOT_BITS = 20
FRAME_PLAIN_MAX = 2 << 20
# Bits of the superblock's incompatible features that this reader knows. Any other: refused.
KNOWN_FEATURES = 0

# §4
Head = namedtuple("Head", "checksum magic version reserved pool disk offset len reserved2 sequence")
HEAD = struct.Struct("<16s4sHH16s16sQIIQ")
FRAME_ENTRY = struct.Struct("<IIIB3s32s")
CHUNK_ENTRY = struct.Struct("<Q32sIHBB")


class Disk:
    """One disk, and what its label says (§3, §5)."""

    def __init__(self, path: str) -> None:
        self.path, self.fd = path, os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        size = os.lseek(self.fd, 0, os.SEEK_END) // BLOCK * BLOCK
        self.pool = self.id = None  # believed as the label has them
        errors = []
        for offset in (0, size - BLOCK):
            try:
                head, f = self.structure(offset, "KHLB", checksum_key(bytes(32)), "label", BLOCK)
                break
            except Damage as damage:
                errors.append(str(damage))
        else:
            raise Damage("; ".join(errors))
        (self.secret, self.index, self.copies, _reserved, _created_at, self.len, self.container_len,
         self.container_count, self.journal_len) = f.row("r32 2 2 r4 8 8 8 8 8")
        f.zeros()
        used = 2 * (FRONT + self.journal_len) + self.container_len * self.container_count
        need(used <= self.len <= size and not any(_reserved), f.place, "it cannot be")
        self.pool, self.id, self.key = head.pool, head.disk, checksum_key(self.secret)

    def place(self, offset: int, what: str) -> str:
        return f"{self.path} at {offset}: {what}"

    def read(self, offset: int, size: int, what: str) -> bytes:
        try:
            data = os.pread(self.fd, size, offset)
        except OSError as error:
            raise Damage(f"{self.place(offset, what)}: {error.strerror}") from error
        need(len(data) == size, self.place(offset, what), "the disk ends before it")
        return data

    def structure(self, offset: int, magic: str, key: bytes, what: str,
                  len_max: int) -> tuple[Head, Fields]:
        """Proves what is at this place and gives its head and the fields behind it (§4)."""
        place, data = self.place(offset, what), self.read(offset, BLOCK, what)
        head = Head(*HEAD.unpack_from(data))
        need(head.magic == magic.encode(), place, f"there is no {magic} here")
        if magic == "KHLB" and head.version != VERSION:
            raise Refused(f"{place}: the format has version {head.version}, {VERSION} is known")
        need(head.version == VERSION and HEAD.size <= head.len <= len_max, place, "unsound head")
        data = (data if head.len <= BLOCK else self.read(offset, head.len, what))[: head.len]
        need(hash16(data[16:], key) == head.checksum, place, "wrong checksum")
        need(head.reserved == head.reserved2 == 0, place, "reserved bytes are not zero")
        need(head.offset == offset, place, f"it belongs to {head.offset}")
        need(self.pool in (None, head.pool), place, "it belongs to another pool")
        need(self.id in (None, head.disk), place, "it belongs to another disk")
        fields = Fields(data, place)
        fields.at = HEAD.size
        return head, fields


class Superblock:
    """§6"""

    def __init__(self, head: Head, f: Fields) -> None:
        self.sequence, self.body = head.sequence, f.data[HEAD.size :]
        _parent, _compatible, _read_only_compatible, incompatible = f.row("r16 4 4 4")
        # The last may change what follows here, so it is looked at first.
        if unknown := incompatible & ~KNOWN_FEATURES:
            raise Refused(f"{f.place}: incompatible features {unknown:#x} are not known here")
        (self.epoch, self.journal_sequence, self.journal_position, self.journal_parent, _witnessed,
         self.id_key, _cut, _secret, key_number, _wrapped) = f.row("8 8 8 r16 s r32 b r32 4 b")
        if key_number:
            raise Refused(f"{f.place}: the pool is encrypted")
        self.root = f.list(run_ref)
        self.journal = [tuple(f.row("2 1")) for _ in range(2)]
        self.disks = [row[0] for row in f.list(lambda f: f.row("r16 1 8"))]
        f.zeros()


class Run:
    """Header and tables of a run (§9)."""

    def __init__(self, disk: Disk, offset: int, f: Fields, check: bytes) -> None:
        self.disk, self.offset, self.place, self.check = disk, offset, f.place, check
        (self.container, key_number, _domain, _session, _salt, frame_count, chunk_count,
         frames_offset, run_len) = f.row("4 4 r16 r16 r16 4 4 4 4")
        if key_number:
            raise Refused(f"{f.place}: the run is encrypted")
        self.frames = list(FRAME_ENTRY.iter_unpack(f.raw(frame_count * FRAME_ENTRY.size)))
        self.chunks = list(CHUNK_ENTRY.iter_unpack(f.raw(chunk_count * CHUNK_ENTRY.size)))
        f.end()
        end = f.at
        for at, stored_len, plain_len, _codec, reserved, _hash in self.frames:
            sound = at == end and plain_len <= FRAME_PLAIN_MAX and not any(reserved)
            need(sound, f.place, "unsound frame table")
            end += stored_len
        need(f.at == frames_offset and end <= run_len, f.place, "unsound lengths")
        self.starts = []  # of each chunk in its plain frame
        last, end = 0, 0
        for _number, _id, length, frame, _kind, reserved in self.chunks:
            sound = last <= frame < frame_count and reserved == 0
            self.starts.append(end if frame == last else 0)
            last, end = frame, self.starts[-1] + length
            need(sound and end <= self.frames[frame][2], f.place, "unsound chunk table")


class Pool(Chunks):
    def __init__(self, paths: list[str]) -> None:
        self.runs, self.frames = Kept(256, self.read_run), Kept(32, self.read_frame)
        self.disks = [Disk(path) for path in paths]
        for disk in self.disks:
            if disk.pool != self.disks[0].pool:
                raise Refused(f"{disk.path} and {paths[0]} are of different pools")
        self.superblock = self.find_superblock()
        self.pool = self.disks[0].pool
        given = {disk.id: disk for disk in self.disks}
        if len(self.disks) != len(given):
            raise Refused("a disk is given twice")
        # By position; what a missing one alone held is damage where it is met.
        self.disks = [given.get(id) for id in self.superblock.disks]
        if not any(self.disks[position] for position, _ in self.superblock.journal):
            raise Refused("the disks with the journal are missing")
        super().__init__(self.superblock.id_key)
        self.state = State()
        self.load_checkpoint()
        self.replay()
        for ref in self.state.runs:
            # A container freed or opened anew since then holds nothing of it any more.
            if self.state.containers.get(ref.container, (None,))[0] == ref.generation:
                run = self.runs.of(ref.container, ref.block, ref.generation)
                for ordinal, chunk in enumerate(run.chunks):
                    self.state.index[chunk[0]] = (ref.container, ref.block, ordinal)

    def find_superblock(self) -> Superblock:
        """The highest that two copies confirm (§13)."""
        found: list[Superblock] = []
        errors = []
        for disk in self.disks:
            for offset in (BLOCK, 2 * BLOCK, disk.len - 3 * BLOCK, disk.len - 2 * BLOCK):
                try:
                    found.append(Superblock(*disk.structure(offset, "KHSB", disk.key, "superblock",
                                                            BLOCK)))
                except Damage as damage:
                    errors.append(str(damage))
        for one in sorted(found, key=lambda one: -one.sequence):
            if sum((one.sequence, one.body) == (other.sequence, other.body) for other in found) > 1:
                return one
        raise Damage("no superblock has two good copies; " + "; ".join(errors))

    def copies(self, number: int) -> list[tuple[Disk, int]]:
        """Where a container is, on the disks that are there (§2, §3)."""
        slots = self.state.containers.get(number, (None, b"", []))[2]
        if number >> 31:
            slots = [(number >> SLOT_BITS & 0x7FF, number & (1 << SLOT_BITS) - 1)]
        found = []
        for position, slot in slots:
            disk = self.disks[position] if position < len(self.disks) else None
            if disk and slot < disk.container_count:
                found.append((disk, FRONT + disk.journal_len + slot * disk.container_len))
        need(bool(found), f"container {number}", "no disk has it")
        return found

    def first_good(self, copies: list[Any], read: Callable[[Any], Any]) -> Any:
        errors = []
        for copy in copies:
            try:
                return read(copy)
            except Damage as damage:
                errors.append(str(damage))
        raise Damage("; ".join(errors))

    def salt(self, container: int, generation: int | None) -> bytes:
        """From the tables; before they are read, from the container's header (§8)."""
        known, salt, _ = self.state.containers.get(container, (None, b"", []))
        if known is None or generation not in (None, known):
            disk, offset = self.copies(container)[0]
            head, f = disk.structure(offset, "KHCH", disk.key, "container header", BLOCK)
            number, _purpose, _reserved, salt = f.row("4 1 r3 r16")
            sound = (number, generation) == (container, head.sequence) and not any(_reserved)
            need(sound, f.place, f"it is not that of generation {generation}")
            f.zeros()
        return salt

    def read_run(self, container: int, block: int, generation: int | None) -> Run:
        def one(copy: tuple[Disk, int]) -> Run:
            disk, offset = copy
            key = checksum_key(disk.secret, self.salt(container, generation))
            offset, len_max = offset + block * BLOCK, disk.container_len - block * BLOCK
            head, f = disk.structure(offset, "KHRN", key, "run", len_max)
            run = Run(disk, offset, f, head.checksum)
            need(run.container == container, run.place, "it belongs to another container")
            run.block = block
            return run

        return self.first_good(self.copies(container), one)

    def run_of(self, ref: RunRef) -> Run:
        run = self.runs.of(ref.container, ref.block, ref.generation)
        need(run.check == ref.check, run.place, "it is not the run that is referred to")
        return run

    def read_frame(self, run: Run, number: int) -> bytes:
        copies = [(disk, offset + run.block * BLOCK) for disk, offset in self.copies(run.container)]
        return self.first_good(copies, lambda copy: self.frame_at(*copy, run.frames[number], number))

    def frame_at(self, disk: Disk, offset: int, entry: tuple[Any, ...], number: int) -> bytes:
        at, stored_len, plain_len, codec, _reserved, checksum = entry
        what = f"frame {number} of the run at {offset}"
        place = disk.place(offset + at, what)
        stored = disk.read(offset + at, stored_len, what)
        need(blake3(stored).digest() == checksum, place, "wrong checksum")
        try:
            if codec == 1:
                stored = lz4.block.decompress(stored, uncompressed_size=plain_len)
            elif codec == 2:
                stored = zstandard.ZstdDecompressor().decompress(stored, max_output_size=plain_len)
        except (lz4.block.LZ4BlockError, zstandard.ZstdError) as error:
            raise Damage(f"{place}: {error}") from error
        need(codec in (0, 1, 2) and len(stored) == plain_len, place, "it does not unpack")
        return stored

    def load_checkpoint(self) -> None:
        """§11. A pool that was never opened has none."""

        def stream(refs: list[RunRef]) -> bytes:
            runs = [self.run_of(ref) for ref in refs]
            frames = ((run, number) for run in runs for number in range(len(run.frames)))
            return b"".join(self.frames.of(*frame) for frame in frames)

        def first_good(what: str, copies: list[list[RunRef]]) -> Fields:
            return Fields(self.first_good(copies, stream), what)

        def blob(f: Fields, what: str) -> Fields:
            length, copies = f.varint(), f.list(lambda f: f.list(run_ref))
            content = first_good(what, copies)
            need(len(content.data) == length, what, "wrong length")
            return content

        if self.superblock.root:
            root = first_good("root run", [[ref] for ref in self.superblock.root])
            self.state.tables(blob(root, "tables of the checkpoint"))
            for _ in range(root.varint()):
                count = root.varint()
                self.state.segment(blob(root, "index segment of the checkpoint"), count)
            for _ in range(root.varint()):  # steps between reach sets: nothing a reader needs
                root.varint()
                blob(root, "steps of the checkpoint")
            if root.at < len(root.data):  # sheets of the index: only who looks for an id needs them
                for _ in range(root.varint()):
                    root.varint()
                    blob(root, "sheet of the index")
            root.end()

    def journal_entry(self, disk: Disk, zone: int, position: int) -> tuple[Head, Fields] | None:
        """Whatever good entry lies there (§7)."""
        at = position % disk.journal_len
        start = FRONT if zone == 0 else disk.len - FRONT - disk.journal_len
        try:
            return disk.structure(start + at, "KHJE", disk.key, "journal entry",
                                  disk.journal_len - at)
        except Damage:
            return None

    def replay(self) -> None:
        """The entries behind the checkpoint, each from whichever zone has it (§7, §13)."""
        root = self.superblock
        zones = [(self.disks[at], zone) for at, zone in root.journal if self.disks[at]]
        ring = zones[0][0].journal_len
        sequence, position = root.journal_sequence, root.journal_position
        parent = root.journal_parent
        while True:
            wrapped = -(-position // ring) * ring
            for at, zone in ((at, zone) for at in (position, wrapped) for zone in zones):
                head, f = self.journal_entry(*zone, at) or (None, None)
                if f is None or head.sequence != sequence:
                    continue
                found = f.row("r16 8 8 8 4 4")
                if found[:3] == [parent, root.epoch, at]:
                    break
            else:
                break
            self.apply(f, *found[4:])
            parent = hash16(struct.pack("<Q", sequence) + f.data[HEAD.size :])
            sequence, position = sequence + 1, at + -(-head.len // BLOCK) * BLOCK
        self.journal_entries = sequence - root.journal_sequence
        # A crash cuts the tail: then nothing of this epoch is behind it.
        for at, zone in ((at, zone) for at in range(0, ring, BLOCK) for zone in zones):
            head, f = self.journal_entry(*zone, at) or (None, None)
            if f is not None and head.sequence > sequence:
                _parent, epoch = f.row("r16 8")
                need(epoch != root.epoch, f.place, f"entry {sequence} before it is damaged")

    def apply(self, f: Fields, body_len: int, count: int) -> None:
        need(len(f.data) - f.at == body_len, f.place, "wrong length")
        for _ in range(count):
            code = f.int(1)
            if code not in OPERATIONS:
                raise Refused(f"{f.place}: operation {code} is not known here")
            words, effect = OPERATIONS[code]
            row = f.row(words)
            if effect:
                effect(self.state, *row)
        f.end()

    def find(self, number: int) -> Chunk:
        """Its run and ordinal there (§2)."""
        need(number in self.state.index, f"chunk {number}", "it is not in the index")
        container, block, ordinal = self.state.index[number]
        run = self.runs.of(container, block, None)
        there = ordinal < len(run.chunks) and run.chunks[ordinal][0] == number
        need(there, run.place, f"chunk {number} is not in it")
        return Chunk(*run.chunks[ordinal][:3], (run, ordinal))

    def read(self, chunk: Chunk) -> tuple[bytes, str]:
        run, ordinal = chunk.where
        frame = run.chunks[ordinal][3]
        plain = self.frames.of(run, frame)[run.starts[ordinal] :][: chunk.len]
        what = f"frame {frame}, chunk {chunk.number}"
        return plain, run.disk.place(run.offset + run.frames[frame][0], what)
