//! Sessions: one agent's backup in progress. What a session stored or was told to exist is journaled
//! in steps, so that it survives a restart; the tree it describes is not, the agent says it again.

mod items;
mod place;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use keelhold_chunk::{ChunkId, Writer};
use roaring::RoaringTreemap;

use super::event::Event;
use super::frame::{self, IncomingFrame, VerifiedFrame};
use super::phase::Phase;
use super::records::RecordChange;
use super::refs::RefsRecord;
use super::run::{NewChunk, RunBuilder, RunParts};
use super::status::PointInfo;
use super::tables::{Effect, Pending, PointEffect, encode_set};
use super::{Inner, Pool, Work};
use crate::device::Device;
use crate::error::{CommitError, IngestError, ReadError};
use crate::format::{ChunkKind, Op, PointRow, Purpose, Recipe};
use crate::mutants::Mutant;
use crate::sets::{RefChange, RefCounts, SetDelta, common};
use crate::tree::TreeRoot;
use crate::units::{ChunkNumber, ChunkRef, DomainId, PointId, SessionId, SourceId, UnixNanos};

pub(super) use items::Tree;
pub use items::{NewContent, NewExtent, NewItem};

/// Ids remembered per session before the older half is dropped: what an agent may have outstanding,
/// twice over. Beyond it the index is asked.
const RECENT_COUNT: usize = 1 << 16;
/// Runs of one session put together at the same time.
const EMITTING_MAX: u32 = 3;

/// What a session is for.
#[derive(Debug, Clone)]
pub struct BeginSession {
    pub source: SourceId,
    pub domain: DomainId,
    /// The point whose entries the agent may refer to.
    pub basis: Option<PointId>,
    /// When the session's pins end if nobody takes it up again.
    pub lease_until: UnixNanos,
}

/// What a commit makes.
#[derive(Debug, Clone, Default)]
pub struct CommitPoint {
    /// A working state instead of a point: restorable, replaced by the next, never listed.
    pub working: bool,
    pub at: UnixNanos,
    /// Something is missing from it.
    pub partial: bool,
    pub attributes: Vec<u8>,
    /// Records that change in the same breath.
    pub records: Vec<RecordChange>,
}

#[derive(Debug, Clone)]
pub struct SessionInfo {
    pub id: SessionId,
    pub source: SourceId,
    pub domain: DomainId,
    pub basis: Option<PointId>,
    pub opened_at: UnixNanos,
    pub lease_until: UnixNanos,
    pub chunks: u64,
    /// Somebody works on it now; otherwise it is parked.
    pub running: bool,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Placed {
    pub new_chunks: u64,
    /// Plain bytes of chunks the pool did not have.
    pub bytes_new: u64,
}

/// A session somebody works on.
pub(super) struct Live {
    pub(super) id: SessionId,
    pub(super) source: SourceId,
    pub(super) domain: DomainId,
    pub(super) basis: Option<(PointId, TreeRoot)>,
    /// References of a basis that is neither the newest point nor the working state: of those the
    /// tables have them.
    basis_refs: Option<RefCounts>,
    parts: RefCell<Parts>,
    emitting: Cell<u32>,
    failure: RefCell<Option<CommitError>>,
    changed: Event,
}

#[derive(Default)]
struct Parts {
    run: RunBuilder,
    /// Chunks that are in no run yet, or in one that is being put together.
    fresh: BTreeMap<ChunkId, (ChunkNumber, u32)>,
    recent: [BTreeMap<ChunkId, (ChunkNumber, u32)>; 2],
    /// All numbers this session stored or was told of.
    mine: RoaringTreemap,
    /// Those of them that no step has journaled.
    unjournaled: RoaringTreemap,
    numbers_used: u64,
    bytes_new: u64,
    bytes_stored: u64,
}

impl Parts {
    fn known(&self, id: &ChunkId) -> Option<(ChunkNumber, u32)> {
        let recent = || self.recent.iter().find_map(|recent| recent.get(id));
        self.fresh.get(id).or_else(recent).copied()
    }

