//! Lies about a tree.

use keelhold_chunk::Kind;
use keelhold_tests::liar::{Ending, Liar, attributes, entry, file, noise, root};
use keelhold_wire::{Content, Extent, Item};

use super::{BROKE, Session};

fn one(liar: &mut Liar, path: &[u8]) {
    liar.tree(vec![root(), file(path, 0, Content::None)]);
}

fn sized(liar: &mut Liar, size: u64, content: Content) {
    liar.tree(vec![root(), file(b"a", size, content)]);
}

fn hole(len: u64) -> Extent {
    Extent::Hole { len }
}

const NAMES: &[Session] = &[
    ("a path out of the tree", BROKE, |liar| one(liar, b"../a")),
    ("a path out of the tree from within", BROKE, |liar| {
        let directory = entry(b"d", Kind::Directory, Content::None);
        liar.tree(vec![root(), directory, file(b"d/../../a", 0, Content::None)]);
    }),
    ("a name that is a dot", BROKE, |liar| one(liar, b".")),
    ("an absolute path", BROKE, |liar| one(liar, b"/etc/passwd")),
    ("a path with a NUL", BROKE, |liar| one(liar, b"a\0b")),
    ("an empty name inside a path", BROKE, |liar| {
        let directory = entry(b"d", Kind::Directory, Content::None);
        liar.tree(vec![root(), directory, file(b"d//a", 0, Content::None)]);
    }),
    ("a path that ends in a slash", BROKE, |liar| one(liar, b"a/")),
    ("a name longer than any file system takes", BROKE, |liar| one(liar, &[b'a'; 256])),
    ("a path longer than the limit", Ending::Cut, |liar| one(liar, &b"a/".repeat(33 << 10))),
    ("a path as deep as the limit, without its parents", BROKE, |liar| {
        one(liar, &b"a/".repeat(32 << 10)[..(64 << 10) - 1]);
    }),
    ("paths that unfold to far more than was sent", Ending::Cut, |liar| {
        let deep = b"a/".repeat(30 << 10);
        let path = |last: u8| [&deep[..], &[last]].concat();
        liar.tree((0..250).map(|last| file(&path(last), 0, Content::None)).collect());
    }),
];

const SHAPE: &[Session] = &[
    ("no root", BROKE, |liar| liar.tree(vec![file(b"a", 0, Content::None)])),
    ("two roots", BROKE, |liar| liar.tree(vec![root(), root()])),
    ("a root that is a file", BROKE, |liar| {
        liar.tree(vec![file(b"", 0, Content::None), file(b"a", 0, Content::None)]);
    }),
    ("paths out of order", BROKE, |liar| {
        let file = |path: &[u8]| file(path, 0, Content::None);
        liar.tree(vec![root(), file(b"b"), file(b"a")]);
    }),
    ("a path twice", BROKE, |liar| {
        let file = || file(b"a", 0, Content::None);
        liar.tree(vec![root(), file(), file()]);
    }),
    ("paths out of order over two messages", BROKE, |liar| {
        liar.begin();
        liar.items(1, vec![root(), file(b"b", 0, Content::None)]);
        liar.items(2, vec![file(b"a", 0, Content::None)]);
        liar.finish();
    }),
    ("no parent", BROKE, |liar| one(liar, b"a/b")),
    ("a file as parent", BROKE, |liar| {
        let file = |path: &[u8]| file(path, 0, Content::None);
        liar.tree(vec![root(), file(b"a"), file(b"a/b")]);
    }),
    ("a link as parent", BROKE, |liar| {
        let link = entry(b"a", Kind::Symlink { target: b"/etc".to_vec() }, Content::None);
        liar.tree(vec![root(), link, file(b"a/passwd", 0, Content::None)]);
    }),
];

const CONTENT: &[Session] = &[
    ("a size without content", BROKE, |liar| sized(liar, 9, Content::None)),
    ("content shorter than the size", BROKE, |liar| {
        sized(liar, 9, Content::Inline(vec![1; 8]));
    }),
    ("content longer than the size", BROKE, |liar| {
        sized(liar, 9, Content::Inline(vec![1; 10]));
    }),
    ("inline content beyond the limit of the wire", Ending::Cut, |liar| {
        sized(liar, 5_000, Content::Inline(vec![1; 5_000]));
    }),
    ("holes beyond the size", BROKE, |liar| {
        sized(liar, 9, Content::Extents(vec![hole(u64::MAX / 4)]));
    }),
    ("two holes, one behind the other", Ending::Cut, |liar| {
        sized(liar, 20, Content::Extents(vec![hole(10), hole(10)]));
    }),
    ("a hole of nothing", Ending::Cut, |liar| sized(liar, 0, Content::Extents(vec![hole(0)]))),
    ("sizes that overflow in one file", BROKE, |liar| {
        let own = liar.chunk(&noise(1, 9_000));
        let half = || hole(u64::MAX >> 1);
        let extents = vec![half(), own.clone(), half(), own, half()];
        sized(liar, 16_000, Content::Extents(extents));
    }),
    ("sizes that overflow over the files", BROKE, |liar| {
        let len = u64::MAX >> 1;
        let file = |path: &[u8]| file(path, len, Content::Extents(vec![hole(len)]));
        liar.tree(vec![root(), file(b"a"), file(b"b"), file(b"c")]);
    }),
    ("content of a directory", BROKE, |liar| {
        liar.tree(vec![root(), entry(b"a", Kind::Directory, Content::Inline(vec![1]))]);
    }),
    ("content of a device", BROKE, |liar| {
        let device = Kind::BlockDevice { major: 8, minor: 0 };
        let content = Content::Extents(vec![liar.chunk(&noise(1, 9_000))]);
        liar.tree(vec![root(), entry(b"a", device, content)]);
    }),
    ("attributes that are none", BROKE, |liar| {
        let (path, attributes) = (b"a".to_vec(), vec![0xff; 9]);
        liar.tree(vec![root(), Item::Entry { path, attributes, content: Content::None }]);
    }),
    ("attributes with something behind them", BROKE, |liar| {
        let attributes = [attributes(Kind::Directory), vec![0]].concat();
        let path = b"a".to_vec();
        liar.tree(vec![root(), Item::Entry { path, attributes, content: Content::None }]);
    }),
];

pub const ALL: &[&[Session]] = &[NAMES, SHAPE, CONTENT];
