//! What a checkpoint holds: the pool's tables as of one journal entry. Encoded as one stream, kept in
//! runs of state containers like any other bytes, at two places.

use keelhold_chunk::{DecodeError, Reader, Writer};

use super::container::Purpose;
use super::journal::{BLOB_LEN_MAX, PointRow, RECORD_LEN_MAX, decode_bool, decode_name};
use super::slots::{SlotRef, Slots};
use crate::units::{ChunkNumber, DomainId, PointId, SessionId, SourceId};

/// Most rows of any table: a bound for decoders, far above what fits a pool.
const ROWS_MAX: usize = 1 << 32;

/// A run as somebody refers to it. `check` is the checksum of its header and directory, and these
/// hold the hash of every frame: the reference proves every byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunRef {
    pub container: u32,
    pub generation: u64,
    pub block: u16,
    pub blocks: u32,
    pub check: [u8; 16],
}

impl RunRef {
    pub fn encode(&self, writer: &mut Writer) {
        writer.u32(self.container);
        writer.u64(self.generation);
        writer.u16(self.block);
        writer.u32(self.blocks);
        writer.raw(&self.check);
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            container: reader.u32()?,
            generation: reader.u64()?,
            block: reader.u16()?,
            blocks: reader.u32()?,
            check: reader.array()?,
        })
    }
}

/// A byte stream in runs; every copy holds all of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BlobRef {
    pub len: u64,
    pub copies: Vec<Vec<RunRef>>,
}

impl BlobRef {
    fn encode(&self, writer: &mut Writer) {
        writer.varint(self.len);
        writer.varint(self.copies.len() as u64);
        for runs in &self.copies {
            writer.varint(runs.len() as u64);
            runs.iter().for_each(|run| run.encode(writer));
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let len = reader.varint()?;
        let copy_count = reader.count(2)?;
        let mut copies = Vec::new();
        for _ in 0..copy_count {
            copies.push(decode_rows(reader, RunRef::decode)?);
        }
        Ok(Self { len, copies })
    }

    pub fn runs(&self) -> impl Iterator<Item = &RunRef> {
        self.copies.iter().flatten()
    }
}

/// Content of the root run: where the tables and the index segments lie.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StateRoot {
    pub tables: BlobRef,
    /// In the order they must be applied, each with its count of entries.
    pub segments: Vec<(u64, BlobRef)>,
    /// Steps of the points, likewise, each with its length in bytes.
    pub steps: Vec<(u64, BlobRef)>,
    /// Sheets of fingerprints, each with its level. None where the index was in memory.
    pub sheets: Vec<(u64, BlobRef)>,
}

impl StateRoot {
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        self.tables.encode(&mut writer);
        let row = |writer: &mut Writer, (size, blob): &(u64, BlobRef)| {
            writer.varint(*size);
            blob.encode(writer);
        };
        encode_rows(&mut writer, &self.segments, row);
        encode_rows(&mut writer, &self.steps, row);
        if !self.sheets.is_empty() {
            encode_rows(&mut writer, &self.sheets, row);
        }
        writer.finish()
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let tables = BlobRef::decode(&mut reader)?;
        let row = |reader: &mut Reader<'_>| Ok((reader.varint()?, BlobRef::decode(reader)?));
        let segments = decode_rows(&mut reader, row)?;
        let steps = decode_rows(&mut reader, row)?;
        let sheets = if reader.is_at_end() { Vec::new() } else { decode_rows(&mut reader, row)? };
        reader.finish()?;
        Ok(Self { tables, segments, steps, sheets })
    }

    pub fn runs(&self) -> impl Iterator<Item = &RunRef> {
        let segments = self.segments.iter().chain(&self.steps).chain(&self.sheets);
        self.tables.runs().chain(segments.flat_map(|(_, blob)| blob.runs()))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContainerRow {
    pub container: u32,
    pub generation: u64,
    pub purpose: Purpose,
    pub salt: [u8; 16],
    pub slots: Slots,
    pub sealed: bool,
    pub has_footer: bool,
    pub used_blocks: u32,
    pub run_count: u64,
    /// Stored bytes of all its frames.
    pub stored_len: u64,
    /// Checkpoint that needs it no more; 0 while it is in use. Its slot is taken again after the next.
    pub freed_at: u64,
}

/// A slot that held a copy which has moved elsewhere: it is taken again two checkpoints later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Released {
    pub slot: SlotRef,
    /// Checkpoint that found it unneeded; 0 before.
    pub freed_at: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRow {
    pub source: SourceId,
    pub domain: DomainId,
    /// Unfinished block of leased numbers.
    pub lease_next: ChunkNumber,
    pub lease_end: ChunkNumber,
    /// The newest point and its references, unless it was dropped ([`crate::sets`] encodings).
    pub newest: Option<(PointId, Vec<u8>)>,
    pub working: Option<WorkingRow>,
}

/// The working state of a source, when it is newer than the newest point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkingRow {
    pub point: PointRow,
    pub refs: Vec<u8>,
    /// Step from the newest point ([`crate::sets::SetDelta`]).
    pub step: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    pub session: SessionId,
    pub source: SourceId,
    pub domain: DomainId,
    pub basis: Option<PointId>,
    pub opened_at: i64,
    pub lease_until: i64,
    pub numbers: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesRow {
    pub name: String,
    pub first: u64,
    pub entries: Vec<Vec<u8>>,
}

/// All tables.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    pub next_number: u64,
    pub next_generation: u64,
    pub containers: Vec<ContainerRow>,
    pub released: Vec<Released>,
    pub sources: Vec<SourceRow>,
    /// In order of commit.
    pub points: Vec<PointRow>,
    pub sessions: Vec<SessionRow>,
    pub records: Vec<(String, u64, Vec<u8>)>,
    pub series: Vec<SeriesRow>,
    /// Numbers that may be in no set any more (a roaring set).
    pub suspects: Vec<u8>,
    /// Stored bytes that are expected to be free because of them.
    pub expected_len: u64,
    /// Numbers of chunks that cannot be read anywhere (a roaring set).
    pub lost: Vec<u8>,
}

