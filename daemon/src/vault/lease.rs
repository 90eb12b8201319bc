//! Locks of a vault, kept as leases: asked for with every object, renewed before every shipment.

use super::failure::{of_ids, of_lease};
use super::local::{Random, Vault};
use crate::daemon::Daemon;
use crate::failure::{Code, Failure};
use crate::size_text::parse_seconds;
use keelhold_vault::chain::Opened;
use keelhold_vault::format::Class;
use keelhold_vault::ids::Ids;
use keelhold_vault::lease::{Book, LEASE_DEFAULT, Renewed, STREAMS_DEFAULT, Terms, renew};
use std::collections::BTreeMap;

const SECOND: i64 = 1_000_000_000;
/// Half of it has to be longer than a shipment and a bad weekend.
const LEASE_LEAST: i64 = 7 * 86_400;
const LEASE_MOST: i64 = 100 * 365 * 86_400;
/// Leases are looked after so often although nothing is to be shipped.
pub(super) const RENEW_EVERY: i64 = 86_400 * SECOND;

/// As a record has it: objects stay locked until the last point of their class expires.
pub const TO_EXPIRY: i64 = i64::MAX;

/// What somebody wants of the locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// Thirty days, if the store keeps locks.
    Usual,
    Never,
    /// Seconds.
    For(i64),
}

impl Wish {
    pub fn parse(text: Option<&str>) -> Result<Self, Failure> {
        let seconds = |text: &str| i64::try_from(parse_seconds(text)?).ok();
        match text {
            None => Ok(Self::Usual),
            Some("none") => Ok(Self::Never),
            Some("expiry") => Ok(Self::For(TO_EXPIRY)),
            Some(text) => match seconds(text) {
                Some(lease) if (LEASE_LEAST..=LEASE_MOST).contains(&lease) => Ok(Self::For(lease)),
                _ => {
                    let text = format!("{text} is no lease: `none`, `expiry`, or 7d to 36500d");
                    Err(Failure::new(Code::LeaseInvalid, text))
                }
            },
        }
    }

    /// Seconds, where the store was proved to keep locks.
    pub fn lease(self) -> Option<i64> {
        match self {
            Self::Usual => Some(LEASE_DEFAULT / SECOND),
            Self::Never => None,
            Self::For(lease) => Some(lease),
        }
    }
}

/// When the last point expires that needs objects of a class; `i64::MAX` is never. Chunks of one class are
/// needed by points of others, too: while there is any point, no class is left to itself sooner than
/// after a usual lease.
pub(super) fn expiry(points: impl Iterator<Item = (Class, i64)>, now: i64) -> Vec<(Class, i64)> {
    let mut last: BTreeMap<Class, i64> = BTreeMap::new();
    for (class, expires) in points {
        let own = last.entry(class).or_insert(i64::MIN);
        *own = expires.max(*own);
    }
    let Some(any) = last.values().copied().max() else { return Vec::new() };
    let least = any.min(now.saturating_add(LEASE_DEFAULT));
    let all = (0..=u8::MAX).map_while(Class::new);
    all.map(|class| (class, last.get(&class).copied().unwrap_or(least).max(least))).collect()
}

/// Renews what is due. When this returns, the rows for the next manifest hold. Without locks nothing is
/// asked for.
pub(super) async fn renewed(
    daemon: &Daemon,
    vault: &Vault,
    opened: &Opened,
    ids: &mut Ids,
    last: &[(Class, i64)],
) -> Result<Renewed, Failure> {
    let Some(lease) = vault.record().lease else { return Ok(Renewed::default()) };
    let place = vault.place()?;
    let brought = ids.bring_up(&*place, &opened.master, &opened.view).await;
    if brought.is_err() {
        // Damaged local files are gone by now.
        ids.bring_up(&*place, &opened.master, &opened.view)
            .await
            .map_err(|error| of_ids(&error))?;
    }
    let now = daemon.store.pool.now().0.max(daemon.store.clock.now().0);
    let terms = Terms {
        now,
        lease: lease.saturating_mul(SECOND),
        expiry: expiry(last.iter().copied(), now),
        streams: STREAMS_DEFAULT,
    };
    let mut book = Book::open(&vault.dir());
    let done = renew(&*place, opened, ids, &mut book, &terms, &mut Random).await;
    let done = done.map_err(|error| of_lease(&error))?;
    vault.state().seen.renewed_at = Some(now);
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_are_read_and_bounded() {
        assert_eq!(Wish::parse(None).unwrap().lease(), Some(30 * 86_400));
        assert_eq!(Wish::parse(Some("none")).unwrap().lease(), None);
        assert_eq!(Wish::parse(Some("expiry")).unwrap().lease(), Some(TO_EXPIRY));
        assert_eq!(Wish::parse(Some("7d")).unwrap().lease(), Some(7 * 86_400));
        for wrong in ["6d", "", "-1d", "36501d", "9999999999999999999d", "soon"] {
            assert!(Wish::parse(Some(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_class_is_left_alone_while_a_point_may_need_it() {
        let class = |class| Class::new(class).unwrap();
        let now = 1_000 * SECOND;
        let long = now + 10 * LEASE_DEFAULT;
        let rows = expiry([(class(3), long), (class(1), now + 5)].into_iter(), now);
        let of = |wanted| rows.iter().find(|(own, _)| *own == class(wanted)).unwrap().1;
        assert_eq!((of(3), of(1), of(0)), (long, now + LEASE_DEFAULT, now + LEASE_DEFAULT));
        let rows = expiry([(class(1), now + 5)].into_iter(), now);
        assert!(rows.iter().all(|(_, until)| *until == now + 5), "the last point ends it all");
        assert!(expiry(std::iter::empty(), now).is_empty());
    }
}
