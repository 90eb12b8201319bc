//! What the simulated machines and their daemon ask of the pool.

use futures_util::future::join;
use keelhold_disk::pool::{CommitPoint, ReclaimOptions, RecordChange};
use keelhold_disk::units::{PointId, SourceId, UnixNanos};
use keelhold_disk::{ForgetError, IngestError, ReclaimError};
use keelhold_tests::rig::{Files, Machine, SimPool, read_point};

use super::model::{Attempt, Model};

/// One thing to do, decided before it is begun: what is dropped in its midst is still known.
#[derive(Debug, Clone)]
pub enum Action {
    One(Attempt),
    /// Two at the same time, on different sources or of different kinds.
    Both(Attempt, Attempt),
    Checkpoint,
    CheckpointBeside(Attempt),
    /// A reclaim while a point is read.
    ReclaimBesideRead(Attempt, PointId),
}

impl Action {
    pub fn name(&self) -> &'static str {
        match self {
            Self::One(Attempt::Point { working: false, .. }) => "backup",
            Self::One(Attempt::Point { .. }) => "synchronise",
            Self::One(Attempt::Promote { .. }) => "promote",
            Self::One(Attempt::Record { value: Some(_), .. }) => "write record",
            Self::One(Attempt::Record { .. }) => "remove record",
            Self::One(Attempt::Entry { .. }) => "append to series",
            Self::One(Attempt::Trim { .. }) => "trim series",
            Self::One(Attempt::Park { .. }) => "park session",
            Self::One(Attempt::Cancel { .. }) => "cancel session",
            Self::One(Attempt::Forget { .. }) => "forget",
            Self::One(Attempt::Undo { .. }) => "undo forget",
            Self::One(Attempt::Reclaim { .. }) => "reclaim",
            Self::Both(Attempt::Reclaim { .. }, _) => "reclaim beside backup",
            Self::ReclaimBesideRead(..) => "reclaim beside read",
            Self::Both(..) => "two at once",
            Self::Checkpoint => "checkpoint",
            Self::CheckpointBeside(_) => "checkpoint beside backup",
        }
    }

    pub fn attempts(&self) -> Vec<Attempt> {
        match self {
            Self::One(one) | Self::CheckpointBeside(one) | Self::ReclaimBesideRead(one, _) => {
                vec![one.clone()]
            }
            Self::Both(one, other) => vec![one.clone(), other.clone()],
            Self::Checkpoint => Vec::new(),
        }
    }
}

/// What one attempt gave: the id of a point, and the bytes that had to be sent for it.
pub type Answer = Result<(Option<PointId>, u64), IngestError>;

/// Does it; the answers are in the order of [`Action::attempts`].
pub async fn perform(
    pool: &SimPool,
    model: &Model,
    action: &Action,
    now: UnixNanos,
) -> Vec<Answer> {
    match action {
        Action::One(attempt) => vec![try_one(pool, model, attempt, now).await],
        Action::Both(one, other) => {
            let (one, other) =
                join(try_one(pool, model, one, now), try_one(pool, model, other, now)).await;
            vec![one, other]
        }
        Action::ReclaimBesideRead(attempt, point) => {
            let read = read_point(pool, point);
            let (one, read) = join(try_one(pool, model, attempt, now), read).await;
            // What was read is the same as if nobody had reclaimed.
            let same = model.points.iter().find(|of| of.id == *point).map(|of| &of.files);
            match read {
                Ok(read) if Some(&read) == same => vec![one],
                Ok(_) => panic!("a read beside a reclaim gave other bytes"),
                Err(error) => vec![one.and(Err(error.into()))],
            }
        }
        Action::Checkpoint => {
            let made = pool.checkpoint(now).await;
            vec![made.map(|()| (None, 0)).map_err(IngestError::from)]
        }
        Action::CheckpointBeside(attempt) => {
            let (one, checkpoint) =
                join(try_one(pool, model, attempt, now), pool.checkpoint(now)).await;
            vec![checkpoint.map_err(IngestError::from).and(one)]
        }
    }
}

fn machine(model: &Model, source: SourceId) -> Machine {
    let mut machine = Machine::new(source.0[0]);
    machine.basis = model.basis(source).map(|point| (point.id, point.files.clone()));
    machine
}

async fn try_one(pool: &SimPool, model: &Model, attempt: &Attempt, now: UnixNanos) -> Answer {
    match attempt {
        Attempt::Point { at, source, files, working } => {
            let machine = machine(model, *source);
            let session = machine.begin(pool, now).await?;
            let sent = machine.send(pool, session, files).await?;
            let commit =
                CommitPoint { at: UnixNanos(*at), working: *working, ..CommitPoint::default() };
            let point = pool.commit(session, commit, now).await?;
            Ok((Some(point.id), sent))
        }
        Attempt::Promote { source } => {
            match pool.promote(*source, b"promoted".to_vec(), now).await {
                Ok(point) => Ok((Some(point.id), 0)),
                Err(ForgetError::Commit(error)) => Err(error.into()),
                Err(other) => panic!("promoting of {source}: {other}"),
            }
        }
        Attempt::Record { name, value } => {
            let change = RecordChange { name: name.clone(), expected: None, bytes: value.clone() };
            pool.write_records(vec![change], now).await?;
            Ok((None, 0))
        }
        Attempt::Entry { series, bytes } => {
            pool.append(series, bytes.clone(), now).await?;
            Ok((None, 0))
        }
        Attempt::Trim { series, count } => {
            let first = model.trimmed.get(series).copied().unwrap_or_default() + *count as u64;
            pool.trim(series, first, now).await?;
            Ok((None, 0))
        }
        Attempt::Park { source, files } => {
            let machine = machine(model, *source);
            let session = machine.begin(pool, now).await?;
            let sent = send_some(&machine, pool, session, files, now).await?;
            pool.park(session, now).await?;
            Ok((None, sent))
        }
        Attempt::Cancel { source } => {
            let session = machine(model, *source).begin(pool, now).await?;
            pool.cancel(session, now).await?;
            Ok((None, 0))
        }
        Attempt::Forget { points, until } => {
            match pool.forget(points, UnixNanos(*until), now).await {
                Ok(()) => Ok((None, 0)),
                Err(ForgetError::Commit(error)) => Err(error.into()),
                Err(other) => panic!("forgetting {points:?}: {other}"),
            }
        }
        Attempt::Undo { point } => match pool.undo_forget(point, now).await {
            Ok(()) => Ok((None, 0)),
            Err(ForgetError::Commit(error)) => Err(error.into()),
            Err(other) => panic!("undoing {point}: {other}"),
        },
        Attempt::Reclaim { least_dead } => {
            let options = ReclaimOptions { least_dead: *least_dead, confirmed: false };
            match pool.reclaim(options, now).await {
                Ok(report) if report.damaged.is_empty() => Ok((None, 0)),
                Ok(mut report) => Err(report.damaged.swap_remove(0).into()),
                Err(ReclaimError::Commit(error)) => Err(error.into()),
                Err(brake) => panic!("{brake}"),
            }
        }
    }
}

/// Sends with a step in the middle.
async fn send_some(
    machine: &Machine,
    pool: &SimPool,
    session: keelhold_disk::units::SessionId,
    files: &Files,
    now: UnixNanos,
) -> Result<u64, IngestError> {
    let sent = machine.send(pool, session, files).await?;
    pool.step(session, now).await?;
    Ok(sent)
}
