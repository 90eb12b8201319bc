//! A restore through an agent: the server names entries and their chunks, the agent says which of them
//! its disk does not hold already, the server sends those. Windows are the same as in a backup, with
//! the roles exchanged.

use super::budget::{Arrivals, Arrived};
use super::outbox::{Gone, Outbox};
use crate::api::types::{FailedPath, JobResult, OnClash, RestoreResult};
use crate::daemon::Daemon;
use crate::failure::{Code, Failure, chain};
use crate::job::{JobId, RestorePlan};
use crate::point::{
    CONTENT_PIECE_LEN, Content, Damage, Loaded, OpenPoint, load_ordered, read_piece,
};
use crate::point_facts::{path_text, skipped};
use crate::pool_failure::of_closed;
use crate::raised::raised;
use crate::server::intake::Breach;
use bytes::Bytes;
use keelhold_chunk::IdKey;
use keelhold_disk::pool::Piece;
use keelhold_wire::limits::{
    FRAME_PLAIN_LEN_DEFAULT, FRAMES_WINDOW_LEN, ITEMS_BODY_LEN_TARGET, ITEMS_COUNT_MAX,
    ITEMS_WEIGHT_MAX, ITEMS_WINDOW_WEIGHT, REFS_WINDOW_COUNT, REFS_WINDOW_LEN,
};
use keelhold_wire::{
    Cancel, Codec, Content as WireContent, Extent, Frame, FromAgent, FromServer, Item, Items,
    ItemsEnd, JobRefusal, Message as _, Restored, Runs, StartRestore, Want,
};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Room kept free in a window for one more of the largest thing.
const FRAME_ROOM: u64 = 2 << 20;
/// Bytes of chunks named and not sent: a full window of frames and what is read meanwhile. The wire
/// would allow more; it would be memory and nothing else.
const HELD_LEN_MAX: u64 = 32 << 20;
const _: () = assert!(HELD_LEN_MAX <= REFS_WINDOW_LEN);
/// Chunks named in one item.
const EXTENTS_MAX: usize = 256;
const CANCEL_WAIT: Duration = Duration::from_secs(10);

pub async fn run(
    daemon: &Daemon,
    job: JobId,
    plan: &RestorePlan,
    outbox: &Outbox,
    arrivals: &mut Arrivals,
    stopping: &mut watch::Receiver<bool>,
) {
    let began = Instant::now();
    let mut flow = Outflow::new(daemon, job, outbox, arrivals);
    let ended = tokio::select! {
        ended = flow.restore(plan) => ended,
        () = raised(stopping) => Err(Failure::new(Code::Stopping, "the daemon stopped")),
    };
    match ended {
        Ok(restored) => {
            let result = result(job, plan, &restored, &flow.damaged, began);
            let failed = result.failed.len();
            let failure = (failed > 0).then(|| {
                let text = format!("{failed} paths could not be restored");
                Failure::new(Code::RestoreIncomplete, text)
            });
            daemon.jobs.log(job, format!("{}: {failed} paths failed", result.result.word()));
            let (outcome, details) = (result.result, Some(JobResult::Restore(result)));
            if let Err(error) = daemon.jobs.finish(job, outcome, None, details, failure).await {
                tracing::warn!(job, error = chain(&error), "end of job not kept");
            }
        }
        Err(failure) => {
            flow.stop(&failure).await;
            daemon.job_failed(job, failure).await;
        }
    }
}

struct Outflow<'a> {
    daemon: &'a Daemon,
    job: JobId,
    outbox: &'a Outbox,
    arrivals: &'a mut Arrivals,
    id_key: IdKey,
    started: bool,
    seq: u64,
    /// Messages of items that the agent has not acknowledged.
    unacknowledged: VecDeque<(u64, u64)>,
    unacknowledged_weight: u64,
    batch: Vec<Item>,
    batch_len: usize,
    entries: u64,
    files: u64,
    next_ref: u64,
    answered: u64,
    /// Bytes of references that may still be wanted.
    held: BTreeMap<u64, Bytes>,
    held_len: u64,
    to_send: VecDeque<u64>,
    frame_bytes_sent: u64,
    frame_bytes_done: u64,
    damaged: Vec<(Vec<u8>, Damage)>,
    restored: Option<Restored>,
}

fn lost(_: Gone) -> Failure {
    Failure::new(Code::ConnectionLost, "the connection to the machine was lost")
        .hint("restore again when the machine is back; what it holds already is not sent again")
}

