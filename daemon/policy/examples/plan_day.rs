//! CPU time of planning the next day of one group with 2,000 sources, and of one step of the
//! scheduler over them: the median of five.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use keelhold_policy::calendar::{Calendar, Hours};
use keelhold_policy::schedule::{
    Goals, Group, History, Machines, Now, Online, OnlineWhen, Source, Sync, Window, decide, plan,
};

/// CPU time of this process, from its own accounting in the kernel.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanos = stat.split_whitespace().next().and_then(|word| word.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

fn median_of_five(mut work: impl FnMut() -> usize) -> (Duration, usize) {
    let mut times: Vec<(Duration, usize)> = (0..5)
        .map(|_| {
            let begin = cpu();
            let count = work();
            (cpu().saturating_sub(begin), count)
        })
        .collect();
    times.sort_unstable();
    times[2]
}

fn group(sync_minutes: u16, window: Window) -> Result<Group, Box<dyn std::error::Error>> {
    let members = (0..2_000).map(|number| Source {
        name: format!("machine-{number}/etc"),
        machine: format!("machine-{number}"),
    });
    let sync = Calendar::every(sync_minutes).ok_or("no divisor of a day")?;
    Ok(Group {
        name: String::from("servers"),
        zone: TimeZone::get("Europe/Berlin")?,
        points: Some(Calendar::parse("daily 12:00 18:00")?),
        sync: Sync::At(sync),
        online: vec![Online {
            vault: String::from("offsite"),
            when: OnlineWhen::At(Calendar::parse("daily 22:00")?),
        }],
        window,
        slots: 16,
        spread: SignedDuration::from_mins(10),
        deadline: SignedDuration::from_hours(26),
        on_battery: true,
        on_metered: true,
        members: members.collect(),
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let wall: Timestamp = "2026-11-22T00:00:00Z".parse()?;
    let day = SignedDuration::from_hours(24);
    let nights = Window { allow: Some(Hours::parse("20:00-06:00")?), ..Window::default() };
    for (name, sync, window) in [
        ("hourly sync", 60, Window::default()),
        ("hourly sync, nights", 60, nights),
        ("sync every 15 min", 15, Window::default()),
    ] {
        let goals = Goals { groups: vec![group(sync, window)?], slots: 64 };
        let now = Now { wall, witnessed: SignedDuration::ZERO };
        let mut history = History::new(now);
        decide(&goals, &mut history, &Machines::new(), now);
        let (planning, starts) = median_of_five(|| plan(&goals, &history, wall, wall + day).len());
        println!("{name}: next day of 2,000 sources, {starts} starts: {planning:.1?} CPU");
        let later = Now { wall: wall + day, witnessed: day };
        let (step, waiting) = median_of_five(|| {
            decide(&goals, &mut history.clone(), &Machines::new(), later).wait.len()
        });
        println!("{name}: one step with {waiting} jobs waiting: {step:.1?} CPU");
    }
    Ok(())
}