fn decode_rows<T>(
    reader: &mut Reader<'_>,
    row: impl Fn(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let count = reader.count(ROWS_MAX)?;
    // Each row takes at least a byte: a count beyond the input is refused before anything is kept.
    if count > reader.left() {
        return Err(DecodeError::Short {
            offset: reader.offset(),
            needed: count,
            left: reader.left(),
        });
    }
    (0..count).map(|_| row(reader)).collect()
}

fn encode_rows<T>(writer: &mut Writer, rows: &[T], row: impl Fn(&mut Writer, &T)) {
    writer.varint(rows.len() as u64);
    rows.iter().for_each(|each| row(writer, each));
}

impl ContainerRow {
    fn encode(&self, writer: &mut Writer) {
        writer.u32(self.container);
        writer.u64(self.generation);
        writer.u8(self.purpose as u8);
        writer.raw(&self.salt);
        self.slots.encode(writer);
        writer.u8(u8::from(self.sealed));
        writer.u8(u8::from(self.has_footer));
        writer.u32(self.used_blocks);
        writer.varint(self.run_count);
        writer.varint(self.stored_len);
        writer.varint(self.freed_at);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (container, generation) = (reader.u32()?, reader.u64()?);
        let code = reader.u8()?;
        let purpose = Purpose::from_code(code)
            .ok_or(reader.undefined("container purpose", u64::from(code)))?;
        Ok(Self {
            container,
            generation,
            purpose,
            salt: reader.array()?,
            slots: Slots::decode(reader)?,
            sealed: decode_bool(reader)?,
            has_footer: decode_bool(reader)?,
            used_blocks: reader.u32()?,
            run_count: reader.varint()?,
            stored_len: reader.varint()?,
            freed_at: reader.varint()?,
        })
    }
}

impl Released {
    fn encode(&self, writer: &mut Writer) {
        self.slot.encode(writer);
        writer.varint(self.freed_at);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { slot: SlotRef::decode(reader)?, freed_at: reader.varint()? })
    }
}

impl SourceRow {
    fn encode(&self, writer: &mut Writer) {
        writer.raw(&self.source.0);
        writer.raw(&self.domain.0);
        writer.varint(self.lease_next.0);
        writer.varint(self.lease_end.0);
        writer.u8(u8::from(self.newest.is_some()));
        if let Some((point, refs)) = &self.newest {
            writer.raw(&point.0);
            writer.bytes(refs);
        }
        writer.u8(u8::from(self.working.is_some()));
        if let Some(WorkingRow { point, refs, step }) = &self.working {
            point.encode(writer);
            writer.bytes(refs);
            writer.bytes(step);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            source: SourceId(reader.array()?),
            domain: DomainId(reader.array()?),
            lease_next: ChunkNumber(reader.varint()?),
            lease_end: ChunkNumber(reader.varint()?),
            newest: if decode_bool(reader)? {
                Some((PointId(reader.array()?), reader.bytes(usize::MAX)?.to_vec()))
            } else {
                None
            },
            working: if decode_bool(reader)? {
                Some(WorkingRow {
                    point: PointRow::decode(reader)?,
                    refs: reader.bytes(usize::MAX)?.to_vec(),
                    step: reader.bytes(usize::MAX)?.to_vec(),
                })
            } else {
                None
            },
        })
    }
}

