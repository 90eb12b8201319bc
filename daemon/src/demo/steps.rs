//! The steps of the demo, one after another. Each gives its figures, or the failure that ends it.

use super::busy::Busy;
use super::children::Running;
use super::commands::Commands;
use super::narrate::Narrator;
use super::place::Place;
use super::sample;
use crate::api::address::Address;
use crate::api::types::{BackupResult, Job, JobState, Outcome, Point, RestoreResult, Started};
use crate::cli::client::Client;
use crate::failure::{Code, Failure, chain};
use crate::size_text::{count, size};
use crate::state_dir::StateDir;
use keelhold_tree::removal::remove_tree;
use serde_json::{Value, json};
use std::ffi::{OsStr, OsString};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const MACHINE: &str = "this-machine";
const SOURCE: &str = "this-machine/files";
/// A child that does not get ready by then has a reason to be told.
const READY_WAIT: Duration = Duration::from_secs(60);
/// Random data that the interrupted backup has to carry, in files of 8 MiB.
const RANDOM_FILES: usize = 32;
/// The daemon is killed when this much of it has arrived.
const KILL_AFTER: u64 = 96 << 20;

pub struct Show {
    narrator: Narrator,
    place: Place,
    wanted: Option<PathBuf>,
    commands: Commands,
    busy: Busy,
    daemon: Option<Running>,
    agent: Option<Running>,
    port: u16,
    began: Instant,
    comparisons: u64,
    removing: Vec<tokio::task::JoinHandle<()>>,
}

fn broken(what: impl Into<String>) -> Failure {
    Failure::new(Code::DemoFailed, what)
}

impl Show {
    pub fn new(narrator: Narrator, place: Place, wanted: Option<PathBuf>) -> Self {
        let busy = Busy::default();
        let state = place.path("appliance");
        let commands = Commands { state, narrator, busy: busy.clone() };
        Self {
            narrator,
            place,
            wanted,
            commands,
            busy,
            daemon: None,
            agent: None,
            port: 0,
            began: Instant::now(),
            comparisons: 0,
            removing: Vec::new(),
        }
    }

    pub fn try_it(&self) -> String {
        format!("keelhold --state {} status", self.commands.state.display())
    }

    /// Everything. Gives the figures of the verdict.
    pub async fn run(&mut self) -> Result<Value, Failure> {
        self.tell_place()?;
        self.make_sample().await?;
        self.make_pool().await?;
        self.start_daemon().await?;
        self.enrol().await?;
        self.protect("protect", "first backup").await?;
        self.change_sample().await?;
        self.protect("protect again", "second backup").await?;
        self.restore_and_compare("restore", "restored").await?;
        let announced = self.interrupt().await?;
        self.come_back(&announced).await?;
        self.lose_state().await?;
        self.restore_and_compare("restore", "restored after import").await?;
        let points = self.points().await?.len();
        Ok(json!({
            "points": points,
            "comparisons": self.comparisons,
            "differences": 0,
            "seconds": (self.began.elapsed().as_secs_f64() * 10.0).round() / 10.0,
        }))
    }

