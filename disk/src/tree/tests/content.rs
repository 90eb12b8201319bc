//! Files with long lists of extents.

use keelhold_chunk::entry::Kind;

use crate::tree::testing::{Dice, MemoryStore, attributes, block_on, build, test_key};
use crate::tree::{
    BuildError, Content, Extent, Item, NewContent, ResolvedExtent, TreeBuilder, TreeReader,
};
use crate::units::ChunkNumber;

const CHUNK: u32 = 65_536;

fn chunk(number: u64) -> ResolvedExtent {
    let id = test_key().id(&number.to_le_bytes());
    ResolvedExtent::Chunk { number: ChunkNumber(number), id, len: CHUNK }
}

fn image(parts: u64, content: NewContent) -> Item {
    let attributes = attributes(Kind::File { size: parts * u64::from(CHUNK) }).to_bytes();
    Item::Entry { path: Vec::new(), attributes, content }
}

/// An image whose chunks come from everywhere, so that every extent is short.
fn scattered(count: u64) -> Vec<ResolvedExtent> {
    (0..count).map(|n| chunk(n * 7_919 % (1 << 35))).collect()
}

#[test]
fn a_streamed_image_is_the_same_as_one_given_at_once_and_holds_its_memory() {
    let store = MemoryStore::default();
    let parts = scattered(120_000);
    let (at_once, change) =
        build(&store, None, [image(120_000, NewContent::Extents(parts.clone()))]).unwrap();
    store.reset_counts();
    let (streamed, other_change) = block_on(async {
        let mut builder = TreeBuilder::new(&store, test_key(), None);
        builder.begin_content().unwrap();
        for piece in parts.chunks(1_000) {
            builder.extend_content(piece).await.unwrap();
        }
        builder.push(image(120_000, NewContent::Streamed)).await.unwrap();
        builder.finish().await.unwrap()
    });
    assert_eq!((at_once, change), (streamed, other_change));
    assert_eq!(store.stored.get(), 0);
}

#[test]
fn an_offset_is_found_in_few_reads() {
    let store = MemoryStore::default();
    let parts = scattered(300_000);
    let (root, _) = build(&store, None, [image(300_000, NewContent::Extents(parts))]).unwrap();
    let reader = TreeReader::new(&store, root);
    let (_, entry) = block_on(reader.find(b"")).unwrap().unwrap();
    let Content::Pages(content) = &entry.content else { panic!("{:?}", entry.content) };
    println!("{} levels", content.level + 1);
    let mut dice = Dice(1);
    for _ in 0..100 {
        let offset = dice.below(entry.size());
        store.reset_counts();
        let found = block_on(reader.extents_at(&entry, offset, 4096)).unwrap();
        let index = offset / u64::from(CHUNK);
        let (start, extent) = found[0];
        assert_eq!(start, index * u64::from(CHUNK));
        let Extent::Span { first, .. } = extent else { panic!("{extent:?}") };
        assert_eq!(first.0, index * 7_919 % (1 << 35));
        assert!(store.reads.get() <= u64::from(content.level) + 2);
        assert!(found.len() <= 2);
    }
    assert!(block_on(reader.extents_at(&entry, entry.size(), 1)).unwrap().is_empty());
    assert!(block_on(reader.extents_at(&entry, 5, 0)).unwrap().is_empty());
}

#[test]
fn a_changed_block_rewrites_one_page_of_a_large_image() {
    let store = MemoryStore::default();
    let mut parts = scattered(100_000);
    let basis = build(&store, None, [image(100_000, NewContent::Extents(parts.clone()))]);
    let (basis, _) = basis.unwrap();
    parts[44_444] = chunk(1 << 35);
    store.reset_counts();
    let next = [image(100_000, NewContent::Extents(parts))];
    let (_, change) = build(&store, Some(basis), next).unwrap();
    // The page of extents, those above it, and the entry.
    assert!(store.stored.get() <= 5, "{} pages", store.stored.get());
    assert_eq!(change.added.total(), store.stored.get() + 1);
    assert_eq!(change.removed.total(), change.added.total());
}

#[test]
fn new_attributes_cost_no_read_of_the_content() {
    let store = MemoryStore::default();
    let parts = NewContent::Extents(scattered(100_000));
    let (basis, _) = build(&store, None, [image(100_000, parts)]).unwrap();
    store.reset_counts();
    let mut attributes = attributes(Kind::File { size: 100_000 * u64::from(CHUNK) });
    attributes.mode = 0o600;
    let item = Item::Entry {
        path: Vec::new(),
        attributes: attributes.to_bytes(),
        content: NewContent::Basis { ordinal: 0 },
    };
    let (_, change) = build(&store, Some(basis), [item]).unwrap();
    assert_eq!((store.reads.get(), store.stored.get()), (1, 1));
    assert_eq!((change.added.total(), change.removed.total()), (1, 1));
}

#[test]
fn content_that_is_dropped_leaves_no_reference() {
    let store = MemoryStore::default();
    let items = [Item::Entry {
        path: Vec::new(),
        attributes: attributes(Kind::Directory).to_bytes(),
        content: NewContent::None,
    }];
    let (_, change) = block_on(async {
        let mut builder = TreeBuilder::new(&store, test_key(), None);
        builder.begin_content().unwrap();
        builder.extend_content(&scattered(3_000)).await.unwrap();
        assert!(matches!(builder.begin_content(), Err(BuildError::ContentOpen)));
        builder.abandon_content();
        assert!(matches!(builder.extend_content(&[]).await, Err(BuildError::NoContent)));
        for item in items {
            builder.push(item).await.unwrap();
        }
        builder.finish().await.unwrap()
    });
    assert_eq!(change.added.total(), 1);
}

/// The length of a long content is not in the entry: only the builder can compare it.
#[test]
fn long_content_of_another_length_is_refused() {
    let store = MemoryStore::default();
    let parts = || NewContent::Extents(scattered(1_000));
    let (basis, _) = build(&store, None, [image(1_000, parts())]).unwrap();
    let mismatch =
        |result: Result<_, BuildError<_>>| matches!(result, Err(BuildError::SizeMismatch { .. }));
    for size in [999, 1_001] {
        assert!(mismatch(build(&store, None, [image(size, parts())])));
        let old = image(size, NewContent::Basis { ordinal: 0 });
        assert!(mismatch(build(&store, Some(basis), [old])));
        let streamed = block_on(async {
            let mut builder = TreeBuilder::new(&store, test_key(), None);
            builder.begin_content()?;
            builder.extend_content(&scattered(1_000)).await?;
            builder.push(image(size, NewContent::Streamed)).await?;
            builder.finish().await
        });
        assert!(mismatch(streamed));
    }
}
