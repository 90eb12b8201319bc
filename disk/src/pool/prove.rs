//! Whole frames proved as they are stored: for who moves them elsewhere, in the pool or out of it.

use std::rc::Rc;

use bytes::Bytes;

use super::frame::decompress;
use super::read::prove_chunks;
use super::space::RunKey;
use super::{Inner, Work};
use crate::device::Device;
use crate::error::ReadError;
use crate::format::{Directory, FrameEntry, SlotRef};
use crate::units::ChunkNumber;

/// A frame whose every byte is what it was.
pub(super) struct Proved {
    pub(super) entry: FrameEntry,
    /// As it is stored, not sealed.
    pub(super) compressed: Bytes,
    pub(super) plain: Bytes,
}

/// What is held against the directory before a frame counts as proved.
#[derive(Debug, Clone, Copy)]
pub(super) struct Checks {
    /// The hash of the stored bytes.
    pub(super) hash: bool,
    /// The id of every chunk.
    pub(super) ids: bool,
}

impl<D: Device, W: Work> Inner<D, W> {
    /// Two reads before a verdict.
    pub(super) async fn prove_whole(
        &self,
        run: RunKey,
        directory: &Rc<Directory>,
        frame: u16,
        checks: Checks,
    ) -> Result<Proved, ReadError> {
        match self.prove_once(run, directory, frame, checks).await {
            Ok(proved) => Ok(proved),
            Err(_) => self.prove_once(run, directory, frame, checks).await,
        }
    }

    async fn prove_once(
        &self,
        run: RunKey,
        directory: &Rc<Directory>,
        frame: u16,
        checks: Checks,
    ) -> Result<Proved, ReadError> {
        self.run_written(run).await;
        let read = async |slot| self.prove_at(slot, run, directory, frame, checks).await;
        self.ask_copies(run, read).await
    }

    async fn prove_at(
        &self,
        slot: SlotRef,
        run: RunKey,
        directory: &Rc<Directory>,
        frame: u16,
        checks: Checks,
    ) -> Result<Proved, ReadError> {
        let entry = directory.frames[usize::from(frame)];
        let salt = self.salt(run.0).ok_or(ReadError::NoChunk { number: ChunkNumber(0) })?;
        let seal = self.run_seal(run, &salt, &directory.header);
        let place = self.frame_place(slot, run, &entry);
        let stored = self.stored_frame(slot, place, &entry).await?;
        let chunks = directory.chunks_of(frame).to_vec();
        let number = chunks.first().map_or(ChunkNumber(0), |chunk| chunk.number);
        let key = self.fixed.id_key.clone();
        let proved = self.work.run(move || {
            let compressed = stored.unseal(frame, &entry, seal.as_ref(), checks.hash);
            let compressed = compressed.ok_or(number)?;
            let plain = decompress(entry.codec, &compressed, entry.plain_len as usize);
            let plain = plain.ok_or(number)?;
            prove_chunks(&chunks, &plain, checks.ids.then_some(&key))?;
            Ok(Proved { entry, compressed, plain })
        });
        proved.await.map_err(|number| ReadError::Frame { number, place })
    }
}
