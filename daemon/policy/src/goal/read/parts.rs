//! The parts of a group.

use super::keep::keep;
use super::keys;
use super::tree::{Reading, Table, Text};
use crate::calendar::{Calendar, CalendarFault, Hours};
use crate::goal::amount::{Length, Rate};
use crate::goal::fault::Fault;
use crate::goal::group::{
    Bandwidth, Consistency, Cover, Group, Jobs, Member, New, Online, OnlineWhen, Scripts,
    ShortTerm, Sync, Window,
};
use crate::goal::suggest::nearest;

/// What could be read. What could not was refused, and stands here as if it were well.
pub(in crate::goal) fn group(reading: &mut Reading<'_>) -> Group {
    let mut root = reading.root();
    root.only(reading, keys::GROUP);
    let name = needed(reading, &mut root, "name", "name = \"servers\"");
    let zone = root.text(reading, "zone").map(|text| text.text);
    let members = root.tables(reading, "member");
    let members = members.into_iter().filter_map(|mut table| member(reading, &mut table)).collect();
    let short = root.table(reading, "short_term");
    if short.is_none() {
        root.missing(reading, "short_term", "[short_term] with points = [\"daily 12:00\"]");
    }
    let short_term = short.map(|mut table| short_term(reading, &mut table));
    let online = root.tables(reading, "online");
    let online =
        online.into_iter().filter_map(|mut table| one_online(reading, &mut table)).collect();
    let window = root.table(reading, "window").map(|mut table| window(reading, &mut table));
    let bandwidth = root.tables(reading, "bandwidth");
    let bandwidth =
        bandwidth.into_iter().filter_map(|mut table| one_bandwidth(reading, &mut table)).collect();
    let jobs = root.table(reading, "jobs").map(|mut table| jobs(reading, &mut table));
    let scripts = root.table(reading, "scripts").map(|mut table| scripts(reading, &mut table));
    Group {
        name: name.map_or_else(|| "unnamed".to_owned(), |text| text.text),
        zone,
        members,
        short_term: short_term.unwrap_or_default(),
        online,
        window: window.unwrap_or_default(),
        bandwidth,
        jobs: jobs.unwrap_or_default(),
        scripts: scripts.unwrap_or_default(),
    }
}

fn needed<'a>(
    reading: &mut Reading<'a>,
    table: &mut Table<'a>,
    key: &str,
    example: &'static str,
) -> Option<Text> {
    if !table.has(key) {
        table.missing(reading, key, example);
    }
    table.text(reading, key)
}

/// One of the choices, by its place.
fn chosen<'a>(
    reading: &mut Reading<'a>,
    table: &mut Table<'a>,
    key: &str,
    choices: &'static [&'static str],
) -> Option<usize> {
    let text = table.text(reading, key)?;
    let place = choices.iter().position(|choice| *choice == text.text.trim());
    if place.is_none() {
        let meant = nearest(&text.text, choices.iter().copied());
        let why = Fault::Choice { found: text.text, choices, meant };
        reading.refuse_at(text.line, &table.what(key), why);
    }
    place
}

fn length<'a>(reading: &mut Reading<'a>, table: &mut Table<'a>, key: &str) -> Option<Length> {
    let text = table.text(reading, key)?;
    let length = Length::parse(&text.text);
    if length.is_none() {
        reading.refuse_at(text.line, &table.what(key), Fault::Length { text: text.text });
    }
    length
}

/// Each text of a list by itself.
fn each<'a, T>(
    reading: &mut Reading<'a>,
    table: &mut Table<'a>,
    key: &str,
    parse: fn(&str) -> Result<T, CalendarFault>,
) -> Vec<T> {
    let mut parsed = Vec::new();
    for text in table.texts(reading, key).unwrap_or_default() {
        match parse(&text.text) {
            Ok(one) => parsed.push(one),
            Err(fault) => {
                reading.refuse_at(text.line, &table.what(key), Fault::Calendar(fault));
            }
        }
    }
    parsed
}

fn member<'a>(reading: &mut Reading<'a>, table: &mut Table<'a>) -> Option<Member> {
    table.only(reading, keys::MEMBER);
    let machine = needed(reading, table, "machine", "machine = \"db-server\"");
    let new = chosen(reading, table, "new", &["join", "show"]);
    let cover = match (table.has("source"), table.has("every")) {
        (true, true) => {
            reading.refuse(&table.what("source"), Fault::Both { other: "every" });
            None
        }
        (false, false) => {
            let example = "source = \"etc\", or every = \"file-systems\"";
            table.missing(reading, "source", example);
            None
        }
        (true, false) => {
            if new.is_some() {
                reading.refuse(&table.what("new"), Fault::Alone { other: "every" });
            }
            table.text(reading, "source").map(|text| Cover::Source(text.text))
        }
        (false, true) => {
            let new = if new == Some(1) { New::Show } else { New::Join };
            chosen(reading, table, "every", &["file-systems"]).map(|_| Cover::FileSystems { new })
        }
    };
    let member = Member { machine: machine?.text, cover: cover? };
    reading.members.push(table.path.clone());
    Some(member)
}

