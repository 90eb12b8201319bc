//! Real processes: the daemon, the agent and the command line as they are shipped, in a directory of
//! their own. Killed when dropped.

mod api;
pub mod proxy;
pub mod watch;

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use keelhold_tree::removal::remove_tree;
use serde_json::Value;

use proxy::Proxy;
use watch::{Death, Trap, Watch};

/// A program that does not answer by then is broken, however slow the machine is.
const PATIENCE: Duration = Duration::from_secs(120);
const ASK_AGAIN: Duration = Duration::from_millis(20);
const ASK_CLOSELY: Duration = Duration::from_micros(300);

/// The programs that `tests/run` built, beside this test.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it is");
    let folder = test.ancestors().nth(2).expect("tests lie below the target directory");
    let path = folder.join(name);
    assert!(path.exists(), "{} is not built: `cargo build --bins` makes it", path.display());
    path
}

/// A directory that goes with its owner.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    #[must_use]
    pub fn new(name: &str) -> Self {
        let base =
            std::env::var_os("KEELHOLD_SCRATCH").map_or_else(|| "/var/tmp".into(), PathBuf::from);
        let path = base.join(format!("keelhold-test-{name}-{}", std::process::id()));
        let _ = remove_tree(&path);
        fs::create_dir_all(&path).expect("a scratch directory can be made");
        Self(path)
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = remove_tree(&self.0);
    }
}

/// What a verb of the command line answered.
#[derive(Debug)]
pub struct Answer {
    pub code: i32,
    /// The last JSON value on standard output, and all of them where a verb prints one a line.
    pub json: Value,
    pub lines: Vec<Value>,
    pub stderr: String,
}

impl Answer {
    fn of(output: &Output) -> Self {
        let lines: Vec<Value> = output
            .stdout
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect();
        let json = lines.last().cloned().unwrap_or(Value::Null);
        Self {
            code: output.status.code().unwrap_or(-1),
            json,
            lines,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The answer of a verb that must have gone well.
    #[must_use]
    pub fn ok(self) -> Value {
        assert_eq!(self.code, 0, "{}\n{}", self.stderr, self.json);
        self.json
    }

    /// The stable code of a verb that must have failed with this exit code.
    #[must_use]
    pub fn error(self, code: i32) -> String {
        assert_eq!(self.code, code, "{}\n{}", self.stderr, self.json);
        let error = &self.json["error"];
        assert!(error["message"].is_string() && error["hint"].is_string(), "{}", self.json);
        error["code"].as_str().expect("errors have a code").to_owned()
    }
}

/// One appliance with one machine.
#[derive(Debug)]
pub struct Appliance {
    pub folder: PathBuf,
    pub state: PathBuf,
    pub pool: PathBuf,
    pub agent_state: PathBuf,
    /// Whose rights the agent has; those of the test if none is named.
    pub agent_user: Option<u32>,
    address: String,
    daemon: Option<Child>,
    watch: Option<Watch>,
    agent: Option<Child>,
    proxy: Option<Proxy>,
}

impl Appliance {
    /// Nothing is started yet.
    #[must_use]
    pub fn new(scratch: &Scratch) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = listener.local_addr().expect("a listener has an address").port();
        let folder = scratch.path().to_path_buf();
        Self {
            state: folder.join("state"),
            pool: folder.join("pool.img"),
            agent_state: folder.join("agent"),
            address: format!("127.0.0.1:{port}"),
            folder,
            agent_user: None,
            daemon: None,
            watch: None,
            agent: None,
            proxy: None,
        }
    }

    /// With a pool of `mib` MiB, a running daemon, and an enrolled agent named `m`.
    #[must_use]
    pub fn ready(scratch: &Scratch, mib: u64) -> Self {
        let mut appliance = Self::new(scratch);
        appliance.make_ready(mib);
        appliance
    }

    /// As [`ready`](Self::ready), with a wire between agent and daemon that can be cut.
    #[must_use]
    pub fn ready_by_proxy(scratch: &Scratch, mib: u64) -> Self {
        let mut appliance = Self::new(scratch);
        appliance.proxy = Some(Proxy::start(appliance.address.clone()));
        appliance.make_ready(mib);
        appliance
    }

    /// # Panics
    /// If there is no proxy.
    #[must_use]
    pub fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("the appliance was made with a proxy")
    }

