//! A recipe: how one point is put together. A chunk like any other, sealed by the id its point names.

use keelhold_chunk::{DecodeError, Reader, Writer};

use super::journal::BLOB_LEN_MAX;
use crate::units::{PointId, PoolId, SourceId};

/// Longest encoded root of a tree.
const ROOT_LEN_MAX: usize = 256;

/// Fields of the recipe, in the order they are encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// The pool that gave the numbers: they mean something only together with it.
    pub pool: PoolId,
    pub point: PointId,
    pub source: SourceId,
    pub at: i64,
    /// The tree of entries ([`crate::tree::TreeRoot`] encoded), or of a block image's content.
    pub root: Vec<u8>,
    /// What came and went since the newest point before this one ([`crate::sets`]).
    pub delta: Vec<u8>,
    /// References beyond the first, as far as they changed since that point.
    pub extra: Vec<u8>,
    /// The daemon's attributes as of the commit, so that a recipe alone tells what it is.
    pub attributes: Vec<u8>,
}

impl Recipe {
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(1);
        writer.raw(&self.pool.0);
        writer.raw(&self.point.0);
        writer.raw(&self.source.0);
        writer.signed(self.at);
        writer.bytes(&self.root);
        writer.bytes(&self.delta);
        writer.bytes(&self.extra);
        writer.bytes(&self.attributes);
        writer.finish()
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != 1 {
            return Err(reader.undefined("recipe version", u64::from(version)));
        }
        let recipe = Self {
            pool: PoolId(reader.array()?),
            point: PointId(reader.array()?),
            source: SourceId(reader.array()?),
            at: reader.signed()?,
            root: reader.bytes(ROOT_LEN_MAX)?.to_vec(),
            delta: reader.bytes(BLOB_LEN_MAX)?.to_vec(),
            extra: reader.bytes(BLOB_LEN_MAX)?.to_vec(),
            attributes: reader.bytes(BLOB_LEN_MAX)?.to_vec(),
        };
        reader.finish()?;
        Ok(recipe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back() {
        let recipe = Recipe {
            pool: PoolId([1; 16]),
            point: PointId([2; 16]),
            source: SourceId([3; 16]),
            at: -4,
            root: vec![5; 40],
            delta: vec![6; 1000],
            extra: Vec::new(),
            attributes: b"{}".to_vec(),
        };
        let bytes = recipe.to_bytes();
        assert_eq!(Recipe::from_bytes(&bytes), Ok(recipe));
        assert!(Recipe::from_bytes(&bytes[..bytes.len() - 1]).is_err());
    }
}
