//! Why a calendar cannot be read: where, what stands there, and the reason.

use super::marks::Field;

/// A refusal. `at` counts bytes from the start of the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}{}", place(*at, piece))]
pub struct CalendarFault {
    pub at: usize,
    /// What stands there.
    pub piece: String,
    pub reason: Reason,
}

fn place(at: usize, piece: &str) -> String {
    if piece.is_empty() {
        return format!(" (at character {})", at + 1);
    }
    format!(" (\"{piece}\", at character {})", at + 1)
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    #[error("there is nothing here: write for example \"daily 12:00\" or \"Mon..Fri 02:00\"")]
    Empty,
    #[error("longer than {most} characters")]
    TooLong { most: usize },
    #[error("not a weekday, a date, a time, a zone or one of the short words{}", meant(*.suggestion))]
    UnknownWord { suggestion: Option<&'static str> },
    #[error("this is not known as a time zone")]
    UnknownZone,
    #[error("a list with an empty place: a comma needs something on both sides")]
    EmptyInList,
    #[error("a range needs a value on both sides of \"..\"")]
    HalfRange,
    #[error("not a weekday{}", meant(*.suggestion))]
    NotAWeekday { suggestion: Option<&'static str> },
    #[error("the range of weekdays goes backwards: a week begins on Monday, so write two ranges")]
    WeekdaysBackwards,
    #[error("not a number")]
    NotANumber,
    #[error("the {} is {low} to {high}", field.word())]
    OutOfRange { field: Field, low: u16, high: u16 },
    #[error("the range goes backwards")]
    Backwards,
    #[error("\"*\" means every {} and stands alone; steps are written as start/step", field.word())]
    StarNotAlone { field: Field },
    #[error("a step of nothing never moves")]
    NoStep,
    #[error("a step of {step} from {from} leaves the {}s: it would happen only once", field.word())]
    StepTooFar { field: Field, from: u16, step: u16 },
    #[error(
        "a date is year-month-day, month-day, or with \"~\" for days counted from the month's end"
    )]
    NotADate,
    #[error("a time is hour:minute or hour:minute:second")]
    NotATime,
    #[error("fractions of a second are not told apart")]
    Fraction,
    #[error("there is one already")]
    Twice,
    #[error("this cannot follow what stands before it: weekdays, date, times, zone is the order")]
    OutOfOrder,
    #[error("\"{word}\" has its times already: use a date with \"*\" for others")]
    TakesNone { word: &'static str },
    #[error("on which weekday? Write for example \"weekly sat 02:00\"")]
    WhichWeekday,
    #[error("on which day? Write for example \"monthly 15 02:00\" or \"monthly last 02:00\"")]
    WhichDay,
    #[error("no such day: month {month} has at most {length} days")]
    NoSuchDay { month: u16, length: u16 },
    #[error("no date is like that: it would never happen")]
    Never,
    #[error("hours are written from-to: \"mon..fri 20:00-06:00\"")]
    NoHours,
    #[error("these hours have no length; the whole day is 00:00-24:00")]
    EmptyHours,
}

fn meant(suggestion: Option<&'static str>) -> String {
    suggestion.map_or_else(String::new, |word| format!("; did you mean \"{word}\"?"))
}
