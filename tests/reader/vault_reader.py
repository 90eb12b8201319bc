#!/usr/bin/env python3
"""A second reader of Keelhold vaults, written from daemon/vault/VAULT.md and what it points to alone.

    vault_reader.py list|records|verify VAULT --passphrase-file FILE | --share FILE... [--json]
    vault_reader.py restore VAULT POINT DIR --passphrase-file FILE | --share FILE... [--json]

VAULT is a directory with the objects as files. Nothing is written to it. `records` shows the secrets
of the appliance. The numbers behind § are sections of VAULT.md.

vault_keys.py has slots, shares and keys, vault_format.py every structure, vault.py the way from the
newest manifest to proved chunks; words.py, tree.py and restore.py serve the reader of pools, too.
"""

import argparse
import json
import sys
from typing import Any

from restore import Restore, listed, time
from tree import FILE, Tree
from vault import PointChunks, Vault, Verification
from vault_format import VaultPoint
from vault_keys import Secret, shares_of
from words import Damage, Fields, Refused, id_text, need


def secret(args: argparse.Namespace) -> Secret:
    passphrase, shares = None, []
    if args.passphrase_file:
        with open(args.passphrase_file, "rb") as file:
            passphrase = file.read()
        # The line end that an editor leaves is no part of it (§7).
        passphrase = passphrase.removesuffix(b"\n").removesuffix(b"\r")
    for name in args.share:
        with open(name, encoding="utf-8") as file:
            shares += shares_of(file.read(), name)
    return Secret(passphrase, shares)


def tree(vault: Vault, row: VaultPoint) -> Tree:
    """The tree of a point. Row and recipe say the same of it, and the row where it begins."""
    chunks = PointChunks(vault, row)
    found = Tree(chunks, chunks.point)
    need(found.root.data == row.root, found.root.place, "the manifest has another root")
    root = Fields(row.root, found.root.place)
    need((root.int(1) > 0) == (row.root_place is not None), root.place, "no place, or one too many")
    if row.root_place:
        chunks.root_is(root.varint())
    return found


def walk(vault: Vault, row: VaultPoint) -> None:
    source, count = tree(vault, row), 0
    for entry in source.entries():
        count += 1
        if entry.kind == FILE:
            for _ in source.content(entry):
                pass
    need(count == row.entries, f"point {id_text(row.id)}", f"{count} entries, not {row.entries}")


def about(vault: Vault) -> dict[str, Any]:
    newest = vault.newest
    return {
        "vault": id_text(newest.vault),
        "manifest": newest.number,
        "link": newest.link.hex(),
        "made_at": time(newest.made_at),
        "parent": newest.parent and newest.parent[0],
        "base": newest.base and newest.base[0],
        "locks": {str(klass): until for klass, until in newest.locks.items()},
    }


def points(vault: Vault) -> list[dict[str, Any]]:
    records = {name.encode(): value for name, value in vault.records.items()}
    rows = sorted(vault.newest.points.values(), key=lambda row: (row.at, row.id))
    return [{**listed(records, PointChunks(vault, row).point), "pool": row.pool.hex(), "class": row.klass}
            for row in rows]


def value(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return {"hex": data.hex()}


def do(args: argparse.Namespace) -> int:
    vault = Vault(args.vault, secret(args), args.manifest)
    whole = about(vault)
    lines = [f"vault {whole['vault']}, manifest {whole['manifest']} of {whole['made_at']}"]
    failed = False
    if args.verb == "list":
        whole["points"] = points(vault)
        lines += ["{id}  {at}  {source}  {result}".format(**point) for point in whole["points"]]
    elif args.verb == "records":
        whole["records"] = {name: value(data) for name, data in sorted(vault.records.items())}
        whole["series"] = {name: {str(n): value(data) for n, data in sorted(entries.items())}
                           for name, entries in sorted(vault.series.items())}
        lines += [f"{name}: {json.dumps(data)}" for name, data in whole["records"].items()]
        lines += [f"{name}: {len(entries)} entries" for name, entries in whole["series"].items()]
    elif args.verb == "verify":
        found = Verification(vault).run(lambda row: walk(vault, row))
        failed = bool(found["findings"])
        whole |= found
        lines += [f"{finding['name']}: {finding['error']}" for finding in found["findings"]]
        lines += [f"{found['objects']} objects, {found['chunks']} chunks, {found['points']} points, "
                  f"{len(found['findings'])} findings"]
    else:
        rows = {id_text(id): row for id, row in vault.newest.points.items()}
        if args.point not in rows:
            raise Refused(f"there is no point {args.point}")
        restore = Restore(tree(vault, rows[args.point]), args.to)
        restore.run()
        failed = bool(restore.failed)
        whole |= {"entries": restore.count, "failed": restore.failed,
                  "requests": vault.store.requests, "bytes_read": vault.store.bytes}
        lines += [f"{restore.count} entries, {len(restore.failed)} failed"]
    whole["void"] = [{"number": number, "error": error} for number, error in vault.void.items()]
    lines += [f"void: manifest {void['number']}: {void['error']}" for void in whole["void"]]
    print(json.dumps(whole, indent=1) if args.json else "\n".join(lines))
    return 1 if failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Reads a Keelhold vault; writes nothing to it.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    texts = {"list": "all points", "records": "all records and series, secrets with them",
             "verify": "every object, chunk and point", "restore": "one point into a new directory"}
    for name, text in texts.items():
        verb = verbs.add_parser(name, help=text)
        verb.add_argument("vault", metavar="VAULT", help="a directory with the vault's objects")
        if name == "restore":
            verb.add_argument("point", metavar="POINT")
            verb.add_argument("to", metavar="DIR")
        opens = verb.add_mutually_exclusive_group(required=True)
        opens.add_argument("--passphrase-file", metavar="FILE")
        opens.add_argument("--share", metavar="FILE", nargs="+", default=[])
        verb.add_argument("--manifest", type=int, metavar="NUMBER", help="not the newest but this")
        verb.add_argument("--json", action="store_true")
    try:
        return do(parser.parse_args())
    except (Damage, Refused, OSError, UnicodeDecodeError) as error:
        print(f"{type(error).__name__.lower()}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
