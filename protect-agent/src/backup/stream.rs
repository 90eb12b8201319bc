//! The session's conversation: takes steps in order, offers them, answers wants, keeps the windows.
//!
//! It never waits for one thing while another could go on: server messages first, then frames that
//! may leave, then the next step if there is room for what it brings. When there is none, everything
//! half-full is sent, because the room may depend on it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use keelhold_wire::header::HEADER_LEN;
use keelhold_wire::limits::SKIPPED_COUNT_MAX;
use keelhold_wire::{FromAgent, FromServer, Message, Progress, Skipped, SkippedEntry, Want};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Duration, Instant};

use super::bounds::LEAVING_LEN;
use super::compress::{Pressed, Pressing};
use super::large::{self, Large, Piece};
use super::links;
use super::offer::{Offers, needs_pieces};
use super::pack::{Bundle, Packer};
use super::plan::Step;
use super::queue::Queue;
use super::reading::{Group, Outcome, Part, ReadContent, Reading};
use super::remember::{Memory, Remembered};
use super::run::BackupError;
use super::window::Sent;
use crate::outgoing::Outgoing;

const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// Encoded paths and reasons after which a message of skipped entries leaves.
const SKIPPED_LEN: usize = 256 << 10;

pub(crate) struct Stream {
    pub(crate) job: u64,
    pub(crate) outgoing: Outgoing,
    pub(crate) incoming: mpsc::Receiver<FromServer>,
    pub(crate) steps: mpsc::Receiver<Step>,
    pub(crate) memory: Option<Memory>,
    pub(crate) compressors: Arc<Queue<Pressing>>,
    pub(crate) pressed: mpsc::UnboundedReceiver<Pressed>,
    pub(crate) packer: Packer,
    pub(crate) offers: Offers,
    sent: Sent,
    now: Now,
    links: links::Remembered,
    leaving: Leaving,
    steps_over: bool,
    progress_at: Instant,
}

/// What the stream is in the middle of.
enum Now {
    Nothing,
    Waiting(oneshot::Receiver<Group>),
    Group { readings: VecDeque<Reading>, _permit: Option<super::budget::Permit> },
    Large { large: Large, opened: bool },
    Parts { parts: std::vec::IntoIter<Part>, then: Box<Now> },
    Closing { path: Vec<u8>, facts: Box<super::reading::Facts>, then: Box<Now> },
}

/// Frames between packing and the connection, put back in order.
#[derive(Default)]
struct Leaving {
    next_in: u64,
    next_out: u64,
    plain_len: u64,
    ready: BTreeMap<u64, Pressed>,
}

/// What may come next.
enum Event {
    Server(Option<FromServer>),
    Pressed(Pressed),
    Step(Option<Step>),
    Group(Option<Group>),
    Piece(Option<Piece>),
    /// There is more to say of what is already here.
    Go,
    Progress,
}

impl Stream {
    pub(crate) fn new(
        job: u64,
        (outgoing, incoming): (Outgoing, mpsc::Receiver<FromServer>),
        steps: mpsc::Receiver<Step>,
        memory: Option<Memory>,
        (compressors, pressed): (Arc<Queue<Pressing>>, mpsc::UnboundedReceiver<Pressed>),
        frame_len: usize,
    ) -> Self {
        Self {
            job,
            outgoing,
            incoming,
            steps,
            memory,
            compressors,
            pressed,
            packer: Packer::new(frame_len),
            offers: Offers::default(),
            sent: Sent::default(),
            now: Now::Nothing,
            links: links::Remembered::default(),
            leaving: Leaving::default(),
            steps_over: false,
            progress_at: Instant::now() + PROGRESS_EVERY,
        }
    }

    /// Until everything is offered, answered and sent.
    pub(crate) async fn run(&mut self) -> Result<(), BackupError> {
        loop {
            let over = self.steps_over && matches!(self.now, Now::Nothing);
            let room = self.has_room();
            if over || !room {
                self.send_items().await?;
                self.press_rest();
            }
            self.send_frames().await?;
            if over && self.offers.held.is_empty() && self.leaving.is_empty() {
                return self.send_skipped().await;
            }
            match self.next(room && !over).await {
                Event::Server(message) => self.server(message)?,
                Event::Pressed(pressed) => self.leaving.put(pressed),
                Event::Step(step) => self.step(step).await?,
                Event::Group(group) => self.group(group)?,
                Event::Piece(piece) => self.piece(piece).await?,
                Event::Go => self.go().await?,
                Event::Progress => self.progress().await?,
            }
            if self.offers.is_full() && self.sent.has_room_for_items() {
                self.send_items().await?;
            }
            if self.offers.skipped.len() >= SKIPPED_COUNT_MAX {
                self.send_skipped().await?;
            }
        }
    }

    fn has_room(&self) -> bool {
        self.offers.held.has_room()
            && self.sent.has_room_for_items()
            && self.leaving.plain_len < LEAVING_LEN
    }

