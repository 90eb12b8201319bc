//! The ratios that have to be reached, beside what was measured.

use super::table::{Table, median};

const MIB: f64 = (1 << 20) as f64;
pub const DAYS: usize = 10;

pub fn day(number: usize) -> String {
    format!("day {number:02}")
}

#[derive(Debug, Clone, Copy)]
enum Bar {
    AtLeast(f64),
    AtMost(f64),
}

/// Prints every bar; one without both figures is "not measured".
pub fn print(table: &Table) {
    println!();
    println!("| bar | required | measured | |");
    println!("|---|---|---|---|");
    for (what, bar, measured) in all(table) {
        let (required, held) = match bar {
            Bar::AtLeast(least) => (format!(">= {least}"), measured.map(|value| value >= least)),
            Bar::AtMost(most) => (format!("<= {most}"), measured.map(|value| value <= most)),
        };
        let measured = measured.map_or_else(|| String::from("-"), |value| format!("{value:.3}"));
        let held = match held {
            Some(true) => "held",
            Some(false) => "MISSED",
            None => "not measured",
        };
        println!("| {what} | {required} | {measured} | {held} |");
    }
}

fn over(above: Option<f64>, below: Option<f64>) -> Option<f64> {
    Some(above? / below?)
}

fn least(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    [one, other].into_iter().flatten().min_by(f64::total_cmp)
}

fn all(table: &Table) -> Vec<(&'static str, Bar, Option<f64>)> {
    use Bar::{AtLeast, AtMost};
    let (own, restic, borg, floor) = ("keelhold", "restic", "borg", "floor");
    let faster = |step: &str| over(table.wall(step, restic), table.wall(step, own));
    let bytes = |step: &str| over(table.added(step, own), table.added(step, restic));
    let to = |step: &str, of: &str| over(table.wall(step, own), table.wall(of, floor));
    let peers = least(table.wall("first", restic), table.wall("first", borg));
    let stored = |tool: &str| table.stored("first", tool);
    let wire = over(table.fact("wire of unchanged"), table.fact("find listing"));
    let peaks = table.peaks();
    let index = table.fact("index bytes").unwrap_or_default();
    let mut bars = vec![
        (
            "first: times faster than the faster of restic and borg",
            AtLeast(2.5),
            over(peers, table.wall("first", own)),
        ),
        (
            "first: times reading all, 8 in flight",
            AtMost(1.8),
            to("first", "read all, 8 in flight"),
        ),
        ("unchanged: times lstat of all", AtMost(2.0), to("unchanged", "lstat of all")),
        ("unchanged: wire, of the find listing", AtMost(0.01), wire),
        ("2 % changed: times faster than restic", AtLeast(2.5), faster("2 % changed")),
        ("2 % changed: bytes added, of restic's", AtMost(1.0), bytes("2 % changed")),
        ("first: bytes stored, of restic's", AtMost(1.0), over(stored(own), stored(restic))),
    ];
    bars.extend(daily(table));
    bars.extend([
        ("second machine: bytes added, of restic's", AtMost(1.2), bytes("second machine")),
        ("restore: times faster than restic", AtLeast(1.8), faster("restore")),
        ("restore: times four parallel cp -a", AtMost(1.4), to("restore", "four parallel cp -a")),
        (
            "restore through the agent: times faster than restic",
            AtLeast(1.8),
            over(table.wall("restore", restic), table.wall("restore through the agent", own)),
        ),
        (
            "restore through the agent: times four parallel cp -a",
            AtMost(1.4),
            to("restore through the agent", "four parallel cp -a"),
        ),
        ("one file: ms of processor and device", AtMost(100.0), table.fact("one file, ms")),
        ("agent: peak memory, MiB", AtMost(256.0), Some(peaks.agent as f64 / MIB)),
        (
            "daemon: peak memory without the index, MiB",
            AtMost(200.0),
            Some((peaks.daemon as f64 - index) / MIB),
        ),
    ]);
    bars
}

/// The ten days together, and the last three against the first three.
fn daily(table: &Table) -> Vec<(&'static str, Bar, Option<f64>)> {
    let days = |figure: &dyn Fn(&str) -> Option<f64>, numbers: std::ops::RangeInclusive<usize>| {
        median(numbers.filter_map(|number| figure(&day(number))).collect())
    };
    let wall = |tool: &'static str| move |step: &str| table.wall(step, tool);
    let added = |tool: &'static str| move |step: &str| table.added(step, tool);
    let (own, restic) = (wall("keelhold"), wall("restic"));
    let faster = over(days(&restic, 1..=DAYS), days(&own, 1..=DAYS));
    let bytes = over(days(&added("keelhold"), 1..=DAYS), days(&added("restic"), 1..=DAYS));
    let late = over(days(&own, DAYS - 2..=DAYS), days(&own, 1..=3));
    vec![
        ("a day: bytes added, of restic's", Bar::AtMost(1.0), bytes),
        ("a day: times faster than restic", Bar::AtLeast(2.5), faster),
        ("a day: the last three, times the first three", Bar::AtMost(1.2), late),
    ]
}
