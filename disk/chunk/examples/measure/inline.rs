//! What it costs and saves to keep the content of the smallest files inside their entries.
//!
//! Models the pool's pages closely enough to compare: entries in path order with shared prefixes, cut
//! at boundaries the path decides, about 8 KiB each, deduplicated, packed and compressed like data.
//! A file that is not inline has one chunk at least, and its entry names the span: numbers, length and
//! a digest of 16 bytes that nothing compresses.

use keelhold_chunk::Writer;
use keelhold_chunk::cut::Cutter;

use super::chunks::Chunks;
use super::frames::{self, Codec};
use super::tree::{File, Tree};
use super::{INDEX_LEN, mib};

const LIMITS: [usize; 8] = [0, 64, 128, 256, 512, 1024, 2048, 4096];
const FRAME_LEN: usize = 256 << 10;
const PAGE_LEN_LEAST: usize = 4 << 10;
const PAGE_LEN_MOST: usize = 32 << 10;
/// One path of so many begins a page, once the least length is reached.
const CUT_OF: u16 = 40;

pub fn table(before: &Tree, after: &Tree, cutter: &Cutter) {
    println!("### Inline limit: 16/64/256 KiB, frames of 256 KiB, zstd 1\n");
    println!(
        "| inline ≤ | files inline | data chunks | pages | data MiB | pages MiB | all MiB | index MiB | growth MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for limit in LIMITS {
        let mut chunks = Chunks::default();
        let first = Stored::add(&mut chunks, before, cutter, limit);
        let grown = Stored::add(&mut chunks, after, cutter, limit);
        let files = before.files.iter().filter(|file| is_inline(file, limit)).count();
        println!(
            "| {limit} | {files} | {} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {:.2} |",
            first.data_count,
            first.page_count,
            mib(first.data_len),
            mib(first.pages_len),
            mib(first.data_len + first.pages_len),
            mib((first.data_count + first.page_count) * INDEX_LEN),
            mib(grown.data_len + grown.pages_len),
        );
    }
}

fn is_inline(file: &File, limit: usize) -> bool {
    (1..=limit).contains(&file.content.len())
}

struct Stored {
    data_count: usize,
    page_count: usize,
    data_len: usize,
    pages_len: usize,
}

impl Stored {
    /// What is new when the tree is added to `chunks`.
    fn add(chunks: &mut Chunks, tree: &Tree, cutter: &Cutter, limit: usize) -> Self {
        let outside = tree.files.iter().filter(|file| !is_inline(file, limit));
        let data = chunks.add(outside, cutter);
        let pages = pages(tree, limit);
        let new: Vec<&[u8]> =
            pages.iter().map(Vec::as_slice).filter(|page| chunks.is_new(page)).collect();
        let codec = Codec::Zstd(1);
        Self {
            data_count: data.len(),
            page_count: new.len(),
            data_len: frames::stored(&data, FRAME_LEN, codec),
            pages_len: frames::stored(&new, FRAME_LEN, codec),
        }
    }
}

fn pages(tree: &Tree, limit: usize) -> Vec<Vec<u8>> {
    let mut pages = Vec::new();
    let mut page = Writer::new();
    let mut before: &[u8] = &[];
    for file in &tree.files {
        let hash = blake3::hash(&file.path);
        let lot = u16::from_le_bytes([hash.as_bytes()[0], hash.as_bytes()[1]]);
        let cuts = lot.is_multiple_of(CUT_OF);
        if (cuts && page.len() >= PAGE_LEN_LEAST) || page.len() >= PAGE_LEN_MOST {
            pages.push(std::mem::take(&mut page).finish());
            before = &[];
        }
        let shared = before.iter().zip(&file.path).take_while(|(a, b)| a == b).count();
        page.varint(shared as u64);
        page.bytes(&file.path[shared..]);
        page.bytes(&file.attributes.to_bytes());
        content(&mut page, file, limit);
        before = &file.path;
    }
    pages.push(page.finish());
    pages
}

fn content(page: &mut Writer, file: &File, limit: usize) {
    if is_inline(file, limit) {
        page.u8(1);
        page.bytes(&file.content);
    } else if !file.content.is_empty() {
        // The digest stands for all chunks of a span: its own hash is as good as any.
        page.u8(2);
        page.varint(1);
        page.varint(1);
        page.varint(file.content.len() as u64);
        page.raw(&blake3::hash(&file.content).as_bytes()[..16]);
    }
}
