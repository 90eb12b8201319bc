//! Every key of the text, by table. GROUP.md has the same list, and a test compares them.

/// Table (as in `[table]`, without its place in a list) and its keys.
pub const KEYS: [(&str, &[&str]); 13] = [
    ("", GROUP),
    ("member", MEMBER),
    ("short_term", SHORT_TERM),
    ("online", ONLINE),
    ("keep", KEEP),
    ("keep.daily", DAILY),
    ("keep.weekly", WEEKLY),
    ("keep.monthly", MONTHLY),
    ("keep.yearly", YEARLY),
    ("window", WINDOW),
    ("bandwidth", BANDWIDTH),
    ("jobs", JOBS),
    ("scripts", SCRIPTS),
];

pub(super) const GROUP: &[&str] =
    &["name", "zone", "member", "short_term", "online", "window", "bandwidth", "jobs", "scripts"];
pub(super) const MEMBER: &[&str] = &["machine", "source", "every", "new"];
pub(super) const SHORT_TERM: &[&str] = &["points", "sync", "consistency", "deadline", "keep"];
pub(super) const ONLINE: &[&str] = &["vault", "schedule", "keep"];
pub(super) const KEEP: &[&str] = &["daily", "weekly", "monthly", "yearly"];
pub(super) const DAILY: &[&str] = &["times", "for"];
pub(super) const WEEKLY: &[&str] = &["on", "times", "for"];
pub(super) const MONTHLY: &[&str] = &["on", "day", "times", "for"];
pub(super) const YEARLY: &[&str] = &["on", "day", "month", "times", "for"];
pub(super) const WINDOW: &[&str] = &["allow", "start_within", "must_end_within"];
pub(super) const BANDWIDTH: &[&str] = &["when", "limit"];
pub(super) const JOBS: &[&str] = &["slots", "spread"];
pub(super) const SCRIPTS: &[&str] = &["pre", "post", "time_limit"];
