//! What other products keep, by the sets in their documents.

use crate::vectors::at;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use keelhold_policy::calendar::Calendar;
use keelhold_policy::count::{
    BorgKeep, Counts, EmptyPolicy, Interval, KopiaKeep, KopiaSnapshot, Model, NotExpressed,
    PbsKeep, PbsSnapshot, ResticKeep, ResticWithin, Rule, borg, import, kopia, pbs, restic,
};
use keelhold_policy::retain::{Lifetime, Tag, Unit};

fn ats(texts: &[&str]) -> Vec<Timestamp> {
    texts.iter().map(|text| at(text)).collect()
}

fn kept(snapshots: &[Timestamp], rules: &[Vec<Rule>]) -> Vec<Timestamp> {
    let pairs = snapshots.iter().zip(rules).filter(|(_, rules)| !rules.is_empty());
    let mut kept: Vec<_> = pairs.map(|(at, _)| *at).collect();
    kept.sort_unstable();
    kept
}

/// PBS counts: last, then hour to year; none is not given.
fn by_pbs(snapshots: &[Timestamp], last: Option<u32>, counts: [u32; 5]) -> Vec<Timestamp> {
    let given = |count: u32| (count > 0).then_some(count);
    let keep = PbsKeep { last, counts: counts.map(given) };
    let all: Vec<_> = snapshots
        .iter()
        .map(|at| PbsSnapshot { at: *at, is_protected: false, is_finished: true })
        .collect();
    kept(snapshots, &pbs(&all, &keep, &TimeZone::UTC))
}

fn by_restic(snapshots: &[Timestamp], last: u32, counts: [u32; 5]) -> Vec<Timestamp> {
    let keep = ResticKeep { last, counts, ..ResticKeep::default() };
    let now = at("2030-01-01 00:00:00");
    kept(snapshots, &restic(snapshots, &keep, &TimeZone::UTC, now).unwrap())
}

const SET_S: [&str; 9] = [
    "2018-11-15 11:59:15",
    "2019-11-15 11:59:15",
    "2019-11-21 11:59:15",
    "2019-11-22 11:59:15",
    "2019-11-29 11:59:15",
    "2019-12-01 11:59:15",
    "2019-12-02 11:59:15",
    "2019-12-03 11:59:15",
    "2019-12-04 11:59:15",
];

#[test]
fn d2_set_s() {
    let set = ats(&SET_S);
    let newest = ats(&SET_S[8..]);
    let cases: [(u32, [u32; 5], &[usize]); 5] = [
        (0, [0, 1, 0, 0, 0], &[8]),
        (1, [0, 1, 0, 0, 0], &[7, 8]),
        (0, [0, 1, 1, 0, 0], &[5, 8]),
        (0, [0, 1, 1, 1, 0], &[3, 5, 8]),
        (0, [0, 0, 0, 1, 1], &[0, 8]),
    ];
    for (last, counts, places) in cases {
        let expected: Vec<_> = places.iter().map(|place| set[*place]).collect();
        let given = (last > 0).then_some(last);
        assert_eq!(by_pbs(&set, given, counts), expected, "last {last}, {counts:?}");
        assert_eq!(by_restic(&set, last, counts), newest, "last {last}, {counts:?}");
    }
}

#[test]
fn d2_set_t() {
    let set = ats(&[
        "2019-12-02 11:59:00",
        "2019-12-03 11:59:00",
        "2019-12-04 11:59:00",
        "2019-12-04 12:59:00",
    ]);
    let two_days = [0, 2, 0, 0, 0];
    assert_eq!(by_pbs(&set, Some(2), two_days), set);
    assert_eq!(by_restic(&set, 2, two_days), set[1..]);
    assert_eq!(by_pbs(&set, None, two_days), [set[1], set[3]]);
    assert_eq!(by_restic(&set, 0, two_days), [set[1], set[3]]);
    assert_eq!(by_pbs(&set, None, [0, 0, 5, 0, 0]), [set[3]]);
    assert_eq!(by_restic(&set, 0, [0, 0, 5, 0, 0]), [set[0], set[3]]);
    assert!(by_pbs(&set, Some(0), [0; 5]).is_empty());
    let none = restic(&set, &ResticKeep::default(), &TimeZone::UTC, set[3]);
    assert_eq!(none, Err(EmptyPolicy));
}

