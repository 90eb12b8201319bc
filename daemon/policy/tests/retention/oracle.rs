//! Retention, calculated slowly and in another way: a calendar walked day by day, zones by their rule
//! in words, expiry by counting days. Uses nothing of the product but its words for input and output.

use std::sync::OnceLock;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    pub year: i64,
    pub month: i64,
    pub day: i64,
    /// Monday is 0.
    pub weekday: i64,
}

/// Every day from 1950 to 2400, in order, as they follow each other.
pub struct Days {
    pub all: Vec<Day>,
    /// Where months begin.
    firsts: Vec<usize>,
}

/// 1970-01-01 in the list.
const EPOCH: i64 = 7_305;
pub const DAY: i64 = 86_400;

pub fn days() -> &'static Days {
    static DAYS: OnceLock<Days> = OnceLock::new();
    DAYS.get_or_init(|| {
        let lengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let mut found = Days { all: Vec::new(), firsts: Vec::new() };
        // A Sunday.
        let mut today = Day { year: 1950, month: 1, day: 1, weekday: 6 };
        while today.year < 2400 {
            if today.day == 1 {
                found.firsts.push(found.all.len());
            }
            found.all.push(today);
            let year = today.year;
            let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let leap_day = i64::from(is_leap && today.month == 2);
            today.day += 1;
            today.weekday = (today.weekday + 1) % 7;
            if today.day > lengths[usize::try_from(today.month).unwrap() - 1] + leap_day {
                (today.day, today.month) = (1, today.month + 1);
            }
            if today.month == 13 {
                (today.month, today.year) = (1, today.year + 1);
            }
        }
        found
    })
}

impl Days {
    pub fn at(&self, index: i64) -> Day {
        self.all[usize::try_from(index).unwrap()]
    }

    pub fn find(&self, year: i64, month: i64, day: i64) -> i64 {
        let first = self.firsts[usize::try_from((year - 1950) * 12 + month - 1).unwrap()];
        i64::try_from(first).unwrap() + day - 1
    }

    fn add_months(&self, index: i64, count: i64) -> i64 {
        let from = self.at(index);
        let month = (from.year - 1950) * 12 + from.month - 1 + count;
        let first = i64::try_from(self.firsts[usize::try_from(month).unwrap()]).unwrap();
        // Forward from the first of the month until the day is there or the month is over.
        let mut index = first;
        while self.at(index).day < from.day && self.at(index + 1).day != 1 {
            index += 1;
        }
        index
    }

    /// The day of the month that is the n-th of its weekday there, or the last.
    fn nth_weekday(&self, of: Day, nth: i64, weekday: i64) -> i64 {
        let mut index = self.find(of.year, of.month, 1);
        let mut days = Vec::new();
        loop {
            let day = self.at(index);
            if day.weekday == weekday {
                days.push(day.day);
            }
            index += 1;
            if self.at(index).day == 1 {
                break;
            }
        }
        if nth == -1 { *days.last().unwrap() } else { days[usize::try_from(nth - 1).unwrap()] }
    }

    fn last_of_month(&self, of: Day) -> i64 {
        let mut index = self.find(of.year, of.month, 28);
        while self.at(index + 1).day != 1 {
            index += 1;
        }
        self.at(index).day
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    Utc,
    Kolkata,
    Berlin,
    NewYork,
}

impl Zone {
    pub const ALL: [Self; 4] = [Self::Utc, Self::Kolkata, Self::Berlin, Self::NewYork];

    pub fn name(self) -> &'static str {
        match self {
            Self::Utc => "UTC",
            Self::Kolkata => "Asia/Kolkata",
            Self::Berlin => "Europe/Berlin",
            Self::NewYork => "America/New_York",
        }
    }

