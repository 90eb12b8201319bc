//! Steps between the reach sets of points as checkpoints keep them: in segments, each holding what
//! changed since the one before, so that a checkpoint writes in proportion to the change.

use std::collections::BTreeMap;

use keelhold_chunk::{DecodeError, Reader, Writer};

use super::{Inner, Work};
use crate::device::Device;
use crate::error::{CommitError, ReadError};
use crate::format::BlobRef;
use crate::units::{ChunkNumber, PointId};

/// Segments longer than this are not merged any more: merging happens in memory.
const MERGE_LEN_MAX: u64 = 64 << 20;

/// Step of each point, or that it left.
pub(super) type Steps = BTreeMap<PointId, Option<Vec<u8>>>;

fn encode(steps: &Steps) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.u8(1);
    for (point, step) in steps {
        writer.raw(&point.0);
        writer.u8(u8::from(step.is_some()));
        if let Some(step) = step {
            writer.bytes(step);
        }
    }
    writer.finish()
}

pub(super) fn decode(bytes: &[u8]) -> Result<Steps, DecodeError> {
    let mut reader = Reader::new(bytes);
    let version = reader.u8()?;
    if version != 1 {
        return Err(reader.undefined("version of steps", u64::from(version)));
    }
    let mut steps = Steps::new();
    while !reader.is_at_end() {
        let point = PointId(reader.array()?);
        let step = match reader.u8()? {
            0 => None,
            1 => Some(reader.bytes(usize::MAX)?.to_vec()),
            other => return Err(reader.undefined("flag", u64::from(other))),
        };
        steps.insert(point, step);
    }
    Ok(steps)
}

impl<D: Device, W: Work> Inner<D, W> {
    /// Writes the steps no segment holds as a new one, joined with older ones of like length.
    pub(super) async fn save_steps(
        &self,
        mut segments: Vec<(u64, BlobRef)>,
        mut newest: Steps,
    ) -> Result<Vec<(u64, BlobRef)>, CommitError> {
        if newest.is_empty() {
            return Ok(segments);
        }
        let mut bytes = encode(&newest);
        while let Some((len, blob)) = segments.last() {
            let joined = len + bytes.len() as u64;
            if *len > 2 * bytes.len() as u64 || joined > MERGE_LEN_MAX {
                break;
            }
            let older = self.read_blob(blob).await?;
            let undecodable = |source| ReadError::Undecodable { number: ChunkNumber(0), source };
            let mut older = decode(&older).map_err(undecodable)?;
            older.append(&mut newest);
            newest = older;
            segments.pop();
            if segments.is_empty() {
                // Below the oldest segment there is nothing that a tombstone could hide.
                newest.retain(|_, step| step.is_some());
            }
            bytes = encode(&newest);
        }
        segments.push((bytes.len() as u64, self.write_blob(bytes).await?));
        Ok(segments)
    }
}
