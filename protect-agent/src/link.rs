//! One connection to the server: the greeting, then messages to and from jobs until it ends.
//!
//! A job lives no longer than its connection. The server begins it again on the next one, under the
//! same session, and what it has already is not sent again.

mod job;
mod restore;
mod telling;
mod writer;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use keelhold_wire::limits::{GREETING_SECONDS, IDLE_SECONDS, JOB_COUNT_MAX, PING_SECONDS};
use keelhold_wire::{
    Answer, Ask, FromAgent, FromServer, Hello, JobRefusal, Message, Ping, Pong, ReceiveError,
    Receiver, Refusal, Renew, Version, Welcome, Wish,
};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::backup::Context;
use crate::config::Config;
use crate::failure::{Code, Failure};
use crate::host;
use crate::outgoing::{Closed, Outgoing};
use crate::status::SharedStatus;
use telling::Telling;

/// Messages that may wait for a job. The windows of the protocol keep a server far below it.
const JOB_QUEUE_COUNT: usize = 4_096;

/// What a job may take to end once its connection has.
const END_WAIT: Duration = Duration::from_secs(5);

#[derive(Debug, Error)]
pub enum LinkError {
    #[error("the connection was lost")]
    Lost,
    #[error("the server did not greet in time")]
    NoGreeting,
    #[error("the server was silent for too long")]
    Silent,
    #[error("{}", .0.message)]
    Refused(Refusal),
    #[error("the server chose version {version}, which was not offered")]
    Version { version: u32 },
    #[error("message {name} does not belong here")]
    Misplaced { name: &'static str },
    #[error("job {job} was sent more than it can take")]
    Flooded { job: u64 },
    #[error("the server's messages could not be received")]
    Receive(#[from] ReceiveError),
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        let code = match error {
            LinkError::Refused(refusal) => return refusal.into(),
            LinkError::Lost | LinkError::NoGreeting | LinkError::Silent => Code::Disconnected,
            LinkError::Receive(ReceiveError::Read(_) | ReceiveError::Torn) => Code::Disconnected,
            LinkError::Version { .. }
            | LinkError::Misplaced { .. }
            | LinkError::Flooded { .. }
            | LinkError::Receive(ReceiveError::Protocol(_)) => Code::ProtocolBroken,
        };
        Self::of(code, &error)
    }
}

impl From<Closed> for LinkError {
    fn from(_: Closed) -> Self {
        Self::Lost
    }
}

/// A wish from this machine, and where its answer goes.
#[derive(Debug)]
pub struct Asked {
    pub wish: Wish,
    pub answer: oneshot::Sender<Answer>,
}

/// What a connection needs from the agent around it; the same for every connection.
#[derive(Debug, Clone)]
pub struct Surroundings {
    pub context: Context,
    pub config: Config,
    pub status: SharedStatus,
    /// Arguments that make this executable run a restore; see [`crate::restore`].
    pub restore_command: Vec<std::ffi::OsString>,
}

/// A certificate the server sent, for the agent to keep.
pub type Renewed = mpsc::UnboundedSender<Vec<u8>>;

/// Talks until the connection ends. `greeted` is told once the server has said welcome; `renewals`
/// are requests for a new certificate.
pub async fn converse<S>(
    stream: S,
    surroundings: &Arc<Surroundings>,
    asked: &mut mpsc::Receiver<Asked>,
    renewals: &mut mpsc::Receiver<Vec<u8>>,
    renewed: Renewed,
    greeted: impl FnOnce(&Welcome),
) -> Result<(), LinkError>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (reader, writer) = tokio::io::split(stream);
    let (outgoing, messages) = Outgoing::new();
    let mut receiver = Receiver::new(reader);
    let mut writing = JoinSet::new();
    writing.spawn(writer::write(writer, messages));
    let limit = Duration::from_secs(GREETING_SECONDS);
    let welcome = timeout(limit, greet(&mut receiver, &outgoing))
        .await
        .map_err(|_| LinkError::NoGreeting)??;
    greeted(&welcome);
    let chosen = u16::try_from(welcome.version).ok().and_then(Version::from_number);
    outgoing.agreed(chosen.unwrap_or(Version::OLDEST));
    let (all_told, told) = (surroundings.clone(), outgoing.clone());
    let mut telling = JoinSet::new();
    telling.spawn(async move { tell(&told, &all_told).await });
    let mut link = Link {
        outgoing,
        surroundings: surroundings.clone(),
        renewed,
        jobs: HashMap::new(),
        running: JoinSet::new(),
        answers: HashMap::new(),
        next_ask: 1,
        next_ping: 1,
    };
    let ended = link.run(&mut receiver, (asked, renewals), &mut writing).await;
    // The connection's writer ends when nobody can say anything more.
    telling.shutdown().await;
    link.end().await;
    ended
}

