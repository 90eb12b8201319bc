//! A group becomes an object. What is random was drawn before: the work may run on another thread.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::Group;
use crate::format::{FramePlace, ObjectChunk, ObjectRef, SealedObject, Shape};
use crate::keys::MasterKey;
use crate::random::Random;
use crate::units::{ID_LEN, ManifestNumber};

/// The random bytes of one object. Not `Clone`, and used up by what it was drawn for: whatever becomes
/// of the attempt, nothing else is ever sealed under them.
#[derive(Debug)]
pub struct Drawn([u8; ID_LEN]);

impl Drawn {
    #[must_use]
    pub fn draw(random: &mut impl Random) -> Self {
        Self(random.array())
    }

    /// As the source of the only array that is asked for.
    pub(crate) fn spent(self) -> impl Random {
        let mut left = Some(self.0);
        move |bytes: &mut [u8]| {
            bytes.copy_from_slice(&left.take().expect("an object draws its id and nothing else"));
        }
    }
}

/// An object ready to be sent, and what is in it.
#[derive(Debug)]
pub struct Sealed {
    pub object: ObjectRef,
    pub places: Vec<FramePlace>,
    pub chunks: Vec<ObjectChunk>,
    pub bytes: Bytes,
    /// Bytes of frames among them.
    pub frame_len: u64,
}

/// Memory of objects that were sent, for those that come. As much as was needed at a time, until the last
/// one who has it is gone.
#[derive(Debug, Clone, Default)]
pub struct Rooms(Arc<Mutex<Vec<Vec<u8>>>>);

impl Rooms {
    fn all(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        // Each operation is one step on the list.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn free(&self) -> Vec<u8> {
        self.all().pop().unwrap_or_default()
    }

    fn lent(&self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent { bytes, rooms: self.clone() })
    }
}

/// Comes back when nobody reads it any more.
struct Lent {
    bytes: Vec<u8>,
    rooms: Rooms,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.rooms.all().push(std::mem::take(&mut self.bytes));
    }
}

/// Seals a group: work for the processor.
#[must_use]
pub fn seal(
    master: &MasterKey,
    shipment: ManifestNumber,
    group: Group,
    drawn: Drawn,
    rooms: &Rooms,
) -> Sealed {
    let Group { kind, class, pool, pad_to, packed_len, .. } = group;
    let shape = Shape { kind, class, shipment, pool, pad_to };
    let (frames, chunks) = group.into_parts();
    let sealed =
        SealedObject::seal_in(rooms.free(), master, &shape, frames, &chunks, &mut drawn.spent());
    Sealed {
        object: sealed.object,
        places: sealed.frames,
        chunks,
        bytes: rooms.lent(sealed.bytes),
        frame_len: packed_len as u64,
    }
}
