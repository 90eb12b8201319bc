//! One calendar event: the civil times it means, and the search for the next and the last of them.

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::TimeZone;

use super::marks::{Field, Marks};

/// Weekdays as bits, Monday the lowest.
pub(crate) const EVERY_DAY: u8 = 0b111_1111;

/// Dates and times of day; an event is at every time of every date.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) weekdays: u8,
    pub(crate) years: Marks,
    pub(crate) months: Marks,
    /// Days of the field `Day` or `DayFromEnd`.
    pub(crate) days: Marks,
    pub(crate) hours: Marks,
    pub(crate) minutes: Marks,
    pub(crate) seconds: Marks,
    /// Stands in the text; otherwise the zone of whoever asks.
    pub(crate) zone: Option<TimeZone>,
}

impl Event {
    /// Every day at midnight.
    pub(crate) fn daily() -> Self {
        Self {
            weekdays: EVERY_DAY,
            years: Marks::all(Field::Year),
            months: Marks::all(Field::Month),
            days: Marks::all(Field::Day),
            hours: Marks::one(Field::Hour, 0),
            minutes: Marks::one(Field::Minute, 0),
            seconds: Marks::one(Field::Second, 0),
            zone: None,
        }
    }

    pub(crate) fn has_weekday(&self, weekday: Weekday) -> bool {
        self.weekdays & weekday_bit(weekday) != 0
    }

    pub(crate) fn has_all_dates(&self) -> bool {
        self.weekdays == EVERY_DAY
            && self.years.is_all()
            && self.months.is_all()
            && self.days.is_all()
    }

    pub(crate) fn admits(&self, date: Date) -> bool {
        let month = Month::of(date);
        self.years.contains(month.year)
            && self.months.contains(month.month)
            && self.days_in(month) & (1 << date.day()) != 0
    }

    /// The days of a month that are meant, as bits 1 to 31.
    fn days_in(&self, month: Month) -> u32 {
        let Ok(first) = Date::new(month.year.cast_signed(), month.month_i8(), 1) else { return 0 };
        let length = first.days_in_month().unsigned_abs();
        let mut days = 0;
        for day in 1..=u16::from(length) {
            let counted = match self.days.field() {
                Field::DayFromEnd => u16::from(length) + 1 - day,
                _ => day,
            };
            days |= u32::from(self.days.contains(counted)) << day;
        }
        if self.weekdays == EVERY_DAY {
            return days;
        }
        let offset = u32::from(first.weekday().to_monday_zero_offset().unsigned_abs());
        let fits = |day: &u32| self.weekdays & (1 << ((day - 1 + offset) % 7)) != 0;
        (1..=u32::from(length)).filter(fits).fold(0, |fit, day| fit | (days & (1 << day)))
    }

    /// The first time that is meant and not before `from`. Fractions of a second count.
    pub(crate) fn at_or_after(&self, from: DateTime) -> Option<DateTime> {
        let from = if from.subsec_nanosecond() == 0 {
            from
        } else {
            without_fraction(from).checked_add(jiff::Span::new().seconds(1)).ok()?
        };
        if self.admits(from.date())
            && let Some(time) = self.time_from(from.time())
        {
            return Some(from.date().to_datetime(time));
        }
        let date = self.date_from(from.date().tomorrow().ok()?)?;
        Some(date.to_datetime(self.time_from(Time::midnight())?))
    }

    /// The last time that is meant and not after `to`.
    pub(crate) fn at_or_before(&self, to: DateTime) -> Option<DateTime> {
        let to = without_fraction(to);
        if self.admits(to.date())
            && let Some(time) = self.time_to(to.time())
        {
            return Some(to.date().to_datetime(time));
        }
        let date = self.date_to(to.date().yesterday().ok()?)?;
        Some(date.to_datetime(self.time_to(Time::constant(23, 59, 59, 0))?))
    }

    /// The first date not before `from`.
    pub(crate) fn date_from(&self, from: Date) -> Option<Date> {
        let mut month = Month::of(from);
        let mut days = u32::MAX << from.day();
        loop {
            let year = self.years.at_or_above(month.year)?;
            let least = if year == month.year { month.month } else { 1 };
            let Some(number) = self.months.at_or_above(least) else {
                (month, days) = (Month { year: year + 1, month: 1 }, u32::MAX);
                continue;
            };
            let found = Month { year, month: number };
            let left = self.days_in(found) & if found == month { days } else { u32::MAX };
            if left != 0 {
                return found.date(left.trailing_zeros());
            }
            (month, days) = (found.after(), u32::MAX);
        }
    }