impl<'a> Outflow<'a> {
    fn new(daemon: &'a Daemon, job: JobId, outbox: &'a Outbox, arrivals: &'a mut Arrivals) -> Self {
        Self {
            daemon,
            job,
            outbox,
            arrivals,
            id_key: IdKey::new([0; 32]),
            started: false,
            seq: 0,
            unacknowledged: VecDeque::new(),
            unacknowledged_weight: 0,
            batch: Vec::new(),
            batch_len: 0,
            entries: 0,
            files: 0,
            next_ref: 0,
            answered: 0,
            held: BTreeMap::new(),
            held_len: 0,
            to_send: VecDeque::new(),
            frame_bytes_sent: 0,
            frame_bytes_done: 0,
            damaged: Vec::new(),
            restored: None,
        }
    }

    /// Gives the length of the message's body.
    async fn send(&self, message: FromServer) -> Result<u64, Failure> {
        self.outbox.send(message).await.map_err(lost)
    }

    async fn restore(&mut self, plan: &RestorePlan) -> Result<Restored, Failure> {
        let pool = &self.daemon.store.pool;
        self.id_key = pool.call(|pool| async move { pool.id_key() }).await.map_err(of_closed)?;
        let point = self.daemon.open_point(plan.point).await?;
        let start = StartRestore {
            job: self.job,
            target: plan.target.clone(),
            original: plan.original,
            on_clash: match plan.on_clash.unwrap_or(OnClash::Skip) {
                OnClash::Skip => keelhold_wire::OnClash::Skip,
                OnClash::Copy => keelhold_wire::OnClash::Copy,
                OnClash::Overwrite => keelhold_wire::OnClash::Overwrite,
            },
            id_key: *self.id_key.as_bytes(),
        };
        self.send(FromServer::StartRestore(start)).await?;
        while !self.started {
            self.hear().await?;
        }
        let mut groups = load_ordered(point.clone(), plan.paths.clone());
        while let Some(group) = groups.recv().await {
            for loaded in group? {
                self.entry(&point, loaded).await?;
            }
            // What is wanted leaves while the next groups are read.
            while let Ok(arrived) = self.arrivals.try_recv() {
                self.take(arrived).await?;
            }
        }
        self.send_batch().await?;
        let end = ItemsEnd { job: self.job, entries: self.entries };
        self.send(FromServer::ItemsEnd(end)).await?;
        loop {
            if let Some(restored) = self.restored.take() {
                return Ok(restored);
            }
            self.hear().await?;
        }
    }

    async fn entry(&mut self, point: &OpenPoint, loaded: Loaded) -> Result<(), Failure> {
        let Loaded { entry, content } = loaded;
        let (path, attributes) = (entry.path.clone(), entry.attributes.to_bytes());
        match content {
            Content::Damaged(damage) => self.damaged.push((path, damage)),
            Content::Whole(pieces) if pieces.is_empty() => {
                self.count_entry(&entry.attributes);
                self.item(Item::Entry { path, attributes, content: WireContent::None }).await?;
            }
            Content::Whole(pieces) => {
                self.count_entry(&entry.attributes);
                self.pieces(&mut Some((path, attributes)), pieces).await?;
            }
            Content::Large => {
                let (mut head, mut offset) = (Some((path, attributes)), 0);
                while offset < entry.size() {
                    let pieces = match read_piece(point, &entry, offset, CONTENT_PIECE_LEN).await {
                        Ok(pieces) => pieces,
                        Err(damage) if offset == 0 => {
                            self.damaged.push((entry.path, damage));
                            return Ok(());
                        }
                        // The agent has the beginning of the file: it cannot be taken back.
                        Err(damage) => return Err(damaged(&entry.path, &damage)),
                    };
                    offset += pieces.iter().map(Piece::len).sum::<u64>();
                    if head.is_some() {
                        self.count_entry(&entry.attributes);
                    }
                    self.pieces(&mut head, pieces).await?;
                }
            }
        }
        Ok(())
    }

    fn count_entry(&mut self, attributes: &keelhold_chunk::Attributes) {
        self.entries += 1;
        self.files += u64::from(matches!(attributes.kind, keelhold_chunk::Kind::File { .. }));
    }

    /// For whole messages: whoever follows the job wakes up each time.
    fn tell_progress(&self) {
        let (entries, files) = (self.entries, self.files);
        self.daemon.jobs.progress(self.job, |progress| {
            progress.entries = entries;
            progress.files = files;
        });
    }

