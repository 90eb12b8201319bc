//! What becomes of points by themselves: the verdicts of the policy in force on what the pool has, and
//! forgetting what nothing keeps.
//!
//! A point whose time is over goes at once, not through the trash: its policy was shown and agreed to
//! long before. Whoever shortens a policy, forgets by hand or removes a source has the trash.

pub mod made;
pub mod point;

use crate::audit::Actor;
use crate::catalog::PointRow;
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::forget::may_go;
use crate::group::Groups;
use crate::id_text;
use crate::record::{SourceRecord, StoppedHow};
use crate::settings::Settings;
use crate::source::Names;
use jiff::Timestamp;
use keelhold_disk::pool::PointInfo;
use keelhold_policy::retain::{Policy, Protection, Reason, Verdict, judge};
use std::collections::{BTreeMap, HashMap};

/// The rules for a source's points in the pool. None: no policy speaks for it, and nothing goes.
#[must_use]
pub fn rules(
    source: &SourceRecord,
    groups: &Groups,
    names: &Names,
    settings: &Settings,
) -> Option<(Policy, Protection)> {
    let policy =
        |stated: &crate::group::Stated| stated.group.pool_policy(&settings.zone, settings.minimum);
    if !source.removed {
        return Some((policy(groups.of_source(source, names)?), Protection::On));
    }
    let stopped = source.stopped.as_ref()?;
    match stopped.how {
        StoppedHow::Keep => None,
        StoppedHow::Policy => {
            Some((policy(groups.get(stopped.group.as_deref()?)?), Protection::KeepByPolicy))
        }
    }
}

/// Whether the point was there when protection was stopped and its points were to stay.
#[must_use]
pub fn was_to_stay(source: &SourceRecord, witnessed: i64) -> bool {
    source.kept_before.is_some_and(|before| witnessed < before)
}

impl Daemon {
    /// The verdict on each of these points that a policy speaks for, by id. All points of a source
    /// must be there: which is the last good one depends on all.
    pub async fn verdicts(
        &self,
        names: &Names,
        rows: &[PointRow],
    ) -> Result<HashMap<String, Verdict>, Failure> {
        let groups = self.groups().await?;
        let now = point::now_of(self.store.pool.time.look());
        let mut of_sources: BTreeMap<&str, Vec<&PointRow>> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.trashed_until.is_none()) {
            of_sources.entry(&row.source).or_default().push(row);
        }
        let mut verdicts = HashMap::with_capacity(rows.len());
        for (source, rows) in of_sources {
            let Some(source) = names.sources.get(source) else { continue };
            let Some((policy, protection)) = rules(source, &groups, names, &self.settings) else {
                continue;
            };
            let points: Vec<_> = rows.iter().map(|row| point::to_policy(row)).collect();
            let mut judged = judge(&policy, protection, &points, now);
            for (row, verdict) in rows.iter().zip(&mut judged) {
                if was_to_stay(source, row.committed_at) {
                    *verdict =
                        Verdict { kept_because: vec![Reason::StoppedForEver], expires_at: None };
                }
            }
            verdicts.extend(rows.iter().map(|row| row.id.clone()).zip(judged));
        }
        Ok(verdicts)
    }

    /// Gives up the points that nothing keeps. Gives when the next one's time is over.
    pub async fn sweep(&self) -> Result<Option<Timestamp>, Failure> {
        let _turn = self.forgetting.lock().await;
        let names = self.names().await?;
        let infos = self.points().await?;
        let rows: Vec<PointRow> = infos.iter().map(|info| PointRow::new(0, info)).collect();
        let verdicts = self.verdicts(&names, &rows).await?;
        let look = self.store.pool.time.look();
        let mut next = None;
        let mut going: Vec<PointInfo> = Vec::new();
        for (row, info) in rows.iter().zip(&infos) {
            let Some(verdict) = verdicts.get(&row.id) else { continue };
            if !verdict.goes() {
                let at = verdict.expires_at;
                next = [next, at].into_iter().flatten().min();
                continue;
            }
            // Asked again by the rule for hands: two must agree before anything goes.
            let protected = names.sources.get(&row.source).is_some_and(|source| !source.removed);
            if may_go(row, &rows, protected, look) {
                going.push(info.clone());
            }
        }
        if !going.is_empty() {
            let what = going.iter().map(|info| id_text::encode(&info.id.0)).collect();
            let gone = self.move_to_trash(&going, true).await;
            self.store.audit(&Actor::keelhold(), "retention", what, &gone).await;
            gone?;
        }
        Ok(next)
    }
}
