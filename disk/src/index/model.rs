//! The index against a map that does the same the plain way, over seeded histories.

use std::collections::BTreeMap;

use keelhold_chunk::ChunkId;

use super::segment::{Change, Entry, SegmentReader, SegmentWriter};
use super::*;

/// SplitMix64: enough for choosing, the same everywhere.
pub(super) struct Seeded(u64);

impl Seeded {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

fn id_of(number: ChunkNumber) -> ChunkId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.0.to_le_bytes());
    ChunkId::from_bytes(bytes)
}

fn slot(random: &mut Seeded) -> Slot {
    Slot { place: place(random), stored_len: random.below(1 << 24) as u32, sources: 0 }
}

fn place(random: &mut Seeded) -> Place {
    Place {
        container: random.below(1 << 20) as u32,
        run_block: random.next() as u16,
        ordinal: random.next() as u16,
    }
}

struct History {
    random: Seeded,
    index: Index,
    model: BTreeMap<ChunkNumber, Slot>,
    /// What a checkpoint would have to write.
    changed: BTreeMap<ChunkNumber, Entry>,
    /// Three streams, each within its own leased block of numbers.
    streams: [u64; 3],
    leased: u64,
}

impl History {
    fn new(seed: u64) -> Self {
        Self {
            random: Seeded::new(seed),
            index: Index::new([5; 32]),
            model: BTreeMap::new(),
            changed: BTreeMap::new(),
            streams: [0, 4096, 8192],
            leased: 3 * 4096,
        }
    }

    fn changed(&mut self, number: ChunkNumber, change: Change) {
        let fingerprint = self.index.fingerprint(&id_of(number));
        self.changed.insert(number, Entry { number, fingerprint, change });
    }

    fn insert(&mut self) {
        let stream = &mut self.streams[self.random.below(3) as usize];
        let number = ChunkNumber(*stream);
        *stream += 1;
        if stream.is_multiple_of(4096) {
            // A jump now and then: most numbers ever given are gone.
            self.leased += 4096 * self.random.below(50);
            *stream = self.leased;
            self.leased += 4096;
        }
        let slot = slot(&mut self.random);
        let fingerprint = self.index.fingerprint(&id_of(number));
        assert_eq!(self.index.insert(number, fingerprint, slot), Ok(()));
        let again = self.index.insert(number, fingerprint, slot);
        assert_eq!(again, Err(IndexError::Present { number }));
        self.model.insert(number, slot);
        self.changed(number, Change::Stored { place: slot.place, stored_len: slot.stored_len });
    }

    fn any(&mut self) -> ChunkNumber {
        let from = ChunkNumber(self.random.below(self.leased));
        self.model.range(from..).next().map_or(from, |(number, _)| *number)
    }

    fn remove(&mut self) {
        let number = self.any();
        let fingerprint = self.index.fingerprint(&id_of(number));
        match self.model.remove(&number) {
            Some(slot) => {
                let other = Fingerprint(!fingerprint.0);
                let wrong = self.index.remove(number, other);
                assert_eq!(wrong, Err(IndexError::OtherFingerprint { number }));
                assert_eq!(self.index.remove(number, fingerprint), Ok(slot));
                self.changed(number, Change::Gone);
            }
            None => {
                let unknown = Err(IndexError::Unknown { number });
                assert_eq!(self.index.remove(number, fingerprint), unknown);
            }
        }
    }

    fn relocate(&mut self) {
        let number = self.any();
        let place = place(&mut self.random);
        let moved = self.index.set_place(number, place);
        assert_eq!(moved.is_ok(), self.model.contains_key(&number));
        if let Some(slot) = self.model.get_mut(&number) {
            slot.place = place;
            let stored_len = slot.stored_len;
            self.changed(number, Change::Stored { place, stored_len });
        }
    }

    fn count(&mut self) {
        let number = self.any();
        let Some(slot) = self.model.get_mut(&number) else {
            assert_eq!(self.index.begin_use(number), Err(IndexError::Unknown { number }));
            return;
        };
        if self.random.below(2) == 0 {
            for _ in 0..if self.random.below(20) == 0 { 300 } else { 1 } {
                slot.sources = slot.sources.saturating_add(1);
                assert_eq!(self.index.begin_use(number), Ok(slot.sources));
            }
        } else if slot.sources == 0 {
            assert_eq!(self.index.end_use(number), Err(IndexError::Unused { number }));
        } else {
            slot.sources -= u8::from(slot.sources < u8::MAX);
            assert_eq!(self.index.end_use(number), Ok(slot.sources));
        }
    }

