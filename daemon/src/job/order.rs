//! What a backup job is to make.

use crate::api::types::JobKind;
use serde::{Deserialize, Serialize};

/// Times are wall clock, nanoseconds since 1970. Part of [`crate::record::JobRecord`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Read everything, mend what differs.
    #[serde(default)]
    pub check: bool,
    /// Bring the newest state over, and make no point.
    #[serde(default)]
    pub sync: bool,
    /// The scheduled time it stands for; none on demand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<i64>,
    /// On demand: until when somebody wants the point kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_until: Option<i64>,
}

impl Order {
    pub const CHECK: Self = Self { check: true, sync: false, slot: None, keep_until: None };
    pub const SYNC: Self = Self { check: false, sync: true, slot: None, keep_until: None };

    #[must_use]
    pub fn kind(self) -> JobKind {
        match self {
            Self { check: true, .. } => JobKind::Check,
            Self { sync: true, .. } => JobKind::Sync,
            _ => JobKind::Backup,
        }
    }

    /// What a job that runs has to make when this is asked for, too: a synchronisation under way
    /// becomes the point somebody wants, and a point stands for the slot that comes due and is kept as
    /// long as anybody wants it. Who asks first takes nothing from who asks later.
    #[must_use]
    pub fn joined_by(self, asked: Self) -> Self {
        match (self.sync, asked.sync) {
            (true, false) => Self { check: self.check, ..asked },
            (false, true) => self,
            _ => Self {
                slot: self.slot.or(asked.slot),
                keep_until: self.keep_until.max(asked.keep_until),
                ..self
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_synchronisation_under_way_becomes_the_point_somebody_asks_for() {
        let slot = Order { slot: Some(7), ..Order::default() };
        assert_eq!(Order::SYNC.joined_by(slot), slot);
        assert_eq!(slot.joined_by(Order::SYNC), slot);
        let asked = Order { keep_until: Some(9), ..Order::default() };
        let both = Order { slot: Some(7), keep_until: Some(9), ..Order::default() };
        assert_eq!(slot.joined_by(asked), both);
        assert_eq!(asked.joined_by(slot), both, "who asked first takes nothing from the schedule");
        let longer = Order { keep_until: Some(99), ..both };
        assert_eq!(longer.joined_by(asked), longer);
    }
}