#[test]
fn d2_set_u() {
    let set = ats(&[
        "2019-11-15 09:39:00",
        "2019-11-15 10:49:00",
        "2019-11-15 10:59:00",
        "2019-11-15 11:39:00",
        "2019-11-15 11:49:00",
        "2019-11-15 11:59:00",
    ]);
    assert_eq!(by_pbs(&set, None, [3, 0, 0, 0, 0]), [set[0], set[2], set[5]]);
    assert_eq!(by_pbs(&set, None, [2, 0, 0, 0, 0]), [set[2], set[5]]);
}

#[test]
fn d2_set_v_protected() {
    let set = ats(&[
        "2019-11-15 09:39:00",
        "2019-11-15 10:39:00",
        "2019-11-15 10:49:00",
        "2019-11-15 10:59:00",
    ]);
    let protected = [true, false, false, true];
    let pairs = set.iter().zip(protected);
    let all: Vec<_> = pairs
        .map(|(at, is_protected)| PbsSnapshot { at: *at, is_protected, is_finished: true })
        .collect();
    for keep in [
        PbsKeep { last: Some(1), ..PbsKeep::default() },
        PbsKeep { counts: [Some(1), None, None, None, None], ..PbsKeep::default() },
    ] {
        let left = kept(&set, &pbs(&all, &keep, &TimeZone::UTC));
        assert_eq!(left, [set[0], set[2], set[3]], "{keep:?}");
    }
}

#[test]
fn d2_unfinished() {
    let set = ats(&["2019-12-01 00:00:00", "2019-12-02 00:00:00", "2019-12-03 00:00:00"]);
    let run = |finished: [bool; 3]| {
        let pairs = set.iter().zip(finished);
        let all: Vec<_> = pairs
            .map(|(at, is_finished)| PbsSnapshot { at: *at, is_protected: false, is_finished })
            .collect();
        let keep = PbsKeep { last: Some(1), ..PbsKeep::default() };
        kept(&set, &pbs(&all, &keep, &TimeZone::UTC))
    };
    assert_eq!(run([true, true, false]), set[1..], "newer than the last good one");
    assert_eq!(run([true, false, true]), set[2..]);
    assert_eq!(run([true, false, false]), [set[0], set[2]]);
}

#[test]
fn d2_example_of_the_manual() {
    let set = ats(&[
        "2019-12-04 13:20:37",
        "2019-12-03 09:35:01",
        "2019-11-22 11:54:47",
        "2019-11-21 12:36:25",
        "2019-11-10 10:42:20",
    ]);
    assert_eq!(by_pbs(&set, None, [0, 1, 3, 0, 0]), [set[4], set[2], set[0]]);
}

#[test]
fn d6_restic_manual_set() {
    let set = ats(&[
        "2025-04-21 11:00:00",
        "2025-04-22 11:00:00",
        "2025-04-23 11:00:00",
        "2025-04-24 11:00:00",
        "2025-04-25 11:00:00",
        "2025-04-25 23:00:00",
        "2025-04-28 11:00:00",
        "2025-04-29 11:00:00",
        "2025-05-01 11:00:00",
        "2025-05-02 11:00:00",
        "2025-05-02 23:00:00",
    ]);
    let places = |places: &[usize]| places.iter().map(|place| set[*place]).collect::<Vec<_>>();
    assert_eq!(by_restic(&set, 0, [0, 5, 0, 0, 0]), places(&[5, 6, 7, 8, 10]));
    let now = at("2025-05-03 00:00:00");
    let week = Some(ResticWithin { days: 7, ..ResticWithin::default() });
    let each = ResticKeep { within_each: [None, week, None, None, None], ..ResticKeep::default() };
    let left = restic(&set, &each, &TimeZone::UTC, now).unwrap();
    assert_eq!(kept(&set, &left), places(&[6, 7, 8, 10]));
    let all = ResticKeep { within: week, ..ResticKeep::default() };
    let left = restic(&set, &all, &TimeZone::UTC, now).unwrap();
    assert_eq!(kept(&set, &left), places(&[6, 7, 8, 9, 10]));
}

fn every_day(first: &str, last: &str, without: &[&str]) -> Vec<Timestamp> {
    let (mut day, last) = (at(first), at(last));
    let without = ats(without);
    let mut days = Vec::new();
    while day <= last {
        days.push(day);
        day += SignedDuration::from_hours(24);
    }
    days.retain(|day| !without.contains(day));
    days
}