    async fn next(&mut self, go_on: bool) -> Event {
        tokio::select! {
            biased;
            message = self.incoming.recv() => Event::Server(message),
            Some(pressed) = self.pressed.recv() => Event::Pressed(pressed),
            () = tokio::time::sleep_until(self.progress_at) => Event::Progress,
            event = Self::next_of(&mut self.now, &mut self.steps), if go_on => event,
        }
    }

    /// Safe to be dropped: nothing is taken before it is returned.
    async fn next_of(now: &mut Now, steps: &mut mpsc::Receiver<Step>) -> Event {
        match now {
            Now::Nothing => Event::Step(steps.recv().await),
            Now::Waiting(group) => Event::Group(group.await.ok()),
            Now::Large { large, .. } => Event::Piece(large.pieces.recv().await),
            Now::Group { .. } | Now::Parts { .. } | Now::Closing { .. } => Event::Go,
        }
    }

    async fn step(&mut self, step: Option<Step>) -> Result<(), BackupError> {
        match step {
            Some(Step::Same(same)) => {
                let remembered = self.offers.same(same);
                self.remember(remembered).await;
            }
            Some(Step::Group(group)) => self.now = Now::Waiting(group),
            Some(Step::Large(large)) => self.now = Now::Large { large, opened: false },
            Some(Step::Linked(linked)) => self.linked(*linked)?,
            Some(Step::Skipped { path, note }) => self.offers.skip(path, note),
            Some(Step::End) => self.steps_over = true,
            None => return Err(BackupError::ReaderDied),
        }
        Ok(())
    }

    fn group(&mut self, group: Option<Group>) -> Result<(), BackupError> {
        let Group { readings, permit } = group.ok_or(BackupError::ReaderDied)?;
        self.now = Now::Group { readings: readings.into(), _permit: Some(permit) };
        Ok(())
    }

    fn linked(&mut self, linked: links::Linked) -> Result<(), BackupError> {
        self.now = match self.links.again(&linked) {
            Some(reading) => Now::Group { readings: VecDeque::from([reading]), _permit: None },
            None => {
                let links::Linked { wanted, settings, .. } = linked;
                let large = large::start(settings, wanted, None).map_err(BackupError::Thread)?;
                Now::Large { large, opened: false }
            }
        };
        Ok(())
    }

    async fn piece(&mut self, piece: Option<Piece>) -> Result<(), BackupError> {
        let piece = piece.ok_or(BackupError::ReaderDied)?;
        let Now::Large { large, opened } = &mut self.now else {
            return Ok(());
        };
        if !*opened && !matches!(piece, Piece::Gone(_)) {
            self.offers.open(&large.path);
            *opened = true;
        }
        match piece {
            Piece::Gone(note) => {
                let path = std::mem::take(&mut large.path);
                self.offers.skip(path, note);
                self.now = Now::Nothing;
            }
            Piece::Parts(parts) => {
                if large.group.is_some() {
                    large.known.extend(parts.iter().map(Part::known));
                }
                let then = Box::new(std::mem::replace(&mut self.now, Now::Nothing));
                self.now = Now::Parts { parts: parts.into_iter(), then };
            }
            Piece::End(facts) => {
                let path = std::mem::take(&mut large.path);
                if let Some(group) = large.group {
                    let content = ReadContent::Parts(std::mem::take(&mut large.known));
                    self.links.put(group, (*facts).clone(), content);
                }
                let remembered = self.offers.close(path, *facts);
                self.now = Now::Nothing;
                self.remember(remembered).await;
            }
        }
        Ok(())
    }

    /// Says one more piece of what is already here.
    async fn go(&mut self) -> Result<(), BackupError> {
        match &mut self.now {
            Now::Group { readings, .. } => match readings.pop_front() {
                None => self.now = Now::Nothing,
                Some(reading) if needs_pieces(&reading) => {
                    self.links.note(&reading);
                    self.in_pieces(reading);
                }
                Some(reading) => {
                    self.links.note(&reading);
                    if let Some(remembered) = self.offers.reading(reading) {
                        self.remember(remembered).await;
                    }
                }
            },
            Now::Parts { parts, then } => {
                if parts.len() > 0 {
                    self.offers.more(parts);
                } else {
                    let then = std::mem::replace(&mut **then, Now::Nothing);
                    self.now = then;
                }
            }
            Now::Closing { .. } => {
                if let Now::Closing { path, facts, then } =
                    std::mem::replace(&mut self.now, Now::Nothing)
                {
                    self.now = *then;
                    let remembered = self.offers.close(path, *facts);
                    self.remember(remembered).await;
                }
            }
            Now::Nothing | Now::Waiting(_) | Now::Large { .. } => {}
        }
        Ok(())
    }

