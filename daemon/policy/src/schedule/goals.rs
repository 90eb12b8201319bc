//! What is wanted: what the scheduler needs to know of protection groups.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::calendar::{Calendar, Hours};

/// All groups, and what the appliance can do at once.
#[derive(Debug, Clone, PartialEq)]
pub struct Goals {
    pub groups: Vec<Group>,
    /// Jobs of all groups at once.
    pub slots: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    pub name: String,
    pub zone: TimeZone,
    pub points: Option<Calendar>,
    pub sync: Sync,
    pub online: Vec<Online>,
    pub window: Window,
    /// Jobs of this group at once.
    pub slots: usize,
    /// Starts of the members are spread over this length.
    pub spread: SignedDuration,
    /// How old the newest good point may become ([`super::default_deadline`] where none is named).
    pub deadline: SignedDuration,
    pub on_battery: bool,
    pub on_metered: bool,
    pub members: Vec<Source>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Sync {
    /// Each point brings the newest state itself.
    BeforePoint,
    At(Calendar),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Online {
    pub vault: String,
    pub when: OnlineWhen,
}

#[derive(Debug, Clone, PartialEq)]
pub enum OnlineWhen {
    AfterNewestPoint,
    At(Calendar),
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Window {
    /// None: always.
    pub allow: Option<Hours>,
    /// Counted from the slot, or from the opening of the window if that is later.
    pub start_within: Option<SignedDuration>,
    /// Counted from the start. What is not done by then is parked.
    pub must_end_within: Option<SignedDuration>,
}

/// A data source of a machine. The name is that of one source of the whole appliance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub name: String,
    pub machine: String,
}

impl Source {
    /// Where in the spread this source starts: the same place every time.
    #[must_use]
    pub fn jitter(&self, spread: SignedDuration) -> SignedDuration {
        let seconds = u64::try_from(spread.as_secs()).unwrap_or(0);
        if seconds == 0 {
            return SignedDuration::ZERO;
        }
        // FNV-1a, and a last turn of the bits so that near names do not lie near each other.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in self.name.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        hash = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let place = (hash >> 32) % seconds;
        SignedDuration::from_secs(i64::try_from(place).unwrap_or(0))
    }
}

/// What a job does for its source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Somebody asked for a point.
    OnDemand,
    Point,
    Online {
        vault: String,
    },
    Sync,
}

impl Kind {
    /// Whether the machine takes part.
    #[must_use]
    pub const fn needs_machine(&self) -> bool {
        !matches!(self, Self::Online { .. })
    }
}

/// What is known of a machine right now. A machine nobody knows anything of is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    pub connected: bool,
    pub on_battery: bool,
    pub metered: bool,
    pub asleep_since: Option<jiff::Timestamp>,
}

pub type Machines = BTreeMap<String, Facts>;
