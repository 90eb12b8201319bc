//! Starts the process that restores, and carries messages to it and from it.

use std::process::Stdio;

use keelhold_wire::{FromAgent, FromServer, JobRefusal, Message, Receiver, Sender, StartRestore};
use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;

use super::Surroundings;
use crate::failure::{Code, Failure};
use crate::outgoing::Outgoing;
use crate::restore::{Order, OrderError};

/// What the pipe to the child holds, as far as the system allows: some frames. With its 64 KiB a
/// frame changes hands several times, and on a busy machine each time costs a turn of the scheduler.
const PIPE_LEN: usize = 1 << 20;

#[derive(Debug, Error)]
enum ChildError {
    #[error("this agent was started without a command for restores")]
    NoCommand,
    #[error("the process that restores could not be started")]
    Spawn(#[source] std::io::Error),
    #[error("the process that restores could not be told what to do")]
    Tell(#[source] std::io::Error),
    #[error("the process that restores ended before the restore did")]
    Ended,
}

pub(super) async fn run(
    start: StartRestore,
    surroundings: &Surroundings,
    outgoing: Outgoing,
    incoming: mpsc::Receiver<FromServer>,
) {
    let job = start.job;
    let order = match Order::decide(&start, &surroundings.config) {
        Ok(order) => order,
        Err(error) => {
            let code = match error {
                OrderError::OriginalNotAllowed | OrderError::Outside { .. } => Code::RestoreRefused,
                OrderError::Unsound { .. } | OrderError::Malformed(_) => Code::RestoreRefused,
            };
            let refusal = JobRefusal { job, refusal: Failure::of(code, &error).into() };
            // A connection that is gone needs no answer.
            let _ = outgoing.send(FromAgent::Declined(refusal).to_bytes()).await;
            return;
        }
    };
    tracing::info!(job, "restore begins");
    match with_child(start, &order, surroundings, &outgoing, incoming).await {
        Ok(()) => tracing::info!(job, "restore ends"),
        Err(error) => {
            let failure = Failure::of(Code::RestoreFailed, &error);
            tracing::warn!(job, error = failure.message, "restore ends early");
            let refusal = JobRefusal { job, refusal: failure.into() };
            let _ = outgoing.send(FromAgent::Aborted(refusal).to_bytes()).await;
        }
    }
}

/// Until the child has said its last word or the connection has ended; the child ends with this.
async fn with_child(
    start: StartRestore,
    order: &Order,
    surroundings: &Surroundings,
    outgoing: &Outgoing,
    mut incoming: mpsc::Receiver<FromServer>,
) -> Result<(), ChildError> {
    let (mut child, mut input, output) = spawn(surroundings)?;
    input.write_all(&order.encode()).await.map_err(ChildError::Tell)?;
    let mut sender = Sender::new(input);
    sender.send(&FromServer::StartRestore(start)).await.map_err(ChildError::Tell)?;
    sender.flush().await.map_err(ChildError::Tell)?;
    let feed = async {
        while let Some(message) = incoming.recv().await {
            if sender.send(&message).await.is_err() || sender.flush().await.is_err() {
                // The child has ended; its last word is on its way and tells why.
                std::future::pending::<()>().await;
            }
        }
    };
    let ended = tokio::select! {
        ended = relay(output, outgoing) => ended,
        () = feed => Ok(()),
    };
    // One that still works has lost its connection; one that has ended is only taken note of.
    let _ = child.kill().await;
    ended
}

fn spawn(surroundings: &Surroundings) -> Result<(Child, ChildStdin, ChildStdout), ChildError> {
    let [program, arguments @ ..] = surroundings.restore_command.as_slice() else {
        return Err(ChildError::NoCommand);
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(ChildError::Spawn)?;
    let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(ChildError::Ended);
    };
    // Refused, the pipes are as short as they come.
    let _ = rustix::pipe::fcntl_setpipe_size(&input, PIPE_LEN);
    Ok((child, input, output))
}

/// Passes on what the child says until it has said the last of it.
async fn relay(output: ChildStdout, outgoing: &Outgoing) -> Result<(), ChildError> {
    let mut receiver = Receiver::new(output);
    loop {
        let message = match receiver.receive::<FromAgent>().await {
            Ok(Some(message)) => message,
            Ok(None) | Err(_) => return Err(ChildError::Ended),
        };
        let last = matches!(message, FromAgent::Restored(_) | FromAgent::Aborted(_));
        if outgoing.send(message.to_bytes()).await.is_err() || last {
            return Ok(());
        }
    }
}
