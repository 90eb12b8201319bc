//! Puts wanted chunks together into frames: neighbours compress as one piece.

use bytes::Bytes;
use keelhold_wire::Runs;
use keelhold_wire::limits::{FRAME_CHUNK_COUNT_MAX, FRAME_PLAIN_LEN_MAX};

/// Chunks that travel together.
#[derive(Debug, Default)]
pub(crate) struct Bundle {
    pub(crate) refs: Runs,
    pub(crate) chunks: Vec<Bytes>,
    pub(crate) plain_len: usize,
}

/// Fills bundles up to a length the server chose.
#[derive(Debug)]
pub(crate) struct Packer {
    target_len: usize,
    open: Bundle,
}

impl Packer {
    pub(crate) fn new(target_len: usize) -> Self {
        Self { target_len: target_len.min(FRAME_PLAIN_LEN_MAX), open: Bundle::default() }
    }

    /// Adds a chunk; gives back the bundle that is full now.
    pub(crate) fn push(&mut self, reference: u64, chunk: Bytes) -> Option<Bundle> {
        // A bundle that would overflow goes without the chunk; one that reaches the target goes
        // with it.
        let len = self.open.plain_len + chunk.len();
        let overflows = len > self.target_len + self.target_len / 2 || len > FRAME_PLAIN_LEN_MAX;
        let closed = if overflows { self.take() } else { None };
        self.open.refs.push(reference);
        self.open.plain_len += chunk.len();
        self.open.chunks.push(chunk);
        if closed.is_some() {
            return closed;
        }
        let full = self.open.plain_len >= self.target_len
            || self.open.chunks.len() >= FRAME_CHUNK_COUNT_MAX;
        if full { self.take() } else { None }
    }

    /// What has come together so far.
    pub(crate) fn take(&mut self) -> Option<Bundle> {
        if self.open.chunks.is_empty() { None } else { Some(std::mem::take(&mut self.open)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundles_reach_the_target_and_lose_nothing() {
        let mut packer = Packer::new(100);
        let mut bundles = Vec::new();
        let lens = [10, 10, 10, 60, 30, 90, 90, 200, 5, 5, 100, 1];
        for (reference, len) in lens.into_iter().enumerate() {
            bundles.extend(packer.push(reference as u64, Bytes::from(vec![1; len])));
        }
        bundles.extend(packer.take());
        let lens: Vec<usize> = bundles.iter().map(|bundle| bundle.plain_len).collect();
        assert_eq!(lens, [120, 90, 90, 200, 110, 1]);
        let refs: Vec<u64> = bundles.iter().flat_map(|bundle| bundle.refs.iter()).collect();
        assert_eq!(refs, (0..12).collect::<Vec<_>>());
        assert!(packer.take().is_none());
    }
}
