//! Records and series: what the daemon keeps in the pool beside the data it is about.

use bytes::Bytes;

use super::tables::{Effect, Pending};
use super::{Inner, Pool, Work};
use crate::device::Device;
use crate::error::CommitError;
use crate::format::{NAME_LEN_MAX, Op, RECORD_LEN_MAX};
use crate::units::UnixNanos;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Counts changes from 1.
    pub version: u64,
    pub bytes: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordChange {
    pub name: String,
    /// Refused unless the record has this version; 0 is "does not exist".
    pub expected: Option<u64>,
    /// `None` removes it.
    pub bytes: Option<Vec<u8>>,
}

impl<D: Device, W: Work> Inner<D, W> {
    /// The operations of record changes, checked against the records as they are.
    pub(super) fn record_ops(
        &self,
        changes: Vec<RecordChange>,
    ) -> Result<Vec<Pending>, CommitError> {
        let tables = self.tables.borrow();
        let mut ops = Vec::with_capacity(changes.len());
        for RecordChange { name, expected, bytes } in changes {
            let found = tables.records.get(&name).map_or(0, |record| record.version);
            if let Some(expected) = expected
                && expected != found
            {
                return Err(CommitError::Version { name, expected, found });
            }
            check_len(name.len(), NAME_LEN_MAX)?;
            check_len(bytes.as_ref().map_or(0, Vec::len), RECORD_LEN_MAX)?;
            let op = Op::Record { name, version: found + 1, value: bytes };
            ops.push(Pending { op, effect: Effect::None });
        }
        Ok(ops)
    }
}

fn check_len(len: usize, limit: usize) -> Result<(), CommitError> {
    if len > limit {
        return Err(CommitError::TooLarge { len: len as u64, limit: limit as u64 });
    }
    Ok(())
}

impl<D: Device, W: Work> Pool<D, W> {
    #[must_use]
    pub fn record(&self, name: &str) -> Option<Record> {
        let tables = self.inner.tables.borrow();
        tables.records.get(name).map(|record| Record {
            version: record.version,
            bytes: Bytes::copy_from_slice(&record.value),
        })
    }

    /// All records whose name begins with `prefix`, by name.
    #[must_use]
    pub fn records(&self, prefix: &str) -> Vec<(String, Record)> {
        let tables = self.inner.tables.borrow();
        let from = tables.records.range(prefix.to_owned()..);
        from.take_while(|(name, _)| name.starts_with(prefix))
            .map(|(name, record)| {
                let bytes = Bytes::copy_from_slice(&record.value);
                (name.clone(), Record { version: record.version, bytes })
            })
            .collect()
    }

    /// Changes records, all or none of them. One caller at a time: versions are compared before the
    /// change is queued.
    pub async fn write_records(
        &self,
        changes: Vec<RecordChange>,
        now: UnixNanos,
    ) -> Result<(), CommitError> {
        let _turn = self.inner.recording.lock().await;
        self.inner.witness(now);
        let ops = self.inner.record_ops(changes)?;
        self.inner.append(ops).await
    }

    /// Appends an entry to a series; gives its sequence, counted from 0.
    pub async fn append(
        &self,
        series: &str,
        entry: Vec<u8>,
        now: UnixNanos,
    ) -> Result<u64, CommitError> {
        let _turn = self.inner.recording.lock().await;
        self.inner.witness(now);
        check_len(series.len(), NAME_LEN_MAX)?;
        check_len(entry.len(), RECORD_LEN_MAX)?;
        let sequence =
            self.inner.tables.borrow().series.get(series).map_or(0, super::tables::Series::next);
        let op = Op::SeriesAppended { name: series.to_owned(), sequence, entry };
        self.inner.append(vec![Pending { op, effect: Effect::None }]).await?;
        Ok(sequence)
    }

    /// Gives up the entries of a series before sequence `first`. Those that follow keep their numbers.
    pub async fn trim(&self, series: &str, first: u64, now: UnixNanos) -> Result<(), CommitError> {
        let _turn = self.inner.recording.lock().await;
        self.inner.witness(now);
        let op = Op::SeriesTrimmed { name: series.to_owned(), first };
        self.inner.append(vec![Pending { op, effect: Effect::None }]).await
    }

    /// Entries of a series from sequence `from` on.
    #[must_use]
    pub fn series(&self, name: &str, from: u64, limit: usize) -> Vec<(u64, Bytes)> {
        let tables = self.inner.tables.borrow();
        let Some(series) = tables.series.get(name) else {
            return Vec::new();
        };
        (series.first..)
            .zip(&series.entries)
            .filter(|(sequence, _)| *sequence >= from)
            .take(limit)
            .map(|(sequence, entry)| (sequence, Bytes::copy_from_slice(entry)))
            .collect()
    }
}
