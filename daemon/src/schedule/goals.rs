//! Groups as the scheduler looks at them.

use crate::group::{Groups, Stated};
use crate::record::SourceRecord;
use crate::settings::Settings;
use crate::source::Names;
use crate::vault::is_named;
use jiff::{SignedDuration, Timestamp};
use keelhold_policy::calendar::{Calendar, Hours};
use keelhold_policy::goal;
use keelhold_policy::schedule::{
    Goals, Group, Online, OnlineWhen, Source, Sync, Window, default_deadline,
};

const DAY: SignedDuration = SignedDuration::from_hours(24);

fn online(stated: &goal::Online) -> Online {
    let when = match &stated.schedule {
        goal::OnlineWhen::AfterNewestPoint => None,
        goal::OnlineWhen::At(calendars) => Calendar::joined(calendars.iter().cloned()),
    };
    let vault = stated.vault.clone();
    Online { vault, when: when.map_or(OnlineWhen::AfterNewestPoint, OnlineWhen::At) }
}

/// A vault that no group names gets every point as it is made.
fn follows(vault: &str) -> Online {
    Online { vault: vault.to_owned(), when: OnlineWhen::AfterNewestPoint }
}

fn group(
    stated: &Stated,
    sources: &[&SourceRecord],
    (settings, unnamed): (&Settings, &[String]),
    now: Timestamp,
) -> Group {
    let goal = &stated.group;
    let points = Calendar::joined(goal.short_term.points.iter().cloned());
    let sync = match goal.short_term.sync {
        goal::Sync::BeforePoint => None,
        goal::Sync::Every(length) => {
            u16::try_from(length.duration().as_mins()).ok().and_then(Calendar::every)
        }
    };
    let duration = |length: Option<goal::Length>| length.map(goal::Length::duration);
    let by_schedule = || points.as_ref().or(sync.as_ref()).map(|of| default_deadline(of, now));
    let deadline = duration(goal.short_term.deadline).or_else(by_schedule);
    let slots = goal.jobs.slots.and_then(|slots| usize::try_from(slots).ok());
    Group {
        name: stated.record.name.clone(),
        zone: goal.time_zone(&settings.zone),
        deadline: deadline.unwrap_or(DAY),
        points,
        sync: sync.map_or(Sync::BeforePoint, Sync::At),
        online: goal
            .online
            .iter()
            .map(online)
            .chain(unnamed.iter().map(|vault| follows(vault)))
            .collect(),
        window: Window {
            allow: Hours::joined(goal.window.allow.iter().cloned()),
            start_within: duration(goal.window.start_within),
            must_end_within: duration(goal.window.must_end_within),
        },
        slots: slots.unwrap_or(settings.job_slots),
        spread: duration(goal.jobs.spread).unwrap_or(SignedDuration::ZERO),
        on_battery: false,
        on_metered: false,
        members: sources
            .iter()
            .map(|source| Source { name: source.id.clone(), machine: source.machine.clone() })
            .collect(),
    }
}

/// What all groups want. Sources and machines go by their ids: names may change.
#[must_use]
pub fn goals(
    groups: &Groups,
    names: &Names,
    settings: &Settings,
    vaults: &[String],
    now: Timestamp,
) -> Goals {
    let sources = groups.sources(names);
    let is_unnamed = |vault: &&String| !is_named(groups, vault);
    let unnamed: Vec<String> = vaults.iter().filter(is_unnamed).cloned().collect();
    let of = |stated: &Stated| {
        let members = sources.get(stated.record.name.as_str()).map_or(&[][..], Vec::as_slice);
        group(stated, members, (settings, &unnamed), now)
    };
    Goals { groups: groups.iter().map(of).collect(), slots: settings.job_slots }
}
