use jiff::Timestamp;
use jiff::civil::{Weekday, date, time};
use jiff::tz::TimeZone;

use super::{Calendar, Field, Reason};

fn calendar(text: &str) -> Calendar {
    Calendar::parse(text).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

/// The first runs after an instant, in UTC.
fn runs(text: &str, zone_name: &str, after: &str, count: usize) -> Vec<String> {
    let zone = zone(zone_name);
    calendar(text).iter(&zone, at(after)).take(count).map(|at| at.to_string()).collect()
}

#[test]
fn plain_forms_are_calendar_events() {
    for (plain, normal) in [
        ("daily 12:00", "*-*-* 12:00:00"),
        ("daily 08:15 18:45", "*-*-* 08:15:00; *-*-* 18:45:00"),
        ("weekly sat 02:00", "Sat *-*-* 02:00:00"),
        ("weekly", "Mon *-*-* 00:00:00"),
        ("monthly last 03:00", "*-*~01 03:00:00"),
        ("monthly 15 03:00 04:30", "*-*-15 03:00:00; *-*-15 04:30:00"),
        ("mon..fri 8:0 20:0", "Mon..Fri *-*-* 08:00:00; Mon..Fri *-*-* 20:00:00"),
        ("hourly UTC", "*-*-* *:00:00 UTC"),
        ("daily europe/berlin", "*-*-* 00:00:00 Europe/Berlin"),
        ("*:0/15", "*-*-* *:00/15:00"),
        ("*-*~7/2", "*-*~01,03,05,07 00:00:00"),
        ("Sat,Sun 5:40", "Sat,Sun *-*-* 05:40:00"),
    ] {
        assert_eq!(calendar(plain).to_string(), normal, "{plain}");
        assert_eq!(calendar(normal), calendar(plain), "{normal}");
    }
}

#[test]
fn people_are_told_in_words() {
    for (text, words) in [
        ("daily 12:00 18:00", "every day at 12:00 and 18:00"),
        ("Mon..Fri 2:00", "Mondays to Fridays at 02:00"),
        ("weekly sat 02:00", "Saturdays at 02:00"),
        ("*:0/15", "every 15 minutes"),
        ("hourly", "every hour"),
        ("0/6:30", "every 6 hours, 30 minutes past"),
        ("monthly last 03:00", "the last day of every month at 03:00"),
        ("*-3,6-1 00:00 UTC", "day 1 of March and June at 00:00 (UTC)"),
    ] {
        assert_eq!(calendar(text).describe(), words, "{text}");
    }
}

#[test]
fn what_cannot_be_is_refused_with_place_and_reason() {
    let hour = Reason::OutOfRange { field: Field::Hour, low: 0, high: 23 };
    let month = Reason::OutOfRange { field: Field::Month, low: 1, high: 12 };
    for (text, place, reason) in [
        ("", 0, Reason::Empty),
        ("daily;", 6, Reason::Empty),
        ("Mon 25:00", 4, hour),
        ("2030-13-01", 5, month),
        ("*-02-30", 0, Reason::NoSuchDay { month: 2, length: 29 }),
        ("*-04,06-31", 0, Reason::NoSuchDay { month: 4, length: 30 }),
        ("2025-02-29", 0, Reason::NoSuchDay { month: 2, length: 28 }),
        ("Mon 2030-01-01", 0, Reason::Never),
        ("Mon,,Tue 2:00", 4, Reason::EmptyInList),
        (",mon 2:00", 0, Reason::EmptyInList),
        ("mon, 2:00", 4, Reason::EmptyInList),
        ("weekly 02:00", 7, Reason::WhichWeekday),
        ("monthly 02:00", 8, Reason::WhichDay),
        ("daily 02:00 Europe/Belrin", 12, Reason::UnknownZone),
        ("fri..mon 2:00", 0, Reason::WeekdaysBackwards),
        ("5..3:00", 0, Reason::Backwards),
        ("5..:00", 0, Reason::HalfRange),
        ("*:0/0", 4, Reason::NoStep),
        ("*:50/10", 2, Reason::StepTooFar { field: Field::Minute, from: 50, step: 10 }),
        ("*/2:00", 0, Reason::StarNotAlone { field: Field::Hour }),
        ("0:0:0.5", 4, Reason::Fraction),
        ("1:2:3:4", 0, Reason::NotATime),
        ("hourly 2:00", 7, Reason::TakesNone { word: "hourly" }),
        ("2:00 mon", 5, Reason::OutOfOrder),
        ("2030-1-1 *-2-2", 9, Reason::Twice),
        ("dayly", 0, Reason::UnknownWord { suggestion: Some("daily") }),
        ("@1395716396", 0, Reason::UnknownWord { suggestion: None }),
        ("12", 0, Reason::NotATime),
    ] {
        let fault = Calendar::parse(text).expect_err(text);
        assert_eq!((fault.at, &fault.reason), (place, &reason), "{text}: {fault}");
    }
    let fault = Calendar::parse("Mon 25:00").expect_err("an hour too much");
    assert_eq!(fault.to_string(), "the hour is 0 to 23 (\"25\", at character 5)");
}

#[test]
fn no_text_makes_the_parser_fall() {
    let pieces = ["mon", "..", ",", "*", "-", "~", ":", "/", "0", "99999", " ", "é", ";", "last"];
    let mut state = 7_u64;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..(state % 9) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
            text += pieces[usize::try_from(state >> 33).unwrap() % pieces.len()];
        }
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        match Calendar::parse(&text) {
            Ok(calendar) => {
                let again = Calendar::parse(&calendar.to_string());
                assert_eq!(again.as_ref(), Ok(&calendar), "{text}");
            }
            Err(fault) => assert!(fault.at <= text.len(), "{text}"),
        }
    }
}

