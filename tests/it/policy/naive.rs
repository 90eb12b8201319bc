//! The model: it walks minute by minute over the clock on the wall of a zone, and knows nothing of
//! the product's code.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use keelhold_tests::chance::Chance;

pub const MINUTE: i64 = 60;
pub const HOUR: i64 = 60;
pub const DAY: i64 = 24 * HOUR;

/// Minutes since 1970.
pub fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(minute * MINUTE).unwrap()
}

pub fn minute_of(at: Timestamp) -> i64 {
    at.as_second().div_euclid(MINUTE)
}

/// Days and times as people say them.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Monday is 0.
    pub weekdays: Vec<i8>,
    /// Minutes since midnight.
    pub times: Vec<i64>,
}

impl Wish {
    /// Mostly at night, where clocks change.
    pub fn draw(chance: &mut Chance) -> Self {
        let mut weekdays: Vec<i8> = (0..7).collect();
        if chance.below(3) == 0 {
            weekdays.retain(|_| chance.below(3) > 0);
        }
        if weekdays.is_empty() {
            weekdays.push(6);
        }
        let mut times = BTreeSet::new();
        for _ in 0..=chance.below(3) {
            let (from, length) = if chance.below(3) > 0 { (0, 4 * 12) } else { (0, 24 * 12) };
            times.insert((from + chance.below(length) as i64) * 5);
        }
        Self { weekdays, times: times.into_iter().collect() }
    }

    pub fn text(&self) -> String {
        const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        let days: Vec<&str> = self.weekdays.iter().map(|day| NAMES[*day as usize]).collect();
        let times: Vec<String> =
            self.times.iter().map(|time| format!("{:02}:{:02}", time / 60, time % 60)).collect();
        format!("{} {}", days.join(","), times.join(" "))
    }

    /// The minutes at which something is to happen: each time of the wall when it is shown first, or
    /// would have been, had it not been skipped.
    pub fn slots(&self, zone: &TimeZone, from: i64, to: i64) -> Vec<i64> {
        let mut slots = Vec::new();
        let shown = |minute: i64| {
            let civil = zone.to_datetime(at(minute));
            let date = civil.date().since(jiff::civil::date(1970, 1, 1)).unwrap();
            let of_day = i64::from(civil.hour()) * 60 + i64::from(civil.minute());
            i64::from(date.get_days()) * DAY + of_day
        };
        // Nothing shown earlier is shown for the first time.
        let mut highest = (from - 2 * DAY..from).map(shown).max().unwrap();
        for minute in from..to {
            let now = shown(minute);
            let wanted = (highest + 1..=now).any(|shown| {
                // 1970 began on a Thursday.
                let weekday = (shown.div_euclid(DAY) + 3).rem_euclid(7) as i8;
                self.times.contains(&shown.rem_euclid(DAY)) && self.weekdays.contains(&weekday)
            });
            highest = highest.max(now);
            if wanted {
                slots.push(minute);
            }
        }
        slots
    }
}

/// What ought to be told and done at one look.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ought {
    pub start: Option<(i64, bool)>,
    pub missed: Vec<i64>,
    pub is_overdue: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    Idle,
    Running(i64),
    Parked(i64),
}

/// One source with one calendar. Remembers of each slot alone whether it is done with.
pub struct Naive {
    slots: Vec<(i64, bool)>,
    pub job: Job,
    pub last_good: i64,
    told: bool,
    deadline: i64,
}

impl Naive {
    pub fn new(slots: &[i64], begun: i64, deadline: i64) -> Self {
        let slots = slots.iter().map(|slot| (*slot, *slot <= begun)).collect();
        Self { slots, job: Job::Idle, last_good: begun, told: false, deadline }
    }

    pub fn look(&mut self, now: i64, is_there: bool) -> Ought {
        let mut ought = Ought::default();
        let mut open: Vec<usize> = (0..self.slots.len())
            .filter(|place| self.slots[*place].0 <= now && !self.slots[*place].1)
            .collect();
        let newest = open.pop();
        for place in open {
            self.slots[place].1 = true;
            ought.missed.push(self.slots[place].0);
        }
        if is_there {
            match (self.job, newest) {
                (Job::Parked(slot), _) => {
                    ought.start = Some((slot, true));
                    self.job = Job::Running(slot);
                }
                (Job::Idle, Some(place)) => {
                    self.slots[place].1 = true;
                    ought.start = Some((self.slots[place].0, false));
                    self.job = Job::Running(self.slots[place].0);
                }
                _ => {}
            }
        }
        if now - self.last_good > self.deadline && !self.told {
            (self.told, ought.is_overdue) = (true, true);
        }
        ought
    }

    pub fn ended(&mut self, now: i64, is_good: bool) {
        self.job = Job::Idle;
        if is_good {
            (self.last_good, self.told) = (now, false);
        }
    }

    /// What nobody accounted for, of all that has passed.
    pub fn forgotten(&self, now: i64) -> usize {
        self.slots.iter().filter(|(slot, done)| *slot <= now && !done).count()
    }

    pub fn next_slot(&self, now: i64) -> Option<i64> {
        self.slots.iter().map(|(slot, _)| *slot).find(|slot| *slot > now)
    }
}
