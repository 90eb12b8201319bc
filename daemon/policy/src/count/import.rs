//! From counts to rules of the calendar: as near as they come, never keeping less while backups are
//! made as planned. What rules do not say is named.

use super::Bucket;
use crate::calendar::Calendar;
use crate::goal::keep::{
    Daily, Keep, Lifetime, MonthDay, Monthly, Times, Unit, Weekly, Which, Yearly,
};
use crate::goal::print_keep;
use jiff::civil::{Time, Weekday};

/// How the rules of the other product stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// Each rule begins where the finer one ends (PBS, borg).
    OneAfterAnother,
    /// All rules are reckoned from now (restic, kopia).
    SideBySide,
}

/// Counts by bucket, hour to year.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub last: u32,
    pub counts: [u32; 5],
}

/// What rules of the calendar do not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotExpressed {
    #[error("\"last {0}\": the last good point always stays, others by the day they were made on")]
    Last(u32),
    #[error(
        "\"hourly {0}\": points of one day live by the daily rule, all of them if it has no times"
    )]
    Hourly(u32),
    #[error("counts reach further back where backups were missed, rules end on their day")]
    Gaps,
    #[error("{asked} {0} are more than can be kept: {1} it is", unit.plural(), unit.count_max())]
    TooLong { asked: u32, unit: Unit },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    pub keep: Keep,
    pub not_expressed: Vec<NotExpressed>,
}

impl Import {
    /// The rules as they stand in a group's text under `place`, and before them what they do not say.
    #[must_use]
    pub fn text(&self, place: &str) -> String {
        let lost = self.not_expressed.iter().map(|lost| format!("# not expressed: {lost}\n"));
        lost.chain([print_keep(place, &self.keep)]).collect()
    }
}

/// `schedule` is that of the group the rules are for: other products keep the newest of a bucket, so
/// the rules mean its last time and last weekday.
#[must_use]
pub fn import(counts: &Counts, model: Model, schedule: &Calendar) -> Import {
    let mut lives = Lives { counts, model, covered_days: 0, not_expressed: Vec::new() };
    lives.say_what_is_lost();
    let times = || Times(last_time(schedule).into_iter().collect());
    let week = Weekday::Sunday.cycle_reverse().take(7);
    let days: Vec<Weekday> = week.filter(|day| schedule.has_weekday(*day)).collect();
    let last_day = days.first().copied().unwrap_or(Weekday::Sunday);
    let on =
        if days.len() == 7 { MonthDay::Last } else { MonthDay::Weekday(Which::Last, last_day) };
    let daily = lives.next(Bucket::Day, Unit::Days);
    let weekly = lives.next(Bucket::Week, Unit::Weeks);
    let monthly = lives.next(Bucket::Month, Unit::Months);
    let yearly = lives.next(Bucket::Year, Unit::Years);
    let keep = Keep {
        daily: daily.map(|keep| Daily { times: times(), keep }),
        weekly: weekly.map(|keep| Weekly { on: vec![last_day], times: times(), keep }),
        monthly: monthly.map(|keep| Monthly { on, times: times(), keep }),
        yearly: yearly.map(|keep| Yearly { on, months: vec![12], times: times(), keep }),
    };
    Import { keep, not_expressed: lives.not_expressed }
}

struct Lives<'a> {
    counts: &'a Counts,
    model: Model,
    /// At most, by the finer rules there are.
    covered_days: u32,
    not_expressed: Vec<NotExpressed>,
}

impl Lives<'_> {
    fn say_what_is_lost(&mut self) {
        let (last, hourly) = (self.counts.last, self.counts.counts[Bucket::Hour as usize]);
        self.not_expressed.extend((last > 0).then_some(NotExpressed::Last(last)));
        self.not_expressed.extend((hourly > 0).then_some(NotExpressed::Hourly(hourly)));
        let any = self.counts.counts[Bucket::Day as usize..].iter().any(|count| *count > 0);
        self.not_expressed.extend(any.then_some(NotExpressed::Gaps));
    }

    fn next(&mut self, bucket: Bucket, unit: Unit) -> Option<Lifetime> {
        let asked = self.counts.counts[bucket as usize];
        if asked == 0 {
            return None;
        }
        let (shortest, longest) = match unit {
            Unit::Days => (1, 1),
            Unit::Weeks => (7, 7),
            Unit::Months => (28, 31),
            Unit::Years => (365, 366),
        };
        let before = self.covered_days.div_ceil(shortest);
        let after_another = self.model == Model::OneAfterAnother;
        let asked = if after_another { asked.saturating_add(before) } else { asked };
        if asked > unit.count_max() {
            self.not_expressed.push(NotExpressed::TooLong { asked, unit });
        }
        let count = asked.min(unit.count_max());
        self.covered_days = count.saturating_mul(longest);
        Some(Lifetime::new(count, unit))
    }
}

/// None: the only one there is, or too many to say.
fn last_time(schedule: &Calendar) -> Option<Time> {
    schedule.times_of_day().filter(|times| times.len() > 1)?.last().copied()
}
