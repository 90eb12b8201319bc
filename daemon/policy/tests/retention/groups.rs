//! Texts of groups: what is read, what is refused and where, and that printing reads back.

use crate::dice::{Dice, seeds};
use jiff::civil::{Time, Weekday, time};
use keelhold_policy::calendar::{Calendar, Hours};
use keelhold_policy::goal::keep::{
    Daily, Keep, Lifetime, Minimum, MonthDay, Monthly, Times, Unit, Weekly, Which, Yearly,
};
use keelhold_policy::goal::{
    Bandwidth, Consistency, Cover, DEFAULT_GROUP, Group, Jobs, Known, Length, Member, New, Online,
    OnlineWhen, Rate, Refusal, Scripts, ShortTerm, Sync, Terms, Window, default_group, parse,
    print,
};

const WHOLE: &str = r#"name = "servers"
zone = "Europe/Berlin"

[[member]]
machine = "db-server"
source = "etc"
[[member]]
machine = "anna-laptop"
every = "file-systems"
new = "show"

[short_term]
points = ["daily 00:00 12:00 18:00"]
sync = "1h"
consistency = "crash"
deadline = "26h"

[short_term.keep]
daily   = { for = "14 days" }
weekly  = { on = ["saturday"], times = ["18:00"], for = "4 weeks" }
monthly = { on = "last saturday", for = "12 months" }
yearly  = { on = "last saturday", month = "march", times = ["00:00"], for = "10 years" }

[[online]]
vault = "offsite"
schedule = "after-newest-point"
[online.keep]
daily = { for = "30 days" }

[window]
allow = ["mon..fri 20:00-06:00", "sat,sun 00:00-24:00"]
start_within = "2h"
must_end_within = "8h"

[[bandwidth]]
when = "mon..fri 08:00-18:00"
limit = "20 MiB/s"

[jobs]
slots = 4
spread = "10m"
[scripts]
pre = "/etc/keelhold/pre-dump"
post = "/etc/keelhold/post-dump"
time_limit = "10m"
"#;

fn refusals(text: &str) -> Vec<Refusal> {
    parse(text, &Terms::default()).expect_err(text)
}

#[test]
fn a_whole_group_is_read() {
    let group = parse(WHOLE, &Terms::default()).unwrap_or_else(|why| panic!("{why:#?}"));
    assert_eq!((group.name.as_str(), group.members.len()), ("servers", 2));
    assert_eq!(group.members[1].cover, Cover::FileSystems { new: New::Show });
    let yearly = group.short_term.keep.yearly.as_ref().unwrap();
    assert_eq!(yearly.on, MonthDay::Weekday(Which::Last, Weekday::Saturday));
    assert_eq!(
        (yearly.months.as_slice(), &yearly.times),
        (&[3][..], &Times(vec![Time::midnight()]))
    );
    assert_eq!(group.short_term.sync, Sync::Every(Length::minutes(60)));
    assert_eq!(group.bandwidth[0].limit, Rate { bytes: 20 << 20 });
    assert_eq!(parse(&print(&group), &Terms::default()).as_ref(), Ok(&group), "{}", print(&group));
}

#[test]
fn the_default_group_is_sound() {
    let group = default_group().unwrap();
    let days = |count| Some(Lifetime::new(count, Unit::Days));
    assert_eq!(group.short_term.keep.daily.map(|rule| rule.keep), days(30));
    let held = Terms { minimum: Some(Minimum::USUAL), ..Terms::default() };
    assert!(parse(DEFAULT_GROUP, &held).is_ok());
}

/// Changes one line of the whole group; the refusals, shown.
fn with(old: &str, new: &str) -> Vec<String> {
    assert!(WHOLE.contains(old), "{old}");
    refusals(&WHOLE.replacen(old, new, 1)).iter().map(ToString::to_string).collect()
}

