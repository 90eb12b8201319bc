//! What vaults hold, beside what the pool has.

use super::choose::{Known, info_of, verdicts};
use super::local::Vault;
use crate::api::types::{self, Outcome, VaultPoint};
use crate::catalog::PointRow;
use crate::clock::rfc3339;
use crate::daemon::Daemon;
use crate::failure::{Code, Failure};
use crate::id_text;
use crate::point_facts::PointFacts;
use crate::retention::point::nanos;
use keelhold_disk::pool::PointInfo;
use keelhold_disk::units::{PointId, UnixNanos};
use keelhold_policy::retain::Verdict;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Where points are, for lists.
#[derive(Debug, Clone, Default)]
pub struct Elsewhere {
    /// Names of the vaults that have a point, by its id.
    pub vaults: HashMap<String, Vec<String>>,
    pub in_pool: HashSet<String>,
    /// Of points that only vaults have.
    pub verdicts: HashMap<String, Verdict>,
}

impl Elsewhere {
    /// As the lists name places.
    #[must_use]
    pub fn places(&self, point: &str) -> Vec<String> {
        let pool = self.in_pool.contains(point).then(|| String::from("pool"));
        let vaults = self.vaults.get(point).into_iter().flatten();
        pool.into_iter().chain(vaults.map(|vault| format!("vault:{vault}"))).collect()
    }
}

impl Daemon {
    /// Points that vaults have and the pool has not, in the order of their commits.
    fn points_away(&self, pool: &[PointInfo]) -> Vec<PointInfo> {
        let here: HashSet<PointId> = pool.iter().map(|point| point.id).collect();
        let mut away: BTreeMap<PointId, PointInfo> = BTreeMap::new();
        for view in self.vaults.all().iter().filter_map(|vault| vault.view()) {
            for point in view.points.iter().filter(|point| !here.contains(&point.point)) {
                away.entry(point.point).or_insert_with(|| info_of(point));
            }
        }
        let mut away: Vec<PointInfo> = away.into_values().collect();
        away.sort_by_key(|point| (point.committed_at, point.id));
        away
    }

    /// The catalog's rows and those of points that only vaults have, in the order of their commits.
    #[must_use]
    pub fn rows_anywhere(&self) -> Vec<PointRow> {
        let mut rows = self.catalog.points();
        let known: HashSet<String> = rows.iter().map(|row| row.id.clone()).collect();
        let away = self.points_away(&[]);
        let away = away.iter().map(|info| PointRow::new(0, info));
        let before = rows.len();
        rows.extend(away.filter(|row| !known.contains(&row.id)));
        if rows.len() > before {
            rows.sort_by_key(|row| row.committed_at);
        }
        rows
    }

    /// All points, wherever they are, in the order of their commits.
    pub async fn points_anywhere(&self) -> Result<Vec<PointInfo>, Failure> {
        let mut points = self.points().await?;
        let away = self.points_away(&points);
        if !away.is_empty() {
            points.extend(away);
            points.sort_by_key(|point| point.committed_at);
        }
        Ok(points)
    }

    pub async fn elsewhere(&self) -> Result<Elsewhere, Failure> {
        let known = self.known().await?;
        let in_pool: HashSet<String> =
            known.points.iter().map(|of| id_text::encode(&of.id.0)).collect();
        let mut elsewhere = Elsewhere { in_pool, ..Elsewhere::default() };
        for vault in self.vaults.all() {
            let Some(view) = vault.view() else { continue };
            let points: Vec<PointInfo> = view.points.iter().map(info_of).collect();
            let judged = self.judged(&known, &vault, &points);
            for point in &view.points {
                let id = id_text::encode(&point.point.0);
                if let (Some(verdict), false) =
                    (judged.get(&point.point), elsewhere.in_pool.contains(&id))
                {
                    elsewhere.verdicts.entry(id.clone()).or_insert_with(|| verdict.clone());
                }
                elsewhere.vaults.entry(id).or_default().push(vault.name());
            }
        }
        Ok(elsewhere)
    }

    fn judged(
        &self,
        known: &Known,
        vault: &Vault,
        points: &[PointInfo],
    ) -> BTreeMap<PointId, Verdict> {
        let look = self.store.pool.time.look();
        verdicts(points, (known, &self.settings), &vault.name(), look)
    }