    /// Seconds east of Greenwich at an instant (after 2007: rules were others before).
    fn offset(self, at: i64) -> i64 {
        let year = days().at(EPOCH + at.div_euclid(DAY)).year;
        let of = |month| Day { year, month, day: 1, weekday: 0 };
        let sunday = |month, nth| {
            let day = days().nth_weekday(of(month), nth, 6);
            (days().find(year, month, day) - EPOCH) * DAY
        };
        match self {
            Self::Utc => 0,
            Self::Kolkata => 19_800,
            Self::Berlin => {
                let summer = sunday(3, -1) + 3_600..sunday(10, -1) + 3_600;
                if summer.contains(&at) { 7_200 } else { 3_600 }
            }
            Self::NewYork => {
                let summer = sunday(3, 2) + 7 * 3_600..sunday(11, 1) + 6 * 3_600;
                if summer.contains(&at) { -14_400 } else { -18_000 }
            }
        }
    }

    /// Day in the list and second of the day on the zone's clocks.
    pub fn clock(self, at: i64) -> (i64, i64) {
        let local = at + self.offset(at);
        (EPOCH + local.div_euclid(DAY), local.rem_euclid(DAY))
    }

    fn offsets(self) -> [i64; 2] {
        match self {
            Self::Utc => [0, 0],
            Self::Kolkata => [19_800, 19_800],
            Self::Berlin => [7_200, 3_600],
            Self::NewYork => [-14_400, -18_000],
        }
    }

    fn exact(self, day: i64, second: i64) -> Option<i64> {
        let local = (day - EPOCH) * DAY + second;
        // Summer time comes first in the repeated hour.
        self.offsets()
            .into_iter()
            .map(|offset| local - offset)
            .find(|at| self.clock(*at) == (day, second))
    }

    /// When a run of the schedule begins: at the next minute there is.
    pub fn run(self, day: i64, second: i64) -> i64 {
        (0..).find_map(|minute| self.exact(day, second + 60 * minute)).unwrap()
    }

    /// When clocks show this after a lifetime: in the missing hour, as if they had not been moved.
    fn end(self, day: i64, second: i64) -> i64 {
        self.exact(day, second).unwrap_or_else(|| (day - EPOCH) * DAY + second - self.offsets()[1])
    }
}

/// (count, unit): unit 0 days, 1 weeks, 2 months, 3 years.
pub type Life = (i64, usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    Day(i64),
    Last,
    /// n-th or -1 for the last; Monday is 0.
    Weekday(i64, i64),
}

/// One rule; which days it means depends on its place: daily, weekly, monthly, yearly.
#[derive(Debug, Clone)]
pub struct Rule {
    pub weekdays: Vec<i64>,
    pub on: On,
    pub months: Vec<i64>,
    /// Seconds of the day; none: all.
    pub times: Vec<i64>,
    pub life: Life,
}

#[derive(Debug, Clone)]
pub struct Policy {
    pub zone: Zone,
    pub rules: [Option<Rule>; 4],
    pub minimum: Option<[Life; 4]>,
}

impl Policy {
    pub fn tags(&self, day: i64, second: i64) -> [bool; 4] {
        let today = days().at(day);
        let is_on = |on: On| match on {
            On::Day(wanted) => today.day == wanted.min(days().last_of_month(today)),
            On::Last => today.day == days().last_of_month(today),
            On::Weekday(nth, weekday) => {
                today.weekday == weekday && today.day == days().nth_weekday(today, nth, weekday)
            }
        };
        std::array::from_fn(|tag| {
            let Some(rule) = &self.rules[tag] else { return false };
            let day = match tag {
                0 => true,
                1 => rule.weekdays.contains(&today.weekday),
                2 => is_on(rule.on),
                _ => rule.months.contains(&today.month) && is_on(rule.on),
            };
            day && (rule.times.is_empty() || rule.times.contains(&second))
        })
    }

