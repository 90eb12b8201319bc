//! Lies about the order of things in a backup.

use keelhold_chunk::Kind;
use keelhold_tests::liar::{Ending, Liar, attributes, file, noise, root};
use keelhold_wire::{
    Content, Credit, Extent, FromAgent, Item, RestoreStats, Restored, Runs, Skipped, Want,
};

use super::stage::secret;
use super::{BROKE, Session};

fn restored(liar: &mut Liar) {
    liar.begin();
    let (job, stats) = (liar.job(), RestoreStats::default());
    let (skipped, failed) = (Vec::new(), Vec::new());
    liar.say(&FromAgent::Restored(Restored { job, stats, skipped, failed }));
}

fn open() -> Item {
    Item::EntryOpen { path: b"a".to_vec() }
}

fn close(size: u64) -> Item {
    Item::EntryClose { attributes: attributes(Kind::File { size }) }
}

const ORDER: &[Session] = &[
    ("items before the job was taken", BROKE, |liar| liar.items(1, vec![root()])),
    ("an end before the job was taken", BROKE, |liar| liar.finish()),
    ("a gap in the sequence", BROKE, |liar| {
        liar.begin();
        liar.items(2, vec![root()]);
    }),
    ("a sequence that begins at the end of numbers", BROKE, |liar| {
        liar.begin();
        liar.items(u64::MAX, vec![root()]);
    }),
    ("an end before what was wanted came", BROKE, |liar| {
        liar.offer(&noise(5, 9_001));
        assert_eq!(liar.want().wanted.count(), 1);
        liar.finish();
    }),
    ("an end at once", BROKE, |liar| {
        liar.begin();
        liar.finish();
    }),
    ("two ends", BROKE, |liar| {
        liar.offer(&noise(6, 9_001));
        liar.want();
        liar.finish();
        liar.finish();
    }),
    ("entries behind the end", BROKE, |liar| {
        liar.offer(&noise(7, 9_001));
        liar.finish();
        liar.items(2, vec![file(b"b", 0, Content::None)]);
    }),
    ("an end of a restore in a backup", BROKE, restored),
    ("a want in a backup", BROKE, |liar| {
        liar.begin();
        let job = liar.job();
        liar.say(&FromAgent::Want(Want { job, upto: u64::MAX, wanted: Runs::new() }));
    }),
    ("a credit in a backup", BROKE, |liar| {
        liar.begin();
        let job = liar.job();
        let (items_seq, frame_bytes) = (u64::MAX, u64::MAX);
        liar.say(&FromAgent::Credit(Credit { job, items_seq, frame_bytes }));
    }),
    ("skipped entries before the job was taken", BROKE, |liar| {
        let (job, entries) = (liar.job(), Vec::new());
        liar.say(&FromAgent::Skipped(Skipped { job, entries }));
    }),
];

const LARGE: &[Session] = &[
    ("a piece of no entry", BROKE, |liar| {
        liar.tree(vec![root(), Item::EntryMore { extents: Vec::new() }]);
    }),
    ("an end of no entry", BROKE, |liar| liar.tree(vec![root(), close(0)])),
    ("an entry in an entry", BROKE, |liar| liar.tree(vec![root(), open(), open()])),
    ("unchanged entries in an entry", BROKE, |liar| {
        liar.tree(vec![root(), open(), Item::Same { first: 1, count: 1 }]);
    }),
    ("an end inside an entry", BROKE, |liar| liar.tree(vec![root(), open()])),
    ("pieces shorter than the size at their end", BROKE, |liar| {
        let more = Item::EntryMore { extents: vec![Extent::Hole { len: 10 }] };
        liar.tree(vec![root(), open(), more, close(11)]);
    }),
];

const BASIS: &[Session] = &[
    ("more unchanged entries than there are", BROKE, |liar| {
        let count = liar.basis() + 1;
        liar.tree(vec![Item::Same { first: 0, count }]);
    }),
    ("unchanged entries far behind the last", BROKE, |liar| {
        liar.tree(vec![root(), Item::Same { first: u64::MAX - 9, count: 9 }]);
    }),
    ("the same unchanged entry twice", BROKE, |liar| {
        let same = |first| Item::Same { first, count: 1 };
        liar.tree(vec![same(0), same(1), same(1)]);
    }),
    ("unchanged entries backwards", BROKE, |liar| {
        let same = |first| Item::Same { first, count: 1 };
        liar.tree(vec![same(1), same(0)]);
    }),
    ("content of an entry of the basis there is not", BROKE, |liar| {
        let content = Content::Basis { ordinal: liar.basis() };
        liar.tree(vec![root(), file(b"a", 9_000, content)]);
    }),
    ("a forged size over the content of the basis", BROKE, |liar| {
        let content = Content::Basis { ordinal: 1 };
        liar.tree(vec![root(), file(b"a", 1 << 40, content)]);
    }),
    ("a directory's content of the basis for a file", BROKE, |liar| {
        let content = Content::Basis { ordinal: 0 };
        liar.tree(vec![root(), file(b"a", 9_000, content)]);
    }),
];

const HISTORY: &[Session] = &[
    ("another machine's file, by its name alone", BROKE, |liar| {
        // To know a name is no proof of having the bytes: it is asked for like any other.
        liar.offer(&secret());
        assert_eq!(liar.want().wanted.count(), 1, "the daemon said \"have\"");
        liar.finish();
    }),
    ("another machine's file, with other bytes under its name", BROKE, |liar| {
        let bytes = secret();
        liar.offer(&bytes);
        assert_eq!(liar.want().wanted.count(), 1, "the daemon said \"have\"");
        liar.plain_frame(&vec![0; bytes.len()]);
        liar.finish();
    }),
    ("its own old chunk under another length", BROKE, |liar| {
        liar.begin();
        let Extent::Chunk { id, len } = liar.chunk(&noise(1, 9_000)) else { return };
        let content = Content::Extents(vec![Extent::Chunk { id, len: len + 1 }]);
        liar.items(1, vec![root(), file(b"a", u64::from(len) + 1, content)]);
        liar.finish();
    }),
    ("everything said twice", Ending::Committed, |liar| {
        // A repetition is no lie: it is ignored, and the point is what was said first.
        let bytes = noise(8, 9_001);
        liar.offer(&bytes);
        let content = Content::Extents(vec![liar.chunk(&noise(9, 9_001))]);
        liar.items(1, vec![root(), file(b"b", 9_001, content)]);
        assert_eq!(liar.want().wanted.count(), 1);
        liar.plain_frame(&bytes);
        liar.finish();
    }),
];

pub const ALL: &[&[Session]] = &[ORDER, LARGE, BASIS, HISTORY];