    /// The points of one vault, in the order of their commits.
    pub async fn vault_points(&self, name: &str) -> Result<Vec<VaultPoint>, Failure> {
        let vault = self.vaults.named(name)?;
        let view = match vault.view() {
            Some(view) => view,
            None => vault.look().await?.view,
        };
        let mut points: Vec<PointInfo> = view.points.iter().map(info_of).collect();
        points.sort_by_key(|point| (point.committed_at, point.id));
        let known = self.known().await?;
        let judged = self.judged(&known, &vault, &points);
        let here: HashSet<PointId> = known.points.iter().map(|point| point.id).collect();
        let shown = points.iter().map(|point| {
            let verdict = judged.get(&point.id);
            let kept = verdict.map(|of| of.kept_because.iter().map(ToString::to_string).collect());
            VaultPoint {
                id: id_text::encode(&point.id.0),
                source: known.names.source(&id_text::encode(&point.source.0)),
                at: rfc3339(point.at),
                result: if point.partial { Outcome::Partial } else { Outcome::Ok },
                bytes_source: point.bytes_source,
                entries: point.entries,
                tags: PointFacts::parse(&point.attributes).tags,
                kept_because: kept
                    .unwrap_or_else(|| vec![String::from("no policy says when it may go")]),
                expires_at: verdict.and_then(|of| of.expires_at).map(|at| rfc3339(nanos(at))),
                in_pool: here.contains(&point.id),
            }
        });
        Ok(shown.collect())
    }

    pub async fn vault_list(&self) -> Result<Vec<types::Vault>, Failure> {
        let known = self.known().await?;
        Ok(self.vaults.all().iter().map(|vault| self.show_vault(&known, vault)).collect())
    }

    pub(super) async fn vault_status(&self, vault: &Vault) -> Result<types::Vault, Failure> {
        Ok(self.show_vault(&self.known().await?, vault))
    }

    fn show_vault(&self, known: &Known, vault: &Vault) -> types::Vault {
        let plan = self.plan(known, vault, vault.view().as_deref(), None);
        let waiting: Vec<&PointInfo> = plan.points.iter().map(|chosen| &chosen.info).collect();
        let stored = |point: &&PointInfo| PointFacts::parse(&point.attributes).bytes_stored;
        let time = |at: i64| rfc3339(UnixNanos(at));
        let record = vault.record();
        let state = vault.state();
        let view = state.view.as_ref();
        let locked = view.and_then(|view| view.locks.iter().map(|lock| lock.until).min());
        let findings = state.opened.iter().flat_map(|opened| {
            opened
                .void
                .iter()
                .map(|void| format!("manifest {} is void: {}", void.number, void.reason))
        });
        let word = match (&state.failure, state.job) {
            (_, Some(_)) => "shipping",
            (Some(failure), None) if failure.code == Code::VaultUnreachable => "unreachable",
            (Some(_), None) => "refused",
            (None, None) if !waiting.is_empty() => "behind",
            (None, None) => "ok",
        };
        types::Vault {
            name: record.name,
            id: record.id,
            url: record.url,
            state: word.to_owned(),
            why: state.failure.as_ref().map(|failure| failure.message.clone()),
            points: view.map_or(0, |view| view.points.len() as u64),
            backlog_points: waiting.len() as u64,
            backlog_bytes: waiting.iter().map(stored).sum(),
            backlog_since: waiting.first().map(|point| time(point.at.0)),
            last_shipped_at: state.seen.shipped_at.map(time),
            objects: state.seen.objects,
            bytes: state.seen.bytes,
            manifest: state.seen.number,
            last_verified_at: state.seen.verified_at.map(time),
            verified_ok: state.seen.verified_ok,
            kit_at: record.kit_at.map(time),
            has_passphrase: record.has_passphrase,
            locked_until: locked.filter(|until| *until > 0).map(time),
            redundancy: match (&record.geo, record.zone_at) {
                (Some(_), _) => String::from("geo"),
                (None, Some(_)) => String::from("zone"),
                (None, None) => String::from("local"),
            },
            zone_checked_at: record.zone_at.map(time),
            geo: record.geo.map(|geo| types::Geo {
                url: geo.url,
                manifest: state.seen.geo_number,
                behind: state.seen.number.saturating_sub(state.seen.geo_number),
                copied_at: state.seen.geo_at.map(time),
                why: state.geo_failure.as_ref().map(|failure| failure.message.clone()),
            }),
            findings: findings.collect(),
        }
    }
}
