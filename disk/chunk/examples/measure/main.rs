//! Measures on a real tree what the sizes of chunks and frames, the codec and the inline limit cost
//! and save. `MEASUREMENTS.md` holds a run of it and what follows from that.
//!
//! `cargo run --release -p keelhold-chunk --example measure -- MIB DIRECTORY...`
//!
//! The tree is read into memory (all small files, and as many large ones as MIB allows), so that
//! processor time is measured and not the disk. Times are of the thread, not of the clock on the
//! wall: they hold on a busy machine too.

mod chunks;
mod edit;
mod frames;
mod inline;
mod tree;

use std::process::ExitCode;

use chunks::Chunks;
use frames::Codec;
use keelhold_chunk::cut::{ContentCutter, CutParams, Cutter};
use tree::Tree;

const SEED: u64 = 1;
const CUTS: [(u32, u32, u32); 3] = [(8, 32, 128), (16, 64, 256), (32, 128, 512)];
/// 0: every chunk a frame of its own.
const FRAMES: [usize; 5] = [0, 128 << 10, 256 << 10, 512 << 10, 1 << 20];
const CODECS: [Codec; 3] = [Codec::Lz4, Codec::Zstd(1), Codec::Zstd(3)];
/// What an index in memory takes for a chunk, rounded up (`index_memory` of the pool measures it).
const INDEX_LEN: usize = 26;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let limit = args.next().and_then(|text| text.parse::<u64>().ok());
    let roots: Vec<String> = args.collect();
    let (Some(limit), false) = (limit, roots.is_empty()) else {
        eprintln!("usage: measure MIB DIRECTORY...");
        return ExitCode::FAILURE;
    };
    let before = Tree::read(&roots, limit << 20);
    let (after, edited) = edit::scattered(&before, SEED);
    println!("{} files, {:.0} MiB; {edited} edited\n", before.files.len(), mib(before.len()));
    if before.files.is_empty() {
        eprintln!("no files in {roots:?}");
        return ExitCode::FAILURE;
    }
    for cut in CUTS {
        sizes(&before, &after, cut);
    }
    inline::table(&before, &after, &cutter(CUTS[1]));
    ExitCode::SUCCESS
}

/// One cutter, all frame lengths and codecs.
fn sizes(before: &Tree, after: &Tree, cut: (u32, u32, u32)) {
    let cutter = cutter(cut);
    let mut chunks = Chunks::default();
    let (first, seconds) = timed(|| chunks.add(&before.files, &cutter));
    let grown = chunks.add(&after.files, &cutter);
    let (min, average, max) = cut;
    println!(
        "### {min}/{average}/{max} KiB: {} unique chunks, {:.0} MiB of them, cut and hashed in \
         {seconds:.1} s, index {:.1} MiB; the edits make {} chunks, {:.1} MiB\n",
        first.len(),
        mib(first.iter().map(|chunk| chunk.len()).sum()),
        mib(first.len() * INDEX_LEN),
        grown.len(),
        mib(grown.iter().map(|chunk| chunk.len()).sum()),
    );
    println!("| frame KiB | codec | stored MiB | growth MiB | compress s |\n|---|---|---|---|---|");
    for frame_len in FRAMES {
        for codec in CODECS {
            let (stored, seconds) = timed(|| frames::stored(&first, frame_len, codec));
            let growth = frames::stored(&grown, frame_len, codec);
            let frame =
                if frame_len == 0 { "chunk".into() } else { format!("{}", frame_len >> 10) };
            println!(
                "| {frame} | {codec} | {:.1} | {:.2} | {seconds:.1} |",
                mib(stored),
                mib(growth)
            );
        }
    }
    println!();
}

fn cutter((min, average, max): (u32, u32, u32)) -> Cutter {
    let params =
        CutParams { min: min << 10, average: average << 10, max: max << 10, seed: [1; 32] };
    match ContentCutter::new(&params) {
        Ok(cutter) => Cutter::Content(cutter),
        Err(error) => unreachable!("{error}"),
    }
}

fn mib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// What the work gave, and the processor seconds this thread took for it.
fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let before = processor_nanos();
    let result = work();
    (result, (processor_nanos() - before) as f64 / 1e9)
}

fn processor_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
}
