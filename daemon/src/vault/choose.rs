//! Which points a vault is to get, with which tags, and which may leave it.
//!
//! A vault that no group names gets every point of every source, and keeps it: nothing goes by itself
//! but what somebody's policy says.

use super::local::Vault;
use crate::catalog::PointRow;
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::group::{Groups, Stated};
use crate::id_text;
use crate::point_facts::PointFacts;
use crate::record::{SourceRecord, StoppedHow};
use crate::retention::point::{nanos, now_of, tag_names, timestamp, to_policy};
use crate::retention::was_to_stay;
use crate::settings::Settings;
use crate::source::Names;
use jiff::Timestamp;
use keelhold_disk::pool::PointInfo;
use keelhold_disk::units::{PointId, UnixNanos};
use keelhold_policy::calendar::Calendar;
use keelhold_policy::goal::OnlineWhen;
use keelhold_policy::retain::{
    Made, Policy, Protection, Tag, Verdict, judge, missed_runs, tags_when_made,
};
use keelhold_vault::format::{Class, Manifest, Point};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Slots that brought no point are looked for so far back.
const MISSED_MAX: usize = 10_000;

/// Attributes stand in manifests, which are read whole.
const ATTRIBUTES_LEN_MAX: usize = 16 << 10;

/// A point that is to be shipped.
#[derive(Debug, Clone)]
pub(super) struct Chosen {
    pub info: PointInfo,
    /// With the tags it has in the vault.
    pub attributes: Vec<u8>,
    pub class: Class,
}

/// What a vault is to become.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    /// In the order of their commits.
    pub points: Vec<Chosen>,
    pub gone: Vec<PointId>,
    /// Class of each point that stays or comes, and when it expires; `i64::MAX` is never.
    pub expiry: Vec<(Class, i64)>,
}

/// Objects of one class hold what is expected to be needed equally long.
fn class_of(tags: &[String]) -> Class {
    let rank = |name: &String| match Tag::from_name(name) {
        Some(Tag::Yearly) => 4,
        Some(Tag::Monthly) => 3,
        Some(Tag::Weekly) => 2,
        Some(Tag::Daily) => 1,
        _ => 0,
    };
    Class::new(tags.iter().map(rank).max().unwrap_or(0)).unwrap_or_default()
}

/// Whether some group says what this vault is for.
pub(crate) fn is_named(groups: &Groups, vault: &str) -> bool {
    groups.iter().any(|stated| stated.group.online.iter().any(|online| online.vault == vault))
}

fn goal<'a>(stated: &'a Stated, vault: &str) -> Option<&'a keelhold_policy::goal::Online> {
    stated.group.online.iter().find(|online| online.vault == vault)
}

/// The rules for a source's points in the vault. None: no policy speaks for it, and nothing goes.
fn rules(
    source: &SourceRecord,
    vault: &str,
    groups: &Groups,
    names: &Names,
    settings: &Settings,
) -> Option<(Policy, Protection)> {
    let policy =
        |stated: &Stated| stated.group.vault_policy(vault, &settings.zone, settings.minimum);
    if !source.removed {
        return Some((policy(groups.of_source(source, names)?)?, Protection::On));
    }
    let stopped = source.stopped.as_ref()?;
    match stopped.how {
        StoppedHow::Keep => None,
        StoppedHow::Policy => {
            Some((policy(groups.get(stopped.group.as_deref()?)?)?, Protection::KeepByPolicy))
        }
    }
}

/// A point of a vault as lists have it.
pub(super) fn info_of(point: &Point) -> PointInfo {
    PointInfo {
        id: point.point,
        source: point.source,
        at: UnixNanos(point.at),
        committed_at: UnixNanos(point.committed_at),
        partial: point.is_partial,
        working: false,
        bytes_source: point.bytes_source,
        entries: point.entry_count,
        trashed_until: None,
        attributes: point.attributes.clone().into(),
    }
}

fn slot_of(info: &PointInfo) -> (Option<Timestamp>, Timestamp) {
    let slot = PointFacts::parse(&info.attributes).slot.map(|slot| timestamp(UnixNanos(slot)));
    (slot, slot.unwrap_or_else(|| timestamp(info.at)))
}

/// Tags by the vault's own policy: of its own slot, and of those that brought nothing there since the
/// last one it has.
fn tags(
    policy: &Policy,
    calendar: Option<&Calendar>,
    last: Option<Timestamp>,
    info: &PointInfo,
) -> Vec<String> {
    let (slot, at) = slot_of(info);
    let missed = calendar.zip(last).into_iter().flat_map(|(calendar, last)| {
        missed_runs(calendar, &policy.zone, last, at).take(MISSED_MAX)
    });
    tag_names(tags_when_made(policy, slot.map_or(Made::OnDemand, Made::Slot), missed))
}

fn with_tags(attributes: &[u8], tags: &[String]) -> Vec<u8> {
    let mut facts: serde_json::Value =
        serde_json::from_slice(attributes).unwrap_or_else(|_| serde_json::json!({}));
    let Some(object) = facts.as_object_mut() else { return attributes.to_vec() };
    object.insert("tags".to_owned(), serde_json::json!(tags));
    // A listing needs no names of what was skipped: the count is right, and recipes have the names.
    for named in ["skipped", "not_covered"] {
        if attributes.len() > ATTRIBUTES_LEN_MAX {
            object.remove(named);
        }
    }
    serde_json::to_vec(&facts).unwrap_or_default()
}