    /// A small file with more pieces than an item holds goes the way of a large one.
    fn in_pieces(&mut self, reading: Reading) {
        let Reading { path, outcome, .. } = reading;
        let Outcome::Entry { facts, content: ReadContent::Parts(parts) } = outcome else {
            return;
        };
        self.offers.open(&path);
        let then = Box::new(std::mem::replace(&mut self.now, Now::Nothing));
        let then = Box::new(Now::Closing { path, facts: Box::new(facts), then });
        self.now = Now::Parts { parts: parts.into_iter(), then };
    }

    fn server(&mut self, message: Option<FromServer>) -> Result<(), BackupError> {
        match message {
            None => Err(BackupError::ConnectionLost),
            Some(FromServer::Want(want)) => self.answer(&want),
            Some(FromServer::Credit(credit)) => Ok(self.sent.acknowledge(&credit)?),
            Some(FromServer::Cancel(_)) => Err(BackupError::Cancelled),
            Some(FromServer::Failed(failed)) => Err(BackupError::Refused(failed.refusal)),
            Some(other) => Err(BackupError::Misplaced { name: other.name() }),
        }
    }

    fn answer(&mut self, want: &Want) -> Result<(), BackupError> {
        let (packer, leaving, compressors) =
            (&mut self.packer, &mut self.leaving, &self.compressors);
        let take = |reference, chunk| {
            if let Some(bundle) = packer.push(reference, chunk) {
                leaving.press(bundle, compressors);
            }
        };
        Ok(self.offers.held.answer(want, take)?)
    }

    fn press_rest(&mut self) {
        if let Some(bundle) = self.packer.take() {
            self.leaving.press(bundle, &self.compressors);
        }
    }

    async fn send_frames(&mut self) -> Result<(), BackupError> {
        while let Some(body_len) = self.leaving.first_len() {
            if !self.sent.has_room_for_frame(body_len) {
                break;
            }
            let Some(message) = self.leaving.take() else {
                break;
            };
            self.sent.frame(body_len);
            self.outgoing.send(message).await.map_err(|_| BackupError::ConnectionLost)?;
        }
        Ok(())
    }

    async fn send_items(&mut self) -> Result<(), BackupError> {
        if !self.sent.has_room_for_items() {
            return Ok(());
        }
        let Some((message, weight)) = self.offers.take(self.job, self.sent.next_seq()) else {
            return Ok(());
        };
        self.sent.items(weight);
        self.outgoing.send(message).await.map_err(|_| BackupError::ConnectionLost)
    }

    async fn send_skipped(&mut self) -> Result<(), BackupError> {
        let mut rest = std::mem::take(&mut self.offers.skipped).into_iter().peekable();
        while rest.peek().is_some() {
            let (mut entries, mut len): (Vec<SkippedEntry>, usize) = (Vec::new(), 0);
            while let Some(entry) =
                rest.next_if(|_| entries.len() < SKIPPED_COUNT_MAX && len < SKIPPED_LEN)
            {
                len += entry.path.len() + entry.text.len();
                entries.push(entry);
            }
            self.send(&FromAgent::Skipped(Skipped { job: self.job, entries })).await?;
        }
        Ok(())
    }

    async fn progress(&mut self) -> Result<(), BackupError> {
        self.progress_at = Instant::now() + PROGRESS_EVERY;
        let stats = &self.offers.stats;
        let (entries, files, bytes) = (stats.entries, stats.files, self.offers.bytes_done);
        let progress = Progress { job: self.job, entries, files, bytes };
        self.send(&FromAgent::Progress(progress)).await
    }

    pub(crate) async fn send(&self, message: &FromAgent) -> Result<(), BackupError> {
        let sent = self.outgoing.send(message.to_bytes()).await;
        sent.map_err(|_| BackupError::ConnectionLost)
    }

    async fn remember(&mut self, remembered: Remembered) {
        if let Some(memory) = &mut self.memory {
            memory.push(remembered).await;
        }
    }
}

impl Leaving {
    fn is_empty(&self) -> bool {
        self.next_out == self.next_in
    }

    fn press(&mut self, bundle: Bundle, compressors: &Queue<Pressing>) {
        self.plain_len += bundle.plain_len as u64;
        compressors.push(Pressing { number: self.next_in, bundle });
        self.next_in += 1;
    }

    fn put(&mut self, pressed: Pressed) {
        self.ready.insert(pressed.number, pressed);
    }

    /// Body length of the frame whose turn it is, if it is ready.
    fn first_len(&self) -> Option<u64> {
        let pressed = self.ready.get(&self.next_out)?;
        Some((pressed.message.len() - HEADER_LEN) as u64)
    }

    fn take(&mut self) -> Option<Vec<u8>> {
        let pressed = self.ready.remove(&self.next_out)?;
        self.next_out += 1;
        self.plain_len -= pressed.plain_len;
        Some(pressed.message)
    }
}
