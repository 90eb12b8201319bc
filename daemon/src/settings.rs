//! Settings that change what the daemon does with points.

use jiff::tz::TimeZone;
use keelhold_policy::retain::Minimum;

/// Days a forgotten point can be brought back.
pub const TRASH_DAYS: u16 = 14;

/// Backups of all groups at once.
pub const JOB_SLOTS: usize = 4;

#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub trash_days: u16,
    /// Of groups that name none.
    pub zone: TimeZone,
    /// What no policy may undercut.
    pub minimum: Option<Minimum>,
    pub job_slots: usize,
    /// Whether there is a group for everything that no other group names.
    pub default_group: bool,
    /// False of an appliance that was adopted and has no disks yet: nothing can be backed up to it.
    pub has_pool: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            trash_days: TRASH_DAYS,
            zone: TimeZone::system(),
            minimum: None,
            job_slots: JOB_SLOTS,
            default_group: true,
            has_pool: true,
        }
    }
}