    fn remember(&mut self, id: ChunkId, number: ChunkNumber, len: u32) {
        if self.recent[0].len() >= RECENT_COUNT {
            self.recent[1] = std::mem::take(&mut self.recent[0]);
        }
        self.recent[0].insert(id, (number, len));
    }

    fn tell(&mut self, number: ChunkNumber) {
        if self.mine.insert(number.0) {
            self.unjournaled.insert(number.0);
        }
    }
}

impl<D: Device, W: Work> Inner<D, W> {
    pub(super) fn live(&self, session: SessionId) -> Result<Rc<Live>, CommitError> {
        self.live.borrow().get(&session).cloned().ok_or(CommitError::NoSession { session })
    }

    /// Stores a chunk of the pool's own making, unless it is there. The bytes are trusted.
    pub(super) async fn put_chunk(
        &self,
        live: &Rc<Live>,
        kind: ChunkKind,
        bytes: Vec<u8>,
    ) -> Result<(ChunkNumber, ChunkId), CommitError> {
        let id = self.fixed.id_key.id(&bytes);
        let len = bytes.len() as u32;
        let known = live.parts.borrow().known(&id);
        let known = match known {
            Some(known) => Some(known),
            None => self.find(&id).await,
        };
        if let Some((number, _)) = known {
            let mut parts = live.parts.borrow_mut();
            parts.remember(id, number, len);
            parts.tell(number);
            return Ok((number, id));
        }
        let number = match self.lost_number(&id).await {
            Some(number) => number,
            None => self.new_number(live).await?,
        };
        self.add_chunk(live, NewChunk { number, id, len, kind }, &bytes).await?;
        Ok((number, id))
    }

    async fn new_number(&self, live: &Live) -> Result<ChunkNumber, CommitError> {
        let used = live.parts.borrow().numbers_used;
        let number = self.next_number(live.source, live.domain, used).await?;
        live.parts.borrow_mut().numbers_used += 1;
        Ok(number)
    }

    async fn add_chunk(
        &self,
        live: &Rc<Live>,
        chunk: NewChunk,
        bytes: &[u8],
    ) -> Result<(), CommitError> {
        let due = {
            let mut parts = live.parts.borrow_mut();
            parts.fresh.insert(chunk.id, (chunk.number, chunk.len));
            parts.tell(chunk.number);
            parts.bytes_new += u64::from(chunk.len);
            parts.run.push_chunk(chunk, bytes, self.frame_len())
        };
        if let Some((plain, chunks)) = due {
            let frame = self.build_frame(self.codec.get(), plain).await;
            self.add_frame(live, frame, chunks).await?;
        }
        Ok(())
    }

    async fn add_frame(
        &self,
        live: &Rc<Live>,
        frame: frame::BuiltFrame,
        chunks: Vec<NewChunk>,
    ) -> Result<(), CommitError> {
        let full = {
            let parts = live.parts.borrow();
            parts.run.is_full(frame.stored.len(), chunks.len(), self.run_len_max())
        };
        if full {
            self.emit(live).await?;
        }
        live.parts.borrow_mut().run.push_frame(frame, chunks);
        Ok(())
    }

    /// Sends the frames so far on their way as a run. The run is put together in the background.
    async fn emit(&self, live: &Rc<Live>) -> Result<(), CommitError> {
        live.changed.until(|| (live.emitting.get() < EMITTING_MAX).then_some(())).await;
        live.check()?;
        let frames = live.parts.borrow_mut().run.take_frames();
        if frames.is_empty() {
            return Ok(());
        }
        live.emitting.set(live.emitting.get() + 1);
        let (inner, live) = (self.handle(), Rc::clone(live));
        self.spawner.spawn(async move {
            let ids: Vec<NewChunk> =
                frames.iter().flat_map(|(_, chunks)| chunks.iter().copied()).collect();
            let (domain, session) = (live.domain, live.id);
            let parts = RunParts { purpose: Purpose::Data, domain, session, moved: false, frames };
            let placed = inner.place_run(parts).await;
            live.finish_emit(&ids, placed.map(|run| u64::from(run.blocks) * 4096));
        });
        Ok(())
    }

