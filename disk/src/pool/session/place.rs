//! What a session's frames become: chunks that are known stay, the others get numbers and a frame.

use std::rc::Rc;

use super::{Live, Placed};
use crate::device::Device;
use crate::error::CommitError;
use crate::format::ChunkKind;
use crate::pool::Inner;
use crate::pool::frame::VerifiedFrame;
use crate::pool::run::{NewChunk, keep_frame};
use crate::units::{ChunkNumber, ChunkRef};
use crate::work::Work;

impl<D: Device, W: Work> Inner<D, W> {
    pub(super) async fn has(&self, live: &Live, chunk: &ChunkRef) -> bool {
        let known = live.parts.borrow().known(&chunk.id);
        if let Some((_, len)) = known {
            return len == chunk.len;
        }
        // A chunk that could not be looked up once is there twice: of its numbers one may be told.
        let allowed = |number: ChunkNumber| {
            let mine = live.parts.borrow().mine.contains(number.0);
            mine || self.is_in_history(live.domain, number)
        };
        let Some((number, len)) = self.find_if(&chunk.id, allowed).await else {
            return false;
        };
        if len == chunk.len {
            let mut parts = live.parts.borrow_mut();
            parts.remember(chunk.id, number, len);
            parts.tell(number);
            return true;
        }
        false
    }

    pub(super) async fn place_verified(
        &self,
        live: &Rc<Live>,
        frame: VerifiedFrame,
    ) -> Result<Placed, CommitError> {
        let mut new = Vec::new();
        for (at, chunk) in frame.chunks.iter().enumerate() {
            let known = live.parts.borrow().known(&chunk.id);
            let known = match known {
                Some(known) => Some(known),
                None => self.find(&chunk.id).await,
            };
            if let Some((number, len)) = known {
                let mut parts = live.parts.borrow_mut();
                parts.remember(chunk.id, number, len);
                parts.tell(number);
            } else if !frame.chunks[..at].contains(chunk) {
                new.push(at);
            }
        }
        let mut numbered = Vec::with_capacity(new.len());
        for at in &new {
            let ChunkRef { id, len } = frame.chunks[*at];
            let number = match self.lost_number(&id).await {
                Some(number) => number,
                None => self.new_number(live).await?,
            };
            numbered.push(NewChunk { number, id, len, kind: ChunkKind::Data });
        }
        let bytes_new = numbered.iter().map(|chunk| u64::from(chunk.len)).sum();
        let placed = Placed { new_chunks: new.len() as u64, bytes_new };
        let fits = frame.plain.len() <= 2 * self.frame_len();
        if new.len() == frame.chunks.len() && fits && !new.is_empty() {
            self.keep_whole(live, frame, numbered).await?;
        } else {
            self.keep_parts(live, &frame, &new, &numbered).await?;
        }
        Ok(placed)
    }

    async fn keep_whole(
        &self,
        live: &Rc<Live>,
        frame: VerifiedFrame,
        chunks: Vec<NewChunk>,
    ) -> Result<(), CommitError> {
        {
            let mut parts = live.parts.borrow_mut();
            for chunk in &chunks {
                parts.fresh.insert(chunk.id, (chunk.number, chunk.len));
                parts.tell(chunk.number);
                parts.bytes_new += u64::from(chunk.len);
            }
        }
        let plain_len = frame.plain.len() as u32;
        let kept = keep_frame(frame.codec, plain_len, frame.stored, frame.hash);
        self.add_frame(live, kept, chunks).await
    }

    /// Some chunks of the frame are stored already: the others are framed with what comes next.
    async fn keep_parts(
        &self,
        live: &Rc<Live>,
        frame: &VerifiedFrame,
        new: &[usize],
        numbered: &[NewChunk],
    ) -> Result<(), CommitError> {
        let mut starts = Vec::with_capacity(frame.chunks.len());
        let mut offset = 0;
        for chunk in &frame.chunks {
            starts.push(offset);
            offset += chunk.len as usize;
        }
        for (at, chunk) in new.iter().zip(numbered) {
            let bytes = &frame.plain[starts[*at]..starts[*at] + chunk.len as usize];
            self.add_chunk(live, *chunk, bytes).await?;
        }
        Ok(())
    }
}
