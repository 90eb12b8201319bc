//! One backup, from the server's side: drives the pool by what [`Intake`] allows.
//!
//! The session belongs to the pool. This task may end at any moment (a lost connection, a stop of the
//! daemon, a kill); what was stepped or parked stays, and the next task for the same job begins the
//! same stream again and is told what need not be sent.

mod commit;

use super::begin::{Begun, begin_on};
use super::budget::{Arrivals, Arrived};
use super::intake::{Breach, Intake};
use super::lanes::{self, Done, FrameWork, ItemWork};
use super::outbox::{Gone, Outbox};
use super::terms::Terms;
use crate::api::types::{BackupResult, Outcome, Progress};
use crate::daemon::Daemon;
use crate::failure::{Code, Failure};
use crate::id_text;
use crate::job::{Asked, JobId, Order};
use crate::point_facts::{SkippedList, skipped};
use crate::pool_failure::{of_closed, of_ingest};
use crate::pool_thread::LivePool;
use crate::raised::raised;
use crate::record::SourceRecord;
use crate::room;
use keelhold_disk::pool::PointInfo;
use keelhold_disk::units::{DomainId, SessionId, SourceId, UnixNanos};
use keelhold_wire::header::HEADER_LEN;
use keelhold_wire::{
    Basis, Cancel, Codec, Credit, Finish, FromAgent, FromServer, JobRefusal, Message as _, Mode,
    StartBackup, Want,
};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// Content up to this length travels and is stored inside its entry.
const INLINE_MAX: u32 = 256;
/// Bytes kept between two journaled steps: what a crash makes an agent send again at most.
const STEP_LEN: u64 = 32 << 20;
/// An agent has this long to answer a cancellation.
const CANCEL_WAIT: Duration = Duration::from_secs(10);

/// How a session's task ended.
#[derive(Debug)]
pub enum End {
    /// The job is over.
    Over { outcome: Outcome, result: Box<BackupResult>, failure: Option<Failure> },
    /// The session waits in the pool for the machine to come back.
    Parked,
    /// The pool is full. The agent has stopped, and the session waits in the pool for room.
    NoRoom { failure: Failure, taken_up: bool },
}

/// What a backup is about.
#[derive(Debug)]
pub struct Task {
    pub job: JobId,
    pub source: SourceRecord,
    pub order: Order,
    pub name: String,
    /// Bytes that the machine's quota leaves.
    pub quota_left: Option<u64>,
    pub terms: Terms,
}

enum Stop {
    /// The connection ended, or the daemon stops.
    Away,
    Cancelled,
    /// The schedule wants it to go on later.
    Paused,
    Failed(Failure),
    /// The agent is at fault; nothing of its session is kept.
    Breach(Failure),
    /// The machine's quota is used up; nothing of its session is kept.
    Quota(Failure),
}

impl From<Breach> for Stop {
    fn from(breach: Breach) -> Self {
        Self::Breach(Failure::of(Code::AgentBroke, &breach))
    }
}

impl From<Gone> for Stop {
    fn from(_: Gone) -> Self {
        Self::Away
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        // Whatever the pool found wrong with what was sent is the sender's fault.
        if failure.code == Code::AgentBroke { Self::Breach(failure) } else { Self::Failed(failure) }
    }
}

pub struct Session<'a> {
    daemon: &'a Daemon,
    task: &'a Task,
    outbox: &'a Outbox,
    session: SessionId,
    /// The session was there before.
    taken_up: bool,
    basis: Option<PointInfo>,
    at: UnixNanos,
    began: Instant,
    intake: Intake,
    frames: mpsc::UnboundedSender<FrameWork>,
    items: mpsc::UnboundedSender<ItemWork>,
    permits: std::collections::VecDeque<(u64, tokio::sync::OwnedSemaphorePermit)>,
    pushed_seq: u64,
    last_seq: u64,
    frame_bytes: u64,
    unstepped: u64,
    stepping: bool,
    started: bool,
    finish: Option<Finish>,
    skipped: SkippedList,
    not_covered: SkippedList,
    bytes_sent: u64,
    /// Nothing more is taken before: the bandwidth of its group.
    resume_at: tokio::time::Instant,
}