    pub fn make_ready(&mut self, mib: u64) {
        let disk = format!("{}:{mib}MiB", self.pool.display());
        let _ = self.ask(&["pool", "create", "--disk", &disk]).ok();
        self.start_daemon();
        self.enrol("m", &self.agent_state);
        self.start_agent();
    }

    /// Enrols a machine of this name with its own state directory.
    pub fn enrol(&self, name: &str, state: &Path) {
        let token = self.ask(&["machine", "token", name]).ok();
        let word = |key: &str| token[key].as_str().expect("a token has this").to_owned();
        let url = match &self.proxy {
            Some(proxy) => format!("keelhold://127.0.0.1:{}", proxy.port),
            None => word("url"),
        };
        let enrolled = agent_ask(state, &["enroll", &url, &word("token")]);
        assert_eq!(enrolled.code, 0, "{}", enrolled.stderr);
    }

    /// HOST:PORT for agents.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Processes of the daemon and of the agent, while they run.
    #[must_use]
    pub fn pids(&self) -> (Option<u32>, Option<u32>) {
        (self.daemon.as_ref().map(Child::id), self.agent.as_ref().map(Child::id))
    }

    pub fn ask(&self, args: &[&str]) -> Answer {
        let mut command = Command::new(program("keelhold"));
        command.arg("--state").arg(&self.state).args(["--json", "--yes"]).args(args);
        Answer::of(&command.stdin(Stdio::null()).output().expect("the program starts"))
    }

    pub fn agent_ask(&self, args: &[&str]) -> Answer {
        agent_ask(&self.agent_state, args)
    }

    /// The most memory the running daemon has taken so far, in bytes (VmHWM).
    #[must_use]
    pub fn daemon_memory_max(&self) -> u64 {
        memory_max(self.daemon.as_ref())
    }

    #[must_use]
    pub fn agent_memory_max(&self) -> u64 {
        memory_max(self.agent.as_ref())
    }

    /// A verb that goes on by itself.
    #[must_use]
    pub fn start(&self, args: &[&str]) -> Child {
        let mut command = Command::new(program("keelhold"));
        command.arg("--state").arg(&self.state).args(["--json", "--yes"]).args(args);
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        quiet.spawn().expect("the program starts")
    }

    /// What the machine itself decides; for agents started from now on.
    pub fn set_agent_toml(&self, text: &str) {
        fs::write(self.agent_state.join("agent.toml"), text).expect("the state can be written");
    }

    fn log(&self, name: &str) -> File {
        let path = self.folder.join(name);
        File::options().create(true).append(true).open(path).expect("a log can be written")
    }

    /// Nothing is to be backed up by itself unless a test says so: tests run at noon, too.
    fn without_default_group(&self) {
        let path = self.state.join("config.toml");
        if !path.exists() {
            fs::create_dir_all(&self.state).expect("the state can be made");
            fs::write(path, "[groups]\ndefault_group = false\n").expect("the state can be written");
        }
    }

    /// Starts the daemon without waiting for it.
    pub fn spawn_daemon(&mut self) {
        self.without_default_group();
        let mut command = Command::new(program("keelhold"));
        command.arg("--state").arg(&self.state).args(["serve", "--agents", &self.address]);
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = quiet.stderr(self.log("daemon.log")).spawn();
        self.daemon = Some(child.expect("the daemon starts"));
    }

    /// As [`spawn_daemon`](Self::spawn_daemon), and reads which phases the pool is in.
    pub fn spawn_watched(&mut self, trap: Option<Trap>) {
        self.without_default_group();
        let mut command = Command::new(program("keelhold"));
        command.arg("--state").arg(&self.state).args(["serve", "--agents", &self.address]);
        command.env("KEELHOLD_LOG", watch::LOG_LEVEL).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the daemon starts");
        let said = child.stderr.take().expect("it was asked for");
        self.watch = Some(Watch::start(&child, said, self.log("daemon.log"), trap));
        self.daemon = Some(child);
    }

    /// The watch over a daemon that was started watched.
    #[must_use]
    pub fn watch(&self) -> &Watch {
        self.watch.as_ref().expect("the daemon is watched")
    }

    /// SIGKILL for a watched daemon, if it still lives: what it was at.
    pub fn kill_watched(&mut self) -> Death {
        let watch = self.watch.take().expect("the daemon is watched");
        watch.disarm();
        self.kill_daemon();
        watch.death()
    }

