//! Reads calendar events and the plain forms.
//!
//! ```text
//! calendar = event *( ";" event )
//! event    = [ weekdays ] [ date ] *time [ zone ]         at least one of the first three
//!          / word [ zone ]                                hourly, quarterly, ...
//!          / "daily" *time [ zone ]
//!          / "weekly" [ weekdays *time ] [ zone ]
//!          / "monthly" [ ( day / "last" ) *time ] [ zone ]
//! ```
//!
//! An event with several times is several events, one for each: what they share is written once.

use jiff::tz::TimeZone;

use super::chain;
use super::event::{EVERY_DAY, Event};
use super::fault::{CalendarFault, Reason};
use super::marks::{Field, Marks};

/// More is no schedule; and no text makes us work without end.
const LENGTH_MAX: usize = 1_000;

/// A stretch of the text without spaces, and where it begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece<'a> {
    pub(crate) at: usize,
    pub(crate) text: &'a str,
}

impl<'a> Piece<'a> {
    pub(crate) fn refuse(self, reason: Reason) -> CalendarFault {
        CalendarFault { at: self.at, piece: self.text.to_owned(), reason }
    }

    /// Cut at every `mark`.
    pub(crate) fn split(self, mark: &'a str) -> impl Iterator<Item = Piece<'a>> {
        let mut at = self.at;
        self.text.split(mark).map(move |text| {
            let piece = Piece { at, text };
            at += text.len() + mark.len();
            piece
        })
    }

    pub(crate) fn split_once(self, mark: &str) -> Option<(Piece<'a>, Piece<'a>)> {
        let place = self.text.find(mark)?;
        let behind = place + mark.len();
        let after = Piece { at: self.at + behind, text: &self.text[behind..] };
        Some((Piece { at: self.at, text: &self.text[..place] }, after))
    }

    pub(crate) fn words(self) -> Vec<Piece<'a>> {
        self.split(" ").filter(|piece| !piece.text.is_empty()).collect()
    }

    fn is(self, word: &str) -> bool {
        self.text.eq_ignore_ascii_case(word)
    }
}

/// The words that stand for a whole event, and the event.
const WORDS: [(&str, &str); 12] = [
    ("minutely", "*-*-* *:*:00"),
    ("hourly", "*-*-* *:00:00"),
    ("daily", "*-*-* 00:00:00"),
    ("weekly", "Mon *-*-* 00:00:00"),
    ("monthly", "*-*-01 00:00:00"),
    ("quarterly", "*-01,04,07,10-01 00:00:00"),
    ("semiannually", "*-01,07-01 00:00:00"),
    ("semi-annually", "*-01,07-01 00:00:00"),
    ("biannually", "*-01,07-01 00:00:00"),
    ("bi-annually", "*-01,07-01 00:00:00"),
    ("yearly", "*-01-01 00:00:00"),
    ("annually", "*-01-01 00:00:00"),
];

pub(crate) fn calendar(text: &str) -> Result<Vec<Event>, CalendarFault> {
    let whole = Piece { at: 0, text };
    if text.len() > LENGTH_MAX {
        let beginning = text.char_indices().nth(20).map_or(text, |(end, _)| &text[..end]);
        let piece = Piece { at: 0, text: beginning };
        return Err(piece.refuse(Reason::TooLong { most: LENGTH_MAX }));
    }
    // Tabs and line ends are as good as spaces; one byte each, so places stay true.
    if let Some(strange) = text.find(|c: char| c.is_control() && !c.is_ascii_whitespace()) {
        return Err(
            Piece { at: strange, text: "" }.refuse(Reason::UnknownWord { suggestion: None })
        );
    }
    let mut events = Vec::new();
    for part in whole.split(";") {
        let words = part.split(" ").flat_map(|piece| piece.split("\t"));
        let words: Vec<_> = words.filter(|piece| !piece.text.trim().is_empty()).collect();
        if words.is_empty() {
            return Err(part.refuse(Reason::Empty));
        }
        for event in event(&words)? {
            if !events.contains(&event) {
                events.push(event);
            }
        }
    }
    Ok(events)
}

