//! What a tree references more, and less, than the one it was made from.

use keelhold_chunk::{Reader, Writer};

use super::{RefCounts, SetError, bitmap};

/// Two multisets without a number in common: references that came and references that went.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct RefChange {
    pub added: RefCounts,
    pub removed: RefCounts,
}

impl RefChange {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }

    /// Strikes out what was both added and removed, as often as it was both.
    pub fn settle(&mut self) {
        for number in bitmap::common(self.added.set(), self.removed.set()) {
            let both = self.added.count(number).min(self.removed.count(number));
            self.added.take(number, both);
            self.removed.take(number, both);
        }
    }

    pub fn encode(&self, writer: &mut Writer) {
        self.added.encode(writer);
        self.removed.encode(writer);
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, SetError> {
        let added = RefCounts::decode(reader)?;
        let removed = RefCounts::decode(reader)?;
        match bitmap::common(added.set(), removed.set()).min() {
            Some(number) => Err(SetError::BornAndDead { number }),
            None => Ok(Self { added, removed }),
        }
    }
}
