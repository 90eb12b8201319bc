//! Walk and basis side by side: what is unchanged, what has to be read, in path order.

use std::cmp::Ordering;
use std::sync::Arc;

use keelhold_chunk::entry::path_order;
use keelhold_tree::{Entry, EntryKind, Found, Walk};
use keelhold_wire::{Mode, Runs};
use tokio::sync::{mpsc, oneshot};

use super::bounds::{ENTRY_LEN, GROUP_COUNT, GROUP_LEN, SMALL_LEN_MAX};
use super::budget::{Budget, Permit};
use super::large::{self, Large};
use super::links::{Linked, Name, Planned};
use super::queue::Queue;
use super::read::{self, Wanted};
use super::reading::{Group, Note, Settings};
use crate::shortcut::{Entries, Record};

/// What the stream does next.
#[derive(Debug)]
pub(crate) enum Step {
    Same(Same),
    Group(oneshot::Receiver<Group>),
    Large(Large),
    Linked(Box<Linked>),
    Skipped {
        path: Vec<u8>,
        note: Note,
    },
    /// The walk is over; without it the plan did not come to its end.
    End,
}

/// Consecutive entries of the basis that are unchanged, and what they amount to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Same {
    pub(crate) first: u64,
    pub(crate) count: u64,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// Entries of a run after which the stream is told, so that progress shows.
const SAME_COUNT: u64 = 16 << 10;

/// Neighbours to be read by one reader.
#[derive(Debug)]
pub(crate) struct Task {
    wanted: Vec<Wanted>,
    permit: Permit,
    reply: oneshot::Sender<Group>,
}

impl Task {
    pub(crate) fn work(self, settings: &Settings) {
        if self.reply.is_closed() {
            return;
        }
        let readings = self.wanted.iter().map(|wanted| read::read(settings, wanted)).collect();
        // Nobody waits if the session has ended.
        let _ = self.reply.send(Group { readings, permit: self.permit });
    }
}

/// The session does not want more steps.
#[derive(Debug)]
pub(crate) struct Stopped;

/// Budgets of a session, shared with the stream, which closes them at the end.
#[derive(Debug, Clone)]
pub(crate) struct Budgets {
    pub(crate) ahead: Budget,
    pub(crate) large: Budget,
}

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) settings: Arc<Settings>,
    pub(crate) mode: Mode,
    pub(crate) read_again: Runs,
    pub(crate) readers: Arc<Queue<Task>>,
    pub(crate) budgets: Budgets,
    pub(crate) steps: mpsc::Sender<Step>,
    same: Same,
    group: Vec<Wanted>,
    group_len: u64,
    links: Planned,
}

impl Plan {
    pub(crate) fn new(
        settings: Arc<Settings>,
        (mode, read_again): (Mode, Runs),
        readers: Arc<Queue<Task>>,
        budgets: Budgets,
        steps: mpsc::Sender<Step>,
    ) -> Self {
        Self {
            settings,
            mode,
            read_again,
            readers,
            budgets,
            steps,
            same: Same::default(),
            group: Vec::new(),
            group_len: 0,
            links: Planned::default(),
        }
    }

    /// Runs on a thread of its own until the walk ends or the stream does.
    pub(crate) fn run(mut self, walk: Walk, entries: Option<Entries>) {
        // Stopped: the stream has ended, and knows why.
        let _ = self.follow(walk, Basis::new(entries));
    }

    fn follow(&mut self, walk: Walk, mut basis: Basis) -> Result<(), Stopped> {
        for found in walk {
            match found {
                Found::Skipped(skipped) => {
                    let (path, note) = (skipped.path, skipped.reason.into());
                    self.send(Step::Skipped { path, note })?;
                }
                Found::Entry(entry) => {
                    let known = basis.find(entry.path());
                    self.entry(entry, known)?;
                }
            }
        }
        self.flush()?;
        self.send(Step::End)
    }