    fn check(&mut self) {
        self.index.check();
        assert_eq!(self.index.len(), self.model.len() as u64);
        assert!(self.index.iter().eq(self.model.iter().map(|(number, slot)| (*number, *slot))));
        let start = ChunkNumber(self.random.below(self.leased));
        let end = start.plus(self.random.below(20_000));
        let expected = self.model.range(start..end).map(|(number, slot)| (*number, *slot));
        assert!(self.index.range(start..end).eq(expected));
        for number in self.model.keys() {
            let fingerprint = self.index.fingerprint(&id_of(*number));
            assert!(self.index.candidates(fingerprint).any(|found| found == *number));
        }
        let gone = self.index.fingerprint(&id_of(ChunkNumber(self.leased + 7)));
        assert!(self.index.candidates(gone).count() < 2);
    }

    /// The changes since the last checkpoint, in segments of about 4 KiB.
    fn checkpoint(&mut self) -> Vec<Vec<u8>> {
        let mut segments = Vec::new();
        let mut writer = SegmentWriter::new();
        for entry in std::mem::take(&mut self.changed).into_values() {
            if writer.len() + SegmentWriter::ENTRY_LEN_MAX > 4096 {
                segments.push(std::mem::take(&mut writer).finish());
            }
            writer.push(&entry);
        }
        segments.push(writer.finish());
        segments
    }
}

fn run(seed: u64) {
    println!("seed {seed}");
    let mut history = History::new(seed);
    let mut segments = Vec::new();
    for step in 0..30_000 {
        // Grows, then mostly dies.
        let deaths = if step < 20_000 { 2 } else { 7 };
        match history.random.below(12) {
            turn if turn < deaths => history.remove(),
            10 => history.relocate(),
            11 => history.count(),
            _ => history.insert(),
        }
        if history.random.below(5_000) == 0 {
            history.check();
            segments.extend(history.checkpoint());
        }
    }
    history.check();
    segments.extend(history.checkpoint());

    let mut rebuilt = Index::for_chunks([5; 32], 1 << 27);
    for segment in &segments {
        for entry in SegmentReader::new(segment).unwrap() {
            rebuilt.apply(&entry.unwrap()).unwrap();
        }
    }
    rebuilt.check();
    history.index.clear_uses();
    assert!(rebuilt.iter().eq(history.index.iter()));
    for (number, _) in history.index.iter() {
        let fingerprint = rebuilt.fingerprint(&id_of(number));
        assert!(rebuilt.candidates(fingerprint).any(|found| found == number));
    }
}

#[test]
fn the_index_does_what_a_map_does() {
    for seed in 1..=6 {
        run(seed);
    }
}

/// `examples/index_memory.rs` reads the same at 1 to 20 million, of the process and not only counted.
#[test]
fn a_chunk_takes_at_most_32_bytes() {
    let mut index = Index::with_sharding([5; 32], fingerprint::Sharding::of_bits(5));
    let mut random = Seeded::new(1);
    let mut fingerprints = BTreeMap::new();
    let mut worst = (0, 0);
    for given in 0..300_000 {
        let number = ChunkNumber(given);
        let print = Fingerprint(random.next());
        let slot = slot(&mut random);
        index.insert(number, print, slot).unwrap();
        fingerprints.insert(number, print);
        if given % 1000 == 999 && given >= 100_000 {
            worst.0 = worst.0.max(index.bytes_used() * 100 / index.len());
        }
    }
    // Nine of ten die, in no order.
    for (number, print) in fingerprints {
        if random.below(10) > 0 {
            index.remove(number, print).unwrap();
        }
        if number.0 % 1000 == 999 {
            worst.1 = worst.1.max(index.bytes_used() * 100 / index.len());
        }
    }
    println!("hundredths of a byte per chunk, at most: {worst:?}");
    assert!(worst.0 <= 3200 && worst.1 <= 3200, "{worst:?}");
    assert!((29_000..31_000).contains(&index.len()));
}