    pub fn start_daemon(&mut self) {
        self.spawn_daemon();
        self.until("the daemon answers", |own| own.ask(&["status"]).json["sentence"].is_string());
    }

    /// Waits for a spawned daemon; false if it ended instead of answering.
    pub fn daemon_answers_or_ends(&mut self) -> bool {
        let began = Instant::now();
        loop {
            let ended = |daemon: &mut Child| daemon.try_wait().is_ok_and(|status| status.is_some());
            if self.daemon.as_mut().is_none_or(ended) {
                return false;
            }
            if self.ask(&["status"]).json["sentence"].is_string() {
                return true;
            }
            assert!(began.elapsed() < PATIENCE, "the daemon stands still\n{}", self.last_words());
        }
    }

    pub fn start_agent(&mut self) {
        self.spawn_agent();
        self.agent_connected();
    }

    pub fn spawn_agent(&mut self) {
        let mut command = Command::new(program("keelhold-agent"));
        command.arg("--state").arg(&self.agent_state).arg("run");
        if let Some(user) = self.agent_user {
            command.uid(user).gid(user);
        }
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = quiet.stderr(self.log("agent.log")).spawn();
        self.agent = Some(child.expect("the agent starts"));
    }

    pub fn agent_connected(&self) {
        self.machine_connected("m");
    }

    pub fn machine_connected(&self, name: &str) {
        self.until("the agent is connected", |own| {
            let machines = own.ask(&["machine", "list"]).json;
            let mut machines = machines.as_array().into_iter().flatten();
            machines.any(|machine| machine["name"] == name && machine["connected"] == true)
        });
    }

    /// Asks again until it is so.
    pub fn until(&self, what: &str, is_so: impl FnMut(&Self) -> bool) {
        self.until_every(ASK_AGAIN, what, is_so);
    }

    /// As [`until`](Self::until), for what lasts a few milliseconds.
    pub fn closely_until(&self, what: &str, is_so: impl FnMut(&Self) -> bool) {
        self.until_every(ASK_CLOSELY, what, is_so);
    }

    fn until_every(&self, pause: Duration, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let began = Instant::now();
        while !is_so(self) {
            assert!(began.elapsed() < PATIENCE, "waited for: {what}\n{}", self.last_words());
            std::thread::park_timeout(pause);
        }
    }

    fn last_words(&self) -> String {
        let tail = |name: &str| {
            let text = fs::read_to_string(self.folder.join(name)).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            format!("{name}:\n{}\n", lines[lines.len().saturating_sub(15)..].join("\n"))
        };
        tail("daemon.log") + &tail("agent.log")
    }

    /// SIGKILL.
    pub fn kill_daemon(&mut self) {
        kill(&mut self.daemon);
    }

    pub fn kill_agent(&mut self) {
        kill(&mut self.agent);
    }

    /// SIGTERM, and waits for the end.
    pub fn stop_daemon(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let pid = rustix::process::Pid::from_child(&daemon);
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            let status = daemon.wait().expect("the daemon ends");
            assert!(status.success(), "{status}\n{}", self.last_words());
        }
    }

    /// Names `tree` as the source `m/t`.
    pub fn protect(&self, tree: &Path) {
        let tree = tree.display().to_string();
        let _ = self.ask(&["source", "add", "m", "t", "--tree", &tree]).ok();
    }

    /// A backup that waits for its end; gives the result.
    pub fn backup(&self, source: &str) -> Value {
        let answer = self.ask(&["backup", source, "--wait"]);
        assert!(matches!(answer.code, 0 | 3), "{answer:?}\n{}", self.last_words());
        answer.json
    }

    pub fn restore(&self, point: &str, to: &Path) -> Value {
        let answer = self.ask(&["restore", point, "--to", &to.display().to_string()]);
        assert!(matches!(answer.code, 0 | 3), "{answer:?}\n{}", self.last_words());
        answer.json
    }
}

fn agent_ask(state: &Path, args: &[&str]) -> Answer {
    let mut command = Command::new(program("keelhold-agent"));
    command.arg("--state").arg(state).arg("--json").args(args);
    Answer::of(&command.stdin(Stdio::null()).output().expect("the program starts"))
}

fn memory_max(child: Option<&Child>) -> u64 {
    let pid = child.expect("it runs").id();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.expect("the kernel says so") << 10
}

fn kill(child: &mut Option<Child>) {
    if let Some(mut child) = child.take() {
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        self.kill_daemon();
        self.kill_agent();
    }
}
