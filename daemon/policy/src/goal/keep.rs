//! How long points are kept: four rules, each on its own. A rule names the points it means by the
//! calendar, never by counting.

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan};
use std::fmt;

/// Why points live: one rule each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tag {
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

impl Tag {
    pub const ALL: [Self; 4] = [Self::Daily, Self::Weekly, Self::Monthly, Self::Yearly];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
        }
    }

    /// The other way round: what is stored with a point.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tag| tag.name() == name)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    Days,
    Weeks,
    Months,
    Years,
}

impl Unit {
    pub const ALL: [Self; 4] = [Self::Days, Self::Weeks, Self::Months, Self::Years];

    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::Days => "days",
            Self::Weeks => "weeks",
            Self::Months => "months",
            Self::Years => "years",
        }
    }

    fn singular(self) -> &'static str {
        let plural = self.plural();
        &plural[..plural.len() - 1]
    }

    /// The longest that may be asked for in this unit.
    #[must_use]
    pub fn count_max(self) -> u32 {
        match self {
            Self::Days => 9_999,
            Self::Weeks => 5_163,
            Self::Months => 1_188,
            Self::Years => 99,
        }
    }
}

/// A time by the calendar: "14 days", "3 months".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lifetime {
    pub count: u32,
    pub unit: Unit,
}

/// Why a text is no lifetime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LifetimeFault {
    #[error("is not a number and days, weeks, months or years")]
    Form,
    #[error("is no time at all")]
    Zero,
    #[error("is longer than {max} {}", unit.plural())]
    TooLong { max: u32, unit: Unit },
}

impl Lifetime {
    #[must_use]
    pub const fn new(count: u32, unit: Unit) -> Self {
        Self { count, unit }
    }

    /// # Errors
    /// See [`LifetimeFault`].
    pub fn parse(text: &str) -> Result<Self, LifetimeFault> {
        let text = text.trim();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, word) = text.split_at(digits);
        let word = word.trim();
        let unit =
            Unit::ALL.into_iter().find(|unit| unit.plural() == word || unit.singular() == word);
        let unit = unit.ok_or(LifetimeFault::Form)?;
        if number.is_empty() {
            return Err(LifetimeFault::Form);
        }
        let too_long = LifetimeFault::TooLong { max: unit.count_max(), unit };
        let count: u32 = number.parse().map_err(|_| too_long)?;
        match count {
            0 => Err(LifetimeFault::Zero),
            count if count > unit.count_max() => Err(too_long),
            count => Ok(Self { count, unit }),
        }
    }

    fn span(self) -> Span {
        let count = i64::from(self.count.min(self.unit.count_max()));
        match self.unit {
            Unit::Days => count.days(),
            Unit::Weeks => count.weeks(),
            Unit::Months => count.months(),
            Unit::Years => count.years(),
        }
    }

    /// When something made at `at` has lived so long, by the wall clock of the zone. A day the month
    /// does not have is its last one. What lies behind the end of the calendar never comes.
    #[must_use]
    pub fn after(self, at: Timestamp, zone: &TimeZone) -> Timestamp {
        let end = zone.to_datetime(at).checked_add(self.span());
        end.ok().and_then(|end| zone.to_timestamp(end).ok()).unwrap_or(Timestamp::MAX)
    }

    /// Whether this ends before the other, whenever in a cycle of leap years it begins.
    #[must_use]
    pub fn is_shorter_than(self, other: Self) -> bool {
        (0..48).any(|month| {
            let begin = Date::constant(2024, 1, 31).saturating_add(i64::from(month).months());
            begin.saturating_add(self.span()) < begin.saturating_add(other.span())
        })
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = if self.count == 1 { self.unit.singular() } else { self.unit.plural() };
        write!(f, "{} {unit}", self.count)
    }
}

/// Times of day a rule means; none named: all of the schedule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Times(pub Vec<Time>);

impl Times {
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Which {
    First,
    Second,
    Third,
    Fourth,
    Last,
}

impl Which {
    pub const ALL: [Self; 5] = [Self::First, Self::Second, Self::Third, Self::Fourth, Self::Last];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Second => "second",
            Self::Third => "third",
            Self::Fourth => "fourth",
            Self::Last => "last",
        }
    }

    fn nth(self) -> i8 {
        match self {
            Self::First => 1,
            Self::Second => 2,
            Self::Third => 3,
            Self::Fourth => 4,
            Self::Last => -1,
        }
    }
}

/// One day of a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MonthDay {
    /// The last day where the month is shorter.
    Day(i8),
    Last,
    Weekday(Which, Weekday),
}

