//! Points on their way in without an agent, by promotion, and on their way out: into the trash, back,
//! and at last out of the pool.

use super::status::PointInfo;
use super::tables::{Effect, Pending};
use super::{Inner, Pool, Work};
use crate::device::Device;
use crate::error::{CommitError, ForgetError};
use crate::format::{Op, PointRow};
use crate::units::{PointId, SessionId, SourceId, UnixNanos};

fn pending(op: Op) -> Pending {
    Pending { op, effect: Effect::None }
}

impl<D: Device, W: Work> Pool<D, W> {
    /// Moves points to the trash, all or none of them. Until `until`, in time the pool witnessed, they
    /// can be brought back; the first reclaim afterwards drops them.
    pub async fn forget(
        &self,
        points: &[PointId],
        until: UnixNanos,
        now: UnixNanos,
    ) -> Result<(), ForgetError> {
        self.inner.witness(now);
        // Zero says "not in the trash".
        let until = if until.0 == 0 { 1 } else { until.0 };
        for point in points {
            self.inner.point_row(point)?;
        }
        let op = Op::PointsTrashed { until, points: points.to_vec() };
        Ok(self.inner.append(vec![pending(op)]).await?)
    }

    /// Brings a point back out of the trash.
    pub async fn undo_forget(&self, point: &PointId, now: UnixNanos) -> Result<(), ForgetError> {
        self.inner.witness(now);
        let row = self.inner.point_row(point)?;
        if row.trashed_until == 0 {
            return Err(ForgetError::NotForgotten { point: *point });
        }
        if row.trashed_until <= self.witnessed().0 {
            return Err(ForgetError::TooLate { point: *point });
        }
        let op = Op::PointsTrashed { until: 0, points: vec![*point] };
        Ok(self.inner.append(vec![pending(op)]).await?)
    }

    /// Changes what the daemon keeps with a point.
    pub async fn set_attributes(
        &self,
        point: &PointId,
        attributes: Vec<u8>,
        now: UnixNanos,
    ) -> Result<PointInfo, CommitError> {
        self.inner.witness(now);
        self.inner.point_row(point)?;
        let op = Op::PointAttributes { point: *point, attributes };
        self.inner.append(vec![pending(op)]).await?;
        Ok(PointInfo::from_row(&self.inner.point_row(point)?))
    }

    /// Makes the working state of a source its newest point, with the time it was synchronised at. The
    /// agent has no part in it, and one entry of the journal is all that is written.
    pub async fn promote(
        &self,
        source: SourceId,
        attributes: Vec<u8>,
        now: UnixNanos,
    ) -> Result<PointInfo, ForgetError> {
        self.inner.witness(now);
        // No synchronisation replaces it between the look and the entry.
        let turn = self.inner.turn_of(source);
        let _turn = turn.lock().await;
        let missing = ForgetError::NoWorkingState { source_id: source };
        let point = self.working_state(&source).ok_or(missing)?.id;
        let op = Op::WorkingPromoted { source, point, attributes };
        self.inner.append(vec![pending(op)]).await?;
        Ok(PointInfo::from_row(&self.inner.point_row(&point)?))
    }

    /// Gives up the working state of a source.
    pub async fn drop_working(&self, source: SourceId, now: UnixNanos) -> Result<(), CommitError> {
        self.inner.witness(now);
        // A point that is being committed may describe its references from it.
        let turn = self.inner.turn_of(source);
        let _turn = turn.lock().await;
        self.inner.append(vec![pending(Op::WorkingDropped { source })]).await
    }
}

impl<D: Device, W: Work> Inner<D, W> {
    fn point_row(&self, point: &PointId) -> Result<PointRow, CommitError> {
        let row = self.tables.borrow().point(point).cloned();
        row.ok_or(CommitError::NoPoint { point: *point })
    }

    /// Drops the points whose time in the trash is over, except those that somebody reads or builds
    /// on. Gives how many.
    pub(super) async fn drop_due(&self) -> Result<u64, CommitError> {
        let due: Vec<(PointId, SourceId)> = {
            let tables = self.tables.borrow();
            let is_due =
                |row: &&PointRow| row.trashed_until != 0 && row.trashed_until <= tables.witnessed;
            tables.points.iter().filter(is_due).map(|row| (row.id, row.source)).collect()
        };
        let mut dropped = 0;
        for (point, source) in due {
            // Nobody commits to the chain that is changed here.
            let turn = self.turn_of(source);
            let _turn = turn.lock().await;
            if self.is_in_use(&point) {
                continue;
            }
            self.append(vec![pending(Op::PointDropped { point })]).await?;
            dropped += 1;
        }
        Ok(dropped)
    }

    fn is_in_use(&self, point: &PointId) -> bool {
        let live = self.live.borrow();
        let is_basis =
            live.values().any(|live| live.basis.as_ref().is_some_and(|(basis, _)| basis == point));
        is_basis || self.readers.borrow().contains_key(point)
    }

    /// Ends the sessions that nobody works on and whose lease is over. Gives how many.
    pub(super) async fn end_due_sessions(&self) -> Result<u64, CommitError> {
        let due: Vec<SessionId> = {
            let tables = self.tables.borrow();
            let live = self.live.borrow();
            let is_due = |(id, session): &(&SessionId, &super::tables::Session)| {
                session.lease_until <= tables.witnessed && !live.contains_key(id)
            };
            tables.sessions.iter().filter(is_due).map(|(id, _)| *id).collect()
        };
        let ended = due.len() as u64;
        for session in due {
            // Somebody may have taken it up since.
            if !self.live.borrow().contains_key(&session) {
                self.append(vec![pending(Op::SessionEnded { session })]).await?;
            }
        }
        Ok(ended)
    }
}
