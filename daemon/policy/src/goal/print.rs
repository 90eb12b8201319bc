//! A group as text: reads back as the same group. What is left to its default is a comment.

use super::fault::{clock, day_name};
use super::group::{Cover, Group, New, Online, OnlineWhen, Sync};
use super::keep::{Keep, MonthDay, Tag, Times};
use super::read::month_name;
use std::fmt::{Display, Write};

/// The text of a group.
#[must_use]
pub fn print(group: &Group) -> String {
    let mut out = Out(String::new());
    out.key("name", Some(quoted(&group.name)), "");
    out.key("zone", group.zone.as_deref().map(quoted), "the appliance's");
    for member in &group.members {
        out.head("[[member]]");
        out.key("machine", Some(quoted(&member.machine)), "");
        match &member.cover {
            Cover::Source(source) => out.key("source", Some(quoted(source)), ""),
            Cover::FileSystems { new } => {
                out.key("every", Some(quoted("file-systems")), "");
                let show = (*new == New::Show).then(|| quoted("show"));
                out.key("new", show, "\"join\": new file systems are members at once");
            }
        }
    }
    short_term(group, &mut out);
    group.online.iter().for_each(|one| online(one, &mut out));
    rest(group, &mut out);
    out.0
}

struct Out(String);

impl Out {
    fn line(&mut self, line: impl Display) {
        // Writing to a String does not fail.
        let _ = writeln!(self.0, "{line}");
    }

    fn head(&mut self, head: &str) {
        self.line(format_args!("\n{head}"));
    }

    /// The key, or what it is without.
    fn key(&mut self, key: &str, value: Option<String>, default: &str) {
        match value {
            Some(value) => self.line(format_args!("{key} = {value}")),
            None => self.line(format_args!("# {key}: {default}")),
        }
    }
}

fn quoted(text: impl Display) -> String {
    toml::Value::String(text.to_string()).to_string()
}

fn list(texts: impl Iterator<Item = impl Display>) -> String {
    format!("[{}]", texts.map(quoted).collect::<Vec<_>>().join(", "))
}

fn short_term(group: &Group, out: &mut Out) {
    let short = &group.short_term;
    out.head("[short_term]");
    out.key("points", Some(list(short.points.iter())), "");
    let sync = match short.sync {
        Sync::BeforePoint => None,
        // The choices are written as people say them: "45m", "24h".
        Sync::Every(length) => Some(quoted(length)),
    };
    out.key("sync", sync, "\"before-point\"");
    let least = short.consistency;
    let least = (least != super::Consistency::None).then(|| quoted(least.name()));
    out.key("consistency", least, "\"none\" is demanded");
    out.key("deadline", short.deadline.map(quoted), "from the schedule");
    keep("short_term.keep", &short.keep, out);
}

fn online(online: &Online, out: &mut Out) {
    out.head("[[online]]");
    out.key("vault", Some(quoted(&online.vault)), "");
    let schedule = match &online.schedule {
        OnlineWhen::AfterNewestPoint => None,
        OnlineWhen::At(calendars) => Some(list(calendars.iter())),
    };
    out.key("schedule", schedule, "\"after-newest-point\"");
    keep("online.keep", &online.keep, out);
}

fn rest(group: &Group, out: &mut Out) {
    let window = &group.window;
    out.head("[window]");
    let allow = (!window.allow.is_empty()).then(|| list(window.allow.iter()));
    out.key("allow", allow, "always");
    out.key("start_within", window.start_within.map(quoted), "however late");
    out.key("must_end_within", window.must_end_within.map(quoted), "however long");
    for bandwidth in &group.bandwidth {
        out.head("[[bandwidth]]");
        out.key("when", Some(quoted(&bandwidth.when)), "");
        out.key("limit", Some(quoted(bandwidth.limit)), "");
    }
    out.head("[jobs]");
    out.key("slots", group.jobs.slots.map(|slots| slots.to_string()), "as many as there are");
    out.key("spread", group.jobs.spread.map(quoted), "all begin at once");
    out.head("[scripts]");
    out.key("pre", group.scripts.pre.as_deref().map(quoted), "none");
    out.key("post", group.scripts.post.as_deref().map(quoted), "none");
    out.key("time_limit", group.scripts.time_limit.map(quoted), "the appliance's");
}

/// The rules of one place as a table of the text, for a group or alone.
fn keep(place: &str, keep: &Keep, out: &mut Out) {
    out.head(&format!("[{place}]"));
    for tag in Tag::ALL {
        let (Some(lifetime), Some(times)) = (keep.lifetime(tag), keep.times(tag)) else { continue };
        let mut parts = on(keep, tag);
        if !times.is_all() {
            parts.push(format!("times = {}", clocks(times)));
        }
        parts.push(format!("for = {}", quoted(lifetime)));
        out.line(format_args!("{tag} = {{ {} }}", parts.join(", ")));
    }
}

fn clocks(times: &Times) -> String {
    list(times.0.iter().map(clock))
}

fn on(keep: &Keep, tag: Tag) -> Vec<String> {
    let day = |on: MonthDay| match on {
        MonthDay::Day(day) => format!("day = {day}"),
        MonthDay::Last => "day = \"last\"".to_owned(),
        MonthDay::Weekday(which, day) => format!("on = \"{} {}\"", which.name(), day_name(day)),
    };
    let weekly = keep.weekly.as_ref().filter(|_| tag == Tag::Weekly);
    let monthly = keep.monthly.as_ref().filter(|_| tag == Tag::Monthly);
    let yearly = keep.yearly.as_ref().filter(|_| tag == Tag::Yearly);
    let mut parts = Vec::new();
    parts.extend(weekly.map(|rule| format!("on = {}", list(rule.on.iter().map(|d| day_name(*d))))));
    parts.extend(monthly.map(|rule| day(rule.on)));
    if let Some(rule) = yearly {
        let months = list(rule.months.iter().map(|month| month_name(*month)));
        parts.extend([day(rule.on), format!("month = {months}")]);
    }
    parts
}

/// The rules of one place alone, as they stand in a group's text.
#[must_use]
pub fn print_keep(place: &str, rules: &Keep) -> String {
    let mut out = Out(String::new());
    keep(place, rules, &mut out);
    out.0.trim_start().to_owned()
}
