//! The restore's conversation: takes items, asks for what the disk does not hold, hands frames to
//! the workers, acknowledges what is done.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use keelhold_chunk::{Attributes, ChunkId, IdKey, Kind};
use keelhold_tree::{Report, TreeWriter, Unwritten, UnwrittenReason};
use keelhold_wire::header::HEADER_LEN;
use keelhold_wire::limits::SKIPPED_COUNT_MAX;
use keelhold_wire::{
    Content, Credit, Extent, Frame, FromAgent, FromServer, Item, Items, Message as _, Receiver,
    RestoreStats, Restored, Runs, Sender, SkipReason, SkippedEntry, StartRestore, Started, Want,
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::file::Target;
use super::work::{self, Destination, Done, Results, Task};
use super::{RestoreError, send};
use crate::backup::Queue;

/// Paths and texts of either list, so that both fit the message.
const NAMED_LEN: usize = 400 << 10;

pub(super) struct Arrivals {
    job: u64,
    id_key: IdKey,
    /// None once finished.
    writer: Option<TreeWriter>,
    tasks: Arc<Queue<Task>>,
    results: Results,
    next_ref: u64,
    wanted: HashMap<u64, Destination>,
    /// Things left to do of each message of items, from the first that is not done.
    left: BTreeMap<u64, u64>,
    last_seq: u64,
    frame_bytes: u64,
    /// What the last credit said.
    credited: (u64, u64),
    /// A file whose pieces are not all named yet.
    open: Option<Open>,
    announced: Option<u64>,
    stats: RestoreStats,
}

struct Open {
    /// None if there is no place for it.
    target: Option<Arc<Target>>,
    at: u64,
    size: u64,
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        self.tasks.close();
    }
}

impl Arrivals {
    pub(super) fn new(start: &StartRestore, writer: TreeWriter) -> Result<Self, RestoreError> {
        let id_key = IdKey::new(start.id_key);
        let (tasks, results) = work::start(&id_key)?;
        Ok(Self {
            job: start.job,
            id_key,
            writer: Some(writer),
            tasks,
            results,
            next_ref: 0,
            wanted: HashMap::new(),
            left: BTreeMap::new(),
            last_seq: 0,
            frame_bytes: 0,
            credited: (0, 0),
            open: None,
            announced: None,
            stats: RestoreStats::default(),
        })
    }

