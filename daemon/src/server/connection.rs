//! One machine's connection: greets, routes messages to the jobs they belong to, and starts jobs.
//!
//! Everything said under a job ends with the connection: its tasks see their arrivals end, park what
//! they have, and the job waits for the next connection.

use super::budget::{Arrivals, Inlet};
use super::outbox::{Outbox, write_out};
use super::session::{End, Task, refuse_job};
use super::strangers;
use super::{restore, session};
use crate::daemon::Daemon;
use crate::failure::{Code, Failure, chain};
use crate::job::{JobId, Work};
use crate::machine::{
    self,
    connected::{Command, Place},
};
use crate::raised::raised;
use crate::record::MachineRecord;
use crate::room;
use keelhold_wire::limits::{GREETING_SECONDS, IDLE_SECONDS, JOB_COUNT_MAX, PING_SECONDS};
use keelhold_wire::{
    Answer, FromAgent, FromServer, Hello, Outcome, Ping, Pong, Receiver, Refusal, Renewed, Sender,
    Version, Welcome, Wish,
};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::server::TlsStream;

/// How often a backup begins again after room was made for it.
const ATTEMPTS_MAX: usize = 6;

/// Tells a peer why it is not served.
pub async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(stream: S, failure: &Failure) {
    let mut sender = Sender::new(stream);
    let send = async {
        sender.send(&FromServer::Refuse(failure.refusal())).await?;
        sender.flush().await?;
        sender.close().await
    };
    let _ = tokio::time::timeout(Duration::from_secs(GREETING_SECONDS), send).await;
}

struct Connection {
    daemon: Arc<Daemon>,
    machine: MachineRecord,
    outbox: Outbox,
    inlets: HashMap<JobId, Inlet>,
    /// Jobs of this connection that are over: what still arrives for them was sent before the agent
    /// knew.
    over: HashSet<JobId>,
    waiting: VecDeque<JobId>,
    tasks: JoinSet<JobId>,
    stopping: watch::Receiver<bool>,
}

pub async fn serve(
    daemon: Arc<Daemon>,
    stream: TlsStream<TcpStream>,
    machine: MachineRecord,
    stranger: strangers::Place,
    mut stopping: watch::Receiver<bool>,
) {
    let (read, write) = tokio::io::split(stream);
    let mut receiver = Receiver::new(read);
    let mut sender = Sender::new(write);
    let limit = Duration::from_secs(GREETING_SECONDS);
    let greeted = tokio::time::timeout(limit, greet(&daemon, &machine, &mut receiver, &mut sender));
    let hello = match greeted.await {
        Ok(Ok(hello)) => hello,
        Ok(Err(why)) => return tracing::info!(machine = machine.name, why, "greeting failed"),
        Err(_) => return tracing::info!(machine = machine.name, "greeting took too long"),
    };
    drop(stranger);
    let mut place = daemon.connected.enter(&machine.id, &hello.agent_version, hello.version_max);
    daemon.schedule.wake();
    if place.replaced_another {
        tracing::warn!(machine = machine.name, "connected again while it seemed to be connected");
    }
    if let Err(error) = machine::seen(&daemon.store, &machine.id, &hello.agent_version).await {
        tracing::warn!(machine = machine.name, error = chain(&error), "not noted as seen");
    }
    tracing::info!(machine = machine.name, version = hello.agent_version, "machine connected");
    let (outbox, messages) = Outbox::new();
    let mut writer = tokio::spawn(write_out(sender, messages));
    let mut connection = Connection {
        daemon: Arc::clone(&daemon),
        machine,
        outbox,
        inlets: HashMap::new(),
        over: HashSet::new(),
        waiting: daemon.jobs.take_waiting(place.machine()).into(),
        tasks: JoinSet::new(),
        stopping: stopping.clone(),
    };
    // Whoever must go goes at once, even if an answer to it waits for it to read.
    let mut end = place.end.clone();
    let why = tokio::select! {
        why = connection.run(&mut receiver, &mut place) => why,
        _ = &mut writer => String::from("the connection broke while writing"),
        () = raised(&mut end) => {
            String::from("its certificate is not accepted, or it connected again")
        }
        () = raised(&mut stopping) => String::from("the daemon stops"),
    };
    connection.close(place, &hello, why, &writer).await;
    let _ = tokio::time::timeout(limit, writer).await;
}

