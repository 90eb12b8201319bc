//! One run of a script: a clean environment, a process group of its own, a time limit.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, BufRead, BufReader, PipeReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use keelhold_wire::Consistency;
use keelhold_wire::limits::LOG_LINE_COUNT_MAX;
use rustix::process::{Pid, Signal, kill_process_group};

use super::{Held, Script};

/// What a script prints to say what it has reached.
const SAYS: &str = "keelhold-consistency:";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// A script that has ended may have left a child behind that holds its output open.
const LAST_WORDS: Duration = Duration::from_millis(300);
const LINE_LEN_MAX: u64 = 1 << 10;
/// With a line before and one behind they fit a message.
const LINES_MAX: usize = LOG_LINE_COUNT_MAX - 2;

/// How a script ended.
#[derive(Debug)]
pub enum Ended {
    Well,
    Status(ExitStatus),
    TooLong { limit: Duration },
    GivenUp,
    NotStarted(io::Error),
    Lost(io::Error),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Well => write!(f, "ended well"),
            Self::Status(status) => match (status.code(), status.signal()) {
                (Some(code), _) => write!(f, "ended with {code}"),
                (None, Some(signal)) => write!(f, "was ended by signal {signal}"),
                (None, None) => write!(f, "ended without a status"),
            },
            Self::TooLong { limit } => write!(f, "took longer than {} s", limit.as_secs()),
            Self::GivenUp => write!(f, "was ended with its job"),
            Self::NotStarted(error) => write!(f, "could not be started: {error}"),
            Self::Lost(error) => write!(f, "was lost sight of: {error}"),
        }
    }
}

/// A script that has ended.
#[derive(Debug)]
pub struct Ran {
    pub ended: Ended,
    /// The last lines it printed, on either output.
    pub lines: Vec<String>,
    /// What it says it has reached; the last word counts.
    pub reached: Option<Consistency>,
}

impl Ran {
    #[must_use]
    pub fn is_well(&self) -> bool {
        matches!(self.ended, Ended::Well)
    }

    fn not_started(error: io::Error) -> Self {
        Self { ended: Ended::NotStarted(error), lines: Vec::new(), reached: None }
    }
}

/// What a script is told, by the names of its environment.
pub(super) type Facts<'a> = [(&'a str, &'a str)];

impl Script {
    /// Waits for the end of it.
    pub(super) fn run(&self, facts: &Facts<'_>, limit: Duration, held: &Held) -> Ran {
        let (mut child, output) = match self.start(facts) {
            Ok(started) => started,
            Err(error) => return Ran::not_started(error),
        };
        let heard = listen(output);
        let began = Instant::now();
        let ended = loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => break Ended::Well,
                Ok(Some(status)) => break Ended::Status(status),
                Ok(None) => {}
                Err(error) => break Ended::Lost(error),
            }
            let too_long = began.elapsed() >= limit;
            if too_long || held.is_let_go() {
                end_all(&mut child);
                break if too_long { Ended::TooLong { limit } } else { Ended::GivenUp };
            }
            std::thread::sleep(LOOK_AGAIN);
        };
        let mut ran = Ran { ended, lines: Vec::new(), reached: None };
        ran.hear(&heard);
        ran
    }

    fn start(&self, facts: &Facts<'_>) -> io::Result<(Child, PipeReader)> {
        let (output, input) = io::pipe()?;
        let mut command = Command::new(self.path());
        command.env_clear().env("PATH", PATH).envs(facts.iter().copied()).current_dir("/");
        command.stdin(Stdio::null()).stdout(input.try_clone()?).stderr(input);
        let child = command.process_group(0).spawn()?;
        // The command holds the writing end: without it the end of the output is never seen.
        drop(command);
        Ok((child, output))
    }
}

impl Ran {
    fn hear(&mut self, heard: &Heard) {
        let until = Instant::now() + LAST_WORDS;
        while !heard.lock().over && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut said = heard.lock();
        self.reached = said.reached;
        self.lines = std::mem::take(&mut said.lines).into();
    }
}

/// What was printed so far, as far as it is kept.
#[derive(Debug, Default)]
struct Said {
    lines: VecDeque<String>,
    reached: Option<Consistency>,
    over: bool,
}

#[derive(Debug, Clone, Default)]
struct Heard(Arc<Mutex<Said>>);

impl Heard {
    fn lock(&self) -> std::sync::MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self, line: &[u8]) {
        let text = String::from_utf8_lossy(line).trim_end().to_owned();
        let mut said = self.lock();
        if let Some(word) = text.strip_prefix(SAYS) {
            said.reached = Consistency::from_word(word.trim()).or(said.reached);
        }
        said.lines.push_back(text);
        if said.lines.len() > LINES_MAX {
            said.lines.pop_front();
        }
    }
}

/// The script and whatever it has started.
fn end_all(child: &mut Child) {
    // It was not waited for: the number is still its own.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    let _ = child.wait();
}

fn listen(output: PipeReader) -> Heard {
    let heard = Heard::default();
    let theirs = heard.clone();
    // Without a thread the output is lost and the script is none the worse.
    let _ = std::thread::Builder::new().name("script".to_owned()).spawn(move || {
        let mut output = BufReader::new(output);
        loop {
            let mut line = Vec::new();
            match output.by_ref().take(LINE_LEN_MAX).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => break,
                Ok(_) => theirs.line(&line),
            }
        }
        theirs.lock().over = true;
    });
    heard
}
