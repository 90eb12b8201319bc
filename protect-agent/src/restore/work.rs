//! What the threads of a restore do: unpack a frame, prove its chunks, write them.

use std::sync::Arc;

use bytes::Bytes;
use keelhold_chunk::{ChunkId, IdKey};
use keelhold_wire::{Codec, Frame};
use tokio::sync::mpsc;

use super::RestoreError;
use super::file::Target;
use crate::backup::Queue;

/// Creating a file waits for the disk more than for the processor.
const WORKER_COUNT: usize = 4;

/// A chunk that was asked for and where it goes.
#[derive(Debug)]
pub(super) struct Destination {
    pub(super) target: Arc<Target>,
    pub(super) offset: u64,
    pub(super) id: ChunkId,
    pub(super) len: u32,
    /// The message of items that named it.
    pub(super) seq: u64,
}

#[derive(Debug)]
pub(super) enum Task {
    Frame {
        frame: Frame,
        destinations: Vec<Destination>,
        body_len: u64,
    },
    /// An entry without chunks: nothing to write or a few bytes.
    Whole {
        target: Arc<Target>,
        content: Vec<u8>,
        seq: u64,
    },
    /// Something that is no file.
    Make {
        place: Box<keelhold_tree::Place>,
        seq: u64,
    },
}

/// A task is done: so much of these messages.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) seqs: Vec<u64>,
    pub(super) frame_len: u64,
}

pub(super) type Results = mpsc::UnboundedReceiver<Result<Done, RestoreError>>;

pub(super) fn start(id_key: &IdKey) -> Result<(Arc<Queue<Task>>, Results), RestoreError> {
    let (sender, results) = mpsc::unbounded_channel();
    let queue = Queue::start("restore", WORKER_COUNT, || {
        let (id_key, sender) = (id_key.clone(), sender.clone());
        // Nobody listens once the restore has failed.
        move |task: Task| drop(sender.send(task.work(&id_key)))
    });
    Ok((queue.map_err(RestoreError::Thread)?, results))
}

impl Task {
    fn work(self, id_key: &IdKey) -> Result<Done, RestoreError> {
        match self {
            Self::Frame { frame, destinations, body_len } => {
                let mut plain = unpack(&frame)?;
                let mut seqs = Vec::with_capacity(destinations.len());
                for to in destinations {
                    if plain.len() < to.len as usize {
                        return Err(RestoreError::Unpack);
                    }
                    let chunk = plain.split_to(to.len as usize);
                    if id_key.id(&chunk) != to.id {
                        return Err(RestoreError::WrongChunk);
                    }
                    to.target.write(to.offset, &chunk);
                    seqs.push(to.seq);
                }
                if !plain.is_empty() {
                    return Err(RestoreError::Unpack);
                }
                Ok(Done { seqs, frame_len: body_len })
            }
            Self::Whole { target, content, seq } => {
                if content.is_empty() {
                    target.one_less();
                } else {
                    target.expect();
                    target.write(0, &content);
                    target.one_less();
                }
                Ok(Done { seqs: vec![seq], frame_len: 0 })
            }
            Self::Make { place, seq } => {
                // It is made, or the report says why not.
                let _ = place.create();
                Ok(Done { seqs: vec![seq], frame_len: 0 })
            }
        }
    }
}

/// The decoder checked that the plain length is within the limits; nothing more is ever unpacked.
fn unpack(frame: &Frame) -> Result<Bytes, RestoreError> {
    let len = frame.plain_len as usize;
    let plain = match frame.codec {
        Codec::Raw => frame.stored.clone(),
        Codec::Zstd => {
            let plain = zstd::bulk::decompress(&frame.stored, len);
            Bytes::from(plain.map_err(|_| RestoreError::Unpack)?)
        }
        Codec::Lz4 => {
            let mut plain = vec![0; len];
            let filled = lz4_flex::block::decompress_into(&frame.stored, &mut plain);
            plain.truncate(filled.map_err(|_| RestoreError::Unpack)?);
            Bytes::from(plain)
        }
    };
    if plain.len() == len { Ok(plain) } else { Err(RestoreError::Unpack) }
}
