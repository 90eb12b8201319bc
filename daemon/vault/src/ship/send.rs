//! From points to objects on their way.

use keelhold_chunk::ChunkId;

use super::Shipment;
use super::error::{LeftOut, ShipError, SourceError};
use super::types::{ShipPoint, Source};
use crate::ids::Entry;
use crate::pack::{Drawn, Group, Packer, SourceFrame};
use crate::random::Random;
use crate::store::Store;
use crate::work::Work;

/// Numbers whose ids are asked for at a time.
const IDS_BATCH: usize = 16 << 10;
/// Plain bytes of frames that are asked for at a time, as far as lengths are known before.
const FRAMES_BATCH_LEN: u64 = 8 << 20;
/// What a chunk is taken to be long until one was seen.
const CHUNK_LEN: u64 = 128 << 10;

/// A point that cannot be shipped, or an end of everything.
enum Failed {
    Point(LeftOut),
    Shipment(ShipError),
}

impl<E: Into<ShipError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Shipment(error.into())
    }
}

fn failed(error: SourceError) -> Failed {
    match error {
        SourceError::Gone => Failed::Point(LeftOut::Gone),
        SourceError::Lost { first, count } => Failed::Point(LeftOut::Lost { first, count }),
        SourceError::Failed(_) => Failed::Shipment(ShipError::Source(error)),
    }
}