fn dates(of: &[Timestamp]) -> Vec<String> {
    of.iter().map(|at| TimeZone::UTC.to_datetime(*at).date().to_string()).collect()
}

#[test]
fn d7_borg_counts_and_how_others_answer() {
    let set = every_day("2015-01-01 12:00:00", "2015-12-31 12:00:00", &["2015-12-19 12:00:00"]);
    let rules = [
        Interval::None,
        Interval::Count(14),
        Interval::None,
        Interval::Count(6),
        Interval::Count(1),
    ];
    let keep = BorgKeep { rules, within: None };
    let left = kept(&set, &borg(&set, &keep, &TimeZone::UTC, at("2016-01-01 00:00:00")));
    let mut expected: Vec<String> = ["01-01", "06-30", "07-31", "08-31", "09-30", "10-31", "11-30"]
        .iter()
        .map(|day| format!("2015-{day}"))
        .collect();
    let dailies = (17..=31).filter(|day| *day != 19);
    expected.extend(dailies.map(|day| format!("2015-12-{day}")));
    assert_eq!(dates(&left), expected);
    let counts = [0, 14, 0, 6, 1];
    assert_eq!(dates(&by_pbs(&set, None, counts)), expected[1..], "PBS: without 2015-01-01");
    assert_eq!(dates(&by_restic(&set, 0, counts)), expected[2..], "restic: without 06-30, too");
}

#[test]
fn d7_borg_intervals() {
    let missing = ["2026-03-31 16:00:00", "2026-05-24 16:00:00", "2026-06-03 16:00:00"];
    let set = every_day("2025-11-15 16:00:00", "2026-06-04 16:00:00", &missing);
    let rules = [
        Interval::None,
        Interval::days(7),
        Interval::Count(4),
        Interval::days(5 * 31),
        Interval::Count(2),
    ];
    let keep = BorgKeep { rules, within: None };
    let reference = at("2026-06-04 16:00:00");
    let rules = borg(&set, &keep, &TimeZone::UTC, reference);
    let expected = [
        "2025-11-15",
        "2025-12-31",
        "2026-01-31",
        "2026-02-28",
        "2026-03-30",
        "2026-04-30",
        "2026-05-03",
        "2026-05-10",
        "2026-05-17",
        "2026-05-23",
        "2026-05-28",
        "2026-05-29",
        "2026-05-30",
        "2026-05-31",
        "2026-06-01",
        "2026-06-02",
        "2026-06-04",
    ];
    assert_eq!(dates(&kept(&set, &rules)), expected);
    assert_eq!(rules.last().unwrap(), &[Rule::AtReference]);
}

fn by_kopia(set: &[Timestamp], keep: KopiaKeep) -> Vec<Timestamp> {
    let all: Vec<_> = set.iter().map(|at| KopiaSnapshot { at: *at, is_complete: true }).collect();
    kept(set, &kopia(&all, &keep, &TimeZone::UTC))
}

#[test]
fn d7_kopia() {
    let set = every_day("2020-01-01 12:00:00", "2026-06-10 12:00:00", &[]);
    let none = KopiaKeep { latest: 0, counts: [0; 5] };
    assert_eq!(by_kopia(&set, none).len(), set.len(), "all zero keeps all");
    let left = dates(&by_kopia(&set, KopiaKeep { counts: [0, 7, 0, 0, 0], ..none }));
    assert_eq!((left.len(), left[0].as_str()), (7, "2026-06-04"));
    // The newest N, and none older than N days before the newest: a gap is not filled from behind it.
    let gap: Vec<_> = set
        .iter()
        .copied()
        .filter(|day| *day < at("2026-06-01 00:00:00"))
        .chain([set[set.len() - 1]])
        .collect();
    assert_eq!(
        dates(&by_kopia(&gap, KopiaKeep { counts: [0, 7, 0, 0, 0], ..none })),
        ["2026-06-10"]
    );
    let usual = by_kopia(&set, KopiaKeep::default());
    assert!(
        usual.contains(&at("2024-07-31 12:00:00")) && !usual.contains(&at("2024-06-30 12:00:00"))
    );
    assert!(
        usual.contains(&at("2024-12-31 12:00:00")) && !usual.contains(&at("2023-12-31 12:00:00"))
    );
}

