//! The root of the pool's state: which checkpoint holds, and where the journal goes on.

use keelhold_chunk::{DecodeError, Reader, Writer};

use super::head::{ChecksumKey, Head, HeadFault, Magic, Place};
use super::state::RunRef;
use crate::units::{BLOCK, DiskId, PoolId};

/// Disks a superblock can name, those that left the pool among them: their rows fill most of the
/// block.
pub const DISKS_MAX: usize = 96;

/// What a disk is to the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum DiskState {
    /// Read and written.
    Online = 0,
    /// It was missing, or a write or flush failed: nothing is written to it.
    Failed = 1,
    /// Read and written, but nothing new is put there.
    Draining = 2,
    /// No longer of the pool. Its position stays, so that places mean the same for ever.
    Retired = 3,
}

impl DiskState {
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Online,
            1 => Self::Failed,
            2 => Self::Draining,
            3 => Self::Retired,
            _ => return None,
        })
    }
}

/// A disk as the superblock lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskRow {
    pub id: DiskId,
    pub state: DiskState,
    /// Epoch in which the pool last wrote to it, once it is failed or retired; else 0. What a disk
    /// brings back that was written in a later one was written without the others.
    pub left_epoch: u64,
}

/// A place of the journal: a disk, and which of its two zones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct JournalPlace {
    pub disk: u16,
    pub zone: u8,
}

/// Incompatible: frames, chunk tables and operations are sealed, and the secrets below are in
/// `wrapped_key`.
pub const FEATURE_ENCRYPTED: u32 = 1;

/// Feature words: a reader that does not know a bit of `compatible` may go on, of
/// `read_only_compatible` may only read, of `incompatible` must refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features {
    pub compatible: u32,
    pub read_only_compatible: u32,
    pub incompatible: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// Counts checkpoints; the highest that two copies confirm is the root.
    pub sequence: u64,
    /// Checksum of the superblock before this one, as on the disk of lowest index.
    pub parent: [u8; 16],
    pub features: Features,
    /// Counts openings: journal entries of an earlier one are void behind this root.
    pub epoch: u64,
    /// First journal entry that is not in the checkpoint, and where it lies or will lie.
    pub journal_sequence: u64,
    pub journal_position: u64,
    /// Link of the journal entry before that one.
    pub journal_parent: [u8; 16],
    /// Highest time the pool ever saw; no clock makes data deletable before it.
    pub witnessed: i64,
    /// These three are zero and empty when the pool is encrypted: then they are in `wrapped_key`.
    pub id_key: [u8; 32],
    pub cut_params: Vec<u8>,
    pub index_secret: [u8; 32],
    /// Number of the wrapping key, counted up when it is changed; 0: the pool is not encrypted.
    pub key_number: u32,
    /// Wrapped data key, its check value and the sealed secrets ([`crate::seal::Wrapped`]); else empty.
    pub wrapped_key: Vec<u8>,
    /// Root of the checkpoint, at one or two places.
    pub root: Vec<RunRef>,
    /// Where the journal's two copies lie.
    pub journal: [JournalPlace; 2],
    pub disks: Vec<DiskRow>,
}

const CUT_PARAMS_LEN_MAX: usize = 64;
const WRAPPED_KEY_LEN_MAX: usize = 512;

