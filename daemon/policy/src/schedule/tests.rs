use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::calendar::{Calendar, Hours};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

/// An appliance with one laptop, whose wall and witnessed time go together.
struct Bench {
    goals: Goals,
    history: History,
    facts: Facts,
    begun: Timestamp,
    now: Timestamp,
}

impl Bench {
    fn new(points: &str, begun: &str, change: impl FnOnce(&mut Group)) -> Self {
        let mut group = Group {
            name: String::from("laptops"),
            zone: TimeZone::UTC,
            points: Some(Calendar::parse(points).unwrap()),
            sync: Sync::BeforePoint,
            online: Vec::new(),
            window: Window::default(),
            slots: 2,
            spread: SignedDuration::ZERO,
            deadline: hours(26),
            on_battery: false,
            on_metered: false,
            members: vec![Source { name: "home".to_owned(), machine: "anna".to_owned() }],
        };
        change(&mut group);
        let begun = at(begun);
        let history = History::new(Now { wall: begun, witnessed: SignedDuration::ZERO });
        let facts = Facts { connected: true, ..Facts::default() };
        let goals = Goals { groups: vec![group], slots: 8 };
        let mut bench = Self { goals, history, facts, begun, now: begun };
        bench.look_at(begun);
        bench
    }

    fn look(&mut self, now: &str) -> Decision {
        self.look_at(at(now))
    }

    fn look_at(&mut self, wall: Timestamp) -> Decision {
        self.now = wall;
        let machines = [(String::from("anna"), self.facts)].into();
        let now = self.time();
        decide(&self.goals, &mut self.history, &machines, now)
    }

    fn time(&self) -> Now {
        Now { wall: self.now, witnessed: self.now.duration_since(self.begun) }
    }

    fn ended(&mut self, kind: &Kind, outcome: Outcome) {
        let now = self.time();
        self.history.finished("home", kind, outcome, now);
    }
}

fn reason(decision: &Decision) -> Option<&WaitReason> {
    assert!(decision.start.is_empty(), "{decision:?}");
    decision.wait.first().map(|wait| &wait.reason)
}

#[test]
fn what_waits_says_why() {
    let mut bench = Bench::new("daily 12:00", "2026-11-22T00:00:00Z", |_| ());
    for (facts, why) in [
        (Facts::default(), WaitReason::MachineAway),
        (Facts { connected: true, on_battery: true, ..Facts::default() }, WaitReason::OnBattery),
        (Facts { connected: true, metered: true, ..Facts::default() }, WaitReason::Metered),
        (
            Facts { asleep_since: Some(bench.begun), ..Facts::default() },
            WaitReason::MachineAsleep { since: bench.begun },
        ),
    ] {
        bench.facts = facts;
        assert_eq!(reason(&bench.look("2026-11-22T12:10:00Z")), Some(&why));
    }
    // Away is no failure: when it is back it runs, for the slot it was owed.
    bench.facts = Facts { connected: true, ..Facts::default() };
    let start = bench.look("2026-11-22T17:00:00Z").start.remove(0);
    assert_eq!(start.slot, Some(at("2026-11-22T12:00:00Z")));
}

#[test]
fn an_absence_is_told_once_when_the_deadline_passes() {
    let mut bench = Bench::new("daily 12:00", "2026-11-22T00:00:00Z", |_| ());
    assert_eq!(bench.look("2026-11-22T12:00:00Z").start.len(), 1);
    bench.now = at("2026-11-22T13:00:00Z");
    bench.ended(&Kind::Point, Outcome::Good);
    bench.facts.connected = false;
    assert_eq!(bench.look("2026-11-23T14:59:00Z").overdue, []);
    let late = bench.look("2026-11-23T15:01:00Z");
    let last_good = Some(at("2026-11-22T13:00:00Z"));
    let what = Promise::Deadline { last_good, deadline: hours(26) };
    assert_eq!(
        (late.overdue[0].what, &late.overdue[0].cause),
        (what, &Some(WaitReason::MachineAway))
    );
    // Slots that pass are told once each; the deadline not again.
    let later = bench.look("2026-11-25T13:00:00Z");
    assert_eq!((later.overdue.len(), later.missed[0].slots.count), (0, 2));
    assert_eq!(later.missed[0].cause, Some(WaitReason::MachineAway));
    assert_eq!(bench.look("2026-11-25T13:05:00Z").missed, []);
    // A failure does not make it good.
    bench.facts.connected = true;
    assert_eq!(bench.look("2026-11-25T14:00:00Z").start.len(), 1);
    bench.ended(&Kind::Point, Outcome::Failed);
    assert_eq!(bench.look("2026-11-25T14:01:00Z").overdue, []);
}