    /// Names pieces of a file: in its entry the first, in what follows it the others.
    async fn pieces(
        &mut self,
        head: &mut Option<(Vec<u8>, Vec<u8>)>,
        pieces: Vec<Piece>,
    ) -> Result<(), Failure> {
        let mut pieces = VecDeque::from(pieces);
        while !pieces.is_empty() {
            self.make_room().await?;
            let mut extents = Vec::new();
            while extents.len() < EXTENTS_MAX
                && let Some(piece) = pieces.pop_front()
            {
                match (piece, extents.last_mut()) {
                    (Piece::Hole(len), Some(Extent::Hole { len: before })) => *before += len,
                    (Piece::Hole(len), _) => extents.push(Extent::Hole { len }),
                    (Piece::Data(bytes), _) => extents.push(self.hold(bytes)),
                }
            }
            let item = match head.take() {
                Some((path, attributes)) => {
                    Item::Entry { path, attributes, content: WireContent::Extents(extents) }
                }
                None => Item::EntryMore { extents },
            };
            self.item(item).await?;
        }
        Ok(())
    }

    fn hold(&mut self, bytes: Bytes) -> Extent {
        let id = self.id_key.id(&bytes);
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.held_len += u64::from(len);
        self.held.insert(self.next_ref, bytes);
        self.next_ref += 1;
        Extent::Chunk { id, len }
    }

    async fn item(&mut self, item: Item) -> Result<(), Failure> {
        self.batch_len += match &item {
            Item::Entry { path, attributes, content } => {
                let extents = match content {
                    WireContent::Extents(extents) => extents.len(),
                    _ => 0,
                };
                path.len() + attributes.len() + extents * 36 + 16
            }
            Item::EntryMore { extents } => extents.len() * 36 + 16,
            _ => 16,
        };
        self.batch.push(item);
        if self.batch_len >= ITEMS_BODY_LEN_TARGET || self.batch.len() >= ITEMS_COUNT_MAX {
            self.send_batch().await?;
        }
        Ok(())
    }