#[test]
fn d7_kopia_incomplete() {
    let set = ats(&[
        "2026-06-01 00:00:00",
        "2026-06-02 00:00:00",
        "2026-06-03 00:00:00",
        "2026-06-04 00:00:00",
        "2026-06-05 00:00:00",
        "2026-06-05 01:00:00",
    ]);
    let run = |complete: usize| {
        let all: Vec<_> = set
            .iter()
            .enumerate()
            .map(|(place, at)| KopiaSnapshot { at: *at, is_complete: place == complete })
            .collect();
        kept(&set, &kopia(&all, &KopiaKeep::default(), &TimeZone::UTC))
    };
    assert_eq!(run(0), [set[0], set[3], set[4], set[5]], "the newest three");
    assert_eq!(run(4), set[4..], "nothing behind the first complete one");
}

#[test]
fn counts_become_rules() {
    let schedule = Calendar::parse("daily 12:00 18:00").unwrap();
    let counts = Counts { last: 3, counts: [24, 7, 4, 6, 0] };
    let beside = import(&counts, Model::SideBySide, &schedule);
    let lives = |tag: Tag| beside.keep.lifetime(tag);
    assert_eq!(lives(Tag::Daily), Some(Lifetime::new(7, Unit::Days)));
    assert_eq!(lives(Tag::Weekly), Some(Lifetime::new(4, Unit::Weeks)));
    assert_eq!(
        (lives(Tag::Monthly), lives(Tag::Yearly)),
        (Some(Lifetime::new(6, Unit::Months)), None)
    );
    let lost = [NotExpressed::Last(3), NotExpressed::Hourly(24), NotExpressed::Gaps];
    assert_eq!(beside.not_expressed, lost);
    // Where rules follow each other the coarser ones begin behind the finer.
    let after = import(&counts, Model::OneAfterAnother, &schedule);
    assert_eq!(after.keep.lifetime(Tag::Weekly), Some(Lifetime::new(5, Unit::Weeks)));
    assert_eq!(after.keep.lifetime(Tag::Monthly), Some(Lifetime::new(8, Unit::Months)));
    let too_long = Counts { last: 0, counts: [0, 20_000, 0, 0, 0] };
    let cut = import(&too_long, Model::SideBySide, &schedule);
    let text = format!(
        "name = \"g\"\n[short_term]\npoints = [\"daily 12:00 18:00\"]\n{}",
        after.text("short_term.keep")
    );
    let group = keelhold_policy::goal::parse(&text, &keelhold_policy::goal::Terms::default());
    assert_eq!(group.unwrap().short_term.keep, after.keep, "{text}");
    assert!(text.contains("# not expressed: \"last 3\""), "{text}");
    assert!(cut.not_expressed.contains(&NotExpressed::TooLong { asked: 20_000, unit: Unit::Days }));
}

/// On a schedule that was met, what PBS or restic keeps by the day is kept by the imported rules, too.
#[test]
fn imported_rules_keep_no_less() {
    use crate::vectors::{made, now, policy};
    use keelhold_policy::mutants::Mutants;
    use keelhold_policy::retain::{Protection, judge};
    let schedule = Calendar::parse("daily 12:00").unwrap();
    let set = every_day("2020-01-01 12:00:00", "2026-06-10 12:00:00", &[]);
    for counts in [[0, 7, 4, 6, 2], [0, 14, 0, 6, 1], [0, 1, 1, 1, 1], [0, 0, 5, 0, 3]] {
        for (model, theirs) in [
            (Model::OneAfterAnother, by_pbs(&set, None, counts)),
            (Model::SideBySide, by_restic(&set, 0, counts)),
        ] {
            let keep = import(&Counts { last: 0, counts }, model, &schedule).keep;
            let policy = policy(keep, Mutants::default());
            let points: Vec<_> = set.iter().map(|slot| made(&policy, *slot)).collect();
            let verdicts = judge(&policy, Protection::On, &points, now(at("2026-06-10 12:00:00")));
            let ours = verdicts.iter().filter(|verdict| !verdict.goes()).count();
            // Counts take the week, month and year that run; rules take the day that ends them.
            assert!(ours + 4 >= theirs.len(), "{model:?} {counts:?}: {ours} of {}", theirs.len());
        }
    }
}