#[test]
fn a_window_has_an_opening_a_last_start_and_an_end() {
    let mut bench = Bench::new("daily 12:00", "2026-11-22T00:00:00Z", |group| {
        let allow = Some(Hours::parse("20:00-06:00").unwrap());
        let start_within = Some(hours(2));
        group.window = Window { allow, start_within, must_end_within: Some(hours(5)) };
    });
    let opens = Some(at("2026-11-22T20:00:00Z"));
    let early = bench.look("2026-11-22T19:58:00Z");
    assert_eq!(reason(&early), Some(&WaitReason::OutsideWindow { opens }));
    assert_eq!(Some(early.look_again), opens);
    bench.facts.connected = false;
    assert_eq!(reason(&bench.look("2026-11-22T21:00:00Z")), Some(&WaitReason::MachineAway));
    // Back too late: told once, and started in the next night.
    bench.facts.connected = true;
    let late = bench.look("2026-11-22T22:01:00Z");
    let next = Some(at("2026-11-23T20:00:00Z"));
    assert_eq!(reason(&late), Some(&WaitReason::StartedTooLate { opens: next }));
    let slot = at("2026-11-22T12:00:00Z");
    assert_eq!(late.overdue[0].what, Promise::StartWithin { slot, within: hours(2) });
    assert_eq!(bench.look("2026-11-22T22:05:00Z").overdue, []);
    let start = bench.look("2026-11-23T20:00:00Z").start.remove(0);
    assert_eq!(start.slot, Some(at("2026-11-23T12:00:00Z")));
    assert_eq!(start.stop_by, Some(at("2026-11-24T01:00:00Z")));
    // Its time is over: parked, and not again before the next opening.
    let over = bench.look("2026-11-24T01:00:00Z");
    assert_eq!(over.park.len(), 1);
    bench.ended(&Kind::Point, Outcome::Parked);
    assert_eq!(reason(&bench.look("2026-11-24T01:05:00Z")), Some(&WaitReason::OutOfTime));
    let goes_on = bench.look("2026-11-24T20:00:00Z").start.remove(0);
    assert!(goes_on.resumes && goes_on.slot == Some(at("2026-11-23T12:00:00Z")));
}

#[test]
fn who_asks_is_answered_first_and_in_any_window() {
    let mut bench = Bench::new("daily 12:00", "2026-11-22T00:00:00Z", |group| {
        group.window.allow = Some(Hours::parse("01:00-02:00").unwrap());
    });
    bench.history.ask("home", 7);
    let start = bench.look("2026-11-22T13:00:00Z").start.remove(0);
    assert_eq!((start.kind, start.request, start.slot), (Kind::OnDemand, Some(7), None));
    bench.ended(&Kind::OnDemand, Outcome::Good);
    // Asked once is answered once, and the point of the calendar is still owed.
    let next = bench.look("2026-11-22T13:05:00Z");
    let opens = Some(at("2026-11-23T01:00:00Z"));
    assert_eq!(reason(&next), Some(&WaitReason::OutsideWindow { opens }));
}

#[test]
fn online_follows_the_newest_point_and_needs_no_machine() {
    let mut bench = Bench::new("daily 12:00", "2026-11-22T00:00:00Z", |group| {
        let (vault, when) = (String::from("offsite"), OnlineWhen::AfterNewestPoint);
        group.online.push(Online { vault, when });
    });
    let online = Kind::Online { vault: String::from("offsite") };
    assert_eq!(bench.look("2026-11-22T12:00:00Z").start.len(), 1);
    assert_eq!(bench.look("2026-11-22T12:05:00Z").start, []);
    bench.ended(&Kind::Point, Outcome::Good);
    bench.facts.connected = false;
    let start = bench.look("2026-11-22T12:10:00Z").start.remove(0);
    assert_eq!((&start.kind, start.slot), (&online, Some(at("2026-11-22T12:05:00Z"))));
    bench.ended(&online, Outcome::Good);
    assert_eq!(bench.look("2026-11-22T12:15:00Z").start, []);
}