async fn greet<W: AsyncWrite + Unpin>(
    daemon: &Daemon,
    machine: &MachineRecord,
    receiver: &mut Receiver<ReadHalf<TlsStream<TcpStream>>>,
    sender: &mut Sender<W>,
) -> Result<Hello, String> {
    let hello = match receiver.receive().await {
        Ok(Some(FromAgent::Hello(hello))) => hello,
        Ok(Some(_)) => return Err(String::from("something else than a greeting came first")),
        Ok(None) => return Err(String::from("the machine closed the connection")),
        Err(error) => return Err(chain(&error)),
    };
    let bound = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    let version = Version::choose(bound(hello.version_min), bound(hello.version_max));
    let answer = match version {
        Some(version) => FromServer::Welcome(Welcome {
            version: u32::from(version.number()),
            server_version: env!("CARGO_PKG_VERSION").to_owned(),
            machine_name: machine.name.clone(),
            now: daemon.store.clock.now().0,
        }),
        None => {
            let (min, max) = (hello.version_min, hello.version_max);
            let ours = Version::NEWEST;
            let text = format!("the agent speaks versions {min} to {max}, the daemon up to {ours}");
            FromServer::Refuse(Failure::new(Code::VersionMismatch, text).refusal())
        }
    };
    sender.send(&answer).await.map_err(|error| chain(&error))?;
    sender.flush().await.map_err(|error| chain(&error))?;
    match version {
        Some(_) => Ok(hello),
        None => Err(String::from("no version in common")),
    }
}

impl Connection {
    /// Works until the connection ends; gives the reason.
    async fn run(
        &mut self,
        receiver: &mut Receiver<ReadHalf<TlsStream<TcpStream>>>,
        place: &mut Place,
    ) -> String {
        let mut silent_for = 0;
        let mut pings = 0;
        loop {
            self.start_waiting();
            let before = receiver.received();
            tokio::select! {
                message = receiver.receive::<FromAgent>() => {
                    silent_for = 0;
                    let message = match message {
                        Ok(Some(message)) => message,
                        Ok(None) => return String::from("closed by the machine"),
                        Err(error) => return chain(&error),
                    };
                    let len = receiver.received() - before;
                    if let Err(why) = self.take(message, len).await {
                        return why;
                    }
                }
                Some(Command::Run(job)) = place.commands.recv() => {
                    // Taken here, not by whoever asked: the connection may end in between.
                    if self.daemon.jobs.take(job) {
                        self.waiting.push_back(job);
                    }
                }
                Some(ended) = self.tasks.join_next() => {
                    if let Ok(job) = ended {
                        self.inlets.remove(&job);
                        self.over.insert(job);
                    }
                }
                _ = tokio::time::sleep(Duration::from_secs(PING_SECONDS)) => {
                    silent_for += PING_SECONDS;
                    if silent_for >= IDLE_SECONDS {
                        return String::from("the machine was silent too long");
                    }
                    pings += 1;
                    let _ = self.outbox.send(FromServer::Ping(Ping { number: pings })).await;
                }
            }
        }
    }

    fn start_waiting(&mut self) {
        while self.inlets.len() < JOB_COUNT_MAX
            && let Some(job) = self.waiting.pop_front()
        {
            let (inlet, arrivals) = Inlet::new();
            // A job that was parked and comes again on this connection is not over any more.
            self.over.remove(&job);
            self.inlets.insert(job, inlet);
            let (daemon, outbox, stopping) =
                (Arc::clone(&self.daemon), self.outbox.clone(), self.stopping.clone());
            self.tasks.spawn(async move {
                run_job(&daemon, job, &outbox, arrivals, stopping).await;
                job
            });
        }
    }

    async fn take(&mut self, message: FromAgent, len: u64) -> Result<(), String> {
        if let Some(job) = message.job() {
            return match self.inlets.get(&job) {
                Some(inlet) => {
                    let body_len = len.saturating_sub(keelhold_wire::header::HEADER_LEN as u64);
                    inlet.take(message, body_len).map_err(|breach| chain(&breach))
                }
                None if self.over.contains(&job) => Ok(()),
                None => Err(format!("a message for job {job}, which was never started here")),
            };
        }
        let answer = match message {
            FromAgent::Ping(ping) => FromServer::Pong(Pong { number: ping.number }),
            FromAgent::Ask(ask) => {
                let outcome = self.wish(ask.wish).await;
                FromServer::Answer(Answer { ask: ask.ask, outcome })
            }
            FromAgent::Renew(renew) => {
                let (store, authority) = (&self.daemon.store, &self.daemon.authority);
                let renewed =
                    machine::renew(store, authority, &self.machine.id, &renew.request).await;
                match renewed {
                    Ok(certificate) => {
                        FromServer::Renewed(Renewed { certificate: certificate.to_vec() })
                    }
                    Err(error) => return Err(chain(&error)),
                }
            }
            FromAgent::Pong(_) => return Ok(()),
            FromAgent::Condition(condition) => {
                self.daemon.connected.stands(&self.machine.id, condition);
                self.daemon.schedule.wake();
                return Ok(());
            }
            FromAgent::FileSystems(file_systems) => {
                self.daemon.connected.has_mounted(&self.machine.id, file_systems);
                self.daemon.schedule.wake();
                return Ok(());
            }
            _ => return Err(String::from("a second greeting")),
        };
        let sent = self.outbox.send(answer).await;
        sent.map(drop).map_err(|_| String::from("the connection broke"))
    }

