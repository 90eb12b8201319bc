//! What a disk does wrong, when, and where. The engine under test never hears of this.

use std::ops::Range;

use nix::errno::Errno;

use super::world::DiskIndex;
use crate::device::DeviceOp;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operation fails. Of a write any part may have happened; of what a flush covered, each
    /// write is durable or forgotten.
    Error(Errno),
    /// Read or write: it ends after some of its blocks, which are as they should be, and says so.
    Short,
    /// Read: a block of it cannot be read from now on, until it is written again.
    LatentSector,
    /// Read: a bit of it has flipped on the medium.
    BitRot,
    /// Read: a block of it comes back as it was before its last write.
    StaleRead,
    /// Write: reported as done, never seen again.
    LostWrite,
    /// Write: reported as done, found elsewhere on the same disk.
    MisdirectedWrite,
    /// Any: the disk is gone, with this operation and for good.
    Vanish,
}

impl Fault {
    /// For tables of what a test has met.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Error(_) => "error",
            Self::Short => "short transfer",
            Self::LatentSector => "latent sector",
            Self::BitRot => "bit rot",
            Self::StaleRead => "stale read",
            Self::LostWrite => "lost write",
            Self::MisdirectedWrite => "misdirected write",
            Self::Vanish => "vanish",
        }
    }

    fn fits(self, op: DeviceOp) -> bool {
        match self {
            Self::Error(_) | Self::Vanish => true,
            Self::Short => matches!(op, DeviceOp::Read | DeviceOp::Write),
            Self::LatentSector | Self::BitRot | Self::StaleRead => op == DeviceOp::Read,
            Self::LostWrite | Self::MisdirectedWrite => op == DeviceOp::Write,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The operation of this number among those the rule fits, counted from zero; once.
    Nth(u64),
    /// That one and every later one.
    FromNth(u64),
    /// Each with this chance in a million.
    Chance(u32),
}

/// One way in which one disk lies.
#[derive(Clone, Debug)]
pub struct FaultRule {
    pub disk: DiskIndex,
    pub on: DeviceOp,
    /// Only operations that touch these bytes. A flush touches all.
    pub within: Range<u64>,
    pub when: When,
    pub fault: Fault,
}

impl FaultRule {
    /// Anywhere on the disk.
    #[must_use]
    pub fn new(disk: DiskIndex, on: DeviceOp, when: When, fault: Fault) -> Self {
        Self { disk, on, within: 0..u64::MAX, when, fault }
    }

    #[must_use]
    pub fn within(mut self, bytes: Range<u64>) -> Self {
        self.within = bytes;
        self
    }
}

/// A rule and how often it was asked.
#[derive(Debug)]
pub(super) struct ArmedRule {
    rule: FaultRule,
    asked: u64,
}

impl ArmedRule {
    /// # Panics
    /// If the fault is none of that operation: such a rule would never do anything.
    pub(super) fn new(rule: FaultRule) -> Self {
        assert!(rule.fault.fits(rule.on), "{} is no fault of a {}", rule.fault.name(), rule.on);
        Self { rule, asked: 0 }
    }

    /// Whether it strikes this operation. `chance` is asked for rules of chance only.
    pub(super) fn strikes(
        &mut self,
        disk: DiskIndex,
        op: DeviceOp,
        bytes: &Range<u64>,
        chance: impl FnOnce(u32) -> bool,
    ) -> Option<Fault> {
        let rule = &self.rule;
        let touches = op == DeviceOp::Flush
            || (bytes.start < rule.within.end && rule.within.start < bytes.end);
        if rule.disk != disk || rule.on != op || !touches {
            return None;
        }
        let number = self.asked;
        self.asked += 1;
        let strikes = match rule.when {
            When::Nth(nth) => number == nth,
            When::FromNth(nth) => number >= nth,
            When::Chance(per_million) => chance(per_million),
        };
        strikes.then_some(rule.fault)
    }
}