/// Until the connection ends.
async fn tell(outgoing: &Outgoing, surroundings: &Surroundings) {
    let mut telling = Telling::new(surroundings.config.metered);
    while telling.tell(outgoing).await.is_ok() {
        tokio::time::sleep(telling::EVERY).await;
    }
}

async fn greet<R: AsyncRead + Unpin>(
    receiver: &mut Receiver<R>,
    outgoing: &Outgoing,
) -> Result<Welcome, LinkError> {
    let hello = FromAgent::Hello(Hello {
        version_min: u32::from(Version::OLDEST.number()),
        version_max: u32::from(Version::NEWEST.number()),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        hostname: host::name(),
        boot_id: host::boot_id(),
    });
    outgoing.send(hello.to_bytes()).await?;
    match receiver.receive::<FromServer>().await? {
        None => Err(LinkError::Lost),
        Some(FromServer::Refuse(refusal)) => Err(LinkError::Refused(refusal)),
        Some(FromServer::Welcome(welcome)) => {
            let offered = u16::try_from(welcome.version).ok().and_then(Version::from_number);
            match offered {
                Some(_) => Ok(welcome),
                None => Err(LinkError::Version { version: welcome.version }),
            }
        }
        Some(other) => Err(LinkError::Misplaced { name: other.name() }),
    }
}

struct Link {
    outgoing: Outgoing,
    surroundings: Arc<Surroundings>,
    renewed: Renewed,
    jobs: HashMap<u64, mpsc::Sender<FromServer>>,
    /// Ends with the number of its job.
    running: JoinSet<u64>,
    answers: HashMap<u64, oneshot::Sender<Answer>>,
    next_ask: u64,
    next_ping: u64,
}

impl Link {
    async fn run<R: AsyncRead + Unpin>(
        &mut self,
        receiver: &mut Receiver<R>,
        (asked, renewals): (&mut mpsc::Receiver<Asked>, &mut mpsc::Receiver<Vec<u8>>),
        writing: &mut JoinSet<()>,
    ) -> Result<(), LinkError> {
        let mut heard_at = Instant::now();
        let mut pinged_at = heard_at;
        let idle = Duration::from_secs(IDLE_SECONDS);
        let ping_every = Duration::from_secs(PING_SECONDS);
        loop {
            let ping_at = heard_at.max(pinged_at) + ping_every;
            tokio::select! {
                message = receiver.receive::<FromServer>() => {
                    heard_at = Instant::now();
                    match message? {
                        None => return Ok(()),
                        Some(message) => self.message(message).await?,
                    }
                }
                Some(ended) = self.running.join_next() => self.ended(ended),
                Some(asked) = asked.recv() => self.ask(asked).await?,
                Some(request) = renewals.recv() => {
                    self.outgoing.send(FromAgent::Renew(Renew { request }).to_bytes()).await?;
                }
                _ = writing.join_next() => return Err(LinkError::Lost),
                () = tokio::time::sleep_until(ping_at) => {
                    if heard_at.elapsed() >= idle {
                        return Err(LinkError::Silent);
                    }
                    pinged_at = Instant::now();
                    let ping = FromAgent::Ping(Ping { number: self.next_ping });
                    self.next_ping += 1;
                    self.outgoing.send(ping.to_bytes()).await?;
                }
            }
        }
    }

