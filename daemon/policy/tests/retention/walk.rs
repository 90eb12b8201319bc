//! The slow calculation is held to the decided cases, too.

use crate::oracle::{Answer, DAY, On, Point, Policy, Rule, Stop, Zone, answers, days};
use crate::vectors::at;

fn second(text: &str) -> i64 {
    at(text).as_second()
}

fn rule(life: (i64, usize)) -> Rule {
    Rule { weekdays: vec![5], on: On::Weekday(-1, 5), months: vec![3], times: Vec::new(), life }
}

fn policy(rules: [Option<Rule>; 4]) -> Policy {
    Policy { zone: Zone::Utc, rules, minimum: None }
}

fn point(policy: &Policy, made: i64) -> Point {
    let (day, second) = Zone::Utc.clock(made);
    Point {
        made,
        witnessed: made,
        tags: policy.tags(day, second),
        until: None,
        is_open: false,
        pin: None,
        is_good: true,
    }
}

fn history(policy: &Policy, first: &str, hours: i64, until: i64) -> Vec<Point> {
    let (mut made, mut points) = (second(first), Vec::new());
    while made <= until {
        points.push(point(policy, made));
        made += hours * 3_600;
    }
    points
}

/// At midnight and at 18:00.
fn twice_a_day(policy: &Policy, until: i64) -> Vec<Point> {
    let mut points = history(policy, "2015-01-01 00:00:00", 24, until);
    points.extend(history(policy, "2015-01-01 18:00:00", 24, until));
    points.sort_by_key(|point| point.made);
    points
}

fn kept(policy: &Policy, points: &[Point], now: i64) -> Vec<(i64, Answer)> {
    let pairs = points.iter().zip(answers(policy, Stop::No, points, now, now));
    let kept = pairs.filter(|(_, answer)| !answer.reasons.is_empty());
    kept.map(|(point, answer)| (point.made, answer)).collect()
}

#[test]
fn the_walk_knows_the_tape_example() {
    let yearly = Rule { times: vec![0], ..rule((10, 3)) };
    let tape = policy([Some(rule((7, 0))), Some(rule((4, 1))), Some(rule((12, 2))), Some(yearly)]);
    for when in ["2026-10-21 12:00:00", "2026-10-31 20:00:00", "2026-04-01 00:30:00"] {
        let now = second(when);
        assert_eq!(kept(&tape, &twice_a_day(&tape, now), now).len(), 51, "{when}");
    }
    let now = second("2026-10-21 12:00:00");
    let kept = kept(&tape, &twice_a_day(&tape, now), now);
    let tag = |name: &str| kept.iter().filter(|(_, answer)| answer.reasons.contains(&name)).count();
    assert_eq!(["daily", "weekly", "monthly", "yearly"].map(tag), [14, 8, 24, 10]);
    let expires = |made: &str| kept.iter().find(|pair| pair.0 == second(made)).unwrap().1.expires;
    for (made, end) in [
        ("2017-03-25 00:00:00", "2027-03-25 00:00:00"),
        ("2026-03-28 00:00:00", "2036-03-28 00:00:00"),
        ("2026-03-28 18:00:00", "2027-03-28 18:00:00"),
        ("2026-10-14 18:00:00", "2026-10-21 18:00:00"),
    ] {
        assert_eq!(expires(made), Some(second(end)), "{made}");
    }
}

#[test]
fn the_walk_knows_changed_policies() {
    let (week, month) = (policy([Some(rule((7, 0))), None, None, None]), rule((30, 0)));
    let daily = policy([Some(rule((14, 0))), None, None, None]);
    let now = second("2026-06-15 12:00:00");
    let points = history(&daily, "2026-05-01 00:00:00", 24, now);
    let there: Vec<Point> =
        kept(&daily, &points, now).into_iter().map(|(made, _)| point(&daily, made)).collect();
    assert_eq!((there.len(), kept(&week, &there, now).len()), (14, 7), "shrink");
    // Weekly points under a daily rule of 30 days: aged 40 days gone, aged 10 days 20 left.
    let weekly = policy([None, Some(rule((12, 1))), None, None]);
    let after = policy([Some(month), None, None, None]);
    let aged =
        |days: i64| Point { tags: [false, true, false, false], ..point(&weekly, now - days * DAY) };
    let left = answers(&after, Stop::No, &[aged(40), aged(10), aged(3)], now, now);
    assert!(left[0].reasons.is_empty());
    assert_eq!(left[1].expires, Some(now + 20 * DAY));
    // Only daily under a weekly rule: gone, but for the newest.
    let both = policy([Some(rule((30, 0))), Some(rule((4, 1))), None, None]);
    let points = history(&both, "2026-05-01 00:00:00", 24, now);
    assert_eq!(kept(&policy([None, Some(rule((4, 1))), None, None]), &points, now).len(), 5);
}

#[test]
fn the_walk_knows_the_ends_of_months() {
    for (made, life, end) in [
        ("2026-01-31 18:00:00", (1, 2), "2026-02-28 18:00:00"),
        ("2028-01-31 18:00:00", (1, 2), "2028-02-29 18:00:00"),
        ("2028-02-29 18:00:00", (1, 3), "2029-02-28 18:00:00"),
        ("2028-02-29 18:00:00", (4, 3), "2032-02-29 18:00:00"),
    ] {
        let policy = policy([Some(rule(life)), None, None, None]);
        let now = second(made);
        let answer = &answers(&policy, Stop::No, &[point(&policy, now)], now, now)[0];
        assert_eq!(answer.expires, Some(second(end)), "{made}");
    }
    let last = policy([None, None, Some(Rule { on: On::Day(30), ..rule((1, 2)) }), None]);
    assert!(
        last.tags(days().find(2026, 2, 28), 0)[2] && !last.tags(days().find(2028, 2, 28), 0)[2]
    );
}

#[test]
fn the_walk_knows_the_two_clocks_and_the_last_point() {
    let week = policy([Some(rule((7, 0))), None, None, None]);
    let points =
        [point(&week, second("2026-06-01 00:00:00")), point(&week, second("2026-06-02 00:00:00"))];
    let wall = second("2030-01-01 00:00:00");
    let seen = |hours: i64| answers(&week, Stop::No, &points, wall, points[0].made + hours * 3_600);
    assert_eq!(seen(24)[0].reasons, ["not-witnessed"]);
    assert_eq!(seen(24)[0].expires, Some(wall + 6 * DAY));
    assert!(!seen(167)[0].reasons.is_empty() && seen(168)[0].reasons.is_empty());
    assert_eq!(
        (seen(10_000)[1].reasons.as_slice(), seen(10_000)[1].expires),
        (&["last-good"][..], None)
    );
}
