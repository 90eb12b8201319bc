//! What putting texts into force would do to the points that are there.

use super::{Groups, Stated, refused};
use crate::api::types::{GroupPreview, GroupTexts, PointPreview, SourcePreview};
use crate::audit::Actor;
use crate::clock::rfc3339;
use crate::daemon::Daemon;
use crate::failure::{Code, Failure};
use crate::id_text;
use crate::pool_failure::of_closed;
use crate::record::{GroupRecord, SourceRecord};
use crate::retention::point::{nanos, now_of, to_policy};
use crate::retention::{rules, was_to_stay};
use crate::source::Names;
use keelhold_disk::pool::PointInfo;
use keelhold_policy::goal::{self, Cover, Known, Terms};
use keelhold_policy::retain::{self, Effect, Fate, Protection};
use std::collections::BTreeMap;

/// What was found out about texts, and what applying them needs.
pub(super) struct Studied {
    pub(super) groups: Groups,
    pub(super) records: Vec<GroupRecord>,
    pub(super) preview: GroupPreview,
    /// Points that may go under the new texts and might not before.
    pub(super) removed: Vec<PointInfo>,
}

fn effect_word(effect: Effect) -> &'static str {
    match effect {
        Effect::Gains => "gains",
        Effect::Loses => "loses",
        Effect::Keeps => "keeps",
    }
}

fn fate_words(fate: Fate) -> String {
    match fate {
        Fate::Goes => String::from("goes"),
        Fate::Stays => String::from("stays"),
        Fate::Until(at) => rfc3339(nanos(at)),
    }
}

/// Who is where twice.
pub(super) fn check_members(groups: &Groups) -> Result<(), Failure> {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for stated in groups.iter() {
        for member in &stated.group.members {
            let what = match &member.cover {
                Cover::Source(name) => format!("source {}/{name}", member.machine),
                Cover::FileSystems { .. } => format!("the file systems of {}", member.machine),
            };
            let name = stated.record.name.as_str();
            if let Some(other) = seen.insert(what.clone(), name).filter(|other| *other != name) {
                let text = format!("groups {other} and {name} both have {what}");
                return Err(Failure::new(Code::GroupMember, text));
            }
        }
    }
    Ok(())
}

impl Daemon {
    fn terms(&self, names: &Names) -> Terms {
        let is_there = |machine: &&crate::record::MachineRecord| {
            machine.state != crate::record::MachineState::Removed
        };
        let machines = names.machines.values().filter(is_there);
        let sources = names.sources.values().filter(|source| !source.removed);
        let sources = sources.filter_map(|source| {
            let machine = names.machines.get(&source.machine)?;
            Some((machine.name.clone(), source.name.clone()))
        });
        let known = Known {
            machines: Some(machines.map(|machine| machine.name.clone()).collect()),
            sources: Some(sources.collect()),
            vaults: Some(self.vaults.names()),
        };
        Terms { known, minimum: self.settings.minimum }
    }

    /// Reads texts and finds out what they would do. Nothing is changed.
    pub(super) async fn study(
        &self,
        actor: &Actor,
        texts: &GroupTexts,
    ) -> Result<Studied, Failure> {
        let names = self.names().await?;
        let terms = self.terms(&names);
        let old = self.groups().await?;
        let mut new = (*old).clone();
        let mut records = Vec::new();
        for stated in &texts.groups {
            let group = goal::parse(&stated.text, &terms);
            let group = group.map_err(|why| refused(&stated.origin, &why))?;
            if records.iter().any(|record: &GroupRecord| record.name == group.name) {
                let text = format!("{}: group {} is stated twice", stated.origin, group.name);
                return Err(Failure::new(Code::GroupInvalid, text));
            }
            let version = old.get(&group.name).map_or(0, |stated| stated.record.version);
            let record = GroupRecord {
                name: group.name.clone(),
                version: version + 1,
                text: stated.text.clone(),
                applied_at: self.store.clock.now().0,
                applied_by: actor.name().to_owned(),
            };
            new.put(Stated { record: record.clone(), group });
            records.push(record);
        }
        check_members(&new)?;
        self.compare(&names, &old, new, records).await
    }