#[test]
fn each_fault_is_refused_at_its_line() {
    let cases = [
        ("zone =", "zon =", "line 2: zon: there is no such key (did you mean \"zone\"?)"),
        (
            "Europe/Berlin",
            "Europe/Berln",
            "line 2: zone: there is no time zone \"Europe/Berln\" (did you mean \"Europe/Berlin\"?)",
        ),
        ("name = \"servers\"", "name = \"../servers\"", "line 1: name: \"../servers\" is no name"),
        ("name = \"servers\"", "", "line 1: name: is missing (for example: name = \"servers\")"),
        (
            "source = \"etc\"",
            "every = \"file-systems\"\nsource = \"etc\"",
            "line 7: member[1].source: is given together with every",
        ),
        ("source = \"etc\"", "", "line 4: member[1].source: is missing"),
        (
            "source = \"etc\"",
            "source = \"etc\"\nnew = \"join\"",
            "line 7: member[1].new: says something only together with every",
        ),
        ("db-server", "*", "line 5: member[1].machine: says something only together with every"),
        (
            "every = \"file-systems\"",
            "every = \"filesystems\"",
            "line 9: member[2].every: \"filesystems\" is not one of \"file-systems\" (did you mean \"file-systems\"?)",
        ),
        (
            "machine = \"anna-laptop\"\nevery = \"file-systems\"\nnew = \"show\"",
            "machine = \"db-server\"\nsource = \"etc\"",
            "line 7: member[2]: is there twice",
        ),
        ("daily 00:00 12:00 18:00", "daly 12:00", "line 13: short_term.points: "),
        (
            "sync = \"1h\"",
            "sync = \"20m\"",
            "line 14: short_term.sync: \"20m\" is not one of \"before-point\", \"15m\"",
        ),
        (
            "sync = \"1h\"",
            "sync = 60",
            "line 14: short_term.sync: is a number, and should be text in quotes",
        ),
        ("\"crash\"", "\"crahs\"", "line 15: short_term.consistency: \"crahs\" is not one of"),
        (
            "deadline = \"26h\"",
            "deadline = \"12h\"",
            "line 16: short_term.deadline: points are up to 12 hours apart",
        ),
        (
            "\"14 days\"",
            "\"10000 days\"",
            "line 19: short_term.keep.daily.for: \"10000 days\" is longer than 9999 days",
        ),
        (
            "\"4 weeks\"",
            "\"5164 weeks\"",
            "line 20: short_term.keep.weekly.for: \"5164 weeks\" is longer than 5163 weeks",
        ),
        (
            "\"12 months\"",
            "\"1189 months\"",
            "line 21: short_term.keep.monthly.for: \"1189 months\" is longer than 1188 months",
        ),
        (
            "\"10 years\"",
            "\"100 years\"",
            "line 22: short_term.keep.yearly.for: \"100 years\" is longer than 99 years",
        ),
        (
            "\"14 days\"",
            "\"0 days\"",
            "line 19: short_term.keep.daily.for: \"0 days\" is no time at all",
        ),
        (
            "\"14 days\"",
            "\"a fortnight\"",
            "line 19: short_term.keep.daily.for: \"a fortnight\" is not a number and days",
        ),
        (
            "times = [\"18:00\"]",
            "times = [\"19:00\"]",
            "line 20: short_term.keep.weekly.times: no point is made at 19:00 (points are made at 00:00, 12:00, 18:00)",
        ),
        (
            "on = [\"saturday\"], ",
            "",
            "line 20: short_term.keep.weekly.on: is missing (for example: on = [\"saturday\"])",
        ),
        ("on = [\"saturday\"]", "on = []", "line 20: short_term.keep.weekly.on: is empty"),
        (
            "on = [\"saturday\"]",
            "on = [\"satuday\"]",
            "line 20: short_term.keep.weekly.on: \"satuday\" is not one of",
        ),
        (
            "on = \"last saturday\", for",
            "on = \"fifth saturday\", for",
            "line 21: short_term.keep.monthly.on: \"fifth saturday\" is no day of a month",
        ),
        (
            "on = \"last saturday\", for",
            "day = 32, for",
            "line 21: short_term.keep.monthly.day: a month has no day 32",
        ),
        (
            "on = \"last saturday\", for",
            "on = \"last saturday\", day = 3, for",
            "line 21: short_term.keep.monthly.on: is given together with day",
        ),
        (
            "on = \"last saturday\", month = \"march\"",
            "day = 30, month = \"february\"",
            "line 22: short_term.keep.yearly.day: february has no day 30",
        ),
        (
            "month = \"march\"",
            "month = \"marsh\"",
            "line 22: short_term.keep.yearly.month: \"marsh\" is not one of",
        ),
        ("daily = { for = \"30 days\" }", "", "line 27: online[1].keep: no rule says what is kept"),
        (
            "\"after-newest-point\"",
            "\"after-newest\"",
            "line 26: online[1].schedule: \"after-newest\" is not one of",
        ),
        (
            "mon..fri 20:00-06:00",
            "mon..fri 20:00-20:00",
            "line 31: window.allow: these hours have no length",
        ),
        (
            "start_within = \"2h\"",
            "start_within = \"0h\"",
            "line 32: window.start_within: \"0h\" is no length of time",
        ),
        (
            "must_end_within = \"8h\"",
            "must_end_within = \"2h\"",
            "line 33: window.must_end_within: a job that may begin so late",
        ),
        (
            "20 MiB/s",
            "20 MB",
            "line 37: bandwidth[1].limit: \"20 MB\" is no rate (for example \"20 MiB/s\")",
        ),
        ("slots = 4", "slots = 0", "line 40: jobs.slots: 1 to 1000 is the range"),
        (
            "\"/etc/keelhold/pre-dump\"",
            "\"pre-dump\"",
            "line 43: scripts.pre: the path of a program begins with",
        ),
    ];
    for (old, new, expected) in cases {
        let found = with(old, new);
        assert_eq!(found.len(), 1, "{new}: {found:#?}");
        assert!(found[0].starts_with(expected), "{new}: {}\nnot {expected}", found[0]);
    }
}

