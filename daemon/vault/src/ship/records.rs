//! Records of the daemon in their own objects.

use bytes::Bytes;

use super::error::ShipError;
use crate::format::{
    Class, Manifest, ObjectKind, PlainFrame, RecordEntry, RecordObject, SealedObject, Shape,
    encode_records, pack,
};
use crate::keys::MasterKey;
use crate::pack::{Drawn, LAST_STEP};
use crate::units::{ManifestNumber, PoolId};

/// Named at a time.
const OBJECTS_MAX: usize = 8;
/// Frames of one object, compressed: with its padding it is at most 16 MiB.
const RECORDS_LEN_MAX: usize = 14 << 20;
const LEVEL: i32 = 3;

/// Whether the next shipment has to be given all records and not only those that changed.
#[must_use]
pub fn wants_all_records(view: &Manifest) -> bool {
    view.records.is_empty() || view.records.len() >= OBJECTS_MAX
}

#[derive(Debug)]
pub(super) struct SealedRecords {
    pub record: RecordObject,
    pub bytes: Bytes,
}

/// Frames of as many objects as it takes.
pub(super) fn packed(
    records: &[RecordEntry],
    are_all: bool,
    view: &Manifest,
) -> Result<Vec<Vec<PlainFrame>>, ShipError> {
    if records.is_empty() {
        return Ok(Vec::new());
    }
    let (mut objects, mut len) = (vec![Vec::new()], 0);
    for plain in encode_records(records) {
        let (codec, packed) = pack(&plain, LEVEL);
        if len + packed.len() > RECORDS_LEN_MAX {
            objects.push(Vec::new());
            len = 0;
        }
        len += packed.len();
        let frame = PlainFrame { codec, plain_len: plain.len() as u32, packed };
        objects.last_mut().expect("there is one").push(frame);
    }
    let kept = if are_all { 0 } else { view.records.len() };
    match (objects.len() <= OBJECTS_MAX, kept + objects.len() <= OBJECTS_MAX) {
        (true, true) => Ok(objects),
        (true, false) => Err(ShipError::AllRecordsNeeded),
        (false, _) => Err(ShipError::TooManyRecords),
    }
}

pub(super) fn seal(
    master: &MasterKey,
    shipment: ManifestNumber,
    frames: &[PlainFrame],
    drawn: Drawn,
) -> SealedRecords {
    let (kind, class, pool) = (ObjectKind::Records, Class::ZERO, PoolId([0; 16]));
    let shape = Shape { kind, class, shipment, pool, pad_to: LAST_STEP };
    let sealed = SealedObject::seal(master, &shape, frames.to_vec(), &[], &mut drawn.spent());
    let frame_count = sealed.frames.len() as u32;
    SealedRecords {
        record: RecordObject { object: sealed.object, frame_count, rank: shipment.0 },
        bytes: Bytes::from(sealed.bytes),
    }
}
