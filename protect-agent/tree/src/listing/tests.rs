use super::*;
use crate::scratch::Scratch;
use crate::torture;

fn listed() -> Listed {
    Listed {
        kind: EntryKind::File,
        mode: 0o644,
        uid: 0,
        gid: 0,
        size: 1,
        mtime: Timestamp::default(),
        linked_to: None,
        device_number: (0, 0),
        target: Vec::new(),
        xattrs: Vec::new(),
        extents: Vec::new(),
        content: None,
    }
}

/// Each aspect by itself is a difference and says its name.
#[test]
fn no_aspect_is_overlooked() {
    type Change = fn(&mut Listed);
    let aspects: [(&str, Change); 12] = [
        ("type", |entry| entry.kind = EntryKind::Fifo),
        ("mode", |entry| entry.mode = 0o4644),
        ("owner", |entry| entry.uid = 1),
        ("owner", |entry| entry.gid = 1),
        ("size", |entry| entry.size = 2),
        ("mtime", |entry| entry.mtime.nanos = 1),
        ("link group", |entry| entry.linked_to = Some(b"other".to_vec())),
        ("device number", |entry| entry.device_number.1 = 1),
        ("target", |entry| entry.target = b"other".to_vec()),
        ("xattrs", |entry| {
            let (name, value) = (b"user.a".to_vec(), Vec::new());
            entry.xattrs.push(Xattr { name, value });
        }),
        ("extents", |entry| entry.extents.push(Extent { offset: 0, len: 1 })),
        ("content", |entry| entry.content = Some([0; 32])),
    ];
    let tree = |entry: Listed| Listing { entries: BTreeMap::from([(b"x".to_vec(), entry)]) };
    for (aspect, change) in aspects {
        let mut other = listed();
        change(&mut other);
        let differences = tree(listed()).differences(&tree(other));
        let named: Vec<&str> = differences.iter().map(|difference| difference.aspect).collect();
        assert_eq!(named, [aspect]);
    }
    let missing = tree(listed()).differences(&Listing::default());
    let extra = Listing::default().differences(&tree(listed()));
    assert_eq!((missing.len(), extra.len()), (1, 1));
    assert_eq!(missing[0].to_string(), "x: entry: File != missing");
}

/// The same seed gives the same tree; another gives other content.
#[test]
fn a_torture_tree_depends_on_its_seed_alone() {
    let scratch = Scratch::new();
    for (name, seed) in [("a", 1), ("b", 1), ("c", 2)] {
        torture::make(&scratch.path(name), seed).unwrap();
    }
    let differences = |left: &str, right: &str| {
        let mut found = compare(&scratch.path(left), &scratch.path(right)).unwrap();
        // Times of making are the clock's.
        found.retain(|difference| difference.aspect != "mtime");
        found
    };
    assert_eq!(differences("a", "b"), []);
    assert!(differences("a", "c").len() > 100);
}

#[test]
fn content_does_not_depend_on_where_holes_are() {
    let scratch = Scratch::new();
    let mut content = vec![0; 1 << 20];
    content[500_000] = 1;
    std::fs::write(scratch.path("stored"), &content).unwrap();
    let sparse = std::fs::File::create(scratch.path("sparse")).unwrap();
    sparse.set_len(content.len() as u64).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, &[1], 500_000).unwrap();
    let listing = Listing::of(&scratch.path("")).unwrap();
    let [stored, sparse] = [&b"stored"[..], b"sparse"].map(|name| &listing.entries[name]);
    assert_eq!(stored.content, sparse.content);
}