    /// The last date not after `to`.
    fn date_to(&self, to: Date) -> Option<Date> {
        let mut month = Month::of(to);
        let mut days = u32::MAX >> (31 - to.day());
        loop {
            let year = self.years.at_or_below(month.year)?;
            let most = if year == month.year { month.month } else { 12 };
            let Some(number) = self.months.at_or_below(most) else {
                (month, days) = (Month { year: year.checked_sub(1)?, month: 12 }, u32::MAX);
                continue;
            };
            let found = Month { year, month: number };
            let left = self.days_in(found) & if found == month { days } else { u32::MAX };
            if left != 0 {
                return found.date(31 - left.leading_zeros());
            }
            (month, days) = (found.before(), u32::MAX);
        }
    }

    fn time_from(&self, from: Time) -> Option<Time> {
        let (hour, minute, second) = parts(from);
        let first = (self.minutes.first()?, self.seconds.first()?);
        let found = self.hours.at_or_above(hour)?;
        if found > hour {
            return Some(time(found, first.0, first.1));
        }
        let found = self.minutes.at_or_above(minute);
        if found == Some(minute)
            && let Some(second) = self.seconds.at_or_above(second)
        {
            return Some(time(hour, minute, second));
        }
        let later =
            if found == Some(minute) { self.minutes.at_or_above(minute + 1) } else { found };
        match later {
            Some(minute) => Some(time(hour, minute, first.1)),
            None => Some(time(self.hours.at_or_above(hour + 1)?, first.0, first.1)),
        }
    }

    fn time_to(&self, to: Time) -> Option<Time> {
        let (hour, minute, second) = parts(to);
        let last = (self.minutes.last()?, self.seconds.last()?);
        let found = self.hours.at_or_below(hour)?;
        if found < hour {
            return Some(time(found, last.0, last.1));
        }
        let found = self.minutes.at_or_below(minute);
        if found == Some(minute)
            && let Some(second) = self.seconds.at_or_below(second)
        {
            return Some(time(hour, minute, second));
        }
        let below = |marks: &Marks, value: u16| marks.at_or_below(value.checked_sub(1)?);
        let earlier = if found == Some(minute) { below(&self.minutes, minute) } else { found };
        match earlier {
            Some(minute) => Some(time(hour, minute, last.1)),
            None => Some(time(below(&self.hours, hour)?, last.0, last.1)),
        }
    }

    pub(crate) fn times_count(&self) -> usize {
        self.hours.count() * self.minutes.count() * self.seconds.count()
    }

    pub(crate) fn times(&self) -> impl Iterator<Item = Time> + '_ {
        self.hours.iter().flat_map(move |hour| {
            self.minutes.iter().flat_map(move |minute| {
                self.seconds.iter().map(move |second| time(hour, minute, second))
            })
        })
    }
}

/// A month of a year.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Month {
    year: u16,
    month: u16,
}

impl Month {
    fn of(date: Date) -> Self {
        let year = u16::try_from(date.year()).unwrap_or(0);
        Self { year, month: u16::from(date.month().unsigned_abs()) }
    }

    fn month_i8(self) -> i8 {
        i8::try_from(self.month).unwrap_or(1)
    }

    fn after(self) -> Self {
        match self.month {
            12 => Self { year: self.year + 1, month: 1 },
            month => Self { year: self.year, month: month + 1 },
        }
    }

    fn before(self) -> Self {
        match self.month {
            1 => Self { year: self.year.saturating_sub(1), month: 12 },
            month => Self { year: self.year, month: month - 1 },
        }
    }

    fn date(self, day: u32) -> Option<Date> {
        Date::new(self.year.cast_signed(), self.month_i8(), i8::try_from(day).ok()?).ok()
    }
}

pub(crate) fn weekday_bit(weekday: Weekday) -> u8 {
    1 << weekday.to_monday_zero_offset()
}

fn parts(time: Time) -> (u16, u16, u16) {
    let plain = |part: i8| u16::from(part.unsigned_abs());
    (plain(time.hour()), plain(time.minute()), plain(time.second()))
}

/// Marks hold nothing that is not on a clock.
fn time(hour: u16, minute: u16, second: u16) -> Time {
    let plain = |part: u16| i8::try_from(part).unwrap_or(0);
    Time::new(plain(hour), plain(minute), plain(second), 0).unwrap_or(Time::midnight())
}

fn without_fraction(civil: DateTime) -> DateTime {
    let (hour, minute, second) = parts(civil.time());
    civil.date().to_datetime(time(hour, minute, second))
}
