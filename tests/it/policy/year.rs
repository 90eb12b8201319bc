//! Simulated years over the zones of the world, with outages, machines that are away and clocks that
//! jump: nothing runs twice, nothing is lost, every miss is told once.

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use keelhold_policy::calendar::Calendar;
use keelhold_policy::mutants::Mutants;
use keelhold_policy::schedule::{
    Decision, Facts, Goals, Group, History, Kind, Machines, Now, Outcome, Promise, Source, Sync,
    Window, decide,
};
use keelhold_tests::chance::Chance;
use keelhold_tests::rig::campaign;

use super::Verdict;
use super::naive::{DAY, HOUR, Job, MINUTE, Naive, Ought, Wish, at, minute_of};

/// 2025-12-01: both changes of 2026 are behind it in every zone.
const BEGIN: i64 = 20_423 * DAY;
const DEADLINE: i64 = 40 * HOUR;

pub fn one_source(zone: TimeZone, points: &str) -> Goals {
    let members = vec![Source { name: String::from("anna/home"), machine: String::from("anna") }];
    let group = Group {
        name: String::from("laptops"),
        zone,
        points: Some(Calendar::parse(points).unwrap()),
        sync: Sync::BeforePoint,
        online: Vec::new(),
        window: Window::default(),
        slots: 4,
        spread: SignedDuration::ZERO,
        deadline: SignedDuration::from_mins(DEADLINE),
        on_battery: true,
        on_metered: true,
        members,
    };
    Goals { groups: vec![group], slots: 8 }
}

pub fn machine(connected: bool) -> Machines {
    let facts = Facts { connected, ..Facts::default() };
    [(String::from("anna"), facts)].into()
}

/// What happened in a year.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    runs: u64,
    missed: u64,
    overdue: u64,
    jumps: u64,
    outages: u64,
}

struct Life {
    goals: Goals,
    history: History,
    naive: Naive,
    chance: Chance,
    /// The wall, how far it is from the truth, and what was witnessed, in minutes.
    wall: i64,
    deviation: i64,
    witnessed: i64,
    is_there: bool,
    ends_at: i64,
    tally: Tally,
    with_jumps: bool,
}

impl Life {
    fn now(&self) -> Now {
        let witnessed = SignedDuration::from_mins(self.witnessed);
        Now { wall: at(self.wall), witnessed }
    }

    fn pass(&mut self, minutes: i64) {
        self.wall += minutes;
        self.witnessed += minutes;
    }

    fn outage(&mut self) {
        // Hours mostly, and now and then days.
        let most = if self.chance.below(4) == 0 { 5 * DAY } else { 10 * HOUR };
        self.wall += 1 + self.chance.below(most as u64) as i64;
        if let Job::Running(slot) = self.naive.job {
            self.naive.job = Job::Parked(slot);
        }
        let now = self.now();
        self.history.daemon_started(now);
        self.tally.outages += 1;
    }

    /// Within a day of each other, the deviations are one reign.
    fn jump(&mut self) {
        let deviation = self.chance.below(22 * HOUR as u64) as i64 - 11 * HOUR;
        self.wall += deviation - self.deviation;
        self.deviation = deviation;
        self.tally.jumps += 1;
    }

    fn chances(&mut self) {
        if self.chance.below(500) == 0 {
            self.outage();
        }
        if self.with_jumps && self.chance.below(400) == 0 {
            self.jump();
        }
        match (self.is_there, self.chance.below(300)) {
            (true, 0) => self.is_there = false,
            (false, 0..10) => self.is_there = true,
            _ => {}
        }
        if matches!(self.naive.job, Job::Running(_)) && self.witnessed >= self.ends_at {
            let is_good = self.chance.below(5) > 0;
            let outcome = if is_good { Outcome::Good } else { Outcome::Failed };
            let now = self.now();
            self.history.finished("anna/home", &Kind::Point, outcome, now);
            self.naive.ended(self.wall, is_good);
        }
    }

    fn look(&mut self) -> Verdict<Decision> {
        let now = self.now();
        let decision = decide(&self.goals, &mut self.history, &machine(self.is_there), now);
        let ought = self.naive.look(self.wall, self.is_there);
        let start = decision
            .start
            .first()
            .map(|start| (start.slot.map_or(i64::MIN, minute_of), start.resumes));
        let mut told = Vec::new();
        for missed in &decision.missed {
            let slots = &self.goals.groups[0];
            let calendar = slots.points.as_ref().unwrap();
            let before = missed.slots.first - SignedDuration::from_secs(1);
            let last = missed.slots.last;
            told.extend(
                calendar.iter(&slots.zone, before).take_while(|s| *s <= last).map(minute_of),
            );
            if told.len() != missed.slots.count {
                return Err(format!("{missed:?} counts wrong: {told:?}"));
            }
        }
        let is_overdue =
            decision.overdue.iter().any(|o| matches!(o.what, Promise::Deadline { .. }));
        let did = Ought { start, missed: told, is_overdue };
        // By which clock a deadline is told is another question when clocks jump.
        let is_overdue = if self.with_jumps { did.is_overdue } else { ought.is_overdue };
        let ought = Ought { is_overdue, ..ought };
        if did != ought || decision.start.len() > 1 || decision.overdue.len() > 1 {
            return Err(format!("at {}: {did:?}, but it ought to be {ought:?}", now.wall));
        }
        self.tally.runs += u64::from(ought.start.is_some());
        self.tally.missed += ought.missed.len() as u64;
        self.tally.overdue += u64::from(ought.is_overdue);
        if ought.start.is_some() {
            self.ends_at = self.witnessed + self.chance.below(90) as i64;
        }
        Ok(decision)
    }
}