    /// Jobs hear that nothing more comes, after what has come already: the last message of a job may
    /// be that its point exists. One that does not end by itself is ended.
    async fn end(&mut self) {
        self.jobs.clear();
        let all = async { while self.running.join_next().await.is_some() {} };
        if timeout(END_WAIT, all).await.is_err() {
            self.running.shutdown().await;
        }
    }

    async fn message(&mut self, message: FromServer) -> Result<(), LinkError> {
        match message {
            FromServer::Ping(ping) => {
                let pong = FromAgent::Pong(Pong { number: ping.number });
                self.outgoing.send(pong.to_bytes()).await?;
            }
            FromServer::Pong(_) => {}
            FromServer::Answer(answer) => {
                if let Some(waiting) = self.answers.remove(&answer.ask) {
                    // Whoever asked may have gone.
                    let _ = waiting.send(answer);
                }
            }
            FromServer::Renewed(renewed) => {
                // The agent is ending if nobody takes it; the next start asks again.
                let _ = self.renewed.send(renewed.certificate);
            }
            FromServer::Refuse(refusal) => return Err(LinkError::Refused(refusal)),
            FromServer::Welcome(_) => return Err(LinkError::Misplaced { name: "Welcome" }),
            FromServer::StartBackup(_) | FromServer::StartRestore(_) => self.start(message).await?,
            other => self.pass_to_job(other)?,
        }
        Ok(())
    }

    async fn start(&mut self, message: FromServer) -> Result<(), LinkError> {
        let Some(job) = message.job() else {
            return Ok(());
        };
        // One that has said its last word may begin again before its end is noticed here.
        if self.jobs.get(&job).is_some_and(|running| !running.is_closed()) {
            return Err(LinkError::Misplaced { name: message.name() });
        }
        if self.jobs.len() >= JOB_COUNT_MAX {
            let failure = Failure::new(Code::Busy, "this machine runs as many jobs as it can");
            let declined = JobRefusal { job, refusal: failure.into() };
            return Ok(self.outgoing.send(FromAgent::Declined(declined).to_bytes()).await?);
        }
        let (sender, incoming) = mpsc::channel(JOB_QUEUE_COUNT);
        self.jobs.insert(job, sender);
        let (surroundings, outgoing) = (self.surroundings.clone(), self.outgoing.clone());
        self.running.spawn(async move {
            job::run(message, &surroundings, outgoing, incoming).await;
            job
        });
        Ok(())
    }

    fn pass_to_job(&mut self, message: FromServer) -> Result<(), LinkError> {
        let Some(job) = message.job() else {
            return Err(LinkError::Misplaced { name: message.name() });
        };
        // A job that has ended may have crossed what was on its way to it.
        let Some(sender) = self.jobs.get(&job) else {
            return Ok(());
        };
        match sender.try_send(message) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(LinkError::Flooded { job }),
        }
    }

    fn ended(&mut self, ended: Result<u64, tokio::task::JoinError>) {
        match ended {
            // Its sender tells: a job whose task is gone takes no messages, and one that began again
            // does.
            Ok(_) | Err(_) => self.jobs.retain(|_, sender| !sender.is_closed()),
        }
    }

    async fn ask(&mut self, asked: Asked) -> Result<(), LinkError> {
        let ask = self.next_ask;
        self.next_ask += 1;
        self.answers.insert(ask, asked.answer);
        let message = FromAgent::Ask(Ask { ask, wish: asked.wish });
        Ok(self.outgoing.send(message.to_bytes()).await?)
    }
}

#[cfg(test)]
mod tests;