impl MonthDay {
    #[must_use]
    pub fn is_on(self, date: Date) -> bool {
        match self {
            Self::Day(day) => date.day() == day.min(date.days_in_month()),
            Self::Last => date.day() == date.days_in_month(),
            Self::Weekday(which, weekday) => {
                date.nth_weekday_of_month(which.nth(), weekday).is_ok_and(|found| found == date)
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daily {
    pub times: Times,
    pub keep: Lifetime,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weekly {
    /// From Monday on, each once.
    pub on: Vec<Weekday>,
    pub times: Times,
    pub keep: Lifetime,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Monthly {
    pub on: MonthDay,
    pub times: Times,
    pub keep: Lifetime,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Yearly {
    pub on: MonthDay,
    /// 1 to 12, in order, each once. Four of them make a rule of quarters.
    pub months: Vec<i8>,
    pub times: Times,
    pub keep: Lifetime,
}

/// The retention of one place: the pool, or one vault.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keep {
    pub daily: Option<Daily>,
    pub weekly: Option<Weekly>,
    pub monthly: Option<Monthly>,
    pub yearly: Option<Yearly>,
}

impl Keep {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        Tag::ALL.into_iter().all(|tag| self.lifetime(tag).is_none())
    }

    #[must_use]
    pub fn lifetime(&self, tag: Tag) -> Option<Lifetime> {
        match tag {
            Tag::Daily => self.daily.as_ref().map(|rule| rule.keep),
            Tag::Weekly => self.weekly.as_ref().map(|rule| rule.keep),
            Tag::Monthly => self.monthly.as_ref().map(|rule| rule.keep),
            Tag::Yearly => self.yearly.as_ref().map(|rule| rule.keep),
        }
    }

    #[must_use]
    pub fn times(&self, tag: Tag) -> Option<&Times> {
        match tag {
            Tag::Daily => self.daily.as_ref().map(|rule| &rule.times),
            Tag::Weekly => self.weekly.as_ref().map(|rule| &rule.times),
            Tag::Monthly => self.monthly.as_ref().map(|rule| &rule.times),
            Tag::Yearly => self.yearly.as_ref().map(|rule| &rule.times),
        }
    }

    /// Whether the rule of this tag means points of this day.
    #[must_use]
    pub fn is_on(&self, tag: Tag, date: Date) -> bool {
        match tag {
            Tag::Daily => self.daily.is_some(),
            Tag::Weekly => {
                self.weekly.as_ref().is_some_and(|rule| rule.on.contains(&date.weekday()))
            }
            Tag::Monthly => self.monthly.as_ref().is_some_and(|rule| rule.on.is_on(date)),
            Tag::Yearly => self
                .yearly
                .as_ref()
                .is_some_and(|rule| rule.months.contains(&date.month()) && rule.on.is_on(date)),
        }
    }

    /// The rule a tag lives by: its own, or where that was given up the next shorter one there is. A
    /// weekly point is a point of that day, too; a daily one is nothing else.
    #[must_use]
    pub fn rule_for(&self, tag: Tag) -> Option<(Tag, Lifetime)> {
        let downwards = Tag::ALL.into_iter().rev().filter(|rule| *rule <= tag);
        downwards.filter_map(|rule| Some((rule, self.lifetime(rule)?))).next()
    }
}

/// What retention may not be shorter than, where the appliance demands a minimum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Minimum {
    pub daily: Lifetime,
    pub weekly: Lifetime,
    pub monthly: Lifetime,
    pub yearly: Lifetime,
}

impl Minimum {
    pub const USUAL: Self = Self {
        daily: Lifetime::new(7, Unit::Days),
        weekly: Lifetime::new(4, Unit::Weeks),
        monthly: Lifetime::new(3, Unit::Months),
        yearly: Lifetime::new(1, Unit::Years),
    };

    #[must_use]
    pub fn of(&self, tag: Tag) -> Lifetime {
        match tag {
            Tag::Daily => self.daily,
            Tag::Weekly => self.weekly,
            Tag::Monthly => self.monthly,
            Tag::Yearly => self.yearly,
        }
    }

    /// Rules that are shorter than they may be.
    #[must_use]
    pub fn undercut_by(&self, keep: &Keep) -> Vec<Undercut> {
        let rules = Tag::ALL.into_iter().filter_map(|tag| Some((tag, keep.lifetime(tag)?)));
        let short = rules.filter(|(tag, asked)| asked.is_shorter_than(self.of(*tag)));
        short.map(|(tag, asked)| Undercut { tag, asked, minimum: self.of(tag) }).collect()
    }
}

/// A rule that asks for less than the minimum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undercut {
    pub tag: Tag,
    pub asked: Lifetime,
    pub minimum: Lifetime,
}