/// One event, given once for each of its times.
fn event(words: &[Piece<'_>]) -> Result<Vec<Event>, CalendarFault> {
    let (zone, words) = split_zone(words)?;
    let Some((first, rest)) = words.split_first() else {
        return Err(Piece { at: 0, text: "" }.refuse(Reason::Empty));
    };
    let mut event = Event { zone, ..Event::daily() };
    let known = WORDS.iter().find(|(word, _)| first.is(word));
    let times = match known {
        None => dates(&mut event, words)?,
        Some((_, _)) if first.is("daily") => rest,
        Some((word, _)) if first.is("weekly") && !rest.is_empty() => {
            weekly(&mut event, word, rest)?
        }
        Some((_, _)) if first.is("monthly") && !rest.is_empty() => monthly(&mut event, rest)?,
        Some((word, meaning)) => {
            if let Some(more) = rest.first() {
                return Err(more.refuse(Reason::TakesNone { word }));
            }
            let meant = Piece { at: first.at, text: meaning };
            let pieces = meant.words();
            let times = dates(&mut event, &pieces)?;
            return with_times(&event, times);
        }
    };
    check_dates(&event, *first)?;
    with_times(&event, times)
}

/// A zone stands at the end, and nothing else there looks like one.
fn split_zone<'p, 'a>(
    words: &'p [Piece<'a>],
) -> Result<(Option<TimeZone>, &'p [Piece<'a>]), CalendarFault> {
    let Some((last, before)) = words.split_last() else { return Ok((None, words)) };
    let is_word = |piece: &Piece<'_>| WORDS.iter().any(|(word, _)| piece.is(word));
    let looks = last.text.starts_with(|c: char| c.is_ascii_alphabetic());
    if !looks || before.is_empty() || is_word(last) || last.is("last") {
        return Ok((None, words));
    }
    if last.text.split([',', '-']).all(|word| chain::weekday(word.trim_matches('.')).is_some())
        || last.text.contains("..")
        || last.text.contains(',')
    {
        return Ok((None, words));
    }
    let zone = TimeZone::get(last.text).map_err(|_| last.refuse(Reason::UnknownZone))?;
    Ok((Some(zone), before))
}

/// Weekdays and date, in this order, both optional. What is left are times.
fn dates<'p, 'a>(
    event: &mut Event,
    words: &'p [Piece<'a>],
) -> Result<&'p [Piece<'a>], CalendarFault> {
    let mut rest = words;
    if let Some((first, after)) = rest.split_first()
        && first.text.starts_with(|c: char| c.is_alphabetic() || c == ',')
    {
        event.weekdays = chain::weekdays(*first, || suggest(first.text))?;
        rest = after;
    }
    if let Some((first, after)) = rest.split_first()
        && !first.text.contains(':')
        && first.text.contains(['-', '~'])
    {
        date(event, *first)?;
        rest = after;
    }
    Ok(rest)
}

fn weekly<'p, 'a>(
    event: &mut Event,
    word: &'static str,
    rest: &'p [Piece<'a>],
) -> Result<&'p [Piece<'a>], CalendarFault> {
    let Some((first, times)) = rest.split_first() else { return Ok(rest) };
    if first.text.contains(':') {
        return Err(first.refuse(Reason::WhichWeekday));
    }
    if !first.text.starts_with(|c: char| c.is_alphabetic()) {
        return Err(first.refuse(Reason::TakesNone { word }));
    }
    event.weekdays = chain::weekdays(*first, || None)?;
    Ok(times)
}

fn monthly<'p, 'a>(
    event: &mut Event,
    rest: &'p [Piece<'a>],
) -> Result<&'p [Piece<'a>], CalendarFault> {
    let Some((first, times)) = rest.split_first() else { return Ok(rest) };
    if first.text.contains(':') {
        return Err(first.refuse(Reason::WhichDay));
    }
    event.days = if first.is("last") {
        Marks::one(Field::DayFromEnd, 1)
    } else {
        chain::values(*first, Field::Day)?
    };
    Ok(times)
}