impl SessionRow {
    fn encode(&self, writer: &mut Writer) {
        writer.raw(&self.session.0);
        writer.raw(&self.source.0);
        writer.raw(&self.domain.0);
        writer.u8(u8::from(self.basis.is_some()));
        if let Some(basis) = self.basis {
            writer.raw(&basis.0);
        }
        writer.signed(self.opened_at);
        writer.signed(self.lease_until);
        writer.bytes(&self.numbers);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            session: SessionId(reader.array()?),
            source: SourceId(reader.array()?),
            domain: DomainId(reader.array()?),
            basis: if decode_bool(reader)? { Some(PointId(reader.array()?)) } else { None },
            opened_at: reader.signed()?,
            lease_until: reader.signed()?,
            numbers: reader.bytes(BLOB_LEN_MAX)?.to_vec(),
        })
    }
}

impl SeriesRow {
    fn encode(&self, writer: &mut Writer) {
        writer.bytes(self.name.as_bytes());
        writer.varint(self.first);
        encode_rows(writer, &self.entries, |writer, entry| writer.bytes(entry));
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            name: decode_name(reader)?,
            first: reader.varint()?,
            entries: decode_rows(reader, |reader| Ok(reader.bytes(RECORD_LEN_MAX)?.to_vec()))?,
        })
    }
}

impl State {
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(1);
        writer.varint(self.next_number);
        writer.varint(self.next_generation);
        encode_rows(&mut writer, &self.containers, |writer, row| row.encode(writer));
        encode_rows(&mut writer, &self.released, |writer, row| row.encode(writer));
        encode_rows(&mut writer, &self.sources, |writer, row| row.encode(writer));
        encode_rows(&mut writer, &self.points, |writer, row| row.encode(writer));
        encode_rows(&mut writer, &self.sessions, |writer, row| row.encode(writer));
        encode_rows(&mut writer, &self.records, |writer, (name, version, value)| {
            writer.bytes(name.as_bytes());
            writer.varint(*version);
            writer.bytes(value);
        });
        encode_rows(&mut writer, &self.series, |writer, row| row.encode(writer));
        writer.bytes(&self.suspects);
        writer.varint(self.expected_len);
        writer.bytes(&self.lost);
        writer.finish()
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != 1 {
            return Err(reader.undefined("state version", u64::from(version)));
        }
        let state = Self {
            next_number: reader.varint()?,
            next_generation: reader.varint()?,
            containers: decode_rows(&mut reader, ContainerRow::decode)?,
            released: decode_rows(&mut reader, Released::decode)?,
            sources: decode_rows(&mut reader, SourceRow::decode)?,
            points: decode_rows(&mut reader, PointRow::decode)?,
            sessions: decode_rows(&mut reader, SessionRow::decode)?,
            records: decode_rows(&mut reader, |reader| {
                let (name, version) = (decode_name(reader)?, reader.varint()?);
                Ok((name, version, reader.bytes(RECORD_LEN_MAX)?.to_vec()))
            })?,
            series: decode_rows(&mut reader, SeriesRow::decode)?,
            suspects: reader.bytes(usize::MAX)?.to_vec(),
            expected_len: reader.varint()?,
            lost: reader.bytes(usize::MAX)?.to_vec(),
        };
        reader.finish()?;
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_come_back() {
        let state = State {
            next_number: 1,
            next_generation: 2,
            containers: vec![ContainerRow {
                container: 3,
                generation: 4,
                purpose: Purpose::Data,
                salt: [5; 16],
                slots: Slots::two(SlotRef { disk: 0, slot: 1 }, SlotRef { disk: 2, slot: 3 }),
                sealed: true,
                has_footer: false,
                used_blocks: 6,
                run_count: 7,
                stored_len: 8,
                freed_at: 0,
            }],
            released: vec![Released { slot: SlotRef { disk: 4, slot: 5 }, freed_at: 6 }],
            sources: vec![SourceRow {
                source: SourceId([1; 16]),
                domain: DomainId([2; 16]),
                lease_next: ChunkNumber(3),
                lease_end: ChunkNumber(4),
                newest: Some((PointId([5; 16]), vec![6])),
                working: None,
            }],
            points: Vec::new(),
            sessions: vec![SessionRow {
                session: SessionId([7; 16]),
                source: SourceId([1; 16]),
                domain: DomainId([2; 16]),
                basis: None,
                opened_at: 8,
                lease_until: 9,
                numbers: vec![10],
            }],
            records: vec![("a".into(), 1, vec![2])],
            series: vec![SeriesRow { name: "jobs".into(), first: 3, entries: vec![vec![4]] }],
            suspects: vec![5],
            expected_len: 6,
            lost: vec![7],
        };
        assert_eq!(State::from_bytes(&state.to_bytes()), Ok(state));
        let run = RunRef { container: 1, generation: 2, block: 3, blocks: 4, check: [5; 16] };
        let blob = BlobRef { len: 9, copies: vec![vec![run], vec![run, run]] };
        let segments = vec![(7, blob.clone())];
        let (steps, sheets) = (vec![(8, blob.clone())], vec![(9, blob.clone())]);
        let root = StateRoot { tables: blob, segments, steps, sheets };
        assert_eq!(StateRoot::from_bytes(&root.to_bytes()), Ok(root));
    }
}