const SYNC: [&str; 10] =
    ["before-point", "15m", "30m", "45m", "1h", "2h", "4h", "6h", "12h", "24h"];

fn sync<'a>(reading: &mut Reading<'a>, table: &mut Table<'a>) -> Sync {
    let place = chosen(reading, table, "sync", &SYNC).unwrap_or(0);
    let length = SYNC.get(place).and_then(|text| Length::parse(text));
    length.map_or(Sync::BeforePoint, Sync::Every)
}

fn short_term<'a>(reading: &mut Reading<'a>, table: &mut Table<'a>) -> ShortTerm {
    table.only(reading, keys::SHORT_TERM);
    if !table.has("points") {
        table.missing(reading, "points", "points = [\"daily 12:00 18:00\"]");
    }
    let points = each(reading, table, "points", Calendar::parse);
    let sync = sync(reading, table);
    let names = &["none", "crash", "file-system", "application"];
    let consistency = chosen(reading, table, "consistency", names);
    let consistency = consistency.and_then(|place| Consistency::ALL.get(place).copied());
    let deadline = length(reading, table, "deadline");
    let kept = table.table(reading, "keep").map(|mut table| keep(reading, &mut table));
    ShortTerm {
        points,
        sync,
        consistency: consistency.unwrap_or_default(),
        deadline,
        keep: kept.unwrap_or_default(),
    }
}

fn one_online<'a>(reading: &mut Reading<'a>, table: &mut Table<'a>) -> Option<Online> {
    table.only(reading, keys::ONLINE);
    let vault = needed(reading, table, "vault", "vault = \"offsite\"");
    let schedule = if table.is_text("schedule") {
        // A text alone may be the rule; a calendar stands in a list.
        chosen(reading, table, "schedule", &["after-newest-point"]);
        OnlineWhen::AfterNewestPoint
    } else if table.has("schedule") {
        OnlineWhen::At(each(reading, table, "schedule", Calendar::parse))
    } else {
        OnlineWhen::AfterNewestPoint
    };
    let kept = table.table(reading, "keep").map(|mut table| keep(reading, &mut table));
    let online = Online { vault: vault?.text, schedule, keep: kept.unwrap_or_default() };
    reading.online.push(table.path.clone());
    Some(online)
}

fn window<'a>(reading: &mut Reading<'a>, table: &mut Table<'a>) -> Window {
    table.only(reading, keys::WINDOW);
    Window {
        allow: each(reading, table, "allow", Hours::parse),
        start_within: length(reading, table, "start_within"),
        must_end_within: length(reading, table, "must_end_within"),
    }
}

fn one_bandwidth<'a>(reading: &mut Reading<'a>, table: &mut Table<'a>) -> Option<Bandwidth> {
    table.only(reading, keys::BANDWIDTH);
    let when = needed(reading, table, "when", "when = \"mon..fri 08:00-18:00\"");
    let when = when.and_then(|text| match Hours::parse(&text.text) {
        Ok(hours) => Some(hours),
        Err(fault) => {
            reading.refuse_at(text.line, &table.what("when"), Fault::Calendar(fault));
            None
        }
    });
    let limit = needed(reading, table, "limit", "limit = \"20 MiB/s\"");
    let limit = limit.and_then(|text| {
        let rate = Rate::parse(&text.text);
        if rate.is_none() {
            reading.refuse_at(text.line, &table.what("limit"), Fault::Rate { text: text.text });
        }
        rate
    });
    Some(Bandwidth { when: when?, limit: limit? })
}

const SLOTS_MAX: i64 = 1_000;

fn jobs<'a>(reading: &mut Reading<'a>, table: &mut Table<'a>) -> Jobs {
    table.only(reading, keys::JOBS);
    let slots = table.number(reading, "slots");
    let in_range = slots.filter(|slots| (1..=SLOTS_MAX).contains(slots));
    if slots.is_some() && in_range.is_none() {
        let why = Fault::OutOfRange { from: 1, to: SLOTS_MAX };
        reading.refuse(&table.what("slots"), why);
    }
    let slots = in_range.and_then(|slots| u32::try_from(slots).ok());
    Jobs { slots, spread: length(reading, table, "spread") }
}

fn scripts<'a>(reading: &mut Reading<'a>, table: &mut Table<'a>) -> Scripts {
    table.only(reading, keys::SCRIPTS);
    let mut program = |key: &str| {
        let text = table.text(reading, key)?;
        if !text.text.starts_with('/') {
            reading.refuse_at(text.line, &table.what(key), Fault::NotAbsolute);
        }
        Some(text.text)
    };
    let (pre, post) = (program("pre"), program("post"));
    let time_limit = length(reading, table, "time_limit");
    if time_limit.is_some() && pre.is_none() && post.is_none() {
        reading.refuse(&table.what("time_limit"), Fault::Alone { other: "pre or post" });
    }
    Scripts { pre, post, time_limit }
}
