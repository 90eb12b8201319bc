//! One job from its first message to its last, whatever happens in between.

use keelhold_wire::{FromAgent, FromServer, JobRefusal, Message, StartBackup};
use tokio::sync::mpsc;

use super::{Surroundings, restore};
use crate::backup::{self, BackupEnd, BackupError};
use crate::failure::{Code, Failure, chain};
use crate::outgoing::Outgoing;
use crate::status::JobResult;

pub(super) async fn run(
    start: FromServer,
    surroundings: &Surroundings,
    outgoing: Outgoing,
    incoming: mpsc::Receiver<FromServer>,
) {
    match start {
        FromServer::StartBackup(start) => backup(start, surroundings, outgoing, incoming).await,
        FromServer::StartRestore(start) => {
            restore::run(start, surroundings, outgoing, incoming).await;
        }
        // The link starts jobs with these two and no others.
        _ => {}
    }
}

async fn backup(
    start: StartBackup,
    surroundings: &Surroundings,
    outgoing: Outgoing,
    incoming: mpsc::Receiver<FromServer>,
) {
    let (job, source) = (start.job, start.source.name.clone());
    let clock = surroundings.context.clock.clone();
    let status = &surroundings.status;
    status.began(job, &source, clock.now().secs);
    tracing::info!(job, source, "backup begins");
    let ended = backup::run(start, &surroundings.context, outgoing.clone(), incoming).await;
    let mut result = JobResult {
        result: "failed".to_owned(),
        ended_at: clock.now().secs,
        files: 0,
        files_changed: 0,
        bytes_source: 0,
        bytes_read: 0,
        skipped: 0,
        error: None,
    };
    match ended {
        Ok(BackupEnd { committed, stats }) => {
            result.result = if committed.partial { "partial" } else { "ok" }.to_owned();
            (result.files, result.files_changed) = (stats.files, stats.files_changed);
            (result.bytes_source, result.bytes_read) = (stats.bytes_source, stats.bytes_read);
            result.skipped = stats.skipped;
            tracing::info!(job, source, result = result.result, "backup ends");
        }
        Err(error) => {
            let line = chain(&error);
            tracing::warn!(job, source, error = line, "backup ends without a point");
            if let Some(message) = last_word(job, error) {
                // A connection that is gone has told the server as much.
                let _ = outgoing.send(message.to_bytes()).await;
            }
            result.error = Some(line);
        }
    }
    status.ended(job, Some(result));
}

/// What the server is told about a job that failed here.
fn last_word(job: u64, error: BackupError) -> Option<FromAgent> {
    let code = match &error {
        // The server ended it, or is out of reach.
        BackupError::ConnectionLost | BackupError::Refused(_) => return None,
        BackupError::Cancelled => Code::Cancelled,
        BackupError::Window(_) | BackupError::Misplaced { .. } => Code::ProtocolBroken,
        BackupError::Walk(_) | BackupError::Root(_) | BackupError::Sync { .. } => {
            Code::SourceUnreadable
        }
        BackupError::Rule(_) | BackupError::CutParams(_) | BackupError::Cutter(_) => {
            Code::SourceInvalid
        }
        BackupError::Script(_) => Code::ScriptRefused,
        BackupError::Pre { .. } => Code::ScriptFailed,
        BackupError::Noted(_) => Code::StateUnusable,
        BackupError::Thread(_) | BackupError::ReaderDied => Code::Internal,
    };
    let refusal = JobRefusal { job, refusal: Failure::of(code, &error).into() };
    Some(if error.is_before_start() {
        FromAgent::Declined(refusal)
    } else {
        FromAgent::Aborted(refusal)
    })
}
