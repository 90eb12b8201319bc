//! The daemon's records and series as the vault has them.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{ReadError, VaultReader, name_of};
use crate::format::{ClearObject, FormatFault, RecordEntry, RecordWhat, decode_records};
use crate::store::Store;

/// What stands after everything was replayed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Records {
    /// Version and value by name.
    pub records: BTreeMap<String, (u64, Vec<u8>)>,
    /// Entries by number, by name.
    pub series: BTreeMap<String, BTreeMap<u64, Vec<u8>>>,
}

impl Records {
    fn replay(&mut self, entry: RecordEntry) {
        let RecordEntry { name, what, version, value } = entry;
        match what {
            RecordWhat::Record => drop(self.records.insert(name, (version, value))),
            RecordWhat::Removed => drop(self.records.remove(&name)),
            RecordWhat::SeriesEntry => {
                self.series.entry(name).or_default().insert(version, value);
            }
            RecordWhat::SeriesTrimmed => {
                let series = self.series.entry(name).or_default();
                *series = series.split_off(&version);
            }
        }
    }
}

impl<S: Store> VaultReader<S> {
    /// All records, the newest of each. One request for each object of records.
    pub async fn records(&self) -> Result<Records, ReadError> {
        let mut records = Records::default();
        // Ascending by rank, so that what is newer replaces what is older.
        for object in &self.inner.view.records {
            let name = name_of(&object.object);
            let master = &self.inner.master;
            let prove = |bytes: &Bytes| {
                let head = ClearObject::read(bytes)?.expect(master.vault(), &object.object)?;
                let mut entries = Vec::new();
                let directory =
                    head.verify(master, bytes, |_, plain| entries.push(decode_records(plain)))?;
                if directory.frames.len() != object.frame_count as usize {
                    return Err(FormatFault::Content { what: "count of frames" });
                }
                entries.into_iter().collect::<Result<Vec<_>, _>>()
            };
            let entries = self.proved(&name, 0..u64::from(object.object.len), prove).await?;
            entries.into_iter().flatten().for_each(|entry| records.replay(entry));
        }
        Ok(records)
    }
}
