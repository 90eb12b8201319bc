//! Manifests: to create one is the commit of a shipment. In clear it says whose it is, its number, and
//! the slots that open the vault; everything else is sealed.

use keelhold_cipher::{NONCE_LEN, TAG_LEN};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::codec::{Codec, pack, unpack};
use super::rows::{FramePlace, ObjectRef, Place};
use super::{BODY_LEN_MAX, FormatFault, VERSION, checksum, limited};
use crate::keys::{MasterCheck, MasterKey, SLOT_LEN, Slots};
use crate::random::Random;
use crate::units::{ManifestNumber, PointId, PoolId, SourceId, VaultId};

mod body;
mod merge;

#[cfg(test)]
pub(in crate::format) use body::{decode, encode};
pub use merge::MergeFault;

const MAGIC: u32 = u32::from_le_bytes(*b"KHVM");
/// Best ratio at the speed of a disk; manifests are short.
const LEVEL: i32 = 3;
/// A manifest seals once: its key is its own.
const NONCE: [u8; NONCE_LEN] = [0; NONCE_LEN];

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawManifestHead {
    magic: U32,
    version: U16,
    slot_count: u8,
    codec: u8,
    key_number: U32,
    body_len: U32,
    vault: [u8; 16],
    number: U64,
    plain_len: U32,
    reserved: U32,
    salt: [u8; 16],
    master_check: [u8; 32],
    checksum: [u8; 16],
}

const HEAD_LEN: usize = size_of::<RawManifestHead>();
const CHECKED_LEN: usize = 96;
const _: () = assert!(HEAD_LEN == 112);
const _: () = assert!(std::mem::offset_of!(RawManifestHead, checksum) == CHECKED_LEN);

/// BLAKE3 of all bytes of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link(pub [u8; 32]);

impl Link {
    #[must_use]
    pub fn of(manifest: &[u8]) -> Self {
        Self(*blake3::hash(manifest).as_bytes())
    }
}

/// Another manifest, by number and content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Parent {
    pub number: ManifestNumber,
    pub link: Link,
}

/// What a vault holds, or how it differs from what its base says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub number: ManifestNumber,
    /// The newest manifest that verified when this one was written; none in the first.
    pub parent: Option<Parent>,
    /// The full manifest this is a difference to; none: this one is full.
    pub base: Option<Parent>,
    pub made_at: i64,
    /// Highest time the appliance had seen.
    pub witnessed: i64,
    /// Ascending by id.
    pub points: Vec<Point>,
    pub gone_points: Vec<PointId>,
    /// Index and record objects of the base that are not needed any more.
    pub gone_objects: Vec<crate::units::ObjectId>,
    /// Ascending by rank, then object.
    pub indexes: Vec<Index>,
    /// Ascending by rank, then object.
    pub records: Vec<RecordObject>,
    /// Ascending by class.
    pub locks: Vec<Lock>,
}

/// A recovery point in the vault: what a listing needs, and where reading it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    pub point: PointId,
    pub source: SourceId,
    pub pool: PoolId,
    pub is_partial: bool,
    pub class: super::rows::Class,
    pub at: i64,
    pub committed_at: i64,
    pub recipe_number: u64,
    pub recipe_digest: [u8; 16],
    pub bytes_source: u64,
    pub entry_count: u64,
    /// Root of the tree, as in the recipe.
    pub root: Vec<u8>,
    pub attributes: Vec<u8>,
    pub recipe: Place,
    /// None of an empty tree.
    pub root_page: Option<Place>,
}

/// An index object and the numbers its leaves cover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    pub object: ObjectRef,
    /// Of two entries for one number that of the higher rank counts.
    pub rank: u64,
    pub leaves: Vec<LeafPlace>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeafPlace {
    pub pool: PoolId,
    pub first: u64,
    pub last: u64,
    pub frame: FramePlace,
}

/// An object of records; a higher rank replaces what a lower one says of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordObject {
    pub object: ObjectRef,
    pub frame_count: u32,
    pub rank: u64,
}

/// Until when everything of a class that the manifest needs is locked at least; 0: it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lock {
    pub class: super::rows::Class,
    pub until: i64,
}

impl Manifest {
    /// The places to look for a number, the one that counts first.
    pub fn leaves_of(
        &self,
        pool: PoolId,
        number: u64,
    ) -> impl Iterator<Item = (&ObjectRef, &LeafPlace)> {
        let covers = move |leaf: &&LeafPlace| {
            leaf.pool == pool && (leaf.first..=leaf.last).contains(&number)
        };
        let indexes = self.indexes.iter().rev();
        indexes.flat_map(move |index| {
            index.leaves.iter().filter(covers).map(|leaf| (&index.object, leaf))
        })
    }