    /// Frames and emits everything, and waits until it is in the index and on its way.
    pub(super) async fn emit_all(&self, live: &Rc<Live>) -> Result<(), CommitError> {
        let loose = live.parts.borrow_mut().run.take_loose();
        for (plain, chunks) in loose {
            let frame = self.build_frame(self.codec.get(), plain).await;
            self.add_frame(live, frame, chunks).await?;
        }
        self.emit(live).await?;
        live.changed.until(|| (live.emitting.get() == 0).then_some(())).await;
        live.check()
    }
}

impl Live {
    /// Whether it stored one of these chunks or was told of it.
    pub(super) fn knows_of(&self, chunks: &RoaringTreemap) -> bool {
        !self.parts.borrow().mine.is_disjoint(chunks)
    }

    /// It cannot go on: whoever works on it begins again from its last step.
    pub(super) fn fail(&self, error: CommitError) {
        self.failure.borrow_mut().get_or_insert(error);
        self.changed.notify();
    }

    pub(super) fn failure(&self) -> Option<CommitError> {
        self.failure.borrow().clone()
    }

    fn check(&self) -> Result<(), CommitError> {
        self.failure().map_or(Ok(()), Err)
    }

    /// Those of `numbers` that it stored or was told of.
    pub(super) fn pinned(&self, numbers: &RoaringTreemap) -> RoaringTreemap {
        common(numbers, &self.parts.borrow().mine)
    }

    fn finish_emit(&self, chunks: &[NewChunk], placed: Result<u64, CommitError>) {
        let mut parts = self.parts.borrow_mut();
        for chunk in chunks {
            parts.fresh.remove(&chunk.id);
            parts.remember(chunk.id, chunk.number, chunk.len);
        }
        match placed {
            Ok(stored) => parts.bytes_stored += stored,
            Err(error) => {
                self.failure.borrow_mut().get_or_insert(error);
            }
        }
        drop(parts);
        self.emitting.set(self.emitting.get() - 1);
        self.changed.notify();
    }
}

impl<D: Device, W: Work> Pool<D, W> {
    /// Opens a session, or takes up the one that is parked for the source.
    pub async fn begin(
        &self,
        request: BeginSession,
        now: UnixNanos,
    ) -> Result<SessionId, IngestError> {
        let inner = &self.inner;
        inner.journal.check()?;
        inner.witness(now);
        let basis = match request.basis {
            Some(point) => Some((point, inner.basis_root(&point, request.source).await?)),
            None => None,
        };
        let basis_refs = match request.basis {
            Some(point) if !inner.has_refs(&point, request.source) => {
                Some(self.reader(&point).await?.walk_refs().await?)
            }
            _ => None,
        };
        let parked = {
            let tables = inner.tables.borrow();
            let of_source = |(_, session): &(&SessionId, &super::tables::Session)| {
                session.source == request.source
            };
            tables.sessions.iter().find(of_source).map(|(id, session)| (*id, session.clone()))
        };
        let (id, mine) = match parked {
            Some((id, session)) => (id, session.numbers),
            None => (SessionId(inner.random()), RoaringTreemap::new()),
        };
        // Also for a session taken up: its basis and lease may be others now.
        inner.journal.push(
            Op::SessionOpened {
                session: id,
                source: request.source,
                domain: request.domain,
                basis: request.basis,
                opened_at: now.0,
                lease_until: request.lease_until.0,
            },
            Effect::None,
        );
        let live = Rc::new(Live {
            id,
            source: request.source,
            domain: request.domain,
            basis,
            basis_refs,
            parts: RefCell::new(Parts { mine, ..Parts::default() }),
            emitting: Cell::new(0),
            failure: RefCell::new(None),
            changed: Event::default(),
        });
        inner.begin_tree(&live);
        inner.live.borrow_mut().insert(id, live);
        Ok(id)
    }

    /// For each chunk whether it need not be sent: only what this machine's own history or this
    /// session holds.
    pub async fn offer(
        &self,
        session: SessionId,
        chunks: &[ChunkRef],
    ) -> Result<Vec<bool>, IngestError> {
        let live = self.inner.live(session)?;
        live.check()?;
        let mut have = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            have.push(self.inner.has(&live, chunk).await);
        }
        Ok(have)
    }