    /// Stops what runs. The place goes when the show is dropped.
    pub async fn end(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            agent.kill().await;
        }
        if let Some(mut daemon) = self.daemon.take() {
            daemon.stop().await;
        }
        if !self.place.is_kept() {
            // So that a copier that was interrupted fails at its next file. Moved first: a directory
            // that is filled while it is emptied would stay.
            let _ = std::fs::rename(self.tree(), self.place.path("abandoned"));
            let _ = remove_tree(self.place.dir());
        }
        self.busy.over().await;
        for removing in self.removing.drain(..) {
            let _ = removing.await;
        }
        if self.place.is_kept() {
            eprintln!("kept: {}", self.place.dir().display());
        }
    }

    fn step(&self, name: &str, lines: &[String], figures: Value) -> Result<(), Failure> {
        self.narrator.step(name, "ok", lines, figures)
    }

    fn tell_place(&self) -> Result<(), Failure> {
        let dir = self.place.dir().display().to_string();
        let (kind, free) = (&self.place.file_system, self.place.bytes_free);
        let line = format!("{dir} on {kind}, {} free; taken away at the end", size(free));
        let figures = json!({ "dir": dir, "file_system": kind, "bytes_free": free });
        self.step("place", &[line], figures)
    }

    fn tree(&self) -> PathBuf {
        self.place.path("tree")
    }

    async fn make_sample(&self) -> Result<(), Failure> {
        let (wanted, tree) = (self.wanted.clone(), self.tree());
        let made = self.busy.off_thread(move || sample::make(wanted.as_deref(), &tree)).await?;
        let from = self.wanted.as_ref().map_or_else(
            || String::from("this machine's own files"),
            |path| path.display().to_string(),
        );
        let lines = [format!(
            "a copy of {from}: {} files, {}, with holes, links, a fifo and odd names",
            count(made.files),
            size(made.bytes)
        )];
        let figures =
            json!({ "files": made.files, "bytes": made.bytes, "unreadable": made.unreadable });
        self.step("tree", &lines, figures)
    }

    async fn make_pool(&self) -> Result<(), Failure> {
        let sample_len = sample::len_of(&self.tree());
        let mib = (2 * sample_len + (RANDOM_FILES as u64 * 3 * (8 << 20)) + (512 << 20)) >> 20;
        let disk = format!("{}:{mib}MiB", self.place.path("disk").display());
        let made = self.commands.values(&["pool", "create", "--disk", &disk]).await?;
        let pool = made.get("pool").and_then(Value::as_str).unwrap_or_default();
        let lines = [format!("pool {pool}, {mib} MiB in a preallocated file")];
        self.step("pool", &lines, json!({ "pool": pool, "bytes": mib << 20 }))
    }

    async fn start_daemon(&mut self) -> Result<(), Failure> {
        if self.port == 0 {
            let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
            self.port = free.map_err(|error| Failure::of(Code::DemoFailed, &error))?.port();
        }
        let began = Instant::now();
        let address = format!("127.0.0.1:{}", self.port);
        self.narrator.command(&format!("keelhold serve --agents {address} &"));
        let state = self.commands.state.clone().into_os_string();
        let args: [OsString; 6] = [
            "--state".into(),
            state,
            "serve".into(),
            "--exit-with-parent".into(),
            "--agents".into(),
            address.clone().into(),
        ];
        let daemon = Running::start("daemon", &args, &self.place.path("daemon.log"))?;
        self.daemon = Some(daemon);
        loop {
            match self.commands.quiet_values(&["status"]).await {
                Ok(_) => break,
                Err(failure) if failure.code != Code::DaemonUnreachable => return Err(failure),
                Err(_) => self.still_alive(began)?,
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let seconds = began.elapsed().as_secs_f64();
        let lines = [format!("ready in {seconds:.2} s, agents connect to {address}")];
        self.step("daemon", &lines, json!({ "address": address, "seconds": seconds }))
    }

    async fn kill_daemon(&mut self) {
        // Let go only when it is dead: if this is interrupted, `end` waits for it.
        if let Some(daemon) = &mut self.daemon {
            daemon.kill().await;
        }
        self.daemon = None;
    }

    /// Fails when a child has ended or takes too long.
    fn still_alive(&mut self, began: Instant) -> Result<(), Failure> {
        for child in [&mut self.daemon, &mut self.agent].into_iter().flatten() {
            if let Some(failure) = child.ended() {
                return Err(failure);
            }
        }
        if began.elapsed() > READY_WAIT {
            let dir = self.place.dir().display();
            return Err(broken(format!(
                "nothing got ready in time; logs are in {dir} with --keep"
            )));
        }
        Ok(())
    }

    async fn enrol(&mut self) -> Result<(), Failure> {
        let token = self.commands.values(&["machine", "token", MACHINE]).await?;
        let text = |name: &str| token.get(name).and_then(Value::as_str).unwrap_or_default();
        let began = Instant::now();
        self.narrator.command("keelhold-agent enroll … && keelhold-agent run &");
        let args: [OsString; 7] = [
            "demo-agent".into(),
            "--agent-state".into(),
            self.place.path("agent").into(),
            "--url".into(),
            text("url").into(),
            "--token".into(),
            text("token").into(),
        ];
        self.agent = Some(Running::start("agent", &args, &self.place.path("agent.log"))?);
        self.wait_for_agent(began).await?;
        let tree = self.tree();
        let args = [OsStr::new("source"), "add".as_ref(), MACHINE.as_ref(), "files".as_ref()];
        let args = [&args[..], &["--tree".as_ref(), tree.as_os_str()]].concat();
        let _: Value = self.commands.run(&args).await?;
        let seconds = began.elapsed().as_secs_f64();
        let lines = [String::from("enrolled with a one-time token, connected by mutual TLS 1.3")];
        self.step("agent", &lines, json!({ "machine": MACHINE, "seconds": seconds }))
    }

    async fn wait_for_agent(&mut self, began: Instant) -> Result<(), Failure> {
        loop {
            let machines = self.commands.quiet_values(&["machine", "list"]).await?;
            let connected =
                |machine: &Value| machine.get("connected").and_then(Value::as_bool) == Some(true);
            if machines.as_array().is_some_and(|machines| machines.iter().any(connected)) {
                return Ok(());
            }
            self.still_alive(began)?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn back_up(&self) -> Result<BackupResult, Failure> {
        let args = ["backup", SOURCE, "--wait"].map(OsStr::new);
        let result: BackupResult = self.commands.run(&args).await?;
        if result.result != Outcome::Ok {
            let named = result.skipped.first().map(|skipped| skipped.reason.clone());
            let why = named.unwrap_or_else(|| String::from("no reason was named"));
            return Err(broken(format!("the backup came out {}: {why}", result.result.word())));
        }
        Ok(result)
    }

    async fn protect(&self, step: &str, what: &str) -> Result<BackupResult, Failure> {
        let result = self.back_up().await?;
        let point = result.point.clone().unwrap_or_default();
        let lines = [
            format!(
                "{what}: {} files, {} in {:.1} s; {} changed",
                count(result.files),
                size(result.bytes_source),
                result.seconds,
                count(result.files_changed)
            ),
            format!(
                "{} read, {} sent, {} new, {} stored; point {point}",
                size(result.bytes_read),
                size(result.bytes_sent),
                size(result.bytes_new),
                size(result.bytes_stored)
            ),
        ];
        let figures = serde_json::to_value(&result).unwrap_or_default();
        self.step(step, &lines, figures)?;
        Ok(result)
    }

    async fn change_sample(&self) -> Result<(), Failure> {
        let tree = self.tree();
        let changes = self.busy.off_thread(move || sample::change(&tree)).await?;
        let lines = [format!(
            "{} files rewritten, {} appended to, {} renamed, {} removed, {} added",
            changes.rewritten, changes.appended, changes.renamed, changes.removed, changes.added
        )];
        let figures = json!({
            "rewritten": changes.rewritten, "appended": changes.appended,
            "renamed": changes.renamed, "removed": changes.removed, "added": changes.added,
        });
        self.step("change", &lines, figures)
    }

    async fn restore_and_compare(&mut self, step: &str, dir: &str) -> Result<(), Failure> {
        let target = self.place.path(dir);
        let point = format!("{SOURCE}@latest");
        let args = ["restore", &point, "--to"].map(OsStr::new);
        let args = [&args[..], &[target.as_os_str()]].concat();
        let result: RestoreResult = self.commands.run(&args).await?;
        if result.result != Outcome::Ok || !result.verified {
            let named = result.failed.first().map(|failed| failed.reason.clone());
            let named = named.or_else(|| result.skipped.first().map(|each| each.reason.clone()));
            let why = named.unwrap_or_else(|| String::from("no reason was named"));
            return Err(broken(format!("the restore came out {}: {why}", result.result.word())));
        }
        let lines = [format!(
            "{} files, {} written in {:.1} s, every byte proved against its name",
            count(result.files),
            size(result.bytes_written),
            result.seconds
        )];
        self.step(step, &lines, serde_json::to_value(&result).unwrap_or_default())?;
        self.compare(&target).await?;
        // Beside what comes next: some file systems take long to give space back.
        self.removing.push(tokio::task::spawn_blocking(move || drop(remove_tree(&target))));
        Ok(())
    }

    async fn compare(&mut self, target: &Path) -> Result<(), Failure> {
        let (left, right) = (self.tree(), target.to_owned());
        let began = Instant::now();
        let (entries, differences) = self
            .busy
            .off_thread(move || {
                let list = |path: &Path| {
                    keelhold_tree::listing::Listing::of(path)
                        .map_err(|error| Failure::of(Code::DemoFailed, &error))
                };
                let (left, right) = (list(&left)?, list(&right)?);
                Ok((left.entries.len(), left.differences(&right)))
            })
            .await?;
        if let Some(first) = differences.first() {
            let count = differences.len();
            return Err(broken(format!("{count} differences, the first: {first}")));
        }
        self.comparisons += 1;
        let lines = [format!(
            "{} entries compared: type, mode, owner, size, times, links, attributes, holes, \
             content: no difference",
            count(entries as u64)
        )];
        let figures = json!({
            "entries": entries, "differences": 0, "seconds": began.elapsed().as_secs_f64(),
        });
        self.step("compare", &lines, figures)
    }

    async fn points(&self) -> Result<Vec<Point>, Failure> {
        self.commands.quietly(&["point".as_ref(), "list".as_ref(), SOURCE.as_ref()]).await
    }

    /// Kills the daemon in the middle of a backup; gives the points announced until then, and the job.
    async fn interrupt(&mut self) -> Result<Interrupted, Failure> {
        let points = self.points().await?;
        let random = self.tree().join("random");
        let new = self.busy.off_thread(move || sample::add_random(&random, RANDOM_FILES)).await?;
        let args = ["backup", SOURCE].map(OsStr::new);
        let started: Started = self.commands.run(&args).await?;
        let began = Instant::now();
        // Asked without a process of its own each time: the backup does not wait for anybody.
        let mut client = Client::connect(&StateDir::new(self.commands.state.clone())).await?;
        let address = Address::new("/jobs").segment(started.job.to_string().as_bytes());
        let arrived = loop {
            let shown: Job = client.get(&address).await?;
            if shown.state == JobState::Done {
                return Err(broken("the backup was over before it could be interrupted"));
            }
            if shown.progress.bytes_sent >= KILL_AFTER {
                break shown.progress.bytes_sent;
            }
            self.still_alive(began)?;
            tokio::time::sleep(Duration::from_millis(2)).await;
        };
        self.kill_daemon().await;
        self.narrator.command("kill -9 the daemon");
        let lines = [format!(
            "killed after {} of at least {} had arrived; {} points were announced before",
            size(arrived),
            size(new),
            points.len()
        )];
        let figures = json!({ "bytes_arrived": arrived, "bytes_new": new, "points": points.len() });
        self.step("kill", &lines, figures)?;
        Ok(Interrupted { points, job: started.job, new })
    }

    /// Starts the daemon again: what was announced is there, and the job goes on by itself.
    async fn come_back(&mut self, before: &Interrupted) -> Result<(), Failure> {
        self.start_daemon().await?;
        self.same_points(&before.points).await?;
        let lines = [format!("all {} announced points are there", before.points.len())];
        self.step("recovered", &lines, json!({ "points": before.points.len() }))?;
        let (began, job) = (Instant::now(), before.job.to_string());
        let done = loop {
            let shown: Job =
                self.commands.quietly(&["job".as_ref(), "show".as_ref(), job.as_ref()]).await?;
            if shown.state == JobState::Done {
                break shown;
            }
            self.still_alive(began)?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let Some(crate::api::types::JobResult::Backup(result)) = done.details else {
            let why = done.error.map_or_else(String::new, |error| error.message);
            return Err(broken(format!("the interrupted backup did not come to its end: {why}")));
        };
        if result.result != Outcome::Ok {
            return Err(broken("the interrupted backup did not end well"));
        }
        if result.bytes_sent >= before.new {
            return Err(broken("the interrupted backup began anew instead of going on"));
        }
        let lines = [format!(
            "job {job} went on by itself: {} sent, {} were there already; point {}",
            size(result.bytes_sent),
            size(before.new - result.bytes_sent),
            result.point.as_deref().unwrap_or_default()
        )];
        self.step("resumed", &lines, serde_json::to_value(&result).unwrap_or_default())
    }

    async fn same_points(&self, before: &[Point]) -> Result<(), Failure> {
        let after = self.points().await?;
        let ids = |points: &[Point]| -> Vec<(String, String)> {
            points.iter().map(|point| (point.id.clone(), point.at.clone())).collect()
        };
        if ids(before) == ids(&after) {
            return Ok(());
        }
        Err(broken(format!("{} points were announced, {} are there", before.len(), after.len())))
    }

    /// Deletes the whole state directory and takes the pool over from its disk alone.
    async fn lose_state(&mut self) -> Result<(), Failure> {
        let before = self.points().await?;
        self.kill_daemon().await;
        let state = self.commands.state.clone();
        self.narrator.command("rm -rf the whole state directory");
        std::fs::remove_dir_all(&state).map_err(|error| {
            broken(format!("{} could not be removed: {}", state.display(), chain(&error)))
        })?;
        let disk = self.place.path("disk").display().to_string();
        self.commands.values(&["pool", "import", "--disk", &disk]).await?;
        self.start_daemon().await?;
        self.wait_for_agent(Instant::now()).await?;
        self.same_points(&before).await?;
        let lines = [format!(
            "state lost, pool imported: the same {} points; the agent is back without a new token",
            before.len()
        )];
        self.step("import", &lines, json!({ "points": before.len() }))
    }
}

struct Interrupted {
    points: Vec<Point>,
    job: u64,
    new: u64,
}