    /// The manifest as it is stored. Another call gives other bytes: it draws another salt.
    ///
    /// # Panics
    /// If it is none: unsorted, without slots, or longer than a reader takes.
    #[must_use]
    pub fn seal(&self, slots: &Slots, master: &MasterKey, random: &mut impl Random) -> Vec<u8> {
        assert!(master.check() == slots.check() && !slots.all().is_empty());
        assert!(self.number.0 > 0, "numbers begin with 1");
        let plain = body::encode(self);
        assert!(plain.len() <= BODY_LEN_MAX, "a body has a greatest length");
        let (codec, packed) = pack(&plain, LEVEL);
        let mut head = RawManifestHead::read_from_bytes(&[0; HEAD_LEN]).expect("size is asserted");
        head.magic = U32::new(MAGIC);
        head.version = U16::new(VERSION);
        head.slot_count = slots.all().len() as u8;
        head.codec = codec as u8;
        head.key_number = U32::new(master.number());
        head.body_len = U32::new((packed.len() + TAG_LEN) as u32);
        head.vault = master.vault().0;
        head.number = U64::new(self.number.0);
        head.plain_len = U32::new(plain.len() as u32);
        random.fill(&mut head.salt);
        head.master_check = master.check().0;
        let slots = slots.to_bytes();
        let bound = [&head.as_bytes()[..CHECKED_LEN], &slots].concat();
        let mut sealed = vec![0; packed.len() + TAG_LEN];
        master.manifest(self.number, &head.salt).seal_into(NONCE, &bound, &packed, &mut sealed);
        head.checksum = checksum(&[&head.as_bytes()[..CHECKED_LEN], &slots, &sealed]);
        [head.as_bytes(), &slots, &sealed].concat()
    }
}

/// A manifest as far as it is believed without keys: enough to know which keys open it.
#[derive(Debug, Clone)]
pub struct ClearManifest<'a> {
    pub vault: VaultId,
    pub number: ManifestNumber,
    pub key_number: u32,
    pub slots: Slots,
    pub link: Link,
    head: &'a RawManifestHead,
    slot_bytes: &'a [u8],
    body: &'a [u8],
}

impl std::fmt::Debug for RawManifestHead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RawManifestHead({})", self.number)
    }
}

impl<'a> ClearManifest<'a> {
    pub fn read(bytes: &'a [u8]) -> Result<Self, FormatFault> {
        let found = bytes.len() as u64;
        let (head, rest) = RawManifestHead::ref_from_prefix(bytes)
            .map_err(|_| FormatFault::Len { expected: HEAD_LEN as u64, found })?;
        if head.magic.get() != MAGIC {
            return Err(FormatFault::Magic { found: head.magic.get() });
        }
        if head.version.get() != VERSION {
            return Err(FormatFault::Version { found: head.version.get() });
        }
        let slots_len = usize::from(head.slot_count) * SLOT_LEN;
        let expected = HEAD_LEN as u64 + slots_len as u64 + u64::from(head.body_len.get());
        if expected != found {
            return Err(FormatFault::Len { expected, found });
        }
        let (slot_bytes, body) = rest.split_at(slots_len);
        if checksum(&[&head.as_bytes()[..CHECKED_LEN], slot_bytes, body]) != head.checksum {
            return Err(FormatFault::Checksum);
        }
        if head.reserved.get() != 0 {
            return Err(FormatFault::Reserved { what: "a manifest's head" });
        }
        limited("length of a manifest's body", head.plain_len.get().into(), BODY_LEN_MAX as u64)?;
        if head.key_number.get() == 0 || head.number.get() == 0 {
            return Err(FormatFault::Content { what: "number of a manifest or its key" });
        }
        let vault = VaultId(head.vault);
        let slots = Slots::from_bytes(vault, MasterCheck(head.master_check), slot_bytes);
        Ok(Self {
            vault,
            number: ManifestNumber(head.number.get()),
            key_number: head.key_number.get(),
            slots: slots.map_err(FormatFault::Slots)?,
            link: Link::of(bytes),
            head,
            slot_bytes,
            body,
        })
    }

    /// How others name it.
    #[must_use]
    pub fn as_parent(&self) -> Parent {
        Parent { number: self.number, link: self.link }
    }

    /// Opens the body. The master key may have come from these very slots or from elsewhere.
    pub fn open(&self, master: &MasterKey) -> Result<Manifest, FormatFault> {
        if self.vault != master.vault() {
            return Err(FormatFault::Vault { found: self.vault });
        }
        if self.key_number != master.number() {
            return Err(FormatFault::KeyNumber { found: self.key_number });
        }
        if self.slots.check() != master.check() {
            return Err(FormatFault::MasterKey);
        }
        let bound = [&self.head.as_bytes()[..CHECKED_LEN], self.slot_bytes].concat();
        let mut body = self.body.to_vec();
        let opened = master.manifest(self.number, &self.head.salt).open(NONCE, &bound, &mut body);
        let len = opened.map_err(|_| FormatFault::Unsealable)?;
        let codec = Codec::from_code(self.head.codec)?;
        let plain = unpack(codec, &body[..len], self.head.plain_len.get() as usize)?;
        body::decode(self.number, &plain)
    }
}

#[cfg(test)]
pub(super) fn documented() -> Vec<(&'static str, crate::layout::Fields)> {
    let head = crate::layout::fields!(RawManifestHead: magic, version, slot_count, codec, key_number, body_len, vault, number, plain_len, reserved, salt, master_check, checksum);
    let mut all = vec![("ManifestHead", head)];
    all.extend(body::documented());
    all
}
