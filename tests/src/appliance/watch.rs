//! A daemon's log as it is written: which phases its pool is in, and SIGKILL at the moment one is
//! reached. What was in the log when the process died decides where it died, not what was aimed at.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStderr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};

/// Log level at which the pool tells of its phases.
pub const LOG_LEVEL: &str = "info,keelhold_disk::pool::phase=debug";
const TARGET: &str = "keelhold_disk::pool::phase: ";

/// Kills when a phase has begun and so many more words about phases have come.
#[derive(Debug, Clone, Copy)]
pub struct Trap {
    pub phase: &'static str,
    pub words: u32,
}

#[derive(Debug, Default)]
struct Seen {
    /// Begun and not ended, in the order of their beginnings.
    open: Vec<String>,
    /// Phases begun since the trap was set or taken away.
    since: BTreeSet<String>,
    trap: Option<Trap>,
    sprung: bool,
}

/// What a process was at when it died.
#[derive(Debug)]
pub struct Death {
    /// Phases begun and not ended, the innermost last.
    pub open: Vec<String>,
    /// All phases begun since the trap was set or taken away.
    pub seen: BTreeSet<String>,
}

#[derive(Debug)]
pub struct Watch {
    seen: Arc<Mutex<Seen>>,
    reader: JoinHandle<()>,
}

impl Watch {
    /// Reads what `child` says and passes it on to `log`.
    #[must_use]
    pub fn start(child: &Child, said: ChildStderr, log: File, trap: Option<Trap>) -> Self {
        let seen = Arc::new(Mutex::new(Seen { trap, ..Seen::default() }));
        let (theirs, pid) = (Arc::clone(&seen), Pid::from_child(child));
        let reader = std::thread::spawn(move || read(said, log, pid, &theirs));
        Self { seen, reader }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn arm(&self, trap: Option<Trap>) {
        let mut seen = self.seen();
        seen.trap = trap;
        seen.since.clear();
    }

    /// Nothing is killed any more by this.
    pub fn disarm(&self) {
        self.seen().trap = None;
    }

    /// Whether such a phase has begun since the trap was set or taken away.
    #[must_use]
    pub fn has_seen(&self, phase: &str) -> bool {
        self.seen().since.contains(phase)
    }

    #[must_use]
    pub fn sprung(&self) -> bool {
        self.seen().sprung
    }

    /// What a dead process was at. Its log is read to the end first.
    #[must_use]
    pub fn death(self) -> Death {
        let _ = self.reader.join();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Death { open: std::mem::take(&mut seen.open), seen: std::mem::take(&mut seen.since) }
    }
}

fn read(said: ChildStderr, mut log: File, pid: Pid, seen: &Mutex<Seen>) {
    for line in BufReader::new(said).lines().map_while(Result::ok) {
        if let Some((word, phase)) = phase_of(&line) {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.hears(word, phase) {
                // Nobody has waited for the process yet: the number is still its own.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let _ = writeln!(log, "{line}");
    }
}

/// `… keelhold_disk::pool::phase: begins phase="commit"`
fn phase_of(line: &str) -> Option<(&str, &str)> {
    let (_, said) = line.split_once(TARGET)?;
    let (word, rest) = said.split_once(" phase=\"")?;
    Some((word, rest.split('"').next()?))
}

impl Seen {
    /// Whether the trap has sprung.
    fn hears(&mut self, word: &str, phase: &str) -> bool {
        match word {
            "begins" => {
                self.open.push(phase.to_owned());
                self.since.insert(phase.to_owned());
            }
            "ends" => {
                if let Some(found) = self.open.iter().rposition(|open| open == phase) {
                    self.open.remove(found);
                }
            }
            _ => {}
        }
        let Some(trap) = &mut self.trap else { return false };
        if !self.open.iter().any(|open| open == trap.phase) {
            return false;
        }
        if trap.words > 0 {
            trap.words -= 1;
            return false;
        }
        (self.trap, self.sprung) = (None, true);
        true
    }
}
