//! Operations of the journal: each one change of the pool.

use keelhold_chunk::{DecodeError, Reader, Writer};

use super::container::Purpose;
use super::journal::{BLOB_LEN_MAX, PointRow, RECORD_LEN_MAX, RunRow, decode_bool, decode_name};
use super::slots::Slots;
use crate::units::{ChunkNumber, DomainId, PointId, SessionId, SourceId};

/// One change of the pool. Codes are format; unknown ones make the pool unreadable to this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Numbers `first .. first + count` belong to the streams of `source`.
    Lease {
        source: SourceId,
        domain: DomainId,
        first: ChunkNumber,
        count: u64,
    },
    ContainerOpened {
        container: u32,
        generation: u64,
        purpose: Purpose,
        salt: [u8; 16],
        slots: Slots,
    },
    RunPlaced(RunRow),
    ContainerSealed {
        container: u32,
        has_footer: bool,
    },
    ContainerFreed {
        container: u32,
    },
    /// The container's copies lie in these slots from now on, and in no others.
    ContainerSlots {
        container: u32,
        slots: Slots,
    },
    SessionOpened {
        session: SessionId,
        source: SourceId,
        domain: DomainId,
        basis: Option<PointId>,
        opened_at: i64,
        lease_until: i64,
    },
    /// Numbers the session was told to exist or has stored since its last step (a roaring set).
    SessionStep {
        session: SessionId,
        numbers: Vec<u8>,
    },
    SessionEnded {
        session: SessionId,
    },
    PointCommitted {
        session: SessionId,
        point: PointRow,
    },
    PointAttributes {
        point: PointId,
        attributes: Vec<u8>,
    },
    /// The point leaves the pool; the steps of its neighbours are joined.
    PointDropped {
        point: PointId,
    },
    /// `value` of `None` removes the record.
    Record {
        name: String,
        version: u64,
        value: Option<Vec<u8>>,
    },
    SeriesAppended {
        name: String,
        sequence: u64,
        entry: Vec<u8>,
    },
    /// Entries of the series before `first` are given up.
    SeriesTrimmed {
        name: String,
        first: u64,
    },
    /// Chunks that are in no set, and whose bytes are given up (an index segment of tombstones).
    ChunksDropped {
        segment: Vec<u8>,
    },
    /// The source has no working state any more.
    WorkingDropped {
        source: SourceId,
    },
    /// The working state of the source is its newest point from now on.
    WorkingPromoted {
        source: SourceId,
        /// Which state was meant: after a crash another one may stand there.
        point: PointId,
        attributes: Vec<u8>,
    },
    /// The points are in the trash until then, or, with 0, no longer.
    PointsTrashed {
        until: i64,
        points: Vec<PointId>,
    },
    /// These chunks cannot be read anywhere: whoever has their bytes is asked for them (a roaring
    /// set).
    ChunksLost {
        numbers: Vec<u8>,
    },
    /// They could be read after all.
    ChunksFound {
        numbers: Vec<u8>,
    },
}

