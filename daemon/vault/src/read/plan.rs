//! What a restore will fetch, before it does: from the index, which is read for it.

use std::collections::BTreeSet;

use keelhold_disk::tree::{Entry, Extent, PointReader, ReadError as TreeError, SpanPart};

use super::fetch::stretches;
use super::pages::{Local, VaultPages};
use super::{Located, ReadError, lock, name_of};
use crate::store::Store;

/// A stretch of a file.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub entry: &'a Entry,
    pub from: u64,
    pub upto: u64,
}

impl<'a> Wanted<'a> {
    /// All of a file.
    #[must_use]
    pub fn whole(entry: &'a Entry) -> Self {
        Self { entry, from: 0, upto: entry.size() }
    }
}

/// What fetching takes, if it is brought as one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub requests: u64,
    /// Bytes of the vault that are read.
    pub bytes: u64,
    /// Names of the objects they are in.
    pub objects: BTreeSet<String>,
    /// Chunks, and how many of them are near.
    pub chunks: u64,
    pub near: u64,
}

/// What it takes to read all of `wanted`. Leaves and pages are read for it, data is not.
pub async fn plan<S: Store, L: Local>(
    reader: &PointReader<VaultPages<S, L>>,
    wanted: &[Wanted<'_>],
) -> Result<Plan, TreeError<ReadError>> {
    let parts = spans(reader, wanted).await?;
    let pages = reader.tree().store();
    let (far, near) = pages.far(&parts).await;
    let located = pages.vault.locate(pages.pool, &far).await.map_err(TreeError::Store)?;
    let mut plan = Plan { chunks: far.len() as u64 + near, near, ..Plan::default() };
    for stretch in stretches(located.iter().filter(|chunk| !pages.is_open(chunk)).map(frame_of)) {
        plan.requests += 1;
        plan.bytes += stretch.end() - stretch.start();
        plan.objects.insert(name_of(&stretch.object));
    }
    Ok(plan)
}

/// Fetches all of `wanted` that is not near, neighbours together, and holds it until the next call: to
/// be called before reading, with as much as may be held in memory.
pub async fn bring<S: Store, L: Local>(
    reader: &PointReader<VaultPages<S, L>>,
    wanted: &[Wanted<'_>],
) -> Result<(), TreeError<ReadError>> {
    let parts = spans(reader, wanted).await?;
    reader.tree().store().bring_parts(&parts).await.map_err(TreeError::Store)
}

fn frame_of(chunk: &Located) -> (crate::format::ObjectRef, crate::format::FramePlace) {
    (chunk.place.object, chunk.place.frame)
}

async fn spans<S: Store, L: Local>(
    reader: &PointReader<VaultPages<S, L>>,
    wanted: &[Wanted<'_>],
) -> Result<Vec<SpanPart>, TreeError<ReadError>> {
    let mut parts = Vec::new();
    for Wanted { entry, from, upto } in wanted {
        let (from, upto) = (*from, (*upto).min(entry.size()));
        let len = upto.saturating_sub(from);
        for (start, extent) in reader.tree().extents_at(entry, from, len).await? {
            if let Extent::Span { first, count, len, digest } = extent {
                let (from, upto) = (from.saturating_sub(start), len.min(upto - start));
                parts.push(SpanPart { first, count, len, digest, from, upto });
            }
        }
    }
    Ok(parts)
}

impl<S: Store, L: Local> VaultPages<S, L> {
    /// The numbers of spans that are not near, and how many are.
    async fn far(&self, parts: &[SpanPart]) -> (Vec<u64>, u64) {
        let (mut far, mut near) = (BTreeSet::new(), 0);
        for part in parts {
            let ids = self.local.ids_at(self.pool, part.first.0, part.count).await;
            let mut ids = ids.into_iter();
            for number in part.first.0..part.first.0 + u64::from(part.count) {
                match ids.next().flatten() {
                    Some(_) => near += 1,
                    None => drop(far.insert(number)),
                }
            }
        }
        (far.into_iter().collect(), near)
    }

    fn is_open(&self, chunk: &Located) -> bool {
        let key = (chunk.place.object.object, chunk.place.frame.index);
        lock(&self.vault.inner.frames).has(key)
    }

    pub(super) async fn bring_parts(&self, parts: &[SpanPart]) -> Result<(), ReadError> {
        let (far, _) = self.far(parts).await;
        self.fetch(&far).await
    }
}