#[test]
fn what_ran_when_the_daemon_died_goes_on() {
    let mut bench = Bench::new("daily 12:00", "2026-11-22T00:00:00Z", |_| ());
    assert_eq!(bench.look("2026-11-22T12:00:00Z").start.len(), 1);
    // What is kept is read back, a day and a half later.
    let kept = bench.history.clone();
    let wall = at("2026-11-24T00:30:00Z");
    bench.history = kept;
    let witnessed = hours(12);
    assert_eq!(bench.history.daemon_started(Now { wall, witnessed }), None);
    let machines = [(String::from("anna"), bench.facts)].into();
    let decision = decide(&bench.goals, &mut bench.history, &machines, Now { wall, witnessed });
    let start = &decision.start[0];
    assert!(start.resumes && start.slot == Some(at("2026-11-22T12:00:00Z")), "{decision:?}");
    assert_eq!((decision.missed.len(), decision.overdue.len()), (0, 1), "{decision:?}");
}

#[test]
fn a_clock_that_was_wrong_for_a_while_holds_nothing_up() {
    let mut bench = Bench::new("daily 12:00", "2026-11-22T00:00:00Z", |_| ());
    let machines = [(String::from("anna"), bench.facts)].into();
    let mut look = |wall: &str, witnessed: i64| {
        let now = Now { wall: at(wall), witnessed: SignedDuration::from_mins(witnessed) };
        let decision = decide(&bench.goals, &mut bench.history, &machines, now);
        for start in &decision.start {
            bench.history.finished("home", &start.kind, Outcome::Good, now);
        }
        (decision.start.len(), decision.jump.is_some())
    };
    assert_eq!(look("2026-11-22T12:00:00Z", 720), (1, false));
    // Ten years ahead: one run, one alarm.
    assert_eq!(look("2036-11-22T12:05:00Z", 725), (1, true));
    assert_eq!(look("2036-11-22T12:10:00Z", 730), (0, false));
    // Right again: nothing is repeated, and tomorrow's slot runs.
    assert_eq!(look("2026-11-22T12:15:00Z", 735), (0, true));
    assert_eq!(look("2026-11-23T11:59:00Z", 735 + 1_424), (0, false));
    assert_eq!(look("2026-11-23T12:00:00Z", 735 + 1_425), (1, false));
}

#[test]
fn the_plan_says_what_will_not_fit() {
    let mut bench = Bench::new("daily 12:00", "2026-11-22T00:00:00Z", |group| {
        group.slots = 1;
        group.window.start_within = Some(hours(2));
        for name in ["mail", "web"] {
            group.members.push(Source { name: name.to_owned(), machine: "anna".to_owned() });
        }
    });
    // Each takes an hour and a half, one after the other.
    bench.goals.groups[0].slots = 3;
    assert_eq!(bench.look("2026-11-22T12:00:00Z").start.len(), 3);
    bench.now = at("2026-11-22T13:30:00Z");
    let now = bench.time();
    for source in ["home", "mail", "web"] {
        bench.history.finished(source, &Kind::Point, Outcome::Good, now);
    }
    bench.goals.groups[0].slots = 1;
    let until = bench.now + hours(24);
    let planned = plan(&bench.goals, &bench.history, bench.now, until);
    let starts: Vec<String> = planned.iter().map(|planned| planned.start.to_string()).collect();
    assert_eq!(starts, ["2026-11-23T12:00:00Z", "2026-11-23T13:30:00Z", "2026-11-23T15:00:00Z"]);
    let troubles: Vec<_> = planned.iter().map(|planned| planned.trouble).collect();
    assert_eq!(troubles, [None, None, Some(Trouble::StartsLate { by: hours(1) })]);
    // Hours in which none of it fits.
    bench.goals.groups[0].window.allow = Some(Hours::parse("11:00-13:00").unwrap());
    let planned = plan(&bench.goals, &bench.history, bench.now, until);
    let by = SignedDuration::from_mins(30);
    assert_eq!(planned[0].trouble, Some(Trouble::AfterWindow { by }));
}
