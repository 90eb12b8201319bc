//! Bytes of version 1, pinned. A change here is a change of the format.

use keelhold_chunk::entry::Kind;
use keelhold_chunk::{IdKey, Writer};

use crate::sets::{RefCounts, SetDelta};
use crate::tree::testing::{MemoryStore, attributes, build, test_key};
use crate::tree::{Item, NewContent, ResolvedExtent};
use crate::units::ChunkNumber;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn entry(path: &str, kind: Kind, content: NewContent) -> Item {
    Item::Entry { path: path.into(), attributes: attributes(kind).to_bytes(), content }
}

fn chunk(number: u64) -> ResolvedExtent {
    let id = test_key().id(&number.to_le_bytes());
    ResolvedExtent::Chunk { number: ChunkNumber(number), id, len: 1000 }
}

#[test]
fn a_page_of_entries() {
    let store = MemoryStore::default();
    let parts = vec![chunk(254), chunk(255), chunk(256), ResolvedExtent::Hole(96)];
    let items = [
        entry("", Kind::Directory, NewContent::None),
        entry("etc", Kind::Directory, NewContent::None),
        entry("etc/hostname", Kind::File { size: 5 }, NewContent::Inline(b"keel\n".to_vec())),
        entry("etc/hosts", Kind::File { size: 3096 }, NewContent::Extents(parts)),
    ];
    let (root, _) = build(&store, None, items).unwrap();
    let page = root.page.unwrap();
    let mut writer = Writer::new();
    root.encode(&mut writer);
    assert_eq!(
        hex(&store.page(page.number.0)),
        concat!(
            "01000400001001a403e807e80780ee89ab0d959aef3a0000036574631001a403e807e80780ee89ab0d959aef",
            "3a0003092f686f73746e616d651100a403e807e80780ee89ab0d959aef3a0501056b65656c0a0801731200a4",
            "03e807e80780ee89ab0d959aef3a9818020302fc03d00fbb8fdafeef4b01b15b11f3600e8ec82d0100e8074e",
            "e9f6a9b9d75c3158f0006fc64e1b870060",
        )
    );
    assert_eq!(hex(&writer.finish()), "01808080808002a8e9a4ffd1916fe0f97f7e1658317c7d049d180202");
}

/// Cut points are format in so far as another writer would store everything again.
#[test]
fn the_pages_of_a_larger_tree() {
    let store = MemoryStore::default();
    let files = (0..30_000).map(|n| {
        let parts = (0..if n == 7 { 900 } else { 1 }).map(|part| chunk(n * 3 + part * 77_777));
        let parts: Vec<_> = parts.collect();
        let kind = Kind::File { size: parts.len() as u64 * 1000 };
        entry(&format!("file-{n:06}"), kind, NewContent::Extents(parts))
    });
    let items = [entry("", Kind::Directory, NewContent::None)].into_iter().chain(files);
    build(&store, None, items).unwrap();
    let key = IdKey::new([0; 32]);
    let pages = store.numbers();
    let ids: Vec<_> = pages.iter().map(|number| key.id(&store.page(*number))).collect();
    assert_eq!(
        (pages.len(), hex(key.span_digest(&ids).as_bytes()).as_str()),
        (1374, "f3729f21ad586cae4a45b3ba50f64c2b")
    );
}

#[test]
fn sets() {
    let mut counts = RefCounts::new();
    counts.add_run(1000, 3000);
    [5, 5, 5, 70_000, 1500, 1500, 1 << 39].into_iter().for_each(|number| counts.add(number));
    let mut writer = Writer::new();
    counts.encode(&mut writer);
    SetDelta::between(&[1, 2].into_iter().collect(), &[2, 3].into_iter().collect())
        .encode(&mut writer);
    assert_eq!(
        hex(&writer.finish()),
        concat!(
            "3b0200000000000000000000003b300100010000b80b01000000020005000000e803b70b7011800000003a30",
            "00000100000000000000100000000000020501d60b011e0100000000000000000000003a3000000100000000",
            "0000001000000003001e0100000000000000000000003a3000000100000000000000100000000100",
        )
    );
}