impl Superblock {
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.features.incompatible & FEATURE_ENCRYPTED != 0
    }

    #[must_use]
    pub fn encode(&self, key: &ChecksumKey, pool: PoolId, place: Place) -> [u8; BLOCK] {
        let mut body = Writer::new();
        body.raw(&self.parent);
        body.u32(self.features.compatible);
        body.u32(self.features.read_only_compatible);
        body.u32(self.features.incompatible);
        body.u64(self.epoch);
        body.u64(self.journal_sequence);
        body.u64(self.journal_position);
        body.raw(&self.journal_parent);
        body.signed(self.witnessed);
        body.raw(&self.id_key);
        body.bytes(&self.cut_params);
        body.raw(&self.index_secret);
        body.u32(self.key_number);
        body.bytes(&self.wrapped_key);
        body.varint(self.root.len() as u64);
        self.root.iter().for_each(|run| run.encode(&mut body));
        for place in &self.journal {
            body.u16(place.disk);
            body.u8(place.zone);
        }
        body.varint(self.disks.len() as u64);
        for disk in &self.disks {
            body.raw(&disk.id.0);
            body.u8(disk.state as u8);
            body.u64(disk.left_epoch);
        }
        let body = body.finish();
        let mut block = [0; BLOCK];
        block[Head::LEN..Head::LEN + body.len()].copy_from_slice(&body);
        Head::seal(&mut block, key, Magic::Superblock, pool, place, self.sequence);
        block
    }

    pub fn decode(
        block: &[u8],
        key: &ChecksumKey,
        pool: PoolId,
        place: Place,
    ) -> Result<Self, HeadFault> {
        let (head, covered) = Head::open(block, key, Magic::Superblock)?;
        head.expect(pool, place)?;
        let mut reader = Reader::new(&covered[Head::LEN..]);
        let superblock =
            Self::decode_body(head.sequence(), &mut reader).map_err(|_| HeadFault::Content)?;
        let rest = reader.left();
        if reader.raw(rest).map_err(|_| HeadFault::Content)?.iter().any(|byte| *byte != 0) {
            return Err(HeadFault::Reserved);
        }
        Ok(superblock)
    }

    /// What the fields say though nothing proves them: for looking at damage.
    #[must_use]
    pub fn decode_unproved(block: &[u8]) -> Option<Self> {
        let head = Head::peek(block, Magic::Superblock).ok()?;
        let mut reader = Reader::new(block.get(Head::LEN..)?);
        Self::decode_body(head.sequence(), &mut reader).ok()
    }

    fn decode_body(sequence: u64, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let parent = reader.array()?;
        let features = Features {
            compatible: reader.u32()?,
            read_only_compatible: reader.u32()?,
            incompatible: reader.u32()?,
        };
        let epoch = reader.u64()?;
        let journal_sequence = reader.u64()?;
        let journal_position = reader.u64()?;
        let journal_parent = reader.array()?;
        let witnessed = reader.signed()?;
        let id_key = reader.array()?;
        let cut_params = reader.bytes(CUT_PARAMS_LEN_MAX)?.to_vec();
        let index_secret = reader.array()?;
        let key_number = reader.u32()?;
        let wrapped_key = reader.bytes(WRAPPED_KEY_LEN_MAX)?.to_vec();
        let root_count = reader.count(2)?;
        let root = (0..root_count).map(|_| RunRef::decode(reader)).collect::<Result<_, _>>()?;
        let journal = [decode_place(reader)?, decode_place(reader)?];
        let disk_count = reader.count(DISKS_MAX)?;
        let disks = (0..disk_count).map(|_| decode_disk(reader)).collect::<Result<_, _>>()?;
        Ok(Self {
            sequence,
            parent,
            features,
            epoch,
            journal_sequence,
            journal_position,
            journal_parent,
            witnessed,
            id_key,
            cut_params,
            index_secret,
            key_number,
            wrapped_key,
            root,
            journal,
            disks,
        })
    }

    /// What two copies must agree on to confirm each other: everything but their place.
    #[must_use]
    pub fn agrees_with(&self, other: &Self) -> bool {
        self == other
    }
}

fn decode_place(reader: &mut Reader<'_>) -> Result<JournalPlace, DecodeError> {
    let (disk, zone) = (reader.u16()?, reader.u8()?);
    if zone > 1 {
        return Err(reader.undefined("journal zone", u64::from(zone)));
    }
    Ok(JournalPlace { disk, zone })
}

fn decode_disk(reader: &mut Reader<'_>) -> Result<DiskRow, DecodeError> {
    let (id, code) = (DiskId(reader.array()?), reader.u8()?);
    let state =
        DiskState::from_code(code).ok_or(reader.undefined("disk state", u64::from(code)))?;
    Ok(DiskRow { id, state, left_epoch: reader.u64()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back() {
        let superblock = Superblock {
            sequence: 7,
            parent: [1; 16],
            features: Features::default(),
            epoch: 2,
            journal_sequence: 3,
            journal_position: 4096,
            journal_parent: [4; 16],
            witnessed: -5,
            id_key: [6; 32],
            cut_params: vec![1; CUT_PARAMS_LEN_MAX],
            index_secret: [7; 32],
            key_number: 0,
            wrapped_key: vec![1; WRAPPED_KEY_LEN_MAX],
            root: vec![
                RunRef {
                    container: 9,
                    generation: 10,
                    block: 11,
                    blocks: 12,
                    check: [13; 16]
                };
                2
            ],
            journal: [JournalPlace { disk: 0, zone: 0 }, JournalPlace { disk: 95, zone: 1 }],
            disks: vec![
                DiskRow {
                    id: DiskId([14; 16]),
                    state: DiskState::Retired,
                    left_epoch: u64::MAX
                };
                DISKS_MAX
            ],
        };
        let key = ChecksumKey::new(&[1; 32], &[0; 16]);
        let place = Place { disk: DiskId([14; 16]), offset: 4096 };
        let block = superblock.encode(&key, PoolId([1; 16]), place);
        assert_eq!(Superblock::decode(&block, &key, PoolId([1; 16]), place), Ok(superblock));
    }
}