    async fn send_batch(&mut self) -> Result<(), Failure> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.batch_len = 0;
        while self.unacknowledged_weight + ITEMS_WEIGHT_MAX > ITEMS_WINDOW_WEIGHT {
            self.hear().await?;
        }
        self.seq += 1;
        let items = Items { job: self.job, seq: self.seq, items: std::mem::take(&mut self.batch) };
        let weight = items.weight();
        self.unacknowledged.push_back((self.seq, weight));
        self.unacknowledged_weight += weight;
        self.send(FromServer::Items(items)).await?;
        self.tell_progress();
        Ok(())
    }

    /// Waits until more bytes may be held. What is named and not sent yet has to go first, or the
    /// answer would never come.
    async fn make_room(&mut self) -> Result<(), Failure> {
        while self.held_len + (8 << 20) > HELD_LEN_MAX
            || self.next_ref - self.answered + EXTENTS_MAX as u64 > REFS_WINDOW_COUNT
        {
            self.send_batch().await?;
            self.hear().await?;
        }
        Ok(())
    }

    /// Takes one message of the agent, or its cancellation by somebody.
    async fn hear(&mut self) -> Result<(), Failure> {
        let over = || Failure::new(Code::Cancelled, "the job is over");
        let mut cancelled = self.daemon.jobs.asked(self.job).ok_or_else(over)?.cancel;
        let arrived = tokio::select! {
            arrived = self.arrivals.recv() => arrived.ok_or_else(|| lost(Gone))?,
            () = raised(&mut cancelled) => {
                return Err(Failure::new(Code::Cancelled, format!("job {} was cancelled", self.job)));
            }
        };
        self.take(arrived).await
    }

    async fn take(&mut self, arrived: Arrived) -> Result<(), Failure> {
        let Arrived { message, .. } = arrived;
        match message {
            FromAgent::Started(_) => self.started = true,
            FromAgent::Declined(refused) | FromAgent::Aborted(refused) => {
                return Err(Failure::of_agent(refused.refusal));
            }
            FromAgent::Want(want) => self.wanted(&want)?,
            FromAgent::Credit(credit) => {
                while self.unacknowledged.front().is_some_and(|(seq, _)| *seq <= credit.items_seq) {
                    let (_, weight) = self.unacknowledged.pop_front().unwrap_or_default();
                    self.unacknowledged_weight -= weight;
                }
                self.frame_bytes_done = credit.frame_bytes.min(self.frame_bytes_sent);
            }
            FromAgent::Progress(_) | FromAgent::Skipped(_) => {}
            FromAgent::Restored(restored) => self.restored = Some(restored),
            other => {
                let breach = Breach::Misplaced { name: other.name() };
                return Err(Failure::of(Code::AgentBroke, &breach));
            }
        }
        self.send_frames().await
    }

    fn wanted(&mut self, want: &Want) -> Result<(), Failure> {
        if want.upto > self.next_ref || want.wanted.end() > want.upto {
            let breach = Breach::NotWanted { reference: want.upto };
            return Err(Failure::of(Code::AgentBroke, &breach));
        }
        for reference in self.answered..want.upto {
            if want.wanted.contains(reference) {
                self.to_send.push_back(reference);
            } else if let Some(bytes) = self.held.remove(&reference) {
                self.held_len -= bytes.len() as u64;
            }
        }
        self.answered = self.answered.max(want.upto);
        Ok(())
    }

    async fn send_frames(&mut self) -> Result<(), Failure> {
        while !self.to_send.is_empty()
            && self.frame_bytes_sent - self.frame_bytes_done + FRAME_ROOM <= FRAMES_WINDOW_LEN
        {
            let (mut refs, mut plain) = (Runs::new(), Vec::new());
            while let Some(reference) = self.to_send.front().copied() {
                let Some(bytes) = self.held.get(&reference) else {
                    break;
                };
                if !plain.is_empty() && plain.len() + bytes.len() > FRAME_PLAIN_LEN_DEFAULT {
                    break;
                }
                plain.extend_from_slice(bytes);
                refs.push(reference);
                self.held_len -= bytes.len() as u64;
                self.held.remove(&reference);
                self.to_send.pop_front();
            }
            if plain.is_empty() {
                return Ok(());
            }
            let plain_len = u32::try_from(plain.len()).unwrap_or(u32::MAX);
            let sent = plain.len() as u64;
            self.daemon.jobs.progress(self.job, |progress| progress.bytes_sent += sent);
            let frame =
                Frame { job: self.job, codec: Codec::Raw, plain_len, refs, stored: plain.into() };
            self.frame_bytes_sent += self.send(FromServer::Frame(frame)).await?;
        }
        Ok(())
    }

    /// Ends it on the agent's side too.
    async fn stop(&mut self, failure: &Failure) {
        let told = match failure.code {
            Code::Cancelled | Code::Stopping => FromServer::Cancel(Cancel { job: self.job }),
            _ => FromServer::Failed(JobRefusal { job: self.job, refusal: failure.refusal() }),
        };
        if self.outbox.send(told).await.is_err() {
            return;
        }
        let aborted = async {
            while let Some(arrived) = self.arrivals.recv().await {
                if matches!(arrived.message, FromAgent::Aborted(_) | FromAgent::Restored(_)) {
                    break;
                }
            }
        };
        if failure.code == Code::Cancelled {
            let _ = tokio::time::timeout(CANCEL_WAIT, aborted).await;
        }
    }
}

fn damaged(path: &[u8], damage: &Damage) -> Failure {
    let path = String::from_utf8_lossy(path);
    Failure::new(Code::PoolDamaged, format!("{path}: {}", damage.reason))
}

fn result(
    job: JobId,
    plan: &RestorePlan,
    restored: &Restored,
    damaged: &[(Vec<u8>, Damage)],
    began: Instant,
) -> RestoreResult {
    let why = |entry: &keelhold_wire::SkippedEntry| {
        let word = entry.reason.word();
        if entry.text.is_empty() { word.to_owned() } else { format!("{word}: {}", entry.text) }
    };
    let named = |path: &[u8], place: Option<String>, reason: String| FailedPath {
        path: path_text(path).0,
        place,
        reason,
    };
    let mut failed: Vec<FailedPath> = damaged
        .iter()
        .map(|(path, damage)| named(path, damage.place.clone(), damage.reason.clone()))
        .collect();
    failed.extend(restored.failed.iter().map(|each| named(&each.path, None, why(each))));
    let partial = restored.skipped.iter().filter(|each| each.reason.makes_partial()).count();
    RestoreResult {
        result: crate::restore::outcome(failed.len(), partial),
        job,
        point: plan.point_text.clone(),
        target: path_text(&plan.target).0,
        bytes_written: restored.stats.bytes_written,
        files: restored.stats.files,
        seconds: began.elapsed().as_secs_f64(),
        verified: failed.is_empty(),
        skipped: restored.skipped.iter().map(|each| skipped(&each.path, why(each))).collect(),
        failed,
        error: None,
    }
}