/// Runs a backup to its end, as far as this connection carries it.
pub async fn run(
    daemon: &Daemon,
    task: &Task,
    outbox: &Outbox,
    arrivals: &mut Arrivals,
    stopping: &mut watch::Receiver<bool>,
) -> End {
    let (done, mut dones) = mpsc::unbounded_channel();
    let mut session = match Session::begin(daemon, task, outbox, &done).await {
        Ok(session) => session,
        Err(failure) => return refuse_job(task, failure, outbox).await,
    };
    let stop = match session.drive(arrivals, &mut dones, &done, stopping).await {
        Ok(()) => match session.commit().await {
            Ok(end) => return end,
            Err(stop) => stop,
        },
        Err(stop) => stop,
    };
    session.stop(stop, arrivals).await
}

/// Ends a backup that made no point, and tells the agent why.
pub async fn refuse_job(task: &Task, failure: Failure, outbox: &Outbox) -> End {
    let refusal = JobRefusal { job: task.job, refusal: failure.refusal() };
    let _ = outbox.send(FromServer::Failed(refusal)).await;
    over(task, failure)
}

/// The end of a backup that made no point.
fn over(task: &Task, failure: Failure) -> End {
    let result = BackupResult {
        result: Outcome::Failed,
        job: task.job,
        point: None,
        source: task.name.clone(),
        bytes_source: 0,
        bytes_read: 0,
        bytes_sent: 0,
        bytes_new: 0,
        bytes_stored: 0,
        files: 0,
        files_changed: 0,
        wrong_shortcuts: None,
        skipped: Vec::new(),
        skipped_count: 0,
        not_covered: Vec::new(),
        seconds: 0.0,
        error: Some(failure.to_wire()),
    };
    End::Over { outcome: Outcome::Failed, result: Box::new(result), failure: Some(failure) }
}

impl<'a> Session<'a> {
    async fn begin(
        daemon: &'a Daemon,
        task: &'a Task,
        outbox: &'a Outbox,
        done: &lanes::DoneSender,
    ) -> Result<Self, Failure> {
        let broken = || Failure::new(Code::Internal, "a record holds an id that is none");
        let source = SourceId(id_text::decode(&task.source.id).ok_or_else(broken)?);
        let domain = DomainId(id_text::decode(&task.source.machine).ok_or_else(broken)?);
        let (now, wall) = (daemon.store.pool.now(), daemon.store.clock.now());
        let begin = move |pool: LivePool| begin_on(pool, source, domain, now);
        let begun = daemon.store.pool.call(begin).await.map_err(of_closed)?;
        let Begun { session, taken_up, basis, newest_at, read_again, id_key, cut } =
            begun.map_err(|error| of_ingest(&error))?;
        // Two points of a source never stand for the same time, whatever the clock does.
        let at = newest_at.map_or(wall, |newest| UnixNanos(wall.0.max(newest.0 + 1)));
        let (frames, frame_queue) = mpsc::unbounded_channel();
        let (items, item_queue) = mpsc::unbounded_channel();
        let pool = &daemon.store.pool;
        tokio::spawn(lanes::frames(pool.clone(), session, frame_queue, done.clone()));
        tokio::spawn(lanes::items(pool.clone(), session, item_queue, done.clone()));
        let start = StartBackup {
            job: task.job,
            session: session.0,
            source: task.source.to_wire(),
            id_key: *id_key.as_bytes(),
            cut: cut.to_bytes(),
            inline_max: INLINE_MAX,
            frame_len: u32::try_from(keelhold_disk::pool::FRAME_TARGET).unwrap_or(256 << 10),
            codec: Codec::Zstd,
            mode: if task.order.check { Mode::Check } else { Mode::Backup },
            basis: basis.as_ref().map(|basis| Basis { id: basis.id.0, entries: basis.entries }),
            read_again,
            demands: Box::new(task.terms.demands.clone()),
        };
        if let Some(basis) = &basis {
            daemon.jobs.expect(task.job, basis.entries);
        }
        // A connection that is gone already is noticed by the first look at what arrives.
        let _ = outbox.send(FromServer::StartBackup(start)).await;
        Ok(Self {
            daemon,
            task,
            outbox,
            session,
            taken_up,
            basis,
            at,
            began: Instant::now(),
            intake: Intake::default(),
            frames,
            items,
            permits: std::collections::VecDeque::new(),
            pushed_seq: 0,
            last_seq: 0,
            frame_bytes: 0,
            unstepped: 0,
            stepping: false,
            started: false,
            finish: None,
            skipped: SkippedList::default(),
            not_covered: SkippedList::default(),
            bytes_sent: 0,
            resume_at: tokio::time::Instant::now(),
        })
    }