    fn end(&self, made: i64, life: Life) -> i64 {
        let (mut day, second) = self.zone.clock(made);
        match life {
            (count, 0) => (0..count).for_each(|_| day += 1),
            (count, 1) => (0..count * 7).for_each(|_| day += 1),
            (count, 2) => day = days().add_months(day, count),
            (count, _) => day = days().add_months(day, 12 * count),
        }
        self.zone.end(day, second)
    }

    /// Name of the reason and its end, for one tag.
    fn tag_end(&self, made: i64, tag: usize, rules_count: bool) -> Option<(&'static str, i64)> {
        let rule = (0..=tag).rev().find_map(|lower| self.rules[lower].as_ref());
        let rule = rule.filter(|_| rules_count).map(|rule| self.end(made, rule.life));
        let floor = self.minimum.map(|minimum| self.end(made, minimum[tag]));
        let name = ["daily", "weekly", "monthly", "yearly"][tag];
        match (rule, floor) {
            (None, None) => None,
            (Some(rule), None) => Some((name, rule)),
            (None, Some(floor)) => Some(("minimum", floor)),
            (Some(rule), Some(floor)) if floor > rule => Some(("minimum", floor)),
            (Some(rule), Some(_)) => Some((name, rule)),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Point {
    pub made: i64,
    /// Seconds that passed since the appliance was first started, as it saw them.
    pub witnessed: i64,
    pub tags: [bool; 4],
    pub until: Option<i64>,
    pub is_open: bool,
    pub pin: Option<i64>,
    pub is_good: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    No,
    ForEver,
    ByPolicy,
    Delete,
}

/// Names of the reasons, sorted, and when they end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub reasons: Vec<&'static str>,
    pub expires: Option<i64>,
}

/// The newest good point, else the newest: looked for from the newest back.
fn last(points: &[Point]) -> Option<usize> {
    let mut newest: Vec<usize> = (0..points.len()).collect();
    newest.sort_by_key(|index| (points[*index].witnessed, points[*index].made, *index));
    newest.reverse();
    let good = newest.iter().copied().find(|index| points[*index].is_good);
    good.or(newest.first().copied())
}

pub fn answers(policy: &Policy, stop: Stop, points: &[Point], wall: i64, seen: i64) -> Vec<Answer> {
    let last = last(points);
    let each = points.iter().enumerate();
    each.map(|(index, point)| answer(policy, stop, point, last == Some(index), wall, seen))
        .collect()
}

fn answer(policy: &Policy, stop: Stop, point: &Point, last: bool, wall: i64, seen: i64) -> Answer {
    if stop == Stop::ForEver {
        return Answer { reasons: vec!["stopped"], expires: None };
    }
    let (mut reasons, mut ends) = (Vec::new(), Vec::new());
    let tags = (0..4).filter(|tag| point.tags[*tag]);
    let mut dates: Vec<_> =
        tags.filter_map(|tag| policy.tag_end(point.made, tag, stop != Stop::Delete)).collect();
    if stop != Stop::Delete {
        dates.extend(point.until.map(|until| ("on-demand", until)));
    }
    let mut waits = false;
    for (name, until) in dates {
        let promised = (until - point.made).max(0);
        let passed = (seen - point.witnessed).max(0);
        let by_witness = wall + (promised - passed);
        if wall < until {
            reasons.push(name);
        } else if passed < promised {
            waits = true;
        }
        let differs = passed < promised && by_witness - until >= 60;
        ends.push(if differs { by_witness } else { until });
    }
    if waits {
        reasons.push("not-witnessed");
    }
    if let Some(pin) = point.pin.filter(|pin| *pin > seen) {
        reasons.push("pinned");
        ends.push(wall + pin - seen);
    }
    let mut expires = ends.into_iter().max();
    let stays = stop != Stop::Delete;
    if last && stays {
        expires = expires.filter(|_| !reasons.is_empty());
        reasons.push("last-good");
    }
    if point.is_open && stays {
        reasons.push("open");
        expires = None;
    }
    reasons.sort_unstable();
    Answer { reasons, expires }
}
