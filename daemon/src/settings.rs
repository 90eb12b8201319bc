//! Settings that change what the daemon does with points.

/// Days a forgotten point can be brought back.
pub const TRASH_DAYS: u16 = 14;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub trash_days: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Self { trash_days: TRASH_DAYS }
    }
}