    async fn drive(
        &mut self,
        arrivals: &mut Arrivals,
        dones: &mut mpsc::UnboundedReceiver<Done>,
        done: &lanes::DoneSender,
        stopping: &mut watch::Receiver<bool>,
    ) -> Result<(), Stop> {
        let Asked { mut cancel, mut pause } =
            self.daemon.jobs.asked(self.task.job).ok_or(Stop::Cancelled)?;
        while !self.is_complete() {
            let held = self.resume_at > tokio::time::Instant::now();
            tokio::select! {
                () = tokio::time::sleep_until(self.resume_at), if held => {}
                arrived = arrivals.recv(), if !held => match arrived {
                    Some(arrived) => self.take(arrived).await?,
                    None => return Err(Stop::Away),
                },
                told = dones.recv() => {
                    if let Some(told) = told {
                        self.done(told, done).await?;
                    }
                }
                () = raised(&mut cancel) => return Err(Stop::Cancelled),
                () = raised(&mut pause) => return Err(Stop::Paused),
                () = raised(stopping) => return Err(Stop::Away),
            }
        }
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.intake.is_complete() && self.pushed_seq == self.last_seq && !self.stepping
    }

    async fn take(&mut self, arrived: Arrived) -> Result<(), Stop> {
        let Arrived { message, body_len, permit } = arrived;
        self.bytes_sent += HEADER_LEN as u64 + body_len;
        let sent = self.bytes_sent;
        self.daemon.jobs.progress(self.task.job, |progress| progress.bytes_sent = sent);
        // A script that runs before the start has something to say, too.
        if let FromAgent::Log(log) = message {
            log.lines.iter().for_each(|line| self.daemon.jobs.log(self.task.job, line));
            return Ok(());
        }
        if !self.started && !matches!(message, FromAgent::Started(_) | FromAgent::Declined(_)) {
            return Err(Breach::NotStarted.into());
        }
        match message {
            FromAgent::Started(_) => {
                self.started = true;
                self.daemon.jobs.stage(self.task.job, "reading");
            }
            FromAgent::Declined(refused) | FromAgent::Aborted(refused) => {
                return Err(Stop::Failed(Failure::of_agent(refused.refusal)));
            }
            FromAgent::Items(items) => {
                let seq = items.seq;
                if let Some(offer) = self.intake.items(items)? {
                    self.last_seq = seq;
                    self.permits.push_back((seq, permit));
                    self.answer(offer).await?;
                    self.hand_on();
                }
            }
            FromAgent::Frame(frame) => {
                let chunks = self.intake.frame(&frame)?;
                self.hold_back(body_len);
                let _ = self.frames.send(FrameWork { frame, chunks, body_len, permit });
            }
            FromAgent::Skipped(list) => self.note_skipped(list.entries),
            FromAgent::Progress(progress) => {
                self.daemon.jobs.progress(self.task.job, |shown| {
                    *shown = Progress {
                        entries: progress.entries,
                        files: progress.files,
                        bytes_read: progress.bytes,
                        ..*shown
                    };
                });
            }
            FromAgent::Finish(finish) => {
                self.intake.finish()?;
                // What the point lacks as a whole stands at its root.
                let shortfalls = finish.reached.shortfalls.iter();
                shortfalls.for_each(|lack| self.skipped.push(skipped(b"", lack.clone())));
                self.finish = Some(finish);
            }
            other => return Err(Breach::Misplaced { name: other.name() }.into()),
        }
        Ok(())
    }

