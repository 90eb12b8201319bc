//! Numbers for new chunks, and finding the number of a chunk by its id.

use keelhold_chunk::ChunkId;

use super::tables::{Effect, Pending, Source};
use super::{Inner, Work};
use crate::device::Device;
use crate::error::CommitError;
use crate::format::Op;
use crate::index::NUMBER_LIMIT;
use crate::mutants::Mutant;
use crate::units::{ChunkNumber, DomainId, SourceId};

/// Numbers taken at once. Streams do not interleave inside a block: interleaved sets are five to
/// seven times larger. Not smaller, because each block costs a journal entry.
const LEASE_COUNT: u64 = 4096;
/// What a stream takes that has just used up a whole block: it will need many.
const LEASE_COUNT_STREAMING: u64 = 16 * LEASE_COUNT;

impl<D: Device, W: Work> Inner<D, W> {
    /// The next number of a source, from a block that is journaled.
    pub(super) async fn next_number(
        &self,
        source: SourceId,
        domain: DomainId,
        used: u64,
    ) -> Result<ChunkNumber, CommitError> {
        loop {
            if let Some(number) = self.take_number(source, domain) {
                return Ok(number);
            }
            let _only_one = self.leasing.lock().await;
            // Somebody else may have leased for this source while we waited.
            if self.has_number(source) {
                continue;
            }
            let count = if used < LEASE_COUNT { LEASE_COUNT } else { LEASE_COUNT_STREAMING };
            let first = ChunkNumber(self.tables.borrow().next_number);
            if first.0 + count >= NUMBER_LIMIT {
                return Err(CommitError::NumbersUsedUp);
            }
            let op = Op::Lease { source, domain, first, count };
            let pending = Pending { op, effect: Effect::None };
            if self.mutants.keeps(Mutant::Lease) {
                self.append(vec![pending]).await?;
            } else {
                self.tables.borrow_mut().apply(pending);
            }
        }
    }

    /// Whether a source has nearly used up its block.
    pub(super) fn is_lease_due(&self, source: SourceId) -> bool {
        let tables = self.tables.borrow();
        let left = |source: &Source| source.lease_end.0 - source.lease_next.0;
        tables.sources.get(&source).is_none_or(|source| left(source) < LEASE_COUNT / 8)
    }

    /// The next block of a source, to be journaled in the entry of a commit: by itself it would cost
    /// a flush. What is left of the old block is given up. The caller holds `leasing`.
    pub(super) fn lease_ahead(&self, source: SourceId, domain: DomainId) -> Option<Pending> {
        let first = ChunkNumber(self.tables.borrow().next_number);
        let op = Op::Lease { source, domain, first, count: LEASE_COUNT };
        let there_are = first.0 + LEASE_COUNT < NUMBER_LIMIT;
        there_are.then_some(Pending { op, effect: Effect::None })
    }

    fn take_number(&self, source: SourceId, domain: DomainId) -> Option<ChunkNumber> {
        let mut tables = self.tables.borrow_mut();
        let source = tables.source(source, domain);
        let number = source.lease_next;
        (number < source.lease_end).then(|| {
            source.lease_next = number.plus(1);
            number
        })
    }

    fn has_number(&self, source: SourceId) -> bool {
        let tables = self.tables.borrow();
        tables.sources.get(&source).is_some_and(|source| source.lease_next < source.lease_end)
    }

    /// Number and length of the chunk with this id, the full id compared. A chunk whose directory
    /// cannot be read does not count as there: the bytes are taken again and mend the loss.
    pub(super) async fn find(&self, id: &ChunkId) -> Option<(ChunkNumber, u32)> {
        self.find_if(id, |_| true).await
    }

