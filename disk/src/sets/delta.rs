//! What changed from one reach set to the next.

use keelhold_chunk::{Reader, Writer};
use roaring::RoaringTreemap;

use super::{SetError, bitmap};

/// The step between two reach sets: numbers that came and numbers that went, none in both.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct SetDelta {
    pub born: RoaringTreemap,
    pub died: RoaringTreemap,
}

impl SetDelta {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.born.is_empty() && self.died.is_empty()
    }

    /// Costs both sets whole: for audits and rebuilds. A commit gets its delta from
    /// [`RefCounts::apply`](super::RefCounts::apply).
    #[must_use]
    pub fn between(old: &RoaringTreemap, new: &RoaringTreemap) -> Self {
        Self { born: new - old, died: old - new }
    }

    /// The two steps in one. What `first` brought and `second` took, or the other way round, is not
    /// in the result.
    #[must_use]
    pub fn compose(first: &Self, second: &Self) -> Self {
        let mut born = &first.born - &second.died;
        born |= &second.born - &first.died;
        let mut died = &first.died - &second.born;
        died |= &second.died - &first.born;
        Self { born, died }
    }

    /// The step back.
    #[must_use]
    pub fn inverse(&self) -> Self {
        Self { born: self.died.clone(), died: self.born.clone() }
    }

    /// Takes the step. A step that does not start at `set` is refused and changes nothing.
    pub fn apply(&self, set: &mut RoaringTreemap) -> Result<(), SetError> {
        if let Some(number) = bitmap::common(&self.born, set).min() {
            return Err(SetError::BornTwice { number });
        }
        if let Some(number) = (&self.died - &*set).min() {
            return Err(SetError::DiedTwice { number });
        }
        *set -= &self.died;
        *set |= &self.born;
        Ok(())
    }

    pub fn encode(&self, writer: &mut Writer) {
        bitmap::encode(&self.born, writer);
        bitmap::encode(&self.died, writer);
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, SetError> {
        let born = bitmap::decode(reader)?;
        let died = bitmap::decode(reader)?;
        match bitmap::common(&born, &died).min() {
            Some(number) => Err(SetError::BornAndDead { number }),
            None => Ok(Self { born, died }),
        }
    }
}