    /// After a frame of so many bytes, as its group's bandwidth asks.
    fn hold_back(&mut self, len: u64) {
        if let Some(limits) = &self.task.terms.limits {
            let wall = crate::retention::point::timestamp(self.daemon.store.clock.now());
            let now = tokio::time::Instant::now();
            self.resume_at = self.daemon.throttle.took(limits, len, wall, now);
        }
    }

    /// Asks the pool which of the offered chunks it has, and the agent for the others.
    async fn answer(&mut self, offer: super::intake::Offer) -> Result<(), Stop> {
        if offer.chunks.is_empty() {
            return Ok(());
        }
        let (session, chunks) = (self.session, offer.chunks.clone());
        let ask = move |pool: LivePool| async move { pool.offer(session, &chunks).await };
        let have = self.daemon.store.pool.call(ask).await.map_err(of_closed)?;
        let have = have.map_err(|error| Stop::from(of_ingest(&error)))?;
        let answer = self.intake.answer(&offer, &have);
        let want = Want { job: self.task.job, upto: answer.upto, wanted: answer.wanted };
        self.outbox.send(FromServer::Want(want)).await?;
        Ok(())
    }

    fn hand_on(&mut self) {
        while let Some((seq, items)) = self.intake.ready() {
            let _ = self.items.send(ItemWork { seq, items });
        }
    }

    async fn done(&mut self, done: Done, sender: &lanes::DoneSender) -> Result<(), Stop> {
        match done {
            Done::Kept { chunks, body_len, permit } => {
                drop(permit);
                self.intake.kept(&chunks);
                self.hand_on();
                self.frame_bytes += body_len;
                self.unstepped += body_len;
                if self.unstepped >= STEP_LEN && !self.stepping {
                    self.step(sender.clone());
                }
            }
            Done::Pushed { seq } => {
                self.pushed_seq = seq;
                while self.permits.front().is_some_and(|(of, _)| *of <= seq) {
                    self.permits.pop_front();
                }
            }
            Done::Stepped => {
                self.stepping = false;
                return self.mind_quota().await;
            }
            Done::Failed(failure) => return Err(failure.into()),
        }
        let (items_seq, frame_bytes) = (self.pushed_seq, self.frame_bytes);
        let credit = Credit { job: self.task.job, items_seq, frame_bytes };
        self.outbox.send(FromServer::Credit(credit)).await?;
        Ok(())
    }

    async fn mind_quota(&self) -> Result<(), Stop> {
        let (Some(left), session) = (self.task.quota_left, self.session) else {
            return Ok(());
        };
        let ask = move |pool: LivePool| async move { pool.session_bytes(session) };
        let bytes = self.daemon.store.pool.call(ask).await.map_err(of_closed)?;
        let (_, stored) = bytes.map_err(|error| crate::pool_failure::of_commit(&error))?;
        if stored > left {
            return Err(Stop::Quota(room::beyond_quota(self.task, left, stored)));
        }
        Ok(())
    }

    /// Journals what was kept, beside everything else.
    fn step(&mut self, done: lanes::DoneSender) {
        (self.unstepped, self.stepping) = (0, true);
        let (pool, session) = (self.daemon.store.pool.clone(), self.session);
        let now = self.daemon.store.pool.now();
        tokio::spawn(async move {
            let step = move |pool: LivePool| async move { pool.step(session, now).await };
            let told = match pool.call(step).await {
                Ok(Ok(())) => Done::Stepped,
                Ok(Err(error)) => Done::Failed(of_ingest(&error)),
                Err(closed) => Done::Failed(of_closed(closed)),
            };
            let _ = done.send(told);
        });
    }

