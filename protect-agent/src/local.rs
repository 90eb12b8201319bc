//! The socket for people on this machine: one line of JSON asks, one line answers.
//!
//! Whoever may open the socket may ask; it lies in the state directory, which nobody else may enter.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use keelhold_wire::{Outcome, Refusal, Wish};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Duration, timeout};

use crate::failure::{Code, Failure};
use crate::link::Asked;
use crate::state_dir::StateDir;
use crate::status::{SharedStatus, Status};

/// Longest line either side accepts.
const LINE_LEN_MAX: u64 = 1 << 20;
/// How long the server may take to answer a wish.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    Status,
    /// This source, or all of the machine's.
    Backup {
        source: Option<String>,
    },
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Status(Status),
    /// Jobs the server began or queued.
    Accepted {
        jobs: Vec<u64>,
    },
    Error {
        code: u32,
        message: String,
        hint: String,
    },
}

impl From<Failure> for Reply {
    fn from(failure: Failure) -> Self {
        Self::Error { code: failure.code, message: failure.message, hint: failure.hint }
    }
}

#[derive(Debug, Error)]
pub enum LocalError {
    #[error("{} cannot be listened on", path.display())]
    Listen { path: PathBuf, source: io::Error },
    #[error("no agent answers at {}", path.display())]
    NotRunning { path: PathBuf, source: io::Error },
    #[error("the conversation with the agent broke off")]
    Torn(#[source] io::Error),
    #[error("the agent's answer is not understood")]
    Answer(#[source] serde_json::Error),
}

impl From<LocalError> for Failure {
    fn from(error: LocalError) -> Self {
        let code = match error {
            LocalError::Listen { .. } => Code::StateUnusable,
            LocalError::NotRunning { .. } => Code::NotRunning,
            LocalError::Torn(_) | LocalError::Answer(_) => Code::Internal,
        };
        Self::of(code, &error)
    }
}

#[derive(Debug)]
pub struct Local {
    listener: UnixListener,
    status: SharedStatus,
    wishes: mpsc::Sender<Asked>,
}

/// The caller holds the state's lock, so a socket that is there is left over.
pub fn listen(
    state: &StateDir,
    status: SharedStatus,
    wishes: mpsc::Sender<Asked>,
) -> Result<Local, LocalError> {
    let path = state.socket();
    let open = || -> io::Result<UnixListener> {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    };
    let listener = open().map_err(|source| LocalError::Listen { path: path.clone(), source })?;
    Ok(Local { listener, status, wishes })
}

impl Local {
    /// Until dropped.
    pub async fn serve(self) {
        let mut guests = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => {
                    // An accept that failed (no descriptors) is the guest's loss.
                    let Ok((stream, _)) = accepted else {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    };
                    let (status, wishes) = (self.status.clone(), self.wishes.clone());
                    guests.spawn(async move {
                        // A guest that went away misses the answer.
                        let _ = guest(stream, &status, &wishes).await;
                    });
                }
                Some(_) = guests.join_next() => {}
            }
        }
    }
}

async fn guest(
    mut stream: UnixStream,
    status: &SharedStatus,
    wishes: &mpsc::Sender<Asked>,
) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut line = String::new();
    BufReader::new(reader.take(LINE_LEN_MAX)).read_line(&mut line).await?;
    let reply = match serde_json::from_str(&line) {
        Ok(Question::Status) => Reply::Status(status.snapshot()),
        Ok(Question::Backup { source }) => wish(Wish::Backup { source }, wishes).await,
        Err(error) => Failure::of(Code::Internal, &error).into(),
    };
    let mut answer = serde_json::to_vec(&reply)?;
    answer.push(b'\n');
    writer.write_all(&answer).await
}

async fn wish(wish: Wish, wishes: &mpsc::Sender<Asked>) -> Reply {
    let (answer, answered) = oneshot::channel();
    let away = || Failure::new(Code::Disconnected, "the agent is not connected to its server");
    if wishes.send(Asked { wish, answer }).await.is_err() {
        return away().into();
    }
    match timeout(ANSWER_WAIT, answered).await {
        Err(_) => Failure::new(Code::Disconnected, "the server did not answer in time").into(),
        Ok(Err(_)) => away().into(),
        Ok(Ok(answer)) => match answer.outcome {
            Outcome::Accepted { jobs } => Reply::Accepted { jobs },
            Outcome::Refused(Refusal { code, message, hint }) => {
                Reply::Error { code, message, hint }
            }
        },
    }
}

/// Asks the agent that runs on this state directory.
pub async fn ask(state: &Path, question: &Question) -> Result<Reply, LocalError> {
    let path = state.join("agent.sock");
    let mut stream = UnixStream::connect(&path)
        .await
        .map_err(|source| LocalError::NotRunning { path: path.clone(), source })?;
    let mut line = serde_json::to_vec(question).map_err(LocalError::Answer)?;
    line.push(b'\n');
    stream.write_all(&line).await.map_err(LocalError::Torn)?;
    let mut answer = String::new();
    let mut reader = BufReader::new(stream.take(LINE_LEN_MAX));
    reader.read_line(&mut answer).await.map_err(LocalError::Torn)?;
    serde_json::from_str(&answer).map_err(LocalError::Answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn people_are_answered_with_and_without_a_connection() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        let not_running = ask(dir.path(), &Question::Status).await.unwrap_err();
        assert!(matches!(not_running, LocalError::NotRunning { .. }));

        let (wishes, mut asked) = mpsc::channel::<Asked>(1);
        let status = SharedStatus::new("box", "keelhold://nas:1");
        let local = listen(&state, status, wishes).unwrap();
        let serving = tokio::spawn(local.serve());
        match ask(dir.path(), &Question::Status).await.unwrap() {
            Reply::Status(status) => assert_eq!(status.machine, "box"),
            other => panic!("{other:?}"),
        }
        let server = tokio::spawn(async move {
            let Asked { wish, answer } = asked.recv().await.unwrap();
            assert_eq!(wish, Wish::Backup { source: Some("home".to_owned()) });
            let outcome = Outcome::Accepted { jobs: vec![4] };
            answer.send(keelhold_wire::Answer { ask: 1, outcome }).unwrap();
        });
        let question = Question::Backup { source: Some("home".to_owned()) };
        assert_eq!(ask(dir.path(), &question).await.unwrap(), Reply::Accepted { jobs: vec![4] });
        server.await.unwrap();
        let away = ask(dir.path(), &question).await.unwrap();
        assert!(matches!(away, Reply::Error { code: 1015, .. }), "{away:?}");
        serving.abort();
    }
}
