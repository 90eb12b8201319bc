//! The end of a backup: what was sent becomes a point, or the working state.

use super::{End, Session, Stop};
use crate::api::types::{BackupResult, Outcome};
use crate::failure::Failure;
use crate::id_text;
use crate::job::Order;
use crate::point_facts::PointFacts;
use crate::pool_failure::{of_closed, of_ingest};
use crate::pool_thread::LivePool;
use keelhold_disk::pool::CommitPoint;
use keelhold_wire::{BackupStats, Basis, Committed, FromServer, Reached};

impl Session<'_> {
    fn facts(&self, stats: &BackupStats, reached: &Reached, order: Order) -> PointFacts {
        let files = stats.skipped.saturating_sub(self.not_covered.count);
        let told = files + reached.shortfalls.len() as u64;
        let crate::record::SourceKind::Tree { root_hex, .. } = &self.task.source.kind;
        PointFacts {
            job: self.task.job,
            root_hex: root_hex.clone(),
            consistency: reached.consistency.word().to_owned(),
            tags: Vec::new(),
            files: stats.files,
            bytes_new: 0,
            bytes_stored: 0,
            made_at: self.daemon.store.clock.now().0,
            pin: None,
            slot: order.slot,
            keep_until: None,
            skipped_count: told.max(self.skipped.count),
            skipped: self.skipped.named.clone(),
            not_covered: self.not_covered.named.clone(),
        }
    }

    /// Brings what was sent to the disks. Gives the plain bytes of new chunks, and the bytes their runs
    /// take: both are final only when no run is on its way.
    async fn settle(&self) -> Result<(u64, u64), Failure> {
        let (session, now) = (self.session, self.daemon.store.pool.now());
        let settle = move |pool: LivePool| async move {
            if pool.session_bytes(session)?.0 > 0 {
                pool.step(session, now).await?;
            }
            Ok(pool.session_bytes(session)?)
        };
        let settled: Result<_, keelhold_disk::IngestError> =
            self.daemon.store.pool.call(settle).await.map_err(of_closed)?;
        settled.map_err(|error| of_ingest(&error))
    }

    pub(super) async fn commit(&mut self) -> Result<End, Stop> {
        self.daemon.jobs.stage(self.task.job, "committing");
        let finish = self.finish.take();
        let (stats, reached) =
            finish.map(|finish| (finish.stats, finish.reached)).unwrap_or_default();
        let order = self.daemon.jobs.seal(self.task.job).unwrap_or(self.task.order);
        let mut facts = self.facts(&stats, &reached, order);
        let partial = facts.skipped_count > 0;
        let (session, now) = (self.session, self.daemon.store.pool.now());
        let (bytes_new, mut bytes_stored) = self.settle().await?;
        self.mind_quota().await?;
        (facts.bytes_new, facts.bytes_stored) = (bytes_new, bytes_stored);
        if !order.sync {
            let given = self.daemon.given(&self.task.source, order).await?;
            (facts.tags, facts.keep_until) = (given.tags, given.keep_until);
        }
        let commit = CommitPoint {
            working: order.sync,
            at: self.at,
            partial,
            attributes: facts.to_bytes(),
            records: Vec::new(),
        };
        let make = move |pool: LivePool| async move {
            let used = |pool: &LivePool| pool.status().bytes_used;
            let before = used(&pool);
            let point = pool.commit(session, commit, now).await?;
            Ok((point, used(&pool).saturating_sub(before)))
        };
        let made: Result<_, keelhold_disk::IngestError> =
            self.daemon.store.pool.call(make).await.map_err(of_closed)?;
        let (point, more_stored) = made.map_err(|error| Stop::from(of_ingest(&error)))?;
        bytes_stored += more_stored;
        if !order.sync {
            self.daemon.point_committed(&point).await;
        }
        let basis = Basis { id: point.id.0, entries: point.entries };
        let committed = Committed { job: self.task.job, point: point.id.0, basis, partial };
        // The point is there; an agent that cannot be told finds out at the next start.
        let _ = self.outbox.send(FromServer::Committed(committed)).await;
        let outcome = if partial { Outcome::Partial } else { Outcome::Ok };
        let result = BackupResult {
            result: outcome,
            job: self.task.job,
            point: (!order.sync).then(|| id_text::encode(&point.id.0)),
            source: self.task.name.clone(),
            bytes_source: point.bytes_source,
            bytes_read: stats.bytes_read,
            bytes_sent: self.bytes_sent,
            bytes_new,
            bytes_stored,
            files: stats.files,
            files_changed: stats.files_changed,
            wrong_shortcuts: self.task.order.check.then_some(stats.wrong_shortcuts),
            skipped: facts.skipped,
            skipped_count: facts.skipped_count,
            not_covered: facts.not_covered,
            seconds: self.began.elapsed().as_secs_f64(),
            error: None,
        };
        Ok(End::Over { outcome, result: Box::new(result), failure: None })
    }
}