    fn note_skipped(&mut self, entries: Vec<keelhold_wire::SkippedEntry>) {
        for entry in entries {
            let word = entry.reason.word();
            let reason = if entry.text.is_empty() {
                word.to_owned()
            } else {
                format!("{word}: {}", entry.text)
            };
            let named = skipped(&entry.path, reason);
            if entry.reason.makes_partial() {
                self.skipped.push(named);
            } else {
                self.not_covered.push(named);
            }
        }
    }

    async fn stop(self, stop: Stop, arrivals: &mut Arrivals) -> End {
        let (session, now) = (self.session, self.daemon.store.pool.now());
        let failure = match stop {
            Stop::Away | Stop::Paused => {
                if matches!(stop, Stop::Paused) {
                    self.cancel(arrivals).await;
                }
                let park = move |pool: LivePool| async move { pool.park(session, now).await };
                let parked = self.daemon.store.pool.call(park).await;
                if let Ok(Err(error)) = parked {
                    let error = crate::failure::chain(&error);
                    tracing::info!(
                        job = self.task.job,
                        error,
                        "session left as it was last journaled"
                    );
                    self.release();
                }
                return End::Parked;
            }
            Stop::Failed(failure) if failure.code == Code::PoolFull => {
                self.cancel(arrivals).await;
                let forget = move |pool: LivePool| async move { pool.forget_live(session) };
                let _ = self.daemon.store.pool.call(forget).await;
                return End::NoRoom { failure, taken_up: self.taken_up };
            }
            Stop::Failed(failure) => {
                self.release();
                failure
            }
            Stop::Quota(failure) => {
                self.cancel(arrivals).await;
                self.end_session().await;
                failure
            }
            Stop::Breach(failure) => {
                tracing::warn!(
                    job = self.task.job,
                    error = failure.message,
                    "agent broke the protocol"
                );
                self.end_session().await;
                failure
            }
            Stop::Cancelled => {
                self.cancel(arrivals).await;
                self.end_session().await;
                Failure::new(Code::Cancelled, format!("job {} was cancelled", self.task.job))
            }
        };
        let refused = refuse_job(self.task, failure, self.outbox).await;
        let End::Over { outcome, mut result, failure } = refused else {
            return End::Parked;
        };
        result.bytes_sent = self.bytes_sent;
        result.skipped = self.skipped.named;
        result.skipped_count = self.skipped.count;
        result.seconds = self.began.elapsed().as_secs_f64();
        End::Over { outcome, result, failure }
    }

    /// The session stays as it was last journaled: the next backup of the source takes it up.
    fn release(&self) {
        let (pool, session) = (self.daemon.store.pool.clone(), self.session);
        tokio::spawn(async move {
            pool.call(move |pool| async move { pool.forget_live(session) }).await
        });
    }

    async fn end_session(&self) {
        let (session, now) = (self.session, self.daemon.store.pool.now());
        let cancel = move |pool: LivePool| async move { pool.cancel(session, now).await };
        if let Ok(Err(error)) = self.daemon.store.pool.call(cancel).await {
            let error = crate::failure::chain(&error);
            tracing::warn!(job = self.task.job, error, "session not ended; its lease will");
        }
    }

    /// Tells the agent and waits until it has stopped sending.
    async fn cancel(&self, arrivals: &mut Arrivals) {
        if self.outbox.send(FromServer::Cancel(Cancel { job: self.task.job })).await.is_err() {
            return;
        }
        let aborted = async {
            while let Some(arrived) = arrivals.recv().await {
                if matches!(arrived.message, FromAgent::Aborted(_) | FromAgent::Declined(_)) {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(CANCEL_WAIT, aborted).await;
    }
}

impl std::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({}, basis {})", self.session, self.basis.is_some())
    }
}