    pub(super) async fn compare(
        &self,
        names: &Names,
        old: &Groups,
        new: Groups,
        records: Vec<GroupRecord>,
    ) -> Result<Studied, Failure> {
        let mut preview = GroupPreview {
            groups: records.iter().map(|record| record.name.clone()).collect(),
            sources: Vec::new(),
            shortens: false,
            points_removed: 0,
            bytes_freed: 0,
        };
        let mut removed = Vec::new();
        let mut of_sources: BTreeMap<String, Vec<PointInfo>> = BTreeMap::new();
        for point in self.points().await?.into_iter().filter(|point| point.trashed_until.is_none())
        {
            of_sources.entry(id_text::encode(&point.source.0)).or_default().push(point);
        }
        for source in names.sources.values() {
            let mut points = of_sources.remove(&source.id).unwrap_or_default();
            points.retain(|point| !was_to_stay(source, point.committed_at.0));
            let Some((shown, shortens, gone)) =
                self.one_source(names, source, &points, (old, &new))
            else {
                continue;
            };
            preview.shortens |= shortens;
            removed.extend(gone);
            preview.sources.push(shown);
        }
        preview.sources.sort_by(|left, right| left.source.cmp(&right.source));
        let ids: Vec<_> = removed.iter().map(|point: &PointInfo| point.id).collect();
        preview.points_removed = ids.len() as u64;
        let ask = move |pool: crate::pool_thread::LivePool| async move { pool.exclusive_len(&ids) };
        preview.bytes_freed = self.store.pool.call(ask).await.map_err(of_closed)?;
        Ok(Studied { groups: new, records, preview, removed })
    }

    /// None: nothing changes for this source. Else what is shown, whether anything is kept shorter, and
    /// the points that may go.
    fn one_source(
        &self,
        names: &Names,
        source: &SourceRecord,
        infos: &[PointInfo],
        (before, after): (&Groups, &Groups),
    ) -> Option<(SourcePreview, bool, Vec<PointInfo>)> {
        let settings = &self.settings;
        let (old, new) =
            (rules(source, before, names, settings), rules(source, after, names, settings));
        let any = old.clone().or_else(|| new.clone())?;
        // Without a group nothing goes by itself.
        let is_ruled = old.is_some() && new.is_some();
        let or_stays = |rules: Option<(retain::Policy, Protection)>| {
            rules.unwrap_or_else(|| (any.0.clone(), Protection::KeepForEver))
        };
        let (old, new) = (or_stays(old), or_stays(new));
        let rows: Vec<crate::catalog::PointRow> =
            infos.iter().map(|info| crate::catalog::PointRow::new(0, info)).collect();
        let points: Vec<retain::Point> = rows.iter().map(to_policy).collect();
        let now = now_of(self.store.pool.time.look());
        let found = retain::preview((&old.0, old.1), (&new.0, new.1), &points, now);
        let name = |groups: &Groups| match source.removed {
            true => None,
            false => groups.of_source(source, names).map(|stated| stated.record.name.clone()),
        };
        let (group_before, group_after) = (name(before), name(after));
        let changes = || found.changes.iter().zip(&rows);
        let shown = changes().filter(|(change, _)| change.effect() != Effect::Keeps);
        let shown: Vec<PointPreview> = shown
            .map(|(change, row)| PointPreview {
                id: row.id.clone(),
                at: rfc3339(keelhold_disk::units::UnixNanos(row.at)),
                place: String::from("pool"),
                effect: effect_word(change.effect()).to_owned(),
                before: fate_words(change.before.fate()),
                after: fate_words(change.after.fate()),
            })
            .collect();
        // A policy where there was none shortens nothing that was promised.
        let shortens = found.count(Effect::Loses) > 0 || (is_ruled && found.shortens());
        if shown.is_empty() && group_before == group_after && !shortens {
            return None;
        }
        let gone = found.changes.iter().zip(infos).filter(|(change, _)| change.is_removed());
        let gone = gone.map(|(_, info)| info.clone()).collect();
        let count = |effect| found.count(effect) as u64;
        let shown = SourcePreview {
            source: names.source(&source.id),
            group_before,
            group_after,
            gains: count(Effect::Gains),
            loses: count(Effect::Loses),
            keeps: count(Effect::Keeps),
            points: shown,
        };
        Some((shown, shortens, gone))
    }
}