impl<'a, S, W, O, R> Shipment<'a, S, W, O, R>
where
    S: Store,
    W: Work,
    O: Source,
    R: Random + Send,
{
    pub(super) async fn run(&mut self, points: Vec<&'a ShipPoint>) -> Result<(), ShipError> {
        let mut class = None;
        for point in points {
            if class.replace(point.class) != Some(point.class) {
                self.finish_packer().await?;
            }
            match self.send_point(point).await {
                Ok(()) => self.round.points.push(point),
                Err(Failed::Point(reason)) => {
                    self.shipped.left_out.insert(point.point, reason);
                }
                Err(Failed::Shipment(error)) => return Err(error),
            }
            self.progress.points_left -= 1;
            self.progress.points_done += 1;
            (self.watch)(self.progress);
        }
        self.close_round(true).await
    }

    async fn send_point(&mut self, point: &ShipPoint) -> Result<(), Failed> {
        let reach = self.lanes.beside(self.source.reach(point.point)).await.map_err(failed)?;
        let mut missing = reach - &self.have;
        missing -= &self.round.numbers;
        let mut missing = missing.into_iter().peekable();
        while missing.peek().is_some() {
            self.close_if_full().await?;
            let numbers: Vec<u64> = missing.by_ref().take(IDS_BATCH).collect();
            let absent = self.known(numbers).await?;
            self.pack(point, &absent).await?;
        }
        Ok(())
    }

    /// Writes a manifest when there are as many entries as one takes.
    async fn close_if_full(&mut self) -> Result<(), ShipError> {
        if self.round.numbers.len() < self.order.round_chunks as u64 {
            return Ok(());
        }
        self.finish_packer().await?;
        self.close_round(false).await
    }

    /// Gives entries to what is in the vault already; gives back what is not.
    async fn known(&mut self, numbers: Vec<u64>) -> Result<Vec<(u64, ChunkId)>, Failed> {
        let asked = self.source.ids(numbers.clone());
        let named = self.lanes.beside(asked).await.map_err(failed)?;
        if !named.iter().map(|(number, _)| *number).eq(numbers) {
            return Err(ShipError::Answer { what: "ids of other chunks" }.into());
        }
        let ids: Vec<ChunkId> = named.iter().map(|(_, id)| *id).collect();
        let found = self.ids.find(&ids)?;
        let (pool, mut absent) = (self.pool(), Vec::new());
        for ((number, id), found) in named.into_iter().zip(found) {
            let left = self.leftovers.find(id.as_bytes());
            let Some(entry) = found.as_ref().or(left) else {
                absent.push((number, id));
                continue;
            };
            let counter = match found {
                Some(_) => &mut self.round.known,
                None => &mut self.round.taken_over,
            };
            *counter += 1;
            self.round.entries.push(Entry { pool, number, id: *id.as_bytes(), ..*entry });
            self.round.numbers.insert(number);
        }
        Ok(absent)
    }

    async fn pack(&mut self, point: &ShipPoint, chunks: &[(u64, ChunkId)]) -> Result<(), Failed> {
        let (mut left, mut len, mut asked) = (chunks, CHUNK_LEN, &chunks[..0]);
        loop {
            if asked.is_empty() {
                self.close_if_full().await?;
                asked = self.ask(&mut left, len, 0);
                if asked.is_empty() {
                    return Ok(());
                }
            }
            let frames = self.lanes.taken().await.map_err(failed)?;
            check(asked, &frames)?;
            let plain: u64 = frames.iter().map(|frame| u64::from(frame.plain_len)).sum();
            // The next ones will be much as these.
            len = (plain / asked.len() as u64).max(1);
            // They are read while these are packed and wait for room.
            asked = self.ask(&mut left, len, asked.len() as u64);
            for frame in frames {
                self.push(point, frame).await?;
            }
        }
    }

    /// Asks for the next frames, as far as this round takes them; `read` chunks of it were read and are
    /// not packed yet. Says for which.
    fn ask<'c>(
        &mut self,
        left: &mut &'c [(u64, ChunkId)],
        len: u64,
        read: u64,
    ) -> &'c [(u64, ChunkId)] {
        let room = self.order.round_chunks as u64;
        let room = room.saturating_sub(self.round.numbers.len() + read);
        // A round takes one chunk at least.
        let room = if read == 0 { room.max(1) } else { room };
        let count = (FRAMES_BATCH_LEN / len).clamp(16, 4096).min(room).min(left.len() as u64);
        let (asked, rest) = left.split_at(count as usize);
        *left = rest;
        if !asked.is_empty() {
            let numbers = asked.iter().map(|(number, _)| *number).collect();
            self.lanes.read(self.source.frames(numbers));
        }
        asked
    }

    async fn push(&mut self, point: &ShipPoint, frame: SourceFrame) -> Result<(), ShipError> {
        let pool = self.pool();
        let packer = self
            .packer
            .get_or_insert_with(|| Packer::new(pool, point.class, self.order.object_len));
        self.round.numbers.extend(frame.chunks.iter().map(|chunk| chunk.number));
        match packer.push(frame) {
            Some(full) => self.start(full).await,
            None => Ok(()),
        }
    }

    /// Sends a full group as soon as there is room on the way.
    async fn start(&mut self, group: Group) -> Result<(), ShipError> {
        self.lanes.room().await?;
        self.note_arrived();
        if (self.stop)() {
            return Err(ShipError::Stopped);
        }
        self.begin()?;
        let drawn = Drawn::draw(self.random);
        self.lanes.start(self.way, self.shipped.opened.next, group, drawn);
        Ok(())
    }

    /// Notes that a shipment is under way, before anything of it can be left behind.
    pub(super) fn begin(&mut self) -> Result<(), ShipError> {
        let (vault, opened) = (self.way.master.vault(), &self.shipped.opened);
        if !std::mem::replace(&mut self.has_begun, true) {
            self.ids.remember(vault, opened.newest, opened.next.0)?;
        }
        Ok(())
    }

    /// Sends what is collected, however little it is.
    pub(super) async fn finish_packer(&mut self) -> Result<(), ShipError> {
        for group in self.packer.take().map(Packer::finish).unwrap_or_default() {
            self.start(group).await?;
        }
        Ok(())
    }
}

/// Frames have to have exactly the chunks that were asked for, under the ids that were told before.
fn check(asked: &[(u64, ChunkId)], frames: &[SourceFrame]) -> Result<(), ShipError> {
    if !frames.iter().all(SourceFrame::is_sound) {
        return Err(ShipError::Answer { what: "a frame that is none" });
    }
    let chunks = frames.iter().flat_map(|frame| &frame.chunks);
    let mut given: Vec<(u64, ChunkId)> = chunks.map(|chunk| (chunk.number, chunk.id)).collect();
    given.sort_unstable_by_key(|(number, _)| *number);
    if given == asked { Ok(()) } else { Err(ShipError::Answer { what: "other chunks" }) }
}
