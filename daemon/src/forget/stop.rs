//! Ending the protection of a source or a machine.

use super::texts;
use crate::api::types::AfterStop;
use crate::audit::Actor;
use crate::daemon::Daemon;
use crate::failure::{Code, Failure};
use crate::id_text;
use crate::machine;
use crate::pool_failure::{of_closed, of_commit};
use crate::record::{MachineRecord, SourceName, SourceRecord, Stopped, StoppedHow};
use crate::source;
use keelhold_disk::pool::PointInfo;
use keelhold_disk::units::SourceId;

impl Daemon {
    /// Stops protecting a source. To delete its points is to give the source up: the last good one goes
    /// to the trash, too. Pinned points keep it from that.
    pub async fn remove_source(
        &self,
        actor: &Actor,
        name: &SourceName,
        after: AfterStop,
    ) -> Result<SourceRecord, Failure> {
        let _turn = self.forgetting.lock().await;
        let action = format!("source remove --points {}", after.word());
        let mut what = vec![name.to_string()];
        let removed = async {
            let (_, record) = source::named(&self.store, name).await?;
            let points = self.points_to_give_up(&record, after).await?;
            what.extend(texts(&points));
            self.stop_protecting(name, &record, after, points).await
        }
        .await;
        self.store.audit(actor, &action, what, &removed).await;
        self.schedule.points_changed();
        removed
    }

    /// Removes a machine and all its sources.
    pub async fn remove_machine(
        &self,
        actor: &Actor,
        name: &str,
        after: AfterStop,
    ) -> Result<MachineRecord, Failure> {
        let _turn = self.forgetting.lock().await;
        let action = format!("machine remove --points {}", after.word());
        let mut what = vec![name.to_owned()];
        let removed = async {
            let record = machine::named(&self.store, name).await?;
            let names = self.names().await?;
            let sources = names.sources.values().filter(|source| !source.removed);
            let sources = sources.filter(|source| source.machine == record.id);
            let mut giving_up = Vec::new();
            for source in sources {
                let points = self.points_to_give_up(source, after).await?;
                what.extend(texts(&points));
                giving_up.push((source, points));
            }
            for (source, points) in giving_up {
                let of_machine = SourceName { machine: name.to_owned(), name: source.name.clone() };
                self.stop_protecting(&of_machine, source, after, points).await?;
            }
            Ok(machine::remove(&self.store, name).await?)
        }
        .await;
        self.store.audit(actor, &action, what, &removed).await;
        self.schedule.points_changed();
        removed
    }

    /// The points that go to the trash with their source; none unless they are to.
    async fn points_to_give_up(
        &self,
        record: &SourceRecord,
        after: AfterStop,
    ) -> Result<Vec<PointInfo>, Failure> {
        if after != AfterStop::Delete {
            return Ok(Vec::new());
        }
        let mut points = self.points().await?;
        points.retain(|point| {
            id_text::encode(&point.source.0) == record.id && point.trashed_until.is_none()
        });
        let names = self.names().await?;
        let refused = self.refusals(&points, &names, true).await?;
        let pinned = |failure: &Failure| failure.code == Code::PointPinned;
        match refused.into_iter().find(|(_, why)| pinned(why)) {
            Some((_, failure)) => Err(failure),
            None => Ok(points),
        }
    }

    /// The caller has the turn of forgetting.
    async fn stop_protecting(
        &self,
        name: &SourceName,
        record: &SourceRecord,
        after: AfterStop,
        points: Vec<PointInfo>,
    ) -> Result<SourceRecord, Failure> {
        let (groups, names) = (self.groups().await?, self.names().await?);
        let group = groups.of_source(record, &names).map(|stated| stated.record.name.clone());
        let how = match after {
            AfterStop::Keep | AfterStop::Delete => StoppedHow::Keep,
            AfterStop::Policy => StoppedHow::Policy,
        };
        let record = source::remove(&self.store, name, Stopped { how, group }).await?;
        if let Some(job) = self.jobs.of_source(&record.id) {
            match self.cancel(job).await {
                // It came to its end this moment.
                Err(failure) if matches!(failure.code, Code::JobOver | Code::JobUnknown) => {}
                cancelled => drop(cancelled?),
            }
        }
        if after == AfterStop::Delete {
            if !points.is_empty() {
                self.move_to_trash(&points, false).await?;
            }
            self.drop_working(&record).await?;
        }
        Ok(record)
    }

    async fn drop_working(&self, record: &SourceRecord) -> Result<(), Failure> {
        let Some(source) = id_text::decode(&record.id).map(SourceId) else {
            return Ok(());
        };
        let now = self.store.pool.now();
        let drop = move |pool: crate::pool_thread::LivePool| async move {
            match pool.working_state(&source) {
                Some(_) => pool.drop_working(source, now).await,
                None => Ok(()),
            }
        };
        let dropped = self.store.pool.call(drop).await.map_err(of_closed)?;
        dropped.map_err(|error| of_commit(&error))
    }
}