    /// Opens a frame and hashes every chunk in it. Several frames may be verified at once.
    pub async fn verify_frame(&self, frame: IncomingFrame) -> Result<VerifiedFrame, IngestError> {
        let key = self.inner.fixed.id_key.clone();
        let check = self.inner.mutants.keeps(Mutant::IncomingId);
        let hashed = !self.inner.fixed.is_encrypted();
        self.inner.work.run(move || frame::verify(&key, frame, check, hashed)).await
    }

    /// Keeps what is new of a verified frame. Frames of a session are placed one after another, in
    /// the order in which the machine reads them.
    pub async fn place_frame(
        &self,
        session: SessionId,
        frame: VerifiedFrame,
    ) -> Result<Placed, IngestError> {
        let live = self.inner.live(session)?;
        live.check()?;
        Ok(self.inner.place_verified(&live, frame).await?)
    }

    /// Journals what the session stored and was told, so that a crash does not make it send it again.
    pub async fn step(&self, session: SessionId, now: UnixNanos) -> Result<(), IngestError> {
        let live = self.inner.live(session)?;
        self.inner.witness(now);
        self.inner.emit_all(&live).await?;
        let numbers = std::mem::take(&mut live.parts.borrow_mut().unjournaled);
        let op = Op::SessionStep { session, numbers: encode_set(&numbers) };
        self.inner.append(vec![Pending { op, effect: Effect::None }]).await?;
        Ok(())
    }

    /// Stops working on a session; it stays, and [`begin`](Self::begin) takes it up again.
    pub async fn park(&self, session: SessionId, now: UnixNanos) -> Result<(), IngestError> {
        self.step(session, now).await?;
        self.forget_live(session);
        Ok(())
    }

    /// Leaves a session as it was last journaled, without writing: its agent went away.
    pub fn forget_live(&self, session: SessionId) {
        self.inner.live.borrow_mut().remove(&session);
        self.inner.trees.borrow_mut().remove(&session);
        self.inner.release(session);
    }

    /// Ends a session. What it stored is nobody's and may be reclaimed.
    pub async fn cancel(&self, session: SessionId, now: UnixNanos) -> Result<(), CommitError> {
        self.inner.witness(now);
        self.forget_live(session);
        let op = Op::SessionEnded { session };
        self.inner.append(vec![Pending { op, effect: Effect::None }]).await
    }

    #[must_use]
    pub fn sessions(&self) -> Vec<SessionInfo> {
        let tables = self.inner.tables.borrow();
        let live = self.inner.live.borrow();
        let info = |(id, session): (&SessionId, &super::tables::Session)| SessionInfo {
            id: *id,
            source: session.source,
            domain: session.domain,
            basis: session.basis,
            opened_at: UnixNanos(session.opened_at),
            lease_until: UnixNanos(session.lease_until),
            chunks: session.numbers.len(),
            running: live.contains_key(id),
        };
        tables.sessions.iter().map(info).collect()
    }

    /// Plain bytes of new chunks, and bytes of runs written, in this session so far.
    pub fn session_bytes(&self, session: SessionId) -> Result<(u64, u64), CommitError> {
        let live = self.inner.live(session)?;
        let parts = live.parts.borrow();
        Ok((parts.bytes_new, parts.bytes_stored))
    }

