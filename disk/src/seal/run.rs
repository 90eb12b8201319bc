//! Sealing a run: its frames and its chunk table, under a key of its own.

use std::fmt;

use keelhold_cipher::{Cipher, NONCE_LEN, Unsealable};

use super::DataKey;
use crate::mutants::Mutant;
use crate::units::PoolId;

/// Where a run was put when it was made, and the salt it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunOrigin {
    pub pool: PoolId,
    pub container: u32,
    /// Salt of the container's generation: drawn anew each time the slot is opened, it names the
    /// generation, also of one that a crash undid.
    pub generation: [u8; 16],
    pub block: u16,
    /// The run's own.
    pub salt: [u8; 16],
}

/// The key of one run.
pub struct RunSeal {
    cipher: Cipher,
    /// What everything in the run is bound to.
    place: Vec<u8>,
}

/// What of a run a nonce is for.
#[derive(Clone, Copy)]
enum Part {
    Frame = 1,
    ChunkTable = 2,
}

fn nonce(part: Part, index: u32) -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    nonce[0] = part as u8;
    nonce[8..].copy_from_slice(&index.to_le_bytes());
    nonce
}

impl DataKey {
    #[must_use]
    pub fn run(&self, origin: &RunOrigin) -> RunSeal {
        let key = self.derive("keelhold 2026 run key", &[&origin.salt]);
        let mut place = Vec::with_capacity(80);
        if self.mutants.keeps(Mutant::SealPlace) {
            place.extend_from_slice(&origin.pool.0);
            place.extend_from_slice(&origin.container.to_le_bytes());
            place.extend_from_slice(&origin.generation);
            place.extend_from_slice(&origin.block.to_le_bytes());
        }
        RunSeal { cipher: Cipher::new(&key), place }
    }
}

impl RunSeal {
    fn bound(&self, part: Part, rest: &[&[u8]]) -> Vec<u8> {
        let mut bound = self.place.clone();
        bound.push(part as u8);
        rest.iter().for_each(|each| bound.extend_from_slice(each));
        bound
    }

    fn bound_frame(&self, index: u16, codec: u8, plain_len: u32) -> Vec<u8> {
        let (index, plain_len) = (index.to_le_bytes(), plain_len.to_le_bytes());
        self.bound(Part::Frame, &[&index, &plain_len, &[codec]])
    }

    /// Seals a frame's compressed bytes into where they will stand in the run.
    pub fn seal_frame(
        &self,
        index: u16,
        codec: u8,
        plain_len: u32,
        compressed: &[u8],
        to: &mut [u8],
    ) {
        let bound = self.bound_frame(index, codec, plain_len);
        self.cipher.seal_into(nonce(Part::Frame, index.into()), &bound, compressed, to);
    }

    /// Opens a frame's stored bytes in place; gives the length of the compressed ones.
    pub fn open_frame(
        &self,
        index: u16,
        codec: u8,
        plain_len: u32,
        stored: &mut [u8],
    ) -> Result<usize, Unsealable> {
        let bound = self.bound_frame(index, codec, plain_len);
        self.cipher.open(nonce(Part::Frame, index.into()), &bound, stored)
    }

    /// Seals the chunk table in place, with room for the tag at its end. It is bound to `header`.
    pub fn seal_table(&self, header: &[u8], table: &mut [u8]) {
        let bound = self.bound(Part::ChunkTable, &[header]);
        self.cipher.seal(nonce(Part::ChunkTable, 0), &bound, table);
    }

    /// Opens the chunk table in place; gives its plain length.
    pub fn open_table(&self, header: &[u8], table: &mut [u8]) -> Result<usize, Unsealable> {
        let bound = self.bound(Part::ChunkTable, &[header]);
        self.cipher.open(nonce(Part::ChunkTable, 0), &bound, table)
    }
}

impl fmt::Debug for RunSeal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunSeal(secret)")
    }
}
