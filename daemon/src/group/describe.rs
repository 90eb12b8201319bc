//! Groups as the API shows them.

use super::{Groups, Stated};
use crate::api::types;
use crate::clock::rfc3339;
use crate::daemon::Daemon;
use crate::point_facts::path_text;
use crate::source::Names;
use keelhold_disk::units::UnixNanos;
use keelhold_policy::calendar::Calendar;
use keelhold_policy::goal::{ANY_MACHINE, Consistency, Cover, Group, Sync};
use keelhold_policy::retain::Tag;

/// Its goals in words, a line each.
fn goals(group: &Group) -> Vec<String> {
    let short = &group.short_term;
    let points: Vec<String> = short.points.iter().map(Calendar::describe).collect();
    let mut lines = vec![match points.is_empty() {
        true => String::from("points: none by themselves"),
        false => format!("points: {}", points.join("; ")),
    }];
    lines.push(match short.sync {
        Sync::BeforePoint => String::from("synchronised just before each point"),
        Sync::Every(length) => format!("synchronised every {length}"),
    });
    for tag in Tag::ALL {
        if let Some(lifetime) = short.keep.lifetime(tag) {
            lines.push(format!("{tag} points are kept for {lifetime}"));
        }
    }
    if short.consistency != Consistency::None {
        lines.push(format!("points are at least {}-consistent", short.consistency.name()));
    }
    lines.extend(group.online.iter().map(|online| format!("vault {}", online.vault)));
    lines
}

impl Daemon {
    /// MACHINE:PATH of what this group's rules found and do not protect.
    fn shown_not_covered(&self, stated: &Stated, groups: &Groups, names: &Names) -> Vec<String> {
        let rule = |machine: &str| {
            stated.group.members.iter().any(|member| {
                let is_rule = matches!(member.cover, Cover::FileSystems { .. });
                is_rule && (member.machine == machine || member.machine == ANY_MACHINE)
            })
        };
        let found = self.not_covered(groups, names).into_iter();
        let shown = found.filter(|found| rule(&found.machine));
        shown.map(|found| format!("{}:{}", found.machine, path_text(&found.root).0)).collect()
    }

    pub(super) fn show_group(
        &self,
        stated: &Stated,
        groups: &Groups,
        names: &Names,
    ) -> types::Group {
        let record = &stated.record;
        let mut sources = groups.sources(names);
        let sources = sources.remove(record.name.as_str()).unwrap_or_default();
        let zone = stated.group.time_zone(&self.settings.zone);
        types::Group {
            name: record.name.clone(),
            version: record.version,
            applied_at: rfc3339(UnixNanos(record.applied_at)),
            applied_by: record.applied_by.clone(),
            zone: zone.iana_name().unwrap_or("the appliance's").to_owned(),
            goals: goals(&stated.group),
            sources: sources.iter().map(|source| names.source(&source.id)).collect(),
            not_covered: self.shown_not_covered(stated, groups, names),
            text: record.text.clone(),
        }
    }
}