    /// Makes a point of what the session described. When this returns, the point survives anything.
    pub async fn commit(
        &self,
        session: SessionId,
        commit: CommitPoint,
        now: UnixNanos,
    ) -> Result<PointInfo, IngestError> {
        let inner = &self.inner;
        let live = inner.live(session)?;
        inner.witness(now);
        let phase = Phase::begin("commit");
        let (root, change) = inner.finish_tree(&live).await?;
        phase.passed("tree finished");
        let id = PointId(inner.random());
        // No point of the source leaves between the step from the last one and the commit.
        let turn = inner.turn_of(live.source);
        let _turn = turn.lock().await;
        let (refs, delta, extra) = inner.next_refs(&live, change)?;
        let recipe = Recipe {
            pool: inner.fixed.pool,
            point: id,
            source: live.source,
            at: commit.at.0,
            root: encoded(|writer| root.encode(writer)),
            delta: encoded(|writer| delta.encode(writer)),
            extra,
            attributes: commit.attributes.clone(),
        };
        let (number, chunk) = inner.put_chunk(&live, ChunkKind::Recipe, recipe.to_bytes()).await?;
        inner.emit_all(&live).await?;
        phase.passed("recipe on its way");
        let point = PointRow {
            id,
            source: live.source,
            working: commit.working,
            at: commit.at.0,
            committed_at: now.0,
            result: u8::from(commit.partial),
            recipe: number,
            recipe_digest: inner.fixed.id_key.span_digest([&chunk]),
            bytes_source: root.byte_count,
            entry_count: root.entry_count,
            trashed_until: 0,
            attributes: commit.attributes,
        };
        let effect = Effect::Point(Box::new(PointEffect { refs, delta }));
        // Versions of records are compared before the change is queued: one caller at a time.
        let _recording = match commit.records.is_empty() {
            true => None,
            false => Some(inner.recording.lock().await),
        };
        let mut batch = inner.record_ops(commit.records)?;
        let op = Op::PointCommitted { session, point: point.clone() };
        batch.push(Pending { op, effect });
        let leasing = match inner.is_lease_due(live.source) {
            true => Some(inner.leasing.lock().await),
            false => None,
        };
        if leasing.is_some() {
            batch.extend(inner.lease_ahead(live.source, live.domain));
        }
        inner.append(batch).await?;
        self.forget_live(session);
        Ok(PointInfo::from_row(&point))
    }
}

pub(super) fn encoded(encode: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new();
    encode(&mut writer);
    writer.finish()
}

impl<D: Device, W: Work> Inner<D, W> {
    /// References after this commit, what changed in the reach set since the newest point, and what
    /// the recipe keeps so that a replay comes to the same references.
    fn next_refs(
        &self,
        live: &Live,
        change: RefChange,
    ) -> Result<(RefCounts, SetDelta, Vec<u8>), CommitError> {
        let mut tables = self.tables.borrow_mut();
        let source = tables.source(live.source, live.domain);
        let basis = live.basis.as_ref().map(|(point, _)| *point);
        let newest = source.newest.as_ref().filter(|(point, _)| Some(*point) == basis);
        let mut refs = match (basis, newest, &source.working) {
            (None, _, _) => RefCounts::new(),
            (Some(_), Some((_, refs)), _) => refs.clone(),
            (Some(basis), _, Some((row, refs))) if row.id == basis => refs.clone(),
            (Some(basis), _, _) => {
                let point = CommitError::NoPoint { point: basis };
                live.basis_refs.clone().ok_or(point)?
            }
        };
        let on_newest = newest.is_some();
        let on_working = source.working.as_ref().is_some_and(|(row, _)| Some(row.id) == basis);
        let delta = refs.apply(&change).expect("the tree removed only what its basis references");
        if on_newest {
            let extra = RefsRecord::Change(&change, &delta).to_bytes();
            return Ok((refs, delta, extra));
        }
        let delta = SetDelta::between(&tables.last_tree(&live.source), refs.set());
        let record =
            if on_working { RefsRecord::Onward(&change) } else { RefsRecord::Whole(&refs) };
        let extra = record.to_bytes();
        Ok((refs, delta, extra))
    }

    /// The tree a session may refer to: only of a point of its own source.
    async fn basis_root(&self, point: &PointId, source: SourceId) -> Result<TreeRoot, ReadError> {
        let own = self.row(point).is_some_and(|row| row.source == source);
        own.then_some(()).ok_or(ReadError::NoPoint { point: *point })?;
        self.point_root(point).await
    }

    /// Whether the tables have the references of this point of the source.
    fn has_refs(&self, point: &PointId, source: SourceId) -> bool {
        let tables = self.tables.borrow();
        tables.sources.get(&source).is_some_and(|source| {
            let working = source.working.as_ref().map(|(row, _)| row.id);
            let newest = source.newest.as_ref().map(|(id, _)| *id);
            newest == Some(*point) || working == Some(*point)
        })
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Live({})", self.id)
    }
}
