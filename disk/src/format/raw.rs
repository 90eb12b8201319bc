//! Fixed structures field by field as they stand, believed or not, and every check on their head: for
//! people who look at damage.

use zerocopy::FromBytes;

use super::head::{ChecksumKey, Head, HeadFault, Magic, Place};
use crate::units::PoolId;

/// Name, offset and size of the fields of a structure, as the compiler laid them out.
pub(super) type Fields = Vec<(&'static str, usize, usize)>;

macro_rules! fields {
    ($type:ty: $($field:ident),+ $(,)?) => {{
        fn size<T, F>(_: fn(&T) -> &F) -> usize {
            size_of::<F>()
        }
        vec![$((
            stringify!($field),
            std::mem::offset_of!($type, $field),
            size::<$type, _>(|raw| &raw.$field),
        )),+]
    }};
}
pub(super) use fields;

/// A field of a structure, with its bytes as they stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawField {
    pub name: &'static str,
    /// From the start of the structure.
    pub offset: usize,
    pub bytes: Vec<u8>,
}

/// One thing that must hold of a structure, and why it does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    pub what: &'static str,
    pub fault: Option<HeadFault>,
}

/// The kind a head claims to be of.
#[must_use]
pub fn magic_of(bytes: &[u8]) -> Option<Magic> {
    let (head, _) = Head::read_from_prefix(bytes).ok()?;
    let kinds = [
        Magic::Label,
        Magic::Superblock,
        Magic::JournalEntry,
        Magic::ContainerHeader,
        Magic::Run,
        Magic::ContainerFooter,
    ];
    kinds.into_iter().find(|magic| *magic as u32 == head.magic.get())
}

fn fields_of(magic: Magic) -> Fields {
    match magic {
        Magic::Label => super::label::fields(),
        // What follows its head has no fixed places.
        Magic::Superblock => Vec::new(),
        Magic::JournalEntry => super::journal::fields(),
        Magic::ContainerHeader => super::container::header_fields(),
        Magic::Run => super::run::header_fields(),
        Magic::ContainerFooter => super::container::footer_fields(),
    }
}

fn cut(fields: Fields, bytes: &[u8]) -> Vec<RawField> {
    let field = |(name, offset, size): (&'static str, usize, usize)| {
        let bytes = bytes.get(offset..offset + size)?.to_vec();
        Some(RawField { name, offset, bytes })
    };
    fields.into_iter().filter_map(field).collect()
}

/// The fields of a structure of this kind, its head's first.
#[must_use]
pub fn raw_fields(magic: Magic, bytes: &[u8]) -> Vec<RawField> {
    let mut fields = cut(super::head::fields(), bytes);
    let own = fields_of(magic).into_iter().filter(|(name, ..)| *name != "head").collect();
    fields.extend(cut(own, bytes));
    fields
}

/// The rows of a run's tables, wherever their counts come from.
#[must_use]
pub fn raw_frame(row: &[u8]) -> Vec<RawField> {
    cut(super::run::frame_fields(), row)
}

/// Every check that a structure must pass, each by itself: the first that fails hides no other.
#[must_use]
pub fn checks(
    bytes: &[u8],
    magic: Magic,
    key: &ChecksumKey,
    pool: PoolId,
    place: Place,
) -> Vec<Check> {
    let check = |what, result: Result<(), HeadFault>| Check { what, fault: result.err() };
    let peeked = Head::peek(bytes, magic);
    let of_kind = |kind: fn(&HeadFault) -> bool| match peeked {
        Err(fault) if kind(&fault) => Err(fault),
        _ => Ok(()),
    };
    let mut found = vec![
        check("magic", of_kind(|fault| matches!(fault, HeadFault::Magic { .. }))),
        check("version", of_kind(|fault| matches!(fault, HeadFault::Version { .. }))),
        check("length", of_kind(|fault| matches!(fault, HeadFault::Len { .. }))),
    ];
    let Ok((head, _)) = Head::read_from_prefix(bytes) else {
        return found;
    };
    let opened = Head::open(bytes, key, magic).map(drop);
    found.push(match opened {
        Err(fault @ HeadFault::Reserved) => check("reserved bytes", Err(fault)),
        Err(fault @ HeadFault::Checksum) => check("checksum", Err(fault)),
        // Of a length that cannot be, no checksum can be reckoned.
        Err(_) => check("checksum", Err(HeadFault::Checksum)),
        Ok(()) => check("checksum", Ok(())),
    });
    let ours = if head.pool == pool.0 { Ok(()) } else { head.expect(pool, place) };
    found.push(check("pool", ours));
    let own = PoolId(head.pool);
    found.push(check("place", head.expect(own, place)));
    found
}
