#!/usr/bin/env python3
"""A second reader of Keelhold pools, written from disk/FORMAT.md and what it points to alone.

    keelhold_reader.py list DISK...
    keelhold_reader.py restore DISK... --point ID --to DIR

All disks of the pool are needed; they are opened read-only. No structure is believed before its
checksum, place and pool are proved, no byte of content is written before the id of its chunk is.
The numbers behind § are sections of FORMAT.md. The index is held in memory: some 200 bytes a chunk.

words.py has the fields and the journal's operations, pool.py disks up to proved chunks, tree.py the
entries of a point, restore.py makes lists and files of them; the last two serve vault_reader.py, too.
"""

import argparse
import json
import sys

from pool import Pool
from restore import Restore, listed
from tree import Tree
from words import Damage, Refused, id_text


def run(args: argparse.Namespace) -> int:
    pool = Pool(args.disks)
    points = {id_text(id): point for id, point in pool.state.points.items()}
    if args.verb == "list":
        print(json.dumps({
            "pool": pool.pool.hex(),
            "disks": [{"id": disk.id.hex(), "path": disk.path} for disk in pool.disks if disk],
            "checkpoint": pool.superblock.sequence,
            "journal_entries": pool.journal_entries,
            "points": [listed(pool.state.records, point) for point in points.values()],
        }, indent=1))
        return 0
    if args.point not in points:
        raise Refused(f"there is no point {args.point}")
    restore = Restore(Tree(pool, points[args.point]), args.to)
    restore.run()
    print(json.dumps({"entries": restore.count, "failed": restore.failed}))
    return 1 if restore.failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Reads a Keelhold pool; writes nothing to it.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    texts = {"list": "all points as JSON", "restore": "one point into a new directory"}
    for verb, text in texts.items():
        verb = verbs.add_parser(verb, help=text)
        verb.add_argument("disks", nargs="+", metavar="DISK", help="a disk or file of the pool")
    verb.add_argument("--point", required=True, metavar="ID")
    verb.add_argument("--to", required=True, metavar="DIR")
    try:
        return run(parser.parse_args())
    except (Damage, Refused, OSError) as error:
        print(f"{type(error).__name__.lower()}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