/// Some days of a zone, by chance.
pub fn live(zone_name: &str, seed: u64, days: i64, from: i64, mutants: Mutants) -> Verdict<Tally> {
    let zone = TimeZone::get(zone_name).unwrap();
    let mut chance = Chance::new(seed);
    let wish = Wish::draw(&mut chance);
    let text = wish.text();
    let slots = wish.slots(&zone, from - 3 * DAY, from + (days + 20) * DAY);
    let mut life = Life {
        goals: one_source(zone, &text),
        history: History::new(Now { wall: at(from), witnessed: SignedDuration::ZERO })
            .with_mutants(mutants),
        naive: Naive::new(&slots, from, DEADLINE),
        with_jumps: chance.below(2) == 0,
        chance,
        wall: from,
        deviation: 0,
        witnessed: 0,
        is_there: true,
        ends_at: 0,
        tally: Tally::default(),
    };
    let words = |words: String| format!("{zone_name}, \"{text}\", seed {seed}: {words}");
    while life.wall < from + days * DAY {
        let decision = life.look().map_err(words)?;
        // Whoever sleeps until then misses no slot.
        let next = life.naive.next_slot(life.wall).unwrap_or(i64::MAX / 2 / MINUTE);
        let sleep = decision.look_again.duration_since(at(life.wall));
        if sleep > SignedDuration::from_mins(next - life.wall) || sleep.is_zero() {
            return Err(words(format!("{} sleeps for {sleep:#}", at(life.wall))));
        }
        let most = (sleep.as_secs() + MINUTE - 1) / MINUTE;
        life.pass(most);
        life.chances();
    }
    // The clock is right again and the machine is there: nothing stays behind.
    life.wall += 12 * HOUR - life.deviation;
    life.witnessed += 12 * HOUR;
    life.is_there = true;
    for _ in 0..3 {
        life.look().map_err(words)?;
        if matches!(life.naive.job, Job::Running(_)) {
            let now = life.now();
            life.history.finished("anna/home", &Kind::Point, Outcome::Good, now);
            life.naive.ended(life.wall, true);
        }
    }
    match life.naive.forgotten(life.wall) {
        0 => Ok(life.tally),
        count => Err(words(format!("{count} slots are forgotten"))),
    }
}

/// Zones whose clocks change within a year from the beginning, with the minutes of the changes.
pub fn zones() -> Vec<(String, Vec<i64>)> {
    let mut found = Vec::new();
    for name in jiff::tz::db().available() {
        let name = name.to_string();
        let Ok(zone) = TimeZone::get(&name) else { continue };
        let offset = |minute| zone.to_offset(at(minute));
        let changes: Vec<i64> = zone
            .following(at(BEGIN))
            .map(|change| minute_of(change.timestamp()))
            .take_while(|minute| *minute < BEGIN + 365 * DAY)
            .filter(|minute| offset(minute - 1) != offset(minute + 1))
            .collect();
        // Some names are no zones of the world but of the tool that made them.
        let is_copy = ["posix/", "right/", "posixrules"].iter().any(|p| name.starts_with(p));
        if !changes.is_empty() && !is_copy {
            found.push((name, changes));
        }
    }
    found
}

#[test]
fn nothing_runs_twice_and_nothing_is_lost_wherever_clocks_change() {
    let mut chance = Chance::of_suite("years");
    let zones = zones();
    assert!(zones.len() > 100, "{} zones change their clocks", zones.len());
    let is_campaign = campaign(1) > 1;
    let mut total = Tally::default();
    let mut count = 0;
    for (name, changes) in &zones {
        if !is_campaign && chance.below(4) > 0 {
            continue;
        }
        count += 1;
        // The weeks around the changes; in a campaign the whole year.
        let weeks: Vec<(i64, i64)> = if is_campaign {
            vec![(BEGIN, 365)]
        } else {
            changes.iter().map(|change| (change - 8 * DAY, 16)).collect()
        };
        for (from, days) in weeks {
            let seed = chance.draw() >> 32;
            let tally = live(name, seed, days, from, Mutants::default());
            let tally = tally.unwrap_or_else(|words| panic!("{words}"));
            total.runs += tally.runs;
            total.missed += tally.missed;
            total.overdue += tally.overdue;
            total.jumps += tally.jumps;
            total.outages += tally.outages;
        }
    }
    println!("{count} of {} zones: {total:?}", zones.len());
    assert!(total.runs > 1_000 && total.missed > 100 && total.jumps > 100 && total.overdue > 10);
}

/// Many weeks around the changes of one zone: for a protection that is left out.
pub fn around_changes(seeds: u64, mutants: Mutants) -> Verdict {
    let zones = zones();
    let (name, changes) = zones.iter().find(|(name, _)| name == "Europe/Berlin").unwrap();
    for seed in 0..seeds {
        for change in changes {
            live(name, seed, 16, change - 8 * DAY, mutants)?;
        }
    }
    Ok(())
}

/// A source that was never backed up at all is noticed once.
pub fn never_ran(mutants: Mutants) -> Verdict {
    let goals = one_source(TimeZone::UTC, "daily 12:00");
    let mut history = History::new(Now { wall: at(BEGIN), witnessed: SignedDuration::ZERO })
        .with_mutants(mutants);
    let mut told = Vec::new();
    for minute in (0..5 * DAY).step_by(5) {
        let witnessed = SignedDuration::from_mins(minute);
        let now = Now { wall: at(BEGIN + minute), witnessed };
        let decision = decide(&goals, &mut history, &machine(false), now);
        told.extend(decision.overdue.iter().map(|_| minute));
    }
    match told.as_slice() {
        [once] if *once == DEADLINE + 5 => Ok(()),
        other => Err(format!("told at {other:?}")),
    }
}

#[test]
fn what_never_ran_is_noticed_once() {
    never_ran(Mutants::default()).unwrap();
}
