//! Protection groups: whom they protect, and what is to be reached. The model, its text (GROUP.md),
//! and every reason to refuse one.

mod amount;
mod check;
mod default;
mod fault;
mod group;
pub mod keep;
mod print;
mod read;
mod suggest;

pub use amount::{Length, Rate};
pub use default::{DEFAULT_GROUP, default_group};
pub use fault::{Fault, Refusal};
pub use group::{
    ANY_MACHINE, Bandwidth, Consistency, Cover, Group, Jobs, Member, New, Online, OnlineWhen,
    Scripts, ShortTerm, Sync, Window,
};
pub use print::{print, print_keep};
pub use read::KEYS;

use crate::mutants::Mutants;
use crate::retain::{Minimum, Policy};
use jiff::tz::TimeZone;

/// What there is to refer to. A list that is not given is not checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    pub machines: Option<Vec<String>>,
    /// Machine and source.
    pub sources: Option<Vec<(String, String)>>,
    pub vaults: Option<Vec<String>>,
}

/// What a group is held to besides its own sense.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    pub known: Known,
    /// The appliance's, where it demands one.
    pub minimum: Option<Minimum>,
}

/// The group a text describes.
///
/// # Errors
/// Everything that is wrong with it, in the order of its lines.
pub fn parse(text: &str, terms: &Terms) -> Result<Group, Vec<Refusal>> {
    let mut reading = read::Reading::new(text);
    let group = read::group(&mut reading);
    check::check(&group, terms, &mut reading);
    let refusals = reading.refusals();
    if refusals.is_empty() { Ok(group) } else { Err(refusals) }
}

impl Group {
    /// The zone its times are meant in.
    #[must_use]
    pub fn time_zone(&self, of_the_appliance: &TimeZone) -> TimeZone {
        let named = self.zone.as_deref().and_then(|name| TimeZone::get(name).ok());
        named.unwrap_or_else(|| of_the_appliance.clone())
    }

    /// The rules for points in the pool.
    #[must_use]
    pub fn pool_policy(&self, appliance: &TimeZone, minimum: Option<Minimum>) -> Policy {
        self.policy(self.short_term.keep.clone(), appliance, minimum)
    }

    /// The rules for points in one vault.
    #[must_use]
    pub fn vault_policy(
        &self,
        vault: &str,
        appliance: &TimeZone,
        minimum: Option<Minimum>,
    ) -> Option<Policy> {
        let online = self.online.iter().find(|online| online.vault == vault)?;
        Some(self.policy(online.keep.clone(), appliance, minimum))
    }

    fn policy(&self, keep: keep::Keep, zone: &TimeZone, minimum: Option<Minimum>) -> Policy {
        Policy { zone: self.time_zone(zone), keep, minimum, mutants: Mutants::default() }
    }
}
