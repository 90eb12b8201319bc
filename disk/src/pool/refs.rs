//! How a recipe records the references of its tree, and how a replay comes to them again.

use keelhold_chunk::Reader;
use roaring::RoaringTreemap;

use super::session::encoded;
use crate::sets::{RefChange, RefCounts, SetDelta, SetError};

/// How a recipe lets a replay come to the references of its tree.
pub(super) enum RefsRecord<'a> {
    /// All references.
    Whole(&'a RefCounts),
    /// Relative to the newest point. Most changes are no more than their delta.
    Change(&'a RefChange, &'a SetDelta),
    /// Relative to the working state.
    Onward(&'a RefChange),
}

const REFS_WHOLE: u8 = 0;
const REFS_CHANGE: u8 = 1;
const REFS_DELTA: u8 = 2;
const REFS_ONWARD: u8 = 3;

impl RefsRecord<'_> {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        encoded(|writer| match self {
            Self::Whole(refs) => {
                writer.u8(REFS_WHOLE);
                refs.encode(writer);
            }
            Self::Change(change, delta) if is_plain(change, delta) => writer.u8(REFS_DELTA),
            Self::Change(change, _) => {
                writer.u8(REFS_CHANGE);
                change.encode(writer);
            }
            Self::Onward(change) => {
                writer.u8(REFS_ONWARD);
                change.encode(writer);
            }
        })
    }
}

/// Whether every reference that came or went was the only one of its chunk.
fn is_plain(change: &RefChange, delta: &SetDelta) -> bool {
    let once =
        |refs: &RefCounts, set: &RoaringTreemap| refs.set() == set && refs.total() == set.len();
    once(&change.added, &delta.born) && once(&change.removed, &delta.died)
}

/// References of a tree out of its recipe, on top of those of the newest point before it, or of the
/// working state it was made from.
pub(super) fn refs_of_recipe(
    newest: &RefCounts,
    working: &RefCounts,
    delta: &SetDelta,
    extra: &[u8],
) -> Result<RefCounts, SetError> {
    let mut reader = Reader::new(extra);
    let mut before = newest;
    let change = match reader.u8()? {
        REFS_WHOLE => {
            let refs = RefCounts::decode(&mut reader)?;
            reader.finish()?;
            return Ok(refs);
        }
        REFS_CHANGE => RefChange::decode(&mut reader)?,
        REFS_DELTA => plain_change(delta),
        REFS_ONWARD => {
            before = working;
            RefChange::decode(&mut reader)?
        }
        other => return Err(reader.undefined("references", u64::from(other)).into()),
    };
    reader.finish()?;
    let mut refs = before.clone();
    refs.apply(&change)?;
    Ok(refs)
}

fn plain_change(delta: &SetDelta) -> RefChange {
    let mut change = RefChange::default();
    delta.born.iter().for_each(|number| change.added.add(number));
    delta.died.iter().for_each(|number| change.removed.add(number));
    change
}
