//! Lists, ranges and steps: `1,3`, `1..5`, `0/15`, `8..18/2`; and those of weekdays.

use super::event::EVERY_DAY;
use super::fault::{CalendarFault, Reason};
use super::marks::{Field, Marks};
use super::parse::Piece;

const WEEKDAYS: [(&str, &str); 7] = [
    ("monday", "mon"),
    ("tuesday", "tue"),
    ("wednesday", "wed"),
    ("thursday", "thu"),
    ("friday", "fri"),
    ("saturday", "sat"),
    ("sunday", "sun"),
];

pub(crate) fn weekday_names() -> impl Iterator<Item = &'static str> {
    WEEKDAYS.iter().map(|(long, _)| *long)
}

/// Monday is 0.
pub(crate) fn weekday(text: &str) -> Option<u8> {
    let is = |name: &str| text.eq_ignore_ascii_case(name);
    let place = WEEKDAYS.iter().position(|(long, short)| is(long) || is(short))?;
    u8::try_from(place).ok()
}

pub(crate) fn is_weekdays(piece: Piece<'_>) -> bool {
    piece.text.split([',', '-', '.']).any(|word| weekday(word).is_some())
}

/// A list of weekdays and ranges of them, as bits.
pub(crate) fn weekdays(
    piece: Piece<'_>,
    suggest: impl Fn() -> Option<&'static str>,
) -> Result<u8, CalendarFault> {
    let mut bits = 0;
    for item in piece.split(",") {
        if item.text.is_empty() {
            return Err(item.refuse(Reason::EmptyInList));
        }
        let one = |name: Piece<'_>| {
            weekday(name.text).ok_or_else(|| {
                // Alone it may have been meant as any word; inside of a list it is a weekday.
                if name.text == piece.text {
                    name.refuse(Reason::UnknownWord { suggestion: suggest() })
                } else {
                    name.refuse(Reason::NotAWeekday { suggestion: None })
                }
            })
        };
        // "Mon-Fri" is an old way to write it.
        let Some((from, to)) = item.split_once("..").or_else(|| item.split_once("-")) else {
            bits |= 1 << one(item)?;
            continue;
        };
        if from.text.is_empty() || to.text.is_empty() {
            return Err(item.refuse(Reason::HalfRange));
        }
        let (from, to) = (one(from)?, one(to)?);
        if from > to {
            return Err(item.refuse(Reason::WeekdaysBackwards));
        }
        bits |= (from..=to).fold(0, |bits, day| bits | 1 << day);
    }
    debug_assert!(bits != 0 && bits <= EVERY_DAY);
    Ok(bits)
}

/// The values of one field.
pub(crate) fn values(piece: Piece<'_>, field: Field) -> Result<Marks, CalendarFault> {
    if piece.text == "*" {
        return Ok(Marks::all(field));
    }
    let mut marks = Marks::none(field);
    for item in piece.split(",") {
        if item.text.is_empty() {
            // Without a comma the field as a whole is missing.
            let is_list = piece.text.contains(',');
            return Err(item.refuse(if is_list {
                Reason::EmptyInList
            } else {
                Reason::NotANumber
            }));
        }
        if item.text.contains('*') {
            return Err(item.refuse(Reason::StarNotAlone { field }));
        }
        add(&mut marks, item, field)?;
    }
    Ok(marks)
}

fn add(marks: &mut Marks, item: Piece<'_>, field: Field) -> Result<(), CalendarFault> {
    let (range, step) = match item.split_once("/") {
        Some((range, step)) => (range, Some(step)),
        None => (item, None),
    };
    let (from, to) = match range.split_once("..") {
        Some((from, to)) if from.text.is_empty() || to.text.is_empty() => {
            return Err(item.refuse(Reason::HalfRange));
        }
        Some((from, to)) => (number(from, field)?, Some(number(to, field)?)),
        None => (number(range, field)?, None),
    };
    if to.is_some_and(|to| to < from) {
        return Err(item.refuse(Reason::Backwards));
    }
    let Some(step) = step else {
        (from..=to.unwrap_or(from)).for_each(|value| marks.insert(value));
        return Ok(());
    };
    let by = plain(step)?;
    if by == 0 {
        return Err(step.refuse(Reason::NoStep));
    }
    let too_far = || item.refuse(Reason::StepTooFar { field, from, step: by });
    if field == Field::DayFromEnd && to.is_none() {
        // Without an end the steps go on with the calendar, towards the last day.
        if from <= by {
            return Err(too_far());
        }
        (1..=from).rev().step_by(usize::from(by)).for_each(|value| marks.insert(value));
        return Ok(());
    }
    if to.is_none() && u32::from(from) + u32::from(by) > u32::from(field.high()) {
        return Err(too_far());
    }
    let last = to.unwrap_or(field.high());
    (from..=last).step_by(usize::from(by)).for_each(|value| marks.insert(value));
    Ok(())
}

pub(crate) fn number(piece: Piece<'_>, field: Field) -> Result<u16, CalendarFault> {
    let mut value = plain(piece)?;
    if field == Field::Year {
        // Two digits, as people write years.
        value = match value {
            0..=69 => value + 2000,
            70..=99 => value + 1900,
            _ => value,
        };
    }
    if value < field.low() || value > field.high() {
        let (low, high) = (field.low(), field.high());
        return Err(piece.refuse(Reason::OutOfRange { field, low, high }));
    }
    Ok(value)
}

/// Digits and nothing else; what is too large for any field stays too large.
fn plain(piece: Piece<'_>) -> Result<u16, CalendarFault> {
    if piece.text.is_empty() || !piece.text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(piece.refuse(Reason::NotANumber));
    }
    Ok(piece.text.parse().unwrap_or(u16::MAX))
}
