"""What opens a vault: passphrases, shares of a recovery kit, slots, keys (VAULT.md §7)."""

import base64
from collections import namedtuple
from typing import Any

from argon2.exceptions import HashingError
from argon2.low_level import ARGON2_VERSION, Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from words import Damage, Fields, Refused, derive, need

SLOT_LEN = 144
SHARES_MAX = 16
LINE_LETTERS, CHECK_LETTERS, LINES = 26, 2, 4
ALIKE = str.maketrans("018", "OIB")


class Rows(Fields):
    """Fields of tables: also times ("t"), and zeros that are checked and not given ("z3")."""

    def word(self, word: str) -> Any:
        if word == "t":
            return int.from_bytes(self.raw(8), "little", signed=True)
        if word[0] == "z":
            need(not any(self.raw(int(word[1:]))), self.place, "reserved bytes are not zero")
            return None
        return super().word(word)

    def row(self, words: str) -> list[Any]:
        return [value for value in super().row(words) if value is not None]


def opened(key: bytes, nonce: bytes, bound: bytes, sealed: bytes, place: str) -> bytes:
    try:
        return AESGCM(key).decrypt(nonce, sealed, bound)
    except InvalidTag:
        raise Damage(f"{place}: it does not open, or belongs elsewhere") from None


Share = namedtuple("Share", "need shares number kit vault value place")


