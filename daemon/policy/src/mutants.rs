//! Protections that can be switched off, one at a time, in a build made for it: a test that does not
//! notice is no test. Without the feature `mutants` every question here is a constant.

/// A protection to leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// Every missed slot is run, one after the other.
    Collapse,
    /// A clock that goes back makes slots due again.
    HandledSlots,
    /// An hour that happens twice runs twice.
    RepeatedHour,
    /// Only what succeeded once can be overdue.
    Deadline,
    /// After a jump of the clock the slots of before hold on.
    Reigns,
    /// Two jobs of one source run at once.
    OneOfASource,
    /// The newest good point goes like any other.
    LastGood,
    /// The wall alone says when a point's time is over.
    WitnessedTime,
    /// What a failed run would have stood for is given to nobody.
    TagInheritance,
    /// A day the month does not have is looked for in the next one.
    MonthEnd,
    /// The minimum is demanded of policies and not of points.
    MinimumFloor,
    /// Stopping protection lets retention go on.
    StoppedForEver,
}

impl Mutant {
    /// Of calendars and the schedule.
    pub const OF_SCHEDULE: [Self; 6] = [
        Self::Collapse,
        Self::HandledSlots,
        Self::RepeatedHour,
        Self::Deadline,
        Self::Reigns,
        Self::OneOfASource,
    ];

    pub const OF_RETENTION: [Self; 6] = [
        Self::LastGood,
        Self::WitnessedTime,
        Self::TagInheritance,
        Self::MonthEnd,
        Self::MinimumFloor,
        Self::StoppedForEver,
    ];
}

/// The protection left out, if any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mutants {
    #[cfg(feature = "mutants")]
    left_out: Option<Mutant>,
}

impl Mutants {
    #[cfg(feature = "mutants")]
    #[must_use]
    pub fn without(mutant: Mutant) -> Self {
        Self { left_out: Some(mutant) }
    }

    /// Whether the protection is in place.
    #[cfg(feature = "mutants")]
    pub(crate) fn keeps(self, mutant: Mutant) -> bool {
        self.left_out != Some(mutant)
    }

    #[cfg(not(feature = "mutants"))]
    #[inline]
    pub(crate) const fn keeps(self, _mutant: Mutant) -> bool {
        true
    }
}