fn small(short_term: &str) -> String {
    format!("name = \"g\"\n[short_term]\n{short_term}")
}

#[test]
fn rules_are_held_against_the_schedule() {
    let cases = [
        (
            "points = [\"daily 13:00 13:30\"]\nsync = \"45m\"\nkeep.daily = { for = \"7 days\" }",
            "line 4: short_term.sync: between two points that are 30 minutes apart",
        ),
        ("points = [\"daily 12:00\"]", "line 2: short_term.keep: no rule says what is kept"),
        (
            "points = [\"daily 12:00\"]\n[short_term.keep]",
            "line 4: short_term.keep: no rule says what is kept",
        ),
        (
            "points = [\"weekly sat 12:00\"]\nkeep.weekly = { on = [\"friday\"], for = \"4 weeks\" }",
            "line 4: short_term.keep.weekly.on: no point is made on friday",
        ),
        (
            "points = [\"Mon 08:00; Sat 12:00\"]\nkeep.weekly = { on = [\"saturday\"], times = [\"08:00\"], for = \"4 weeks\" }",
            "line 4: short_term.keep.weekly: no point is ever made on the days this rule means",
        ),
        (
            "points = [\"monthly 1 12:00\"]\nkeep.monthly = { day = 2, for = \"3 months\" }",
            "line 4: short_term.keep.monthly: no point is ever made",
        ),
    ];
    for (text, expected) in cases {
        let found: Vec<_> = refusals(&small(text)).iter().map(ToString::to_string).collect();
        assert!(found.len() == 1 && found[0].starts_with(expected), "{found:#?}\nnot {expected}");
    }
    let good = [
        "points = [\"daily 13:00 14:00\"]\nsync = \"45m\"\nkeep.daily = { for = \"7 days\" }",
        "points = [\"hourly\"]\nkeep.daily = { times = [\"00:00\"], for = \"7 days\" }",
        "points = [\"daily 12:00\"]\nkeep.yearly = { day = 29, month = \"february\", for = \"7 years\" }",
        "points = [\"daily 12:00\"]\nkeep.yearly = { day = \"last\", month = [\"march\", \"june\"], for = \"7 years\" }",
    ];
    for text in good {
        parse(&small(text), &Terms::default()).unwrap_or_else(|why| panic!("{text}: {why:#?}"));
    }
}

#[test]
fn all_faults_are_told_together() {
    let text = "nam = \"x\"\nzone = \"Nowhere\"\n[[member]]\nmachine = \"a\"\n[[member]]\n\
        machine = \"b\"\nsource = \"e tc\"\n[short_term]\npoints = [\"daily 25:00\", \"daily 12:00\"]\n\
        keep.daily = { for = \"0 days\" }\n[jobs]\nslots = \"4\"\n";
    let lines: Vec<(usize, String)> =
        refusals(text).into_iter().map(|refusal| (refusal.line, refusal.what)).collect();
    let expected = [
        (1, "nam"),
        (1, "name"),
        (2, "zone"),
        (3, "member[1].source"),
        (7, "member[2].source"),
        (9, "short_term.points"),
        (10, "short_term.keep.daily.for"),
        (12, "jobs.slots"),
    ];
    let expected: Vec<_> =
        expected.iter().map(|(line, what)| (*line, (*what).to_owned())).collect();
    assert_eq!(lines, expected);
    // No TOML at all: said with its line, and what could be read is still judged.
    let broken = refusals("name = \"x\"\nzone = \n");
    assert_eq!(broken.iter().map(|refusal| refusal.line).max(), Some(2), "{broken:?}");
}