def shares_of(text: str, name: str) -> list[Share]:
    """All shares of a text; what else stands there is for people."""
    found, letters = [], ""
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split(maxsplit=1)
        if not words or words[0].upper() not in [f"KHK{part}" for part in range(1, LINES + 1)]:
            continue
        place, part = f"{name}, line {number}", int(words[0][3])
        need(part == len(letters) // LINE_LETTERS + 1, place, f"KHK{part} is out of its order")
        typed = "".join(words[1:]).upper().translate(ALIKE)
        typed = "".join(letter for letter in typed if not letter.isspace() and letter != "-")
        line, check = typed[:LINE_LETTERS], typed[LINE_LETTERS:]
        made = derive("keelhold 2026 vault share line", bytes([part]) + line.encode())
        made = base64.b32encode(made[:5]).decode()[:CHECK_LETTERS]
        need(len(line) == LINE_LETTERS and check == made, place, "it is mistyped")
        letters += line
        if part == LINES:
            found.append(share_of(base64.b32decode(letters), place))
            letters = ""
    need(bool(found) and not letters, name, "there is no share, or one without its end")
    return found


def share_of(data: bytes, place: str) -> Share:
    need(derive("keelhold 2026 vault share", data[:60])[:5] == data[60:], place, "wrong checksum")
    version, *row = Rows(data, place).row("1 1 1 1 r8 r16 r32")
    if version != 1:
        raise Refused(f"{place}: a share of version {version} is not known here")
    share = Share(*row, place)
    need(1 <= share.need <= share.shares <= SHARES_MAX and 1 <= share.number <= share.shares,
         place, "such a share cannot be")
    return share


def product(a: int, b: int) -> int:
    """In GF(2^8) with x^8 + x^4 + x^3 + x + 1."""
    result = 0
    while b:
        result ^= a * (b & 1)
        a, b = a << 1 ^ (a >> 7) * 0x11B, b >> 1
    return result


def inverse(a: int) -> int:
    return next(b for b in range(1, 256) if product(a, b) == 1)


def value_at(x: int, shares: list[Share]) -> bytes:
    """Where the curve through these shares is at x: at 0 the secret."""
    result = bytes(32)
    for share in shares:
        weight = 1
        for other in shares:
            if other is not share:
                weight = product(weight, product(x ^ other.number,
                                                 inverse(share.number ^ other.number)))
        result = bytes(a ^ product(b, weight) for a, b in zip(result, share.value))
    return result


def kit_id(secret: bytes, vault: bytes) -> bytes:
    return derive("keelhold 2026 vault kit id", secret + vault)[:8]


def kit_secret(shares: list[Share]) -> bytes:
    """What shares of one kit give together. More than needed must agree."""
    first, by_number = shares[0], {}
    for share in shares:
        same = share.need, share.shares, share.kit, share.vault
        need(same == (first.need, first.shares, first.kit, first.vault), share.place,
             "it is of another kit or vault than the first share")
        need(by_number.setdefault(share.number, share).value == share.value, share.place,
             f"there are two different shares {share.number}")
    distinct = list(by_number.values())
    if len(distinct) < first.need:
        raise Refused(f"{first.need} shares are needed, {len(distinct)} given")
    chosen = distinct[: first.need]
    secret = value_at(0, chosen)
    need(kit_id(secret, first.vault) == first.kit, "the shares", "one of them is not genuine")
    for share in distinct[first.need :]:
        need(value_at(share.number, chosen) == share.value, share.place, "it is not genuine")
    return secret


Slot = namedtuple("Slot", "kind number shares need key_number memory_kib passes lanes kit made_at "
                  "salt commitment nonce sealed data")


def slot_of(data: bytes, place: str) -> Slot:
    """Parameters are bounded before anybody uses them."""
    slot = Slot(*Rows(data, place).row("1 1 1 1 4 4 4 4 r8 t r16 r32 r12 r48"), data)
    need(slot.number > 0 and slot.key_number > 0, place, "numbers begin with 1")
    if slot.kind == 1:
        sound = (8 << 10 <= slot.memory_kib <= 2 << 20 and 1 <= slot.passes <= 16
                 and 1 <= slot.lanes <= 16 and not any(data[2:4]) and not any(slot.kit))
    else:
        sound = slot.kind == 2 and not any(data[8:20]) and 1 <= slot.need <= slot.shares <= SHARES_MAX
    need(sound, place, "such a slot cannot be")
    return slot


class Secret:
    """What a person gives: a passphrase, or shares."""

    def __init__(self, passphrase: bytes | None, shares: list[Share]) -> None:
        self.passphrase, self.shares = passphrase, shares
        self.kit = kit_secret(shares) if shares else None
        self.stretched: dict[tuple, bytes] = {}  # the same slot stands in many manifests

    def of(self, slot: Slot, vault: bytes) -> bytes | None:
        """The secret of a slot, if it can be this one's."""
        if slot.kind == 2:
            same = self.kit is not None and kit_id(self.kit, vault) == slot.kit
            return self.kit if same else None
        if self.passphrase is None:
            return None
        cost = (slot.salt, slot.passes, slot.memory_kib, slot.lanes)
        if cost not in self.stretched:
            try:
                self.stretched[cost] = hash_secret_raw(self.passphrase, *cost, 32, Type.ID,
                                                       ARGON2_VERSION)
            except HashingError as error:
                raise Refused(f"the passphrase could not be tried: {error}") from error
        return self.stretched[cost]

    def master(self, slots: list[Slot], vault: bytes, check: bytes, place: str) -> "Master | None":
        """The master key, if one of the slots opens."""
        for slot in slots:
            secret = self.of(slot, vault)
            if secret is None:
                continue
            material = secret + vault + slot.data[:52]
            if derive("keelhold 2026 vault slot commitment", material) != slot.commitment:
                continue
            key = opened(derive("keelhold 2026 vault slot key", material), slot.nonce,
                         vault + slot.data[:84], slot.sealed, f"{place}, slot {slot.number}")
            master = Master(vault, slot.key_number, key)
            need(master.check == check, place, "its slot has another master key than its head says")
            return master
        return None


class Master:
    """The master key of a vault and what comes from it."""

    def __init__(self, vault: bytes, number: int, key: bytes) -> None:
        self.vault, self.number, self.key = vault, number, key + vault
        count = number.to_bytes(4, "little")
        self.check = derive("keelhold 2026 vault master check", self.key + count)

    def of_object(self, object: bytes) -> bytes:
        return derive("keelhold 2026 vault object key", self.key + object)

    def of_manifest(self, salt: bytes, number: int) -> bytes:
        material = self.key + salt + number.to_bytes(8, "little")
        return derive("keelhold 2026 vault manifest key", material)