    pub(super) async fn run<R, W>(
        mut self,
        receiver: &mut Receiver<R>,
        sender: &mut Sender<W>,
    ) -> Result<(), RestoreError>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        send(sender, &FromAgent::Started(Started { job: self.job })).await?;
        while self.announced.is_none() || !self.left.is_empty() {
            let before = receiver.received();
            tokio::select! {
                message = receiver.receive::<FromServer>() => {
                    let message = message?.ok_or(RestoreError::Torn)?;
                    let body_len = receiver.received() - before - HEADER_LEN as u64;
                    if let Some(want) = self.message(message, body_len)? {
                        send(sender, &FromAgent::Want(want)).await?;
                        self.send_credit(sender).await?;
                    }
                }
                Some(done) = self.results.recv() => {
                    self.done(done?);
                    while let Ok(done) = self.results.try_recv() {
                        self.done(done?);
                    }
                    self.send_credit(sender).await?;
                }
            }
        }
        let restored = self.finish();
        send(sender, &FromAgent::Restored(restored)).await
    }

    fn message(
        &mut self,
        message: FromServer,
        body_len: u64,
    ) -> Result<Option<Want>, RestoreError> {
        match message {
            FromServer::Items(items) if items.seq <= self.last_seq => Ok(None),
            FromServer::Items(items) if items.seq == self.last_seq + 1 => {
                self.items(items).map(Some)
            }
            FromServer::Frame(frame) => self.frame(frame, body_len).map(|()| None),
            FromServer::ItemsEnd(end) if self.announced.is_none() && self.open.is_none() => {
                if end.entries != self.stats.entries {
                    let (found, expected) = (self.stats.entries, end.entries);
                    return Err(RestoreError::Count { found, expected });
                }
                self.announced = Some(end.entries);
                Ok(None)
            }
            FromServer::Cancel(_) => Err(RestoreError::Cancelled),
            FromServer::Failed(_) => Err(RestoreError::Cancelled),
            other => Err(RestoreError::Misplaced { name: other.name() }),
        }
    }

    fn items(&mut self, items: Items) -> Result<Want, RestoreError> {
        self.last_seq = items.seq;
        // One more than there is to do, so that the message is not done before it is taken in.
        self.left.insert(items.seq, 1);
        let mut wanted = Runs::new();
        for item in items.items {
            match item {
                Item::Entry { path, attributes, content } if self.open.is_none() => {
                    self.entry(&path, &attributes, content, &mut wanted)?;
                }
                Item::EntryMore { extents } => {
                    let open = self.open.take().ok_or(RestoreError::Item)?;
                    self.extents(open, &extents, &mut wanted)?;
                }
                _ => return Err(RestoreError::Item),
            }
        }
        self.one_done(items.seq);
        Ok(Want { job: self.job, upto: self.next_ref, wanted })
    }

    fn entry(
        &mut self,
        path: &[u8],
        attributes: &[u8],
        content: Content,
        wanted: &mut Runs,
    ) -> Result<(), RestoreError> {
        let attributes = Attributes::from_bytes(attributes).map_err(|source| {
            let path = String::from_utf8_lossy(path).into_owned();
            RestoreError::Attributes { path, source }
        })?;
        self.stats.entries += 1;
        let size = match attributes.kind {
            Kind::File { size } => Some(size),
            _ => None,
        };
        let place = self.writer.as_mut().and_then(|writer| writer.place(path, attributes));
        let seq = self.last_seq;
        let Some(size) = size else {
            if let Some(place) = place {
                self.task(seq, Task::Make { place: Box::new(place), seq });
            }
            return Ok(());
        };
        // A file that has no place (its directory could not be made) still names chunks.
        let target = place.map(|place| Arc::new(Target::new(place)));
        let content = match content {
            Content::None if size == 0 => Vec::new(),
            Content::Inline(bytes) if bytes.len() as u64 == size => bytes,
            Content::Extents(extents) => {
                return self.extents(Open { target, at: 0, size }, &extents, wanted);
            }
            _ => return Err(RestoreError::Item),
        };
        if let Some(target) = target {
            self.task(seq, Task::Whole { target, content, seq });
        }
        Ok(())
    }

    fn extents(
        &mut self,
        mut open: Open,
        extents: &[Extent],
        wanted: &mut Runs,
    ) -> Result<(), RestoreError> {
        for extent in extents {
            match (extent, &open.target) {
                (Extent::Chunk { .. }, None) => self.next_ref += 1,
                (Extent::Hole { .. }, None) => {}
                (Extent::Hole { len }, Some(target)) => target.hole(open.at, *len),
                (Extent::Chunk { id, len }, Some(target)) => {
                    if let Some(reference) = self.chunk(target, (open.at, *id, *len)) {
                        wanted.push(reference);
                    }
                }
            }
            open.at = open.at.saturating_add(extent.plain_len());
        }
        match open.at.cmp(&open.size) {
            std::cmp::Ordering::Less => self.open = Some(open),
            std::cmp::Ordering::Equal => {
                if let Some(target) = open.target {
                    target.one_less();
                }
            }
            std::cmp::Ordering::Greater => return Err(RestoreError::Item),
        }
        Ok(())
    }

    /// One reference; its number if the chunk is wanted.
    fn chunk(&mut self, target: &Arc<Target>, named: (u64, ChunkId, u32)) -> Option<u64> {
        let (offset, id, len) = named;
        let reference = self.next_ref;
        self.next_ref += 1;
        if target.holds(&self.id_key, &id, offset, len) {
            self.stats.bytes_kept += u64::from(len);
            return None;
        }
        target.expect();
        let (target, seq) = (target.clone(), self.last_seq);
        self.wanted.insert(reference, Destination { target, offset, id, len, seq });
        *self.left.entry(seq).or_default() += 1;
        Some(reference)
    }

    fn frame(&mut self, frame: Frame, body_len: u64) -> Result<(), RestoreError> {
        let mut destinations = Vec::new();
        for reference in frame.refs.iter() {
            let to = self.wanted.remove(&reference);
            destinations.push(to.ok_or(RestoreError::NotWanted { reference })?);
        }
        self.tasks.push(Task::Frame { frame, destinations, body_len });
        Ok(())
    }

    fn task(&mut self, seq: u64, task: Task) {
        *self.left.entry(seq).or_default() += 1;
        self.tasks.push(task);
    }

    fn done(&mut self, done: Done) {
        self.frame_bytes += done.frame_len;
        done.seqs.into_iter().for_each(|seq| self.one_done(seq));
    }

    fn one_done(&mut self, seq: u64) {
        if let Some(left) = self.left.get_mut(&seq) {
            *left -= 1;
            if *left == 0 {
                self.left.remove(&seq);
            }
        }
    }

    /// Says how far it is, if that is further than before: most things done move neither number.
    async fn send_credit<W: AsyncWrite + Unpin>(
        &mut self,
        sender: &mut Sender<W>,
    ) -> Result<(), RestoreError> {
        let items_seq = self.left.keys().next().map_or(self.last_seq, |first| first - 1);
        let credited = (items_seq, self.frame_bytes);
        if credited == self.credited {
            return Ok(());
        }
        self.credited = credited;
        let credit = Credit { job: self.job, items_seq, frame_bytes: self.frame_bytes };
        send(sender, &FromAgent::Credit(credit)).await
    }

    /// Every place and file is done: their tasks are.
    fn finish(&mut self) -> Restored {
        let report = self.writer.take().map(TreeWriter::finish).unwrap_or_default();
        restored(self.job, self.stats, &report)
    }
}

fn restored(job: u64, stats: RestoreStats, report: &Report) -> Restored {
    let (skipped, failed): (Vec<_>, Vec<_>) =
        report.unwritten.iter().partition(|unwritten| !unwritten.reason.is_failure());
    let stats = RestoreStats {
        files: report.files,
        bytes_written: report.bytes_written,
        skipped: skipped.len() as u64,
        failed: failed.len() as u64,
        ..stats
    };
    Restored { job, stats, skipped: named(&skipped), failed: named(&failed) }
}

/// As many as a message holds.
fn named(unwritten: &[&Unwritten]) -> Vec<SkippedEntry> {
    let mut len = 0;
    let entry = |unwritten: &&Unwritten| SkippedEntry {
        path: unwritten.path.clone(),
        reason: match unwritten.reason {
            UnwrittenReason::Exists => SkipReason::Exists,
            _ if unwritten.reason.is_failure() => SkipReason::NotWritten,
            _ => SkipReason::NotPermitted,
        },
        text: unwritten.reason.to_string(),
    };
    unwritten
        .iter()
        .take(SKIPPED_COUNT_MAX)
        .map(entry)
        .take_while(|entry| {
            len += entry.path.len() + entry.text.len() + 16;
            len < NAMED_LEN
        })
        .collect()
}