    /// As [`find`](Self::find), among the numbers that will do.
    pub(super) async fn find_if(
        &self,
        id: &ChunkId,
        will_do: impl Fn(ChunkNumber) -> bool,
    ) -> Option<(ChunkNumber, u32)> {
        loop {
            let (candidates, sheets) = {
                let tables = self.tables.borrow();
                let fingerprint = tables.index.fingerprint(id);
                let candidates: Vec<ChunkNumber> = tables.index.candidates(fingerprint).collect();
                let version = tables.index.version();
                (candidates, tables.index.is_bounded().then_some((fingerprint, version)))
            };
            let found = self.prove(id, candidates, &will_do).await;
            let Some((fingerprint, version)) = sheets.filter(|_| found.is_none()) else {
                return found;
            };
            let near = self.near.borrow().find(id);
            if let Some(found) = self.prove(id, near.into_iter().collect(), &will_do).await {
                return Some(found);
            }
            let candidates = self.candidates_in_sheets(fingerprint).await;
            if let Some(found) = self.prove(id, candidates, &will_do).await {
                self.keep_near(found.0).await;
                return self.is_there(found.0).then_some(found);
            }
            // What memory had meanwhile may have gone to a sheet we did not see.
            if self.tables.borrow().index.version() == version {
                return None;
            }
        }
    }

    /// The ids beside a chunk that was found in sheets will be asked for next.
    async fn keep_near(&self, number: ChunkNumber) {
        if let Ok(found) = self.locate(number).await {
            self.near.borrow_mut().keep(&found.directory, number);
        }
    }

    /// The candidate that is the chunk with this id.
    async fn prove(
        &self,
        id: &ChunkId,
        candidates: Vec<ChunkNumber>,
        will_do: &impl Fn(ChunkNumber) -> bool,
    ) -> Option<(ChunkNumber, u32)> {
        for number in candidates {
            if !will_do(number) {
                continue;
            }
            let place = self.tables.borrow().index.slot(number).map(|slot| slot.place);
            if place.is_none_or(|place| !self.is_held(place.container)) {
                continue;
            }
            match self.locate(number).await {
                // Asked again, because it may have been given up while its directory was read.
                Ok(found) if found.chunk.id == *id && self.is_there(number) => {
                    return Some((number, found.chunk.len));
                }
                Ok(_) | Err(_) => {}
            }
        }
        None
    }

    fn is_there(&self, number: ChunkNumber) -> bool {
        let tables = self.tables.borrow();
        let there = !self.mutants.keeps(Mutant::FoundIsThere) || tables.index.contains(number);
        let lost = self.mutants.keeps(Mutant::LostIsAsked) && tables.lost.contains(number.0);
        there && !lost
    }

    /// The number of a chunk whose bytes are lost: under it they are kept again.
    pub(super) async fn lost_number(&self, id: &ChunkId) -> Option<ChunkNumber> {
        let (fingerprint, mut candidates): (_, Vec<ChunkNumber>) = {
            let tables = self.tables.borrow();
            if tables.lost.is_empty() {
                return None;
            }
            let fingerprint = tables.index.fingerprint(id);
            (fingerprint, tables.index.candidates(fingerprint).collect())
        };
        candidates.extend(self.candidates_in_sheets(fingerprint).await);
        for number in candidates {
            if !self.tables.borrow().lost.contains(number.0) {
                continue;
            }
            // Where the directory is gone, too, nobody knows the id: the fingerprint is believed. Were it
            // another chunk's, the old point's digests would say so as they do now, and the new one
            // has the digest of what it sent.
            let same = self.locate(number).await.map_or(true, |found| found.chunk.id == *id);
            if same && self.tables.borrow().lost.contains(number.0) {
                return Some(number);
            }
        }
        None
    }

    /// Whether some point of the domain uses the chunk: only then may its machine be told that the
    /// pool has it.
    pub(super) fn is_in_history(&self, domain: DomainId, number: ChunkNumber) -> bool {
        if !self.mutants.keeps(Mutant::ForeignHave) {
            return true;
        }
        let tables = self.tables.borrow();
        let mut sources = tables.sources.values().filter(|source| source.domain == domain);
        sources.any(|source| source.chain.held().contains(number.0))
    }
}
