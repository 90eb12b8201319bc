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
}

impl Mutant {
    pub const ALL: [Self; 6] = [
        Self::Collapse,
        Self::HandledSlots,
        Self::RepeatedHour,
        Self::Deadline,
        Self::Reigns,
        Self::OneOfASource,
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