    fn entry(&mut self, entry: Entry, known: Option<(u64, Record)>) -> Result<(), Stopped> {
        let identity = self.settings.view.identity(entry.identity());
        let proved = known.filter(|(_, record)| record.proves_unchanged(&identity));
        if let Some((ordinal, _)) = proved
            && self.mode == Mode::Backup
            && !self.read_again.contains(ordinal)
        {
            return self.unchanged(ordinal, &entry);
        }
        self.flush_same()?;
        let unchanged_digest = proved.map(|(_, record)| record.digest);
        let is_file = entry.kind() == EntryKind::File;
        let size = if is_file { entry.identity().size } else { 0 };
        let name = self.links.name(&entry);
        let group = match name {
            Name::First(group) => Some(group),
            Name::Only | Name::Again { .. } => None,
        };
        let wanted = Wanted { entry, unchanged_digest, group };
        if let Name::Again { group, last } = name {
            self.flush_group()?;
            let settings = self.settings.clone();
            return self.send(Step::Linked(Box::new(Linked { wanted, group, last, settings })));
        }
        if size > SMALL_LEN_MAX {
            self.flush_group()?;
            let permit = self.budgets.large.take(1).ok_or(Stopped)?;
            let settings = self.settings.clone();
            let large = large::start(settings, wanted, Some(permit)).map_err(|_| Stopped)?;
            return self.send(Step::Large(large));
        }
        self.group.push(wanted);
        self.group_len += size;
        if self.group.len() >= GROUP_COUNT || self.group_len >= GROUP_LEN {
            self.flush_group()?;
        }
        Ok(())
    }

    fn unchanged(&mut self, ordinal: u64, entry: &Entry) -> Result<(), Stopped> {
        self.flush_group()?;
        if self.same.first + self.same.count != ordinal || self.same.count >= SAME_COUNT {
            self.flush_same()?;
        }
        if self.same.count == 0 {
            self.same.first = ordinal;
        }
        self.same.count += 1;
        if entry.kind() == EntryKind::File {
            self.same.files += 1;
            self.same.bytes += entry.identity().size;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Stopped> {
        self.flush_same()?;
        self.flush_group()
    }

    fn flush_same(&mut self) -> Result<(), Stopped> {
        let same = std::mem::take(&mut self.same);
        if same.count == 0 { Ok(()) } else { self.send(Step::Same(same)) }
    }

    fn flush_group(&mut self) -> Result<(), Stopped> {
        let wanted = std::mem::take(&mut self.group);
        let len = std::mem::take(&mut self.group_len);
        if wanted.is_empty() {
            return Ok(());
        }
        let units = len + wanted.len() as u64 * ENTRY_LEN;
        let permit = self.budgets.ahead.take(units).ok_or(Stopped)?;
        let (reply, group) = oneshot::channel();
        self.readers.push(Task { wanted, permit, reply });
        self.send(Step::Group(group))
    }

    fn send(&self, step: Step) -> Result<(), Stopped> {
        self.steps.blocking_send(step).map_err(|_| Stopped)
    }
}

/// The entries of the basis, walked beside the tree.
struct Basis {
    entries: Option<Entries>,
    current: Option<(u64, Vec<u8>, Record)>,
}

impl Basis {
    fn new(entries: Option<Entries>) -> Self {
        let mut basis = Self { entries, current: None };
        basis.advance();
        basis
    }

    /// The entry with this path; paths are asked for in ascending order.
    fn find(&mut self, path: &[u8]) -> Option<(u64, Record)> {
        loop {
            let (ordinal, here, record) = self.current.as_ref()?;
            match path_order(here, path) {
                Ordering::Less => self.advance(),
                Ordering::Equal => return Some((*ordinal, *record)),
                Ordering::Greater => return None,
            }
        }
    }

    fn advance(&mut self) {
        let Some(entries) = &mut self.entries else {
            return;
        };
        match entries.next_entry() {
            Ok(Some(entry)) => {
                let mut path = self.current.take().map(|(_, path, _)| path).unwrap_or_default();
                path.clear();
                path.extend_from_slice(entry.path);
                self.current = Some((entry.ordinal, path, entry.record));
                return;
            }
            Ok(None) => {}
            // What is behind the damage is read as if it were new.
            Err(damage) => tracing::warn!(%damage, "local state ends early"),
        }
        (self.entries, self.current) = (None, None);
    }
}

#[cfg(test)]
mod tests;