/// What decides about vaults, read once for all of them.
#[derive(Debug)]
pub(super) struct Known {
    pub names: Names,
    pub groups: Arc<Groups>,
    /// Of the pool.
    pub points: Vec<PointInfo>,
}

/// The verdict of the vault's policies on its points, by id.
pub(super) fn verdicts(
    points: &[PointInfo],
    (known, settings): (&Known, &Settings),
    vault: &str,
    look: crate::clock::Look,
) -> BTreeMap<PointId, Verdict> {
    let Known { names, groups, .. } = known;
    let mut of_sources: BTreeMap<String, Vec<(PointId, PointRow)>> = BTreeMap::new();
    for info in points {
        let row = PointRow::new(0, info);
        of_sources.entry(row.source.clone()).or_default().push((info.id, row));
    }
    let mut all = BTreeMap::new();
    for (source, rows) in of_sources {
        let Some(source) = names.sources.get(&source) else { continue };
        let Some((policy, protection)) = rules(source, vault, groups, names, settings) else {
            continue;
        };
        let points: Vec<_> = rows.iter().map(|(_, row)| to_policy(row)).collect();
        let judged = judge(&policy, protection, &points, now_of(look));
        for ((id, row), verdict) in rows.into_iter().zip(judged) {
            if !was_to_stay(source, row.committed_at) {
                all.insert(id, verdict);
            }
        }
    }
    all
}

impl Known {
    /// Points of the pool the vault wants and has not got, in the order of their commits; of all
    /// sources, or of some.
    fn waiting(&self, vault: &Vault, sources: Option<&BTreeSet<String>>) -> Vec<PointInfo> {
        let Self { names, groups, points } = self;
        let name = vault.name();
        if vault.record().closed {
            return Vec::new();
        }
        let takes_all = !is_named(groups, &name);
        let wants = |source: &str| {
            let asked = sources.is_none_or(|sources| sources.contains(source));
            let record = names.sources.get(source);
            let stated = record.and_then(|record| groups.of_source(record, names));
            asked && (takes_all || stated.is_some_and(|stated| goal(stated, &name).is_some()))
        };
        let waits = |point: &&PointInfo| {
            let is_listed = point.trashed_until.is_none() && !point.working;
            is_listed && wants(&id_text::encode(&point.source.0)) && !vault.has(&point.id)
        };
        points.iter().filter(waits).cloned().collect()
    }
}

impl Daemon {
    pub(super) async fn known(&self) -> Result<Known, Failure> {
        let (names, groups) = (self.names().await?, self.groups().await?);
        Ok(Known { names, groups, points: self.points().await? })
    }

    /// What a shipment is to bring and to let go.
    pub(super) fn plan(
        &self,
        known: &Known,
        vault: &Vault,
        view: Option<&Manifest>,
        sources: Option<&BTreeSet<String>>,
    ) -> Plan {
        let waiting = known.waiting(vault, sources);
        let Known { names, groups, .. } = known;
        let name = vault.name();
        let held = view.map_or(&[][..], |view| &view.points);
        let mut there: Vec<PointInfo> = held.iter().map(info_of).collect();
        there.sort_by_key(|info| info.committed_at);
        let mut last: BTreeMap<_, Timestamp> = BTreeMap::new();
        for info in there.iter().filter(|info| !info.partial) {
            last.insert(info.source, slot_of(info).1);
        }
        let mut plan = Plan::default();
        for info in waiting {
            let source = names.sources.get(&id_text::encode(&info.source.0));
            let stated = source.and_then(|source| groups.of_source(source, names));
            let policy = stated.and_then(|of| {
                of.group.vault_policy(&name, &self.settings.zone, self.settings.minimum)
            });
            let tags = match (stated, policy) {
                (Some(stated), Some(policy)) => {
                    let calendars = match goal(stated, &name).map(|goal| &goal.schedule) {
                        Some(OnlineWhen::At(calendars)) => calendars.clone(),
                        _ => stated.group.short_term.points.clone(),
                    };
                    let calendar = Calendar::joined(calendars);
                    tags(&policy, calendar.as_ref(), last.get(&info.source).copied(), &info)
                }
                _ => PointFacts::parse(&info.attributes).tags,
            };
            if !info.partial {
                last.insert(info.source, slot_of(&info).1);
            }
            let attributes = with_tags(&info.attributes, &tags);
            there.push(PointInfo { attributes: attributes.clone().into(), ..info.clone() });
            plan.points.push(Chosen { info, attributes, class: class_of(&tags) });
        }
        let look = self.store.pool.time.look();
        let judged = verdicts(&there, (known, &self.settings), &name, look);
        let goes = |id: &PointId| judged.get(id).is_some_and(Verdict::goes);
        // What would go at once is not sent.
        plan.points.retain(|chosen| !goes(&chosen.info.id));
        plan.gone = held.iter().map(|point| point.point).filter(goes).collect();
        let expires = |id: &PointId| {
            let at = judged.get(id).and_then(|verdict| verdict.expires_at);
            at.map_or(i64::MAX, |at| nanos(at).0)
        };
        let stays = held.iter().filter(|point| !goes(&point.point));
        let stays = stays.map(|point| (point.class, expires(&point.point)));
        let comes = plan.points.iter().map(|of| (of.class, expires(&of.info.id)));
        plan.expiry = stays.chain(comes).collect();
        plan
    }
}
