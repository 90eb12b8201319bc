//! The decided cases, by name. Times are UTC unless a zone is named.

use jiff::civil::{Time, Weekday, date, time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use keelhold_policy::goal::keep::{Daily, MonthDay, Monthly, Times, Weekly, Which, Yearly};
use keelhold_policy::mutants::Mutants;
use keelhold_policy::retain::{
    Effect, Fate, Keep, Lifetime, Made, Minimum, Now, Pin, Point, Policy, Preview, Protection,
    Reason, Tag, Tags, Term, Unit, Witnessed, judge, missed_runs, preview, tags_when_made,
};

pub fn at(text: &str) -> Timestamp {
    format!("{}Z", text.replace(' ', "T")).parse().unwrap()
}

fn days(count: u32) -> Lifetime {
    Lifetime::new(count, Unit::Days)
}

pub fn daily(count: u32) -> Keep {
    Keep { daily: Some(Daily { times: Times::default(), keep: days(count) }), ..Keep::default() }
}

fn weekly(on: Weekday, count: u32) -> Keep {
    let keep = Lifetime::new(count, Unit::Weeks);
    Keep { weekly: Some(Weekly { on: vec![on], times: Times::default(), keep }), ..Keep::default() }
}

/// One rule for every point of a day, of this length.
pub fn kept_for(keep: Lifetime) -> Keep {
    Keep { daily: Some(Daily { times: Times::default(), keep }), ..Keep::default() }
}

pub fn policy(keep: Keep, mutants: Mutants) -> Policy {
    let mut policy = Policy::new(TimeZone::UTC, keep, None);
    policy.mutants = mutants;
    policy
}

fn plain(keep: Keep) -> Policy {
    policy(keep, Mutants::default())
}

/// A wall that was never wrong: witnessed time is the same.
pub fn seen(at: Timestamp) -> Witnessed {
    Witnessed(i64::try_from(at.as_nanosecond()).unwrap())
}

pub fn now(wall: Timestamp) -> Now {
    Now { wall, witnessed: seen(wall) }
}

pub fn made(policy: &Policy, slot: Timestamp) -> Point {
    Point {
        made_at: slot,
        witnessed_at: seen(slot),
        tags: tags_when_made(policy, Made::Slot(slot), []),
        term: Term::Tags,
        pin: None,
        is_good: true,
    }
}

/// One point for each time of each day, the last not after `until`.
fn history(policy: &Policy, first: &str, times: &[Time], until: Timestamp) -> Vec<Point> {
    let first: jiff::civil::Date = first.parse().unwrap();
    let slots = first
        .series(1.day())
        .flat_map(|date| times.iter().map(move |time| date.to_datetime(*time)));
    let slots = slots.map(|slot| policy.zone.to_timestamp(slot).unwrap());
    slots.take_while(|slot| *slot <= until).map(|slot| made(policy, slot)).collect()
}

fn kept(policy: &Policy, points: &[Point], wall: Timestamp) -> Vec<(Point, Option<Timestamp>)> {
    let verdicts = judge(policy, Protection::On, points, now(wall));
    let pairs = points.iter().zip(verdicts).filter(|(_, verdict)| !verdict.goes());
    pairs.map(|(point, verdict)| (point.clone(), verdict.expires_at)).collect()
}

const MIDNIGHT: Time = time(0, 0, 0, 0);
const EVENING: Time = time(18, 0, 0, 0);

fn tape() -> Policy {
    let last_saturday = MonthDay::Weekday(Which::Last, Weekday::Saturday);
    plain(Keep {
        daily: daily(7).daily,
        weekly: weekly(Weekday::Saturday, 4).weekly,
        monthly: Some(Monthly {
            on: last_saturday,
            times: Times::default(),
            keep: Lifetime::new(12, Unit::Months),
        }),
        yearly: Some(Yearly {
            on: last_saturday,
            months: vec![3],
            times: Times(vec![MIDNIGHT]),
            keep: Lifetime::new(10, Unit::Years),
        }),
    })
}

#[test]
fn d1_1_tape_example() {
    let policy = tape();
    for when in ["2026-10-21 12:00:00", "2026-10-31 20:00:00", "2026-04-01 00:30:00"] {
        let points = history(&policy, "2015-01-01", &[MIDNIGHT, EVENING], at(when));
        let kept = kept(&policy, &points, at(when));
        assert_eq!(kept.len(), 51, "points on {when}");
    }
    let wall = at("2026-10-21 12:00:00");
    let points = history(&policy, "2015-01-01", &[MIDNIGHT, EVENING], wall);
    let verdicts = judge(&policy, Protection::On, &points, now(wall));
    let living = |tag: Tag| {
        let lives =
            |reason: &&Reason| matches!(reason, Reason::Tag { tag: own, .. } if *own == tag);
        verdicts.iter().filter(|verdict| verdict.kept_because.iter().any(|why| lives(&why))).count()
    };
    assert_eq!(Tag::ALL.map(living), [14, 8, 24, 10], "56 tags on 51 points");
    let kept = kept(&policy, &points, wall);
    let expires = |when: &str| kept.iter().find(|(point, _)| point.made_at == at(when)).unwrap().1;
    assert_eq!(kept[0].0.made_at, at("2017-03-25 00:00:00"));
    assert_eq!(kept[0].1, Some(at("2027-03-25 00:00:00")));
    assert_eq!(expires("2026-03-28 00:00:00"), Some(at("2036-03-28 00:00:00")));
    assert_eq!(expires("2026-03-28 18:00:00"), Some(at("2027-03-28 18:00:00")));
    assert_eq!(expires("2026-10-14 18:00:00"), Some(at("2026-10-21 18:00:00")));
    let tags =
        |when: &str| kept.iter().find(|(point, _)| point.made_at == at(when)).unwrap().0.tags;
    let of = |tags: &[Tag]| tags.iter().copied().collect::<Tags>();
    assert_eq!(tags("2026-10-17 18:00:00"), of(&[Tag::Daily, Tag::Weekly]));
    assert_eq!(tags("2026-03-28 00:00:00"), of(&Tag::ALL));
}

#[test]
fn d1_2_quarter_example() {
    let quarters = Yearly {
        on: MonthDay::Last,
        months: vec![3, 6, 9, 12],
        times: Times::default(),
        keep: Lifetime::new(10, Unit::Years),
    };
    let policy = plain(Keep { yearly: Some(quarters), ..daily(90) });
    let wall = at("2026-11-15 12:00:00");
    let points = history(&policy, "2010-01-01", &[MIDNIGHT], wall);
    let verdicts = judge(&policy, Protection::On, &points, now(wall));
    let reasons = verdicts.iter().flat_map(|verdict| &verdict.kept_because);
    let tags = reasons.filter(|reason| matches!(reason, Reason::Tag { .. }));
    assert_eq!(tags.count(), 90 + 40, "tags, by the document");
    // 2026-09-30 is among the ninety days.
    assert_eq!(kept(&policy, &points, wall).len(), 129);
}

#[test]
fn d1_4_extend() {
    let (short, long) = (plain(daily(7)), plain(daily(14)));
    let changed = at("2026-06-15 12:00:00");
    let before = history(&short, "2026-05-01", &[MIDNIGHT], changed);
    let there: Vec<Point> = kept(&short, &before, changed).into_iter().map(|pair| pair.0).collect();
    assert_eq!(there.len(), 7);
    let mut points = there.clone();
    points.extend(history(&long, "2026-06-16", &[MIDNIGHT], at("2026-07-30 00:00:00")));
    for hour in 0..24 * 40 {
        let wall = changed + SignedDuration::from_hours(hour);
        let listed: Vec<Point> =
            points.iter().filter(|point| point.made_at <= wall).cloned().collect();
        for (point, verdict) in listed.iter().zip(judge(&long, Protection::On, &listed, now(wall)))
        {
            let is_young = wall.duration_since(point.made_at) < SignedDuration::from_hours(14 * 24);
            assert_eq!(!verdict.goes(), is_young, "{point:?} on {wall}");
        }
    }
}

#[test]
fn d1_4_shrink() {
    let (long, short) = (plain(daily(14)), plain(daily(7)));
    let wall = at("2026-06-15 12:00:00");
    let points = history(&long, "2026-05-01", &[MIDNIGHT], wall);
    let there: Vec<Point> = kept(&long, &points, wall).into_iter().map(|pair| pair.0).collect();
    assert_eq!((there.len(), kept(&short, &there, wall).len()), (14, 7));
    let shown = show((&long, &short), &there, wall);
    assert_eq!((shown.removed_count(), shown.count(Effect::Loses)), (7, 14));
    assert!(shown.shortens() && shown.shortened == [Tag::Daily] && !shown.removes_everything);
    for (point, change) in there.iter().zip(&shown.changes) {
        assert_eq!(
            change.before.fate(),
            Fate::Until(point.made_at + SignedDuration::from_hours(336))
        );
    }
    // The way back gains, and asks for nothing.
    let back = show((&short, &long), &there, wall);
    assert_eq!((back.count(Effect::Gains), back.shortens()), (14, false));
}

fn show((old, new): (&Policy, &Policy), points: &[Point], wall: Timestamp) -> Preview {
    preview((old, Protection::On), (new, Protection::On), points, now(wall))
}

#[test]
fn d1_5_daily_to_weekly() {
    let old = plain(Keep { weekly: weekly(Weekday::Saturday, 4).weekly, ..daily(30) });
    let new = plain(weekly(Weekday::Saturday, 4));
    let wall = at("2026-06-15 12:00:00");
    let points = history(&old, "2026-05-01", &[MIDNIGHT], wall);
    for (point, _) in kept(&new, &points, wall) {
        let is_newest = point.made_at == at("2026-06-15 00:00:00");
        assert!(point.tags.has(Tag::Weekly) || is_newest, "only daily: {point:?}");
    }
    // Four Saturdays, and the newest of all.
    assert_eq!(kept(&new, &points, wall).len(), 5);
}

#[test]
fn d1_5_weekly_to_daily() {
    let old = plain(weekly(Weekday::Saturday, 12));
    let new = plain(daily(30));
    let wall = at("2026-06-23 00:00:00");
    let aged = |days: i64| {
        let slot = wall - SignedDuration::from_hours(24 * days);
        Point { tags: Tags::NONE.with(Tag::Weekly), ..made(&old, slot) }
    };
    let points = [aged(40), aged(10), aged(3)];
    let verdicts = judge(&new, Protection::On, &points, now(wall));
    assert!(verdicts[0].goes(), "aged 40 days: goes at the next cleanup");
    let left = verdicts[1].expires_at.unwrap().duration_since(wall);
    assert_eq!(left, SignedDuration::from_hours(20 * 24), "aged 10 days: 20 days left");
    let by =
        |reason: &Reason| matches!(reason, Reason::Tag { tag: Tag::Weekly, by: Tag::Daily, .. });
    assert!(verdicts[1].kept_because.iter().any(by));
}

fn thursdays() -> Keep {
    Keep {
        daily: daily(30).daily,
        weekly: weekly(Weekday::Thursday, 8).weekly,
        monthly: Some(Monthly {
            on: MonthDay::Weekday(Which::First, Weekday::Thursday),
            times: Times::default(),
            keep: Lifetime::new(12, Unit::Months),
        }),
        yearly: Some(Yearly {
            on: MonthDay::Weekday(Which::First, Weekday::Thursday),
            months: vec![1],
            times: Times::default(),
            keep: Lifetime::new(10, Unit::Years),
        }),
    }
}

/// Thursday 2026-01-01 08:00 failed. The tags of who comes next.
pub fn missed_long_term_point(mutants: Mutants) -> Result<(), String> {
    let policy = policy(thursdays(), mutants);
    let (thursday, friday) = (at("2026-01-01 08:00:00"), at("2026-01-02 08:00:00"));
    let long = [Tag::Weekly, Tag::Monthly, Tag::Yearly].into_iter().collect::<Tags>();
    let expect = |what: &str, found: Tags, wanted: Tags| {
        if found == wanted { Ok(()) } else { Err(format!("{what}: {found:?}, not {wanted:?}")) }
    };
    let on_demand = tags_when_made(&policy, Made::OnDemand, [thursday]);
    expect("on demand before Friday 08:00", on_demand, long)?;
    let alone = tags_when_made(&policy, Made::Slot(friday), [thursday]);
    expect("Friday, nothing between", alone, long.with(Tag::Daily))?;
    let after = tags_when_made(&policy, Made::Slot(friday), []);
    expect("Friday, after one on demand", after, Tags::NONE.with(Tag::Daily))?;
    let both = tags_when_made(&policy, Made::Slot(at("2026-01-03 08:00:00")), [thursday, friday]);
    expect("Saturday, when Friday failed too", both, long.with(Tag::Daily))?;
    let only = Policy { keep: Keep { daily: None, ..thursdays() }, ..policy.clone() };
    let week = tags_when_made(&only, Made::OnDemand, [thursday]);
    expect("any day of the week under a weekly schedule", week, long)?;
    let next = tags_when_made(&only, Made::Slot(at("2026-01-08 08:00:00")), [thursday]);
    expect("next Thursday", next, long)
}

#[test]
fn d1_6_missed_long_term_point() {
    missed_long_term_point(Mutants::default()).unwrap();
}

#[test]
fn d1_7_on_demand_has_its_own_date() {
    let policy = plain(weekly(Weekday::Saturday, 4));
    let (day, until) = (at("2026-06-01 10:00:00"), at("2026-07-01 10:00:00"));
    let own = Point { term: Term::Until(until), tags: Tags::NONE, ..made(&policy, day) };
    let points = [own, made(&policy, at("2026-06-27 00:00:00"))];
    let verdict = |wall: &str| judge(&policy, Protection::On, &points, now(at(wall)))[0].clone();
    assert_eq!(verdict("2026-06-30 00:00:00").expires_at, Some(until));
    assert_eq!(verdict("2026-06-30 00:00:00").kept_because, [Reason::OnDemand { until }]);
    assert!(verdict("2026-07-01 10:00:00").goes());
}

/// Years after every date, and one good point is still there.
pub fn never_the_last(mutants: Mutants) -> Result<(), String> {
    let policy = policy(daily(7), mutants);
    let partial = Point { is_good: false, ..made(&policy, at("2026-06-03 00:00:00")) };
    let points = [
        made(&policy, at("2026-06-01 00:00:00")),
        made(&policy, at("2026-06-02 00:00:00")),
        partial,
    ];
    for protection in [Protection::On, Protection::KeepByPolicy] {
        let verdicts = judge(&policy, protection, &points, now(at("2031-01-01 00:00:00")));
        let gone: Vec<bool> = verdicts.iter().map(|verdict| verdict.goes()).collect();
        if gone != [true, false, true] {
            return Err(format!("{protection:?}: gone are {gone:?}"));
        }
        assert_eq!(verdicts[1].expires_at, None);
    }
    Ok(())
}

#[test]
fn d1_8_never_the_last() {
    never_the_last(Mutants::default()).unwrap();
    let policy = plain(daily(7));
    // With nothing good the newest of any kind stays.
    let poor = |when: &str| Point { is_good: false, ..made(&policy, at(when)) };
    let points = [poor("2026-06-01 00:00:00"), poor("2026-06-02 00:00:00")];
    let verdicts = judge(&policy, Protection::On, &points, now(at("2031-01-01 00:00:00")));
    assert_eq!((verdicts[0].goes(), verdicts[1].goes()), (true, false));
    // A clock that stood in the future once does not make its point the newest for ever.
    let early =
        Point { made_at: at("2099-01-01 00:00:00"), ..made(&policy, at("2026-06-01 00:00:00")) };
    let points = [early, made(&policy, at("2026-06-02 00:00:00"))];
    assert_eq!(keelhold_policy::retain::last_good(&points), Some(1));
}

pub fn stopped_and_kept(mutants: Mutants) -> Result<(), String> {
    let policy = policy(daily(7), mutants);
    let points = history(&policy, "2026-06-01", &[MIDNIGHT], at("2026-06-10 00:00:00"));
    let verdicts = judge(&policy, Protection::KeepForEver, &points, now(at("2031-01-01 00:00:00")));
    let gone = verdicts.iter().filter(|verdict| verdict.goes()).count();
    if gone > 0 { Err(format!("{gone} of {} are gone", points.len())) } else { Ok(()) }
}

#[test]
fn d1_9_stop_and_retain() {
    stopped_and_kept(Mutants::default()).unwrap();
    let policy = plain(daily(7));
    let wall = at("2026-06-10 12:00:00");
    let mut points = history(&policy, "2026-06-01", &[MIDNIGHT], wall);
    let until = Witnessed(seen(wall).0 + 1);
    points[4].pin = Some(Pin { until, why: "a trial".into() });
    let left = |protection| {
        let verdicts = judge(&policy, protection, &points, now(wall));
        verdicts.iter().filter(|verdict| !verdict.goes()).count()
    };
    assert_eq!(left(Protection::KeepByPolicy), 7);
    assert_eq!(left(Protection::Delete), 1, "only the pinned one");
    assert_eq!(left(Protection::KeepForEver), 10);
}

/// The minimum holds points, not only policies.
pub fn minimum(mutants: Mutants) -> Result<(), String> {
    let mut policy = policy(daily(1), mutants);
    policy.minimum = Some(Minimum::USUAL);
    let wall = at("2026-06-10 12:00:00");
    let points = history(&policy, "2026-06-01", &[MIDNIGHT], wall);
    for protection in [Protection::On, Protection::Delete] {
        let verdicts = judge(&policy, protection, &points, now(wall));
        let left = verdicts.iter().filter(|verdict| !verdict.goes()).count();
        if left != 7 {
            return Err(format!("{protection:?}: {left} left"));
        }
    }
    Ok(())
}

#[test]
fn d1_10_minimum() {
    minimum(Mutants::default()).unwrap();
    let short = Keep { weekly: weekly(Weekday::Monday, 3).weekly, ..daily(7) };
    let undercuts = Minimum::USUAL.undercut_by(&short);
    assert_eq!(undercuts.iter().map(|undercut| undercut.tag).collect::<Vec<_>>(), [Tag::Weekly]);
    let enough = Keep { weekly: weekly(Weekday::Monday, 4).weekly, ..daily(7) };
    assert!(Minimum::USUAL.undercut_by(&enough).is_empty());
}

#[test]
fn d1_11_what_shortens_is_told_from_what_does_not() {
    let wall = at("2026-06-10 12:00:00");
    let old = plain(Keep { weekly: weekly(Weekday::Saturday, 4).weekly, ..daily(30) });
    let points = history(&old, "2026-05-01", &[MIDNIGHT], wall);
    let longer = plain(Keep { weekly: weekly(Weekday::Saturday, 5).weekly, ..daily(31) });
    assert!(!show((&old, &longer), &points, wall).shortens());
    let swapped = plain(Keep { weekly: weekly(Weekday::Saturday, 4).weekly, ..Keep::default() });
    let shown = show((&old, &swapped), &points, wall);
    assert!(shown.shortens() && shown.shortened == [Tag::Daily]);
    let nothing = show((&old, &plain(Keep::default())), &points, wall);
    assert!(nothing.removes_everything && nothing.removed_count() > 0);
    // Shorter for points yet to come, with none there yet.
    assert!(show((&old, &swapped), &[], wall).shortens());
    assert!(!show((&old, &swapped), &[], wall).removes_everything);
}

/// 31 January and a month; 29 February and a year.
pub fn month_end(mutants: Mutants) -> Result<(), String> {
    let months = |count, unit| {
        let rule = Monthly {
            on: MonthDay::Last,
            times: Times::default(),
            keep: Lifetime::new(count, unit),
        };
        policy(Keep { monthly: Some(rule), ..Keep::default() }, mutants)
    };
    let cases = [
        ("2026-01-31 18:00:00", 1, Unit::Months, "2026-02-28 18:00:00"),
        ("2028-01-31 18:00:00", 1, Unit::Months, "2028-02-29 18:00:00"),
        ("2026-03-31 18:00:00", 6, Unit::Months, "2026-09-30 18:00:00"),
        ("2028-02-29 18:00:00", 1, Unit::Years, "2029-02-28 18:00:00"),
        ("2028-02-29 18:00:00", 4, Unit::Years, "2032-02-29 18:00:00"),
    ];
    for (day, count, unit, end) in cases {
        let policy = months(count, unit);
        let point = made(&policy, at(day));
        let found = judge(&policy, Protection::On, &[point], now(at(day)))[0].expires_at;
        if found != Some(at(end)) {
            return Err(format!("{day} and {count} {unit:?} is {found:?}"));
        }
    }
    Ok(())
}

#[test]
fn d1_14_month_end() {
    month_end(Mutants::default()).unwrap();
    let on = |day: MonthDay, date: jiff::civil::Date| day.is_on(date);
    assert!(on(MonthDay::Day(30), date(2026, 2, 28)) && !on(MonthDay::Day(30), date(2028, 2, 28)));
    assert!(on(MonthDay::Day(29), date(2027, 2, 28)) && on(MonthDay::Day(29), date(2028, 2, 29)));
    assert!(on(MonthDay::Day(31), date(2026, 4, 30)) && on(MonthDay::Last, date(2026, 4, 30)));
}

#[test]
fn d1_14_switch_days() {
    let keep = Keep {
        weekly: Some(Weekly {
            on: vec![Weekday::Sunday],
            times: Times(vec![time(2, 30, 0, 0)]),
            keep: Lifetime::new(4, Unit::Weeks),
        }),
        ..daily(7)
    };
    let policy = Policy::new(TimeZone::get("Europe/Berlin").unwrap(), keep, None);
    // 02:30 does not happen on the last Sunday of March: its run is at 03:00, and is the weekly one.
    assert!(policy.tags_of_slot(at("2026-03-29 01:00:00")).has(Tag::Weekly));
    // In October it happens twice: the first one is meant.
    assert!(policy.tags_of_slot(at("2026-10-25 00:30:00")).has(Tag::Weekly));
    assert!(!policy.tags_of_slot(at("2026-10-25 01:30:00")).has(Tag::Weekly));
    // Seven days are seven days on the clock, and an hour more or less on the stopwatch.
    let point = made(&policy, at("2026-10-21 10:00:00"));
    let verdict = &judge(&policy, Protection::On, &[point], now(at("2026-10-21 10:00:00")))[0];
    assert_eq!(verdict.expires_at, Some(at("2026-10-28 11:00:00")));
}

#[test]
fn a_point_no_policy_spoke_for_stays() {
    let policy = plain(daily(7));
    let open =
        Point { term: Term::Open, tags: Tags::NONE, ..made(&policy, at("2026-01-01 00:00:00")) };
    let points = [open, made(&policy, at("2026-06-01 00:00:00"))];
    let verdict = &judge(&policy, Protection::On, &points, now(at("2031-01-01 00:00:00")))[0];
    assert_eq!((verdict.goes(), verdict.expires_at), (false, None));
}

#[test]
fn what_was_missed_is_read_from_the_schedule() {
    let policy = plain(thursdays());
    let schedule = keelhold_policy::calendar::Calendar::parse("daily 08:00").unwrap();
    let missed = |since: &str, before: &str| {
        let runs = missed_runs(&schedule, &policy.zone, at(since), at(before));
        tags_when_made(&policy, Made::OnDemand, runs)
    };
    let long = [Tag::Weekly, Tag::Monthly, Tag::Yearly].into_iter().collect::<Tags>();
    assert_eq!(missed("2025-12-31 08:00:00", "2026-01-01 09:00:00"), long);
    // The run the last complete point stands for is not missed.
    assert_eq!(missed("2026-01-01 08:00:00", "2026-01-01 09:00:00"), Tags::NONE);
}
