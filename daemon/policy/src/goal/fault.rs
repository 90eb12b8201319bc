//! What is wrong with a group's text.

use super::keep::{Lifetime, LifetimeFault, Tag};
use crate::calendar::CalendarFault;
use jiff::civil::{Time, Weekday};
use std::fmt;

/// One reason to refuse a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// From 1.
    pub line: usize,
    /// The key it is about, from the outside in: `short_term.keep.weekly.on`.
    pub what: String,
    pub why: Fault,
}

impl Refusal {
    /// What to do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        self.why.hint()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        if !self.what.is_empty() {
            write!(f, "{}: ", self.what)?;
        }
        write!(f, "{}", self.why)?;
        self.hint().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("this is no TOML: {message}")]
    Toml { message: String },
    #[error("the text is longer than {most} bytes")]
    TextTooLong { most: usize },
    #[error("there is no such key")]
    UnknownKey { meant: Option<&'static str> },
    #[error("is {found}, and should be {wanted}")]
    Type { wanted: &'static str, found: &'static str },
    #[error("is missing")]
    Missing { example: &'static str },
    #[error("is empty")]
    Empty,
    #[error("\"{found}\" is not one of {}", listed(choices))]
    Choice { found: String, choices: &'static [&'static str], meant: Option<&'static str> },
    #[error(
        "\"{name}\" is no name: 1 to 64 letters, digits, \".\", \"_\" and \"-\", a letter or digit first"
    )]
    Name { name: String },
    #[error("there is no time zone \"{name}\"")]
    UnknownZone { name: String, meant: Option<String> },
    #[error("{0}")]
    Calendar(CalendarFault),
    #[error("\"{text}\" {fault}")]
    Lifetime { text: String, fault: LifetimeFault },
    #[error("\"{text}\" is no length of time, or no time at all, or more than a year")]
    Length { text: String },
    #[error("\"{text}\" is no rate")]
    Rate { text: String },
    #[error("\"{text}\" is no time of day")]
    Time { text: String },
    #[error("\"{text}\" is no day of a month")]
    MonthDay { text: String },
    #[error("a month has no day {day}")]
    DayOutOfRange { day: i64 },
    #[error("{month} has no day {day}")]
    NoSuchDay { day: i8, month: &'static str },
    #[error("is given together with {other}, and only one of them can be meant")]
    Both { other: &'static str },
    #[error("says something only together with {other}")]
    Alone { other: &'static str },
    #[error("is there twice")]
    Twice,
    #[error("{from} to {to} is the range")]
    OutOfRange { from: i64, to: i64 },
    #[error("no point is made at {}", clock(time))]
    TimeNotScheduled { time: Time, there: Vec<Time> },
    #[error("no point is made on {}", day_name(*day))]
    WeekdayNotScheduled { day: Weekday },
    #[error("no point is ever made on the days this rule means")]
    NeverScheduled,
    #[error("between two points that are {gap_minutes} minutes apart no synchronisation would lie")]
    NoSyncBetween { gap_minutes: i64 },
    #[error("no rule says what is kept: every point but the last good one would be removed")]
    KeepsNothing,
    #[error("{asked} is less than the {minimum} that {tag} points are kept at least")]
    Undercut { tag: Tag, asked: Lifetime, minimum: Lifetime },
    #[error("points are up to {gap_hours} hours apart, and would be missed though all is well")]
    DeadlineTooShort { gap_hours: i64 },
    #[error("a job that may begin so late must end before it begins")]
    EndsBeforeStart,
    #[error("there is no machine \"{name}\"")]
    UnknownMachine { name: String, meant: Option<String> },
    #[error("machine \"{machine}\" has no source \"{name}\"")]
    UnknownSource { machine: String, name: String, meant: Option<String> },
    #[error("there is no vault \"{name}\"")]
    UnknownVault { name: String, meant: Option<String> },
    #[error("the path of a program begins with \"/\"")]
    NotAbsolute,
}

impl Fault {
    fn hint(&self) -> Option<String> {
        let did_you_mean = |name: &str| format!("did you mean \"{name}\"?");
        let text = match self {
            Self::UnknownKey { meant } | Self::Choice { meant, .. } => did_you_mean((*meant)?),
            Self::UnknownZone { meant: None, .. } => "write it as \"Europe/Berlin\"".to_owned(),
            Self::UnknownZone { meant: Some(meant), .. }
            | Self::UnknownMachine { meant: Some(meant), .. }
            | Self::UnknownSource { meant: Some(meant), .. }
            | Self::UnknownVault { meant: Some(meant), .. } => did_you_mean(meant),
            Self::UnknownMachine { .. } => "keelhold machine list shows them".to_owned(),
            Self::UnknownSource { .. } => "keelhold source list shows them".to_owned(),
            Self::Missing { example } => format!("for example: {example}"),
            Self::Lifetime { .. } => {
                "for example \"14 days\", \"4 weeks\", \"12 months\"".to_owned()
            }
            Self::Length { .. } => "for example \"45m\" or \"26h\"".to_owned(),
            Self::Rate { .. } => "for example \"20 MiB/s\"".to_owned(),
            Self::Time { .. } => "for example \"18:00\"".to_owned(),
            Self::MonthDay { .. } => {
                "for example \"last saturday\" or \"first monday\"; a number or \"last\" is a day"
                    .to_owned()
            }
            Self::TimeNotScheduled { there, .. } if !there.is_empty() => {
                format!("points are made at {}", joined(there.iter().map(clock)))
            }
            Self::TimeNotScheduled { .. }
            | Self::WeekdayNotScheduled { .. }
            | Self::NeverScheduled => "retention can only name what the schedule makes".to_owned(),
            Self::NoSyncBetween { gap_minutes } => {
                format!("synchronise at least each {gap_minutes} minutes, or \"before-point\"")
            }
            Self::KeepsNothing => "for example: daily = { for = \"14 days\" }".to_owned(),
            Self::Undercut { minimum, .. } => format!("ask for \"{minimum}\" or more"),
            Self::DeadlineTooShort { gap_hours } => format!("\"{}h\" is the least", gap_hours + 1),
            Self::EndsBeforeStart => "let must_end_within be longer than start_within".to_owned(),
            _ => return None,
        };
        Some(text)
    }
}

pub(super) fn clock(time: &Time) -> String {
    if time.second() == 0 {
        format!("{:02}:{:02}", time.hour(), time.minute())
    } else {
        format!("{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second())
    }
}

pub(super) const DAYS: [&str; 7] =
    ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

pub(super) fn day_name(day: Weekday) -> &'static str {
    usize::try_from(day.to_monday_zero_offset()).ok().and_then(|day| DAYS.get(day)).unwrap_or(&"")
}

fn joined(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

fn listed(choices: &[&str]) -> String {
    joined(choices.iter().map(|choice| format!("\"{choice}\"")))
}