    /// What the machine itself asks for.
    async fn wish(&mut self, wish: Wish) -> Outcome {
        let only = match wish {
            // Overdue work is found by the schedule; what was queued was started on connecting.
            Wish::Overdue => return Outcome::Accepted { jobs: Vec::new() },
            Wish::Backup { source } => source,
        };
        match self.daemon.back_up_machine(&self.machine, only.as_deref()).await {
            Ok(jobs) => {
                for job in &jobs {
                    if self.daemon.jobs.take(*job) {
                        self.waiting.push_back(*job);
                    }
                }
                Outcome::Accepted { jobs }
            }
            Err(failure) => {
                let Refusal { code, message, hint } = failure.refusal();
                Outcome::Refused(Refusal { code, message, hint })
            }
        }
    }

    async fn close<T>(
        mut self,
        mut place: Place,
        hello: &Hello,
        why: String,
        writer: &JoinHandle<T>,
    ) {
        self.daemon.connected.leave(&place);
        // Jobs see their arrivals end and park; those never started go back.
        self.inlets.clear();
        for job in self.waiting.drain(..) {
            self.daemon.jobs.park(job);
        }
        while let Ok(Command::Run(job)) = place.commands.try_recv() {
            if self.daemon.jobs.take(job) {
                self.daemon.jobs.park(job);
            }
        }
        let limit = Duration::from_secs(GREETING_SECONDS);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(limit, all).await.is_err() {
            // Their last words find no reader; without a writer they need none.
            writer.abort();
            while self.tasks.join_next().await.is_some() {}
        }
        let (id, version) = (&self.machine.id, &hello.agent_version);
        let _ = machine::seen(&self.daemon.store, id, version).await;
        tracing::info!(machine = self.machine.name, why, "machine disconnected");
        // Somebody may have asked while this connection was going and another is there already.
        self.daemon.wake_machine(id);
    }
}

pub(super) async fn run_job(
    daemon: &Daemon,
    job: JobId,
    outbox: &Outbox,
    mut arrivals: Arrivals,
    mut stopping: watch::Receiver<bool>,
) {
    match daemon.jobs.work(job) {
        Some(Work::Backup { source, order }) => {
            let (task, admitted) = match daemon.task(job, &source, order).await {
                Ok(task) => task,
                Err(failure) => return daemon.job_failed(job, failure).await,
            };
            if let Err(error) = daemon.jobs.start(job).await {
                tracing::warn!(job, error = chain(&error), "start not noted");
            }
            daemon.jobs.log(job, "started");
            let end = match admitted {
                Ok(quota_left) => {
                    let task = Task { quota_left, ..task };
                    back_up(daemon, &task, outbox, &mut arrivals, &mut stopping).await
                }
                Err(failure) => refuse_job(&task, failure, outbox).await,
            };
            daemon.backup_ended(job, end).await;
        }
        Some(Work::Restore(plan)) => {
            let _ = daemon.jobs.start(job).await;
            restore::run(daemon, job, &plan, outbox, &mut arrivals, &mut stopping).await;
        }
        Some(Work::Reclaim | Work::Disks | Work::Vault) | None => {}
    }
}

/// A backup that finds the pool full waits while room is made, and goes on where it stopped.
async fn back_up(
    daemon: &Daemon,
    task: &Task,
    outbox: &Outbox,
    arrivals: &mut Arrivals,
    stopping: &mut watch::Receiver<bool>,
) -> End {
    let mut own_is_old = None;
    for _ in 0..ATTEMPTS_MAX {
        let (failure, taken_up) = match session::run(daemon, task, outbox, arrivals, stopping).await
        {
            End::NoRoom { failure, taken_up } => (failure, taken_up),
            end => return end,
        };
        let own_is_old = own_is_old.get_or_insert(taken_up);
        let source = keelhold_disk::units::SourceId;
        let source = crate::id_text::decode(&task.source.id).map(source);
        let mut made = room::make(daemon, task.job, source).await;
        if matches!(made, Ok(false)) && std::mem::take(own_is_old) {
            // What is parked may be of files that are long gone: one try without it.
            made = room::give_up_own(daemon, task).await;
        }
        let refused = match made {
            Ok(true) => {
                daemon.jobs.log(task.job, "there is room again: the backup goes on");
                continue;
            }
            Ok(false) => failure.hint(room::what_helps(daemon).await),
            Err(why) => failure.hint(format!("{why}; {}", why.hint)),
        };
        return refuse_job(task, refused, outbox).await;
    }
    let text = "the pool was full again and again";
    let hint = room::what_helps(daemon).await;
    refuse_job(task, Failure::new(Code::PoolFull, text).hint(hint), outbox).await
}
