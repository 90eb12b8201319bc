//! What the simulated machines and their daemon ask of the pool.

use futures_util::future::join;
use keelhold_disk::IngestError;
use keelhold_disk::pool::{CommitPoint, RecordChange};
use keelhold_disk::units::{PointId, SourceId, UnixNanos};
use keelhold_tests::rig::{Files, Machine, SimPool};

use super::model::{Attempt, Model};

/// One thing to do, decided before it is begun: what is dropped in its midst is still known.
#[derive(Debug, Clone)]
pub enum Action {
    One(Attempt),
    /// Two at the same time, on different sources or of different kinds.
    Both(Attempt, Attempt),
    Checkpoint,
    CheckpointBeside(Attempt),
}

impl Action {
    pub fn name(&self) -> &'static str {
        match self {
            Self::One(Attempt::Point { working: false, .. }) => "backup",
            Self::One(Attempt::Point { .. }) => "synchronise",
            Self::One(Attempt::Record { value: Some(_), .. }) => "write record",
            Self::One(Attempt::Record { .. }) => "remove record",
            Self::One(Attempt::Entry { .. }) => "append to series",
            Self::One(Attempt::Park { .. }) => "park session",
            Self::One(Attempt::Cancel { .. }) => "cancel session",
            Self::Both(..) => "two at once",
            Self::Checkpoint => "checkpoint",
            Self::CheckpointBeside(_) => "checkpoint beside backup",
        }
    }

    pub fn attempts(&self) -> Vec<Attempt> {
        match self {
            Self::One(one) | Self::CheckpointBeside(one) => vec![one.clone()],
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
        Attempt::Record { name, value } => {
            let change = RecordChange { name: name.clone(), expected: None, bytes: value.clone() };
            pool.write_records(vec![change], now).await?;
            Ok((None, 0))
        }
        Attempt::Entry { series, bytes } => {
            pool.append(series, bytes.clone(), now).await?;
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
