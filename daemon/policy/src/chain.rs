//! Chains of a database: full backups, differentials on them, and logs. How long each must stay so
//! that every second that was promised can be restored; and which seconds those are.
//!
//! Log retention is a promise about seconds, not about files: a log that is kept is worth nothing
//! without what it is applied to, so what carries a promised second stays as long as that second.

use jiff::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Can be restored alone; has the log between its begin and its end in it.
    Full,
    /// Needs the full before it.
    Differential,
    /// Needs every log from the last full or differential on, and what that one needs.
    Log,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backup {
    pub kind: Kind,
    /// The first second in it, and the state it leads to.
    pub begin: Timestamp,
    pub end: Timestamp,
    /// By its own retention.
    pub expires: Timestamp,
}

/// When each may really go, in the order given. The list is taken in the order of `end`.
#[must_use]
pub fn hold(backups: &[Backup]) -> Vec<Timestamp> {
    let mut held: Vec<Timestamp> = backups.iter().map(|backup| backup.expires).collect();
    // From the newest back: what a backup needs is older than itself.
    for index in order(backups).into_iter().rev() {
        if let Some(needed) = needs(backups, index) {
            held[needed] = held[needed].max(held[index]);
        }
    }
    held
}

fn order(backups: &[Backup]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..backups.len()).collect();
    order.sort_by_key(|index| (backups[*index].end, backups[*index].begin, *index));
    order
}

/// What must be there besides, one step down the chain: for a log the log or backup it goes on from.
fn needs(backups: &[Backup], index: usize) -> Option<usize> {
    let before = |other: &usize| {
        let (this, that) = (&backups[index], &backups[*other]);
        *other != index && (that.end, that.begin, *other) < (this.end, this.begin, index)
    };
    let newest = |kinds: fn(&Backup) -> bool| {
        let earlier = (0..backups.len()).filter(before).filter(|other| kinds(&backups[*other]));
        earlier.max_by_key(|other| (backups[*other].end, backups[*other].begin, *other))
    };
    match backups[index].kind {
        Kind::Full => None,
        Kind::Differential => newest(|backup| backup.kind == Kind::Full),
        Kind::Log => {
            let base = newest(|backup| backup.kind != Kind::Log);
            let log = newest(|backup| backup.kind == Kind::Log);
            // A log that reaches the base's end goes on from the base, others from the log before.
            let base =
                base.filter(|base| log.is_none_or(|log| backups[*base].end >= backups[log].end));
            let from = base.or(log)?;
            // Over a hole nothing goes on.
            (backups[from].end >= backups[index].begin).then_some(from)
        }
    }
}

/// Seconds that can be restored, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub from: Timestamp,
    pub until: Timestamp,
}

/// Windows without a hole, oldest first. A hole in the logs ends one; it is shown and never bridged.
#[must_use]
pub fn windows(backups: &[Backup]) -> Vec<Window> {
    let mut windows: Vec<Window> = Vec::new();
    let mut can = vec![false; backups.len()];
    for index in order(backups) {
        let backup = &backups[index];
        let from = needs(backups, index);
        can[index] = backup.kind == Kind::Full || from.is_some_and(|from| can[from]);
        if !can[index] {
            continue;
        }
        // A log makes every second of itself; the others only their end.
        let from = if backup.kind == Kind::Log { backup.begin } else { backup.end };
        match windows.last_mut().filter(|window| window.until >= from) {
            Some(window) => window.until = window.until.max(backup.end),
            None => windows.push(Window { from, until: backup.end }),
        }
    }
    windows
}

/// What a chain's retention may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    #[error("less than 7 days")]
    TooShort,
    #[error("more than {most} days")]
    TooLong { most: i32 },
}

const DAYS_MIN: i32 = 7;

/// # Errors
/// Out of the range of this kind.
pub fn check(kind: Kind, days: i32) -> Result<(), ChainFault> {
    let most = match kind {
        Kind::Full => 99 * 366,
        Kind::Differential => 180,
        Kind::Log => 35,
    };
    match days {
        days if days < DAYS_MIN => Err(ChainFault::TooShort),
        days if days > most => Err(ChainFault::TooLong { most }),
        _ => Ok(()),
    }
}