#[test]
fn the_minimum_is_demanded_where_it_is() {
    let held = Terms { minimum: Some(Minimum::USUAL), ..Terms::default() };
    let text = WHOLE.replace("\"14 days\"", "\"6 days\"").replace("\"10 years\"", "\"11 months\"");
    assert!(parse(&text, &Terms::default()).is_ok());
    let found: Vec<_> = parse(&text, &held).unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "line 19: short_term.keep.daily.for: 6 days is less than the 7 days that daily points are \
             kept at least (ask for \"7 days\" or more)",
            "line 22: short_term.keep.yearly.for: 11 months is less than the 1 year that yearly points \
             are kept at least (ask for \"1 year\" or more)",
        ]
    );
}

#[test]
fn what_is_not_known_is_refused_where_that_is_asked() {
    let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    let known = |machines: &[&str], vaults: &[&str]| Terms {
        known: Known {
            machines: names(machines),
            sources: Some(vec![("db-server".to_owned(), "etc".to_owned())]),
            vaults: names(vaults),
        },
        minimum: None,
    };
    assert!(parse(WHOLE, &known(&["db-server", "anna-laptop"], &["offsite"])).is_ok());
    let found = parse(WHOLE, &known(&["db-server", "ana-laptop"], &[])).unwrap_err();
    let found: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "line 8: member[2].machine: there is no machine \"anna-laptop\" (did you mean \
             \"ana-laptop\"?)",
            "line 25: online[1].vault: there is no vault \"offsite\"",
        ]
    );
    let other = WHOLE.replace("\"etc\"", "\"etcetera\"");
    let found = parse(&other, &known(&["db-server", "anna-laptop"], &["offsite"])).unwrap_err();
    assert!(found[0].to_string().contains("has no source \"etcetera\""), "{found:?}");
}

fn random_keep(dice: &mut Dice) -> Keep {
    let life = |dice: &mut Dice| {
        let unit = dice.pick(&Unit::ALL);
        Lifetime::new(u32::try_from(dice.within(1, i64::from(unit.count_max()))).unwrap(), unit)
    };
    let times = |dice: &mut Dice| Times(dice.some(&[Time::midnight(), time(18, 0, 30, 0)]));
    let days = [Weekday::Monday, Weekday::Thursday, Weekday::Saturday];
    let on = |dice: &mut Dice| match dice.within(0, 2) {
        0 => MonthDay::Last,
        1 => MonthDay::Day(i8::try_from(dice.within(1, 28)).unwrap()),
        _ => MonthDay::Weekday(dice.pick(&Which::ALL), dice.pick(&days)),
    };
    let mut weekdays = dice.some(&days);
    weekdays.extend([Weekday::Sunday]);
    let mut months = dice.some(&[1, 2, 3, 6, 9]);
    months.push(12);
    Keep {
        daily: Some(Daily { times: times(dice), keep: life(dice) }),
        weekly: dice.one_in(2).then(|| Weekly {
            on: weekdays,
            times: times(dice),
            keep: life(dice),
        }),
        monthly: dice.one_in(2).then(|| Monthly {
            on: on(dice),
            times: times(dice),
            keep: life(dice),
        }),
        yearly: dice.one_in(2).then(|| Yearly {
            on: on(dice),
            months,
            times: times(dice),
            keep: life(dice),
        }),
    }
}

