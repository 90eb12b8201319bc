//! What comes out of a vault is what went in, for no more requests than were promised.

mod budget;
mod restores;
pub(crate) mod thief;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::chain::{Opened, Unlock, open};
use crate::random::{Random, seeded};
use crate::store::MemoryStore;
use crate::testing::vault::{
    Chunks, SMALL, Shipment, USUAL, directory, file, founded, reader, ship, tree,
};
use crate::testing::{POOL, Watched, now};
use crate::units::PointId;
use keelhold_disk::tree::{Entry, Piece, PointReader};

type Files = BTreeMap<Vec<u8>, Vec<u8>>;

/// Some files, most of them the same as in the step before.
pub(crate) fn step(files: &mut Files, random: &mut impl Random) {
    for _ in 0..4 {
        let [name, class, where_to, what] = random.array::<4>();
        let len = match class % 5 {
            0 => usize::from(where_to) % 39,
            1 | 2 => 300 + usize::from(where_to) * 20,
            3 => 20_000 + usize::from(where_to) * 50,
            _ => 0,
        };
        let mut content = vec![what; len];
        random.fill(&mut content);
        // A hole, a stretch that compresses.
        let middle = len / 3;
        content[middle..2 * middle].fill(what % 2);
        files.insert(format!("file{:02}", name % 24).into_bytes(), content);
    }
    // A small change inside a file that stays.
    if let Some(content) = files.values_mut().max_by_key(|content| content.len())
        && content.len() > 2000
    {
        let [at] = random.array::<1>();
        let at = usize::from(at) * content.len() / 300;
        random.fill(&mut content[at..at + 10]);
    }
}

/// A vault with its truth.
pub(crate) struct Truth {
    pub store: Arc<Watched<MemoryStore>>,
    pub states: Vec<Opened>,
    pub points: Vec<(PointId, Files)>,
    pub chunks: RefCell<Chunks>,
}

pub(crate) fn truth(seed: u64, shipments: usize) -> Truth {
    let store = Arc::new(Watched::new(MemoryStore::new()));
    let (random, chunks) = (&mut seeded(seed), RefCell::new(Chunks::default()));
    let mut states = vec![founded(&*store, random)];
    let (mut files, mut points) = (Files::new(), Vec::new());
    for at in 0..shipments {
        step(&mut files, random);
        let mut items = vec![directory(b"")];
        for (path, content) in &files {
            let new = chunks.borrow_mut().content(content, 700);
            items.push(file(path, content.len() as u64, new));
        }
        let point = PointId(random.array());
        let shipped = vec![(point, tree(&chunks, items))];
        points.push((point, files.clone()));
        let value = at.to_le_bytes().to_vec();
        let record = |name: &str, what, version| crate::format::RecordEntry {
            name: name.to_owned(),
            what,
            version,
            value: value.clone(),
        };
        let records = vec![
            record("machine/a", crate::format::RecordWhat::Record, at as u64),
            record("jobs", crate::format::RecordWhat::SeriesEntry, at as u64),
        ];
        let shipment = Shipment { chunks: &chunks, points: shipped, records, packing: SMALL };
        states.push(ship(&*store, &states[at], shipment, random));
    }
    store.take();
    Truth { store, states, points, chunks }
}

impl Truth {
    pub fn last(&self) -> &Opened {
        &self.states[self.states.len() - 1]
    }
}

pub(crate) async fn content<S: Store + 'static, L: Local + 'static>(
    point: &PointReader<VaultPages<S, L>>,
    entry: &Entry,
    window: u64,
) -> Result<Vec<u8>, keelhold_disk::tree::ReadError<ReadError>> {
    let mut content = Vec::new();
    while (content.len() as u64) < entry.size() {
        for piece in point.read(entry, content.len() as u64, window).await? {
            match piece {
                Piece::Data(bytes) => content.extend_from_slice(&bytes),
                Piece::Hole(len) => content.resize(content.len() + len as usize, 0),
            }
        }
    }
    Ok(content)
}

/// Everything of a point.
pub(crate) async fn restored<S: Store + 'static, L: Local + 'static>(
    point: &PointReader<VaultPages<S, L>>,
) -> Result<Files, keelhold_disk::tree::ReadError<ReadError>> {
    let mut files = Files::new();
    for (_, entry) in point.scan(0, usize::MAX).await? {
        if !entry.attributes.is_directory() {
            let bytes = content(point, &entry, 1 << 20).await?;
            files.insert(entry.path.clone(), bytes);
        }
    }
    Ok(files)
}