fn date(event: &mut Event, piece: Piece<'_>) -> Result<(), CalendarFault> {
    let (head, from_end) = match piece.split_once("~") {
        Some((head, days)) => (head, Some(days)),
        None => (piece, None),
    };
    let parts: Vec<_> = head.split("-").collect();
    let (year, month, day) = match (parts.as_slice(), from_end) {
        (&[year, month, day], None) => (Some(year), month, day),
        (&[month, day], None) => (None, month, day),
        (&[year, month], Some(day)) => (Some(year), month, day),
        (&[month], Some(day)) => (None, month, day),
        _ => return Err(piece.refuse(Reason::NotADate)),
    };
    if let Some(year) = year {
        event.years = chain::values(year, Field::Year)?;
    }
    event.months = chain::values(month, Field::Month)?;
    let field = if from_end.is_some() { Field::DayFromEnd } else { Field::Day };
    event.days = chain::values(day, field)?;
    Ok(())
}

fn with_times(event: &Event, times: &[Piece<'_>]) -> Result<Vec<Event>, CalendarFault> {
    if times.is_empty() {
        return Ok(vec![event.clone()]);
    }
    times.iter().map(|piece| time(event, *piece)).collect()
}

fn time(event: &Event, piece: Piece<'_>) -> Result<Event, CalendarFault> {
    if !piece.text.contains(':') {
        return Err(piece.refuse(misplaced(piece)));
    }
    let parts: Vec<_> = piece.split(":").collect();
    let (hour, minute, second) = match *parts.as_slice() {
        [hour, minute] => (hour, minute, None),
        [hour, minute, second] => (hour, minute, Some(second)),
        _ => return Err(piece.refuse(Reason::NotATime)),
    };
    let seconds = match second {
        None => Marks::one(Field::Second, 0),
        Some(second) if second.text.replace("..", "").contains('.') => {
            return Err(second.refuse(Reason::Fraction));
        }
        Some(second) => chain::values(second, Field::Second)?,
    };
    Ok(Event {
        hours: chain::values(hour, Field::Hour)?,
        minutes: chain::values(minute, Field::Minute)?,
        seconds,
        ..event.clone()
    })
}

/// What something is that stands where a time should.
fn misplaced(piece: Piece<'_>) -> Reason {
    if chain::is_weekdays(piece) {
        return Reason::OutOfOrder;
    }
    if piece.text.contains(['-', '~']) {
        return Reason::Twice;
    }
    if piece.text.starts_with(|c: char| c.is_ascii_digit() || c == '*') {
        return Reason::NotATime;
    }
    Reason::UnknownWord { suggestion: suggest(piece.text) }
}

/// Dates that do not exist are refused now, not found out in a year.
fn check_dates(event: &Event, piece: Piece<'_>) -> Result<(), CalendarFault> {
    let beginning = jiff::civil::date(i16::try_from(Field::Year.low()).unwrap_or(1970), 1, 1);
    if event.date_from(beginning).is_some() {
        return Ok(());
    }
    // Without weekdays: is it the day that no month has?
    let any_weekday = Event { weekdays: EVERY_DAY, ..event.clone() };
    let reason = match (event.months.first(), any_weekday.date_from(beginning)) {
        (Some(month), None) => {
            let february = if event.years.is_all() { 29 } else { 28 };
            let length = match month {
                2 => february,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            Reason::NoSuchDay { month, length }
        }
        _ => Reason::Never,
    };
    Err(piece.refuse(reason))
}

/// The known word that is one slip away.
fn suggest(text: &str) -> Option<&'static str> {
    let text = text.to_ascii_lowercase();
    let words = WORDS.iter().map(|(word, _)| *word).chain(chain::weekday_names());
    words.filter(|word| slips(&text, word) <= 2 && word.len() > 3).min_by_key(|w| slips(&text, w))
}

/// The number of letters to change, add or leave out.
fn slips(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (above, letter) in left.chars().enumerate() {
        let mut corner = row[0];
        row[0] = above + 1;
        for (place, other) in right.iter().enumerate() {
            let change = corner + usize::from(letter != *other);
            corner = row[place + 1];
            row[place + 1] = change.min(corner + 1).min(row[place] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}