fn random_group(dice: &mut Dice) -> Group {
    let length = |dice: &mut Dice| {
        dice.one_in(2).then(|| Length::minutes(u32::try_from(dice.within(1, 9)).unwrap()))
    };
    let calendar = |text: &str| Calendar::parse(text).unwrap();
    let hours = |text: &str| Hours::parse(text).unwrap();
    let points = vec![calendar("daily 00:00 12:00"), calendar("*-*-* 18:00:30")];
    let members = [
        Member { machine: "*".into(), cover: Cover::FileSystems { new: New::Show } },
        Member { machine: "a.b-c_d".into(), cover: Cover::FileSystems { new: New::Join } },
        Member { machine: "x".into(), cover: Cover::Source("home".into()) },
    ];
    Group {
        name: "group-1".into(),
        zone: dice.one_in(2).then(|| "Asia/Kolkata".into()),
        members: members.into_iter().filter(|_| dice.one_in(2)).collect(),
        short_term: ShortTerm {
            sync: dice.pick(&[
                Sync::BeforePoint,
                Sync::Every(Length::minutes(45)),
                Sync::Every(Length::minutes(60)),
            ]),
            consistency: dice.pick(&Consistency::ALL),
            deadline: dice.one_in(2).then(|| Length::minutes(60 * 26 + 1)),
            keep: random_keep(dice),
            points: points.clone(),
        },
        online: ["v1", "v2"]
            .iter()
            .filter(|_| dice.one_in(2))
            .map(|vault| Online {
                vault: (*vault).to_owned(),
                schedule: OnlineWhen::AfterNewestPoint,
                keep: Keep::default(),
            })
            .collect::<Vec<_>>()
            .into_iter()
            .map(|online| {
                let at = dice.one_in(2).then(|| OnlineWhen::At(points.clone()));
                Online { schedule: at.unwrap_or_default(), keep: random_keep(dice), ..online }
            })
            .collect(),
        window: Window {
            allow: dice
                .some(&["mon..fri 20:00-06:00", "sun 00:00-24:00"])
                .into_iter()
                .map(hours)
                .collect(),
            start_within: length(dice),
            must_end_within: dice.one_in(2).then(|| Length::minutes(600)),
        },
        bandwidth: dice
            .some(&["08:00-18:00", "sat 10:00-12:00"])
            .into_iter()
            .map(|when| Bandwidth {
                when: hours(when),
                limit: Rate { bytes: u64::try_from(dice.within(1, 1 << 40)).unwrap() },
            })
            .collect(),
        jobs: Jobs { slots: dice.one_in(2).then_some(7), spread: length(dice) },
        scripts: Scripts {
            pre: dice.one_in(2).then(|| "/opt/a \"b\" \\ c\u{7f}\n'".into()),
            post: Some("/bin/true".into()),
            time_limit: length(dice),
        },
    }
}

#[test]
fn what_is_printed_reads_back_as_the_same_group() {
    let seeds = seeds(1_500);
    println!("seeds {seeds:?}");
    for seed in seeds {
        let group = random_group(&mut Dice::new(seed));
        let text = print(&group);
        let read = parse(&text, &Terms::default());
        assert_eq!(read, Ok(group), "seed {seed}:\n{text}");
    }
}

#[test]
fn no_text_is_a_panic() {
    let seeds = seeds(1_500);
    println!("seeds {seeds:?}");
    for seed in seeds {
        let dice = &mut Dice::new(seed);
        let mut text: Vec<char> = WHOLE.chars().collect();
        for _ in 0..dice.within(1, 12) {
            let place =
                usize::try_from(dice.within(0, i64::try_from(text.len()).unwrap() - 1)).unwrap();
            match dice.within(0, 2) {
                0 => {
                    text[place] =
                        dice.pick(&['"', '[', ']', '=', '\n', '9', '-', 'é', '\0', '.', ','])
                }
                1 => drop(text.remove(place)),
                _ => text.insert(place, dice.pick(&['0', '"', '{', '}', 'x', ' ', '~', '/'])),
            }
        }
        let text: String = text.into_iter().collect();
        if let Err(refusals) = parse(&text, &Terms::default()) {
            assert!(!refusals.is_empty());
            for refusal in refusals {
                assert!(refusal.line <= text.lines().count() + 1, "seed {seed}: {refusal}");
            }
        }
    }
}

#[test]
fn the_document_lists_every_key() {
    let text = include_str!("../../GROUP.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let listed: Vec<&str> = rows.map(|(key, _)| key).collect();
    let mut keys = Vec::new();
    for (table, of) in keelhold_policy::goal::KEYS {
        let under = |key: &&str| {
            if table.is_empty() { (*key).to_owned() } else { format!("{table}.{key}") }
        };
        keys.extend(of.iter().map(under));
    }
    for key in &keys {
        assert!(listed.contains(&key.as_str()), "{key} is not in GROUP.md");
    }
    for key in listed {
        assert!(keys.iter().any(|known| known == key), "{key} of GROUP.md is no key");
    }
    let example = text.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    parse(example, &Terms::default()).unwrap_or_else(|why| panic!("{why:#?}"));
}