#[test]
fn the_repeated_hour_runs_once_and_the_missing_one_at_its_end() {
    // Berlin, 2026-03-29: 02:00 becomes 03:00 at 01:00Z.
    assert_eq!(
        runs("daily 02:30", "Europe/Berlin", "2026-03-28T00:00:00Z", 3),
        ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
    );
    // What falls together at the end of the gap is one run.
    assert_eq!(
        runs("daily 02:15 02:45 03:00", "Europe/Berlin", "2026-03-29T00:00:00Z", 2),
        ["2026-03-29T01:00:00Z", "2026-03-30T00:15:00Z"]
    );
    // 2026-10-25: 03:00 becomes 02:00 at 01:00Z. The first 02:30 is 00:30Z, the second 01:30Z.
    assert_eq!(
        runs("daily 02:30", "Europe/Berlin", "2026-10-25T00:29:59Z", 2),
        ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
    );
    assert_eq!(
        runs("*:0/30", "Europe/Berlin", "2026-10-25T00:00:00Z", 3),
        ["2026-10-25T00:30:00Z", "2026-10-25T02:00:00Z", "2026-10-25T02:30:00Z"]
    );
    // In the middle of the second occurrence everything of the hour is over.
    let berlin = zone("Europe/Berlin");
    let inside = at("2026-10-25T01:10:00Z");
    let daily = calendar("daily 02:30");
    assert_eq!(daily.next(&berlin, inside), Some(at("2026-10-26T01:30:00Z")));
    assert_eq!(daily.previous(&berlin, inside), Some(at("2026-10-25T00:30:00Z")));
    // A whole day is skipped: Samoa, 2011-12-30.
    assert_eq!(
        runs("daily 12:00", "Pacific/Apia", "2011-12-29T23:00:00Z", 2),
        ["2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z"]
    );
}

#[test]
fn back_and_forth_meet() {
    for name in ["Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "Africa/Casablanca"] {
        let zone = zone(name);
        for text in ["daily 02:30", "*:0/20", "Sun 1..3:00", "*-*~1 2:30", "2025..2027-3-29 2:15"] {
            let calendar = calendar(text);
            let mut last = at("2025-01-01T00:00:00.5Z");
            for found in calendar.iter(&zone, last).take(40_000) {
                if found > at("2027-01-01T00:00:00Z") {
                    break;
                }
                let back = calendar.previous(&zone, found);
                assert!(back.is_none_or(|back| back <= last), "{name} {text} {last} {found}");
                assert_eq!(calendar.newest(&zone, found), Some(found), "{name} {text}");
                last = found;
            }
        }
    }
}

#[test]
fn retention_can_ask_what_a_calendar_has() {
    let twice = calendar("mon..sat 12:00 18:00");
    assert_eq!(twice.times_of_day(), Some(vec![time(12, 0, 0, 0), time(18, 0, 0, 0)]));
    assert!(twice.has_weekday(Weekday::Saturday) && !twice.has_weekday(Weekday::Sunday));
    assert!(twice.admits(date(2026, 11, 21)) && !twice.admits(date(2026, 11, 22)));
    assert_eq!(twice.times_on(date(2026, 11, 22)), Some(vec![]));
    assert_eq!(calendar("minutely").times_of_day(), None);
}