impl Op {
    /// About as many bytes as it takes in an entry, never fewer.
    #[must_use]
    pub fn len_bound(&self) -> usize {
        let blob = match self {
            Self::SessionStep { numbers, .. } => numbers.len(),
            Self::PointCommitted { point, .. } => point.attributes.len(),
            Self::PointAttributes { attributes, .. } | Self::WorkingPromoted { attributes, .. } => {
                attributes.len()
            }
            Self::PointsTrashed { points, .. } => 16 * points.len(),
            Self::Record { name, value, .. } => name.len() + value.as_ref().map_or(0, Vec::len),
            Self::SeriesAppended { name, entry, .. } => name.len() + entry.len(),
            Self::SeriesTrimmed { name, .. } => name.len(),
            Self::ChunksDropped { segment } => segment.len(),
            Self::ChunksLost { numbers } | Self::ChunksFound { numbers } => numbers.len(),
            _ => 0,
        };
        192 + blob
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        match self {
            Self::Lease { source, domain, first, count } => {
                writer.u8(1);
                writer.raw(&source.0);
                writer.raw(&domain.0);
                writer.varint(first.0);
                writer.varint(*count);
            }
            Self::ContainerOpened { container, generation, purpose, salt, slots } => {
                writer.u8(2);
                writer.u32(*container);
                writer.varint(*generation);
                writer.u8(*purpose as u8);
                writer.raw(salt);
                slots.encode(writer);
            }
            Self::RunPlaced(row) => {
                writer.u8(3);
                row.encode(writer);
            }
            Self::ContainerSealed { container, has_footer } => {
                writer.u8(4);
                writer.u32(*container);
                writer.u8(u8::from(*has_footer));
            }
            Self::ContainerFreed { container } => {
                writer.u8(5);
                writer.u32(*container);
            }
            Self::ContainerSlots { container, slots } => {
                writer.u8(20);
                writer.u32(*container);
                slots.encode(writer);
            }
            Self::SessionOpened { session, source, domain, basis, opened_at, lease_until } => {
                writer.u8(6);
                writer.raw(&session.0);
                writer.raw(&source.0);
                writer.raw(&domain.0);
                writer.u8(u8::from(basis.is_some()));
                if let Some(basis) = basis {
                    writer.raw(&basis.0);
                }
                writer.signed(*opened_at);
                writer.signed(*lease_until);
            }
            Self::SessionStep { session, numbers } => {
                writer.u8(7);
                writer.raw(&session.0);
                writer.bytes(numbers);
            }
            Self::SessionEnded { session } => {
                writer.u8(8);
                writer.raw(&session.0);
            }
            Self::PointCommitted { session, point } => {
                writer.u8(9);
                writer.raw(&session.0);
                point.encode(writer);
            }
            Self::PointAttributes { point, attributes } => {
                writer.u8(10);
                writer.raw(&point.0);
                writer.bytes(attributes);
            }
            Self::PointDropped { point } => {
                writer.u8(11);
                writer.raw(&point.0);
            }
            Self::Record { name, version, value } => {
                writer.u8(12);
                writer.bytes(name.as_bytes());
                writer.varint(*version);
                writer.u8(u8::from(value.is_some()));
                if let Some(value) = value {
                    writer.bytes(value);
                }
            }
            Self::SeriesAppended { name, sequence, entry } => {
                writer.u8(13);
                writer.bytes(name.as_bytes());
                writer.varint(*sequence);
                writer.bytes(entry);
            }
            Self::SeriesTrimmed { name, first } => {
                writer.u8(21);
                writer.bytes(name.as_bytes());
                writer.varint(*first);
            }
            Self::ChunksDropped { segment } => {
                writer.u8(14);
                writer.bytes(segment);
            }
            Self::WorkingDropped { source } => {
                writer.u8(15);
                writer.raw(&source.0);
            }
            Self::WorkingPromoted { source, point, attributes } => {
                writer.u8(19);
                writer.raw(&source.0);
                writer.raw(&point.0);
                writer.bytes(attributes);
            }
            Self::ChunksLost { numbers } => {
                writer.u8(17);
                writer.bytes(numbers);
            }
            Self::ChunksFound { numbers } => {
                writer.u8(18);
                writer.bytes(numbers);
            }
            Self::PointsTrashed { until, points } => {
                writer.u8(16);
                writer.signed(*until);
                writer.varint(16 * points.len() as u64);
                points.iter().for_each(|point| writer.raw(&point.0));
            }
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match reader.u8()? {
            1 => Self::Lease {
                source: SourceId(reader.array()?),
                domain: DomainId(reader.array()?),
                first: ChunkNumber(reader.varint()?),
                count: reader.varint()?,
            },
            2 => {
                let (container, generation) = (reader.u32()?, reader.varint()?);
                let code = reader.u8()?;
                let purpose = Purpose::from_code(code)
                    .ok_or(reader.undefined("container purpose", u64::from(code)))?;
                let (salt, slots) = (reader.array()?, Slots::decode(reader)?);
                Self::ContainerOpened { container, generation, purpose, salt, slots }
            }
            3 => Self::RunPlaced(RunRow::decode(reader)?),
            4 => {
                Self::ContainerSealed { container: reader.u32()?, has_footer: decode_bool(reader)? }
            }
            5 => Self::ContainerFreed { container: reader.u32()? },
            6 => Self::SessionOpened {
                session: SessionId(reader.array()?),
                source: SourceId(reader.array()?),
                domain: DomainId(reader.array()?),
                basis: if decode_bool(reader)? { Some(PointId(reader.array()?)) } else { None },
                opened_at: reader.signed()?,
                lease_until: reader.signed()?,
            },
            7 => Self::SessionStep {
                session: SessionId(reader.array()?),
                numbers: reader.bytes(BLOB_LEN_MAX)?.to_vec(),
            },
            8 => Self::SessionEnded { session: SessionId(reader.array()?) },
            9 => Self::PointCommitted {
                session: SessionId(reader.array()?),
                point: PointRow::decode(reader)?,
            },
            10 => Self::PointAttributes {
                point: PointId(reader.array()?),
                attributes: reader.bytes(BLOB_LEN_MAX)?.to_vec(),
            },
            11 => Self::PointDropped { point: PointId(reader.array()?) },
            12 => Self::Record {
                name: decode_name(reader)?,
                version: reader.varint()?,
                value: if decode_bool(reader)? {
                    Some(reader.bytes(RECORD_LEN_MAX)?.to_vec())
                } else {
                    None
                },
            },
            13 => Self::SeriesAppended {
                name: decode_name(reader)?,
                sequence: reader.varint()?,
                entry: reader.bytes(RECORD_LEN_MAX)?.to_vec(),
            },
            14 => Self::ChunksDropped { segment: reader.bytes(BLOB_LEN_MAX)?.to_vec() },
            15 => Self::WorkingDropped { source: SourceId(reader.array()?) },
            17 => Self::ChunksLost { numbers: reader.bytes(BLOB_LEN_MAX)?.to_vec() },
            18 => Self::ChunksFound { numbers: reader.bytes(BLOB_LEN_MAX)?.to_vec() },
            16 => {
                let until = reader.signed()?;
                let (ids, rest) = reader.bytes(BLOB_LEN_MAX)?.as_chunks();
                if !rest.is_empty() {
                    return Err(reader.undefined("length of ids", rest.len() as u64));
                }
                Self::PointsTrashed { until, points: ids.iter().copied().map(PointId).collect() }
            }
            19 => Self::WorkingPromoted {
                source: SourceId(reader.array()?),
                point: PointId(reader.array()?),
                attributes: reader.bytes(BLOB_LEN_MAX)?.to_vec(),
            },
            21 => Self::SeriesTrimmed { name: decode_name(reader)?, first: reader.varint()? },
            20 => Self::ContainerSlots { container: reader.u32()?, slots: Slots::decode(reader)? },
            code => return Err(reader.undefined("journal operation", u64::from(code))),
        })
    }
}
