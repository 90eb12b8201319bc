//! Real processes: the daemon, the agent and the command line as they are shipped, in a directory of
//! their own. Killed when dropped.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A program that does not answer by then is broken, however slow the machine is.
const PATIENCE: Duration = Duration::from_secs(120);
const ASK_AGAIN: Duration = Duration::from_millis(20);

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
        let _ = fs::remove_dir_all(&path);
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
        let _ = fs::remove_dir_all(&self.0);
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
    address: String,
    daemon: Option<Child>,
    agent: Option<Child>,
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
            daemon: None,
            agent: None,
        }
    }

    /// With a pool of `mib` MiB, a running daemon, and an enrolled agent named `m`.
    #[must_use]
    pub fn ready(scratch: &Scratch, mib: u64) -> Self {
        let mut appliance = Self::new(scratch);
        let disk = format!("{}:{mib}MiB", appliance.pool.display());
        let _ = appliance.ask(&["pool", "create", "--disk", &disk]).ok();
        appliance.start_daemon();
        let token = appliance.ask(&["machine", "token", "m"]).ok();
        let word = |key: &str| token[key].as_str().expect("a token has this").to_owned();
        let enrolled = appliance.agent_ask(&["enroll", &word("url"), &word("token")]);
        assert_eq!(enrolled.code, 0, "{}", enrolled.stderr);
        appliance.start_agent();
        appliance
    }

    /// Where agents connect.
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
        let mut command = Command::new(program("keelhold-agent"));
        command.arg("--state").arg(&self.agent_state).arg("--json").args(args);
        Answer::of(&command.stdin(Stdio::null()).output().expect("the program starts"))
    }

    /// A verb that goes on by itself.
    #[must_use]
    pub fn start(&self, args: &[&str]) -> Child {
        let mut command = Command::new(program("keelhold"));
        command.arg("--state").arg(&self.state).args(["--json", "--yes"]).args(args);
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        quiet.spawn().expect("the program starts")
    }

    fn log(&self, name: &str) -> File {
        let path = self.folder.join(name);
        File::options().create(true).append(true).open(path).expect("a log can be written")
    }

    /// Starts the daemon without waiting for it.
    pub fn spawn_daemon(&mut self) {
        let mut command = Command::new(program("keelhold"));
        command.arg("--state").arg(&self.state).args(["serve", "--agents", &self.address]);
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = quiet.stderr(self.log("daemon.log")).spawn();
        self.daemon = Some(child.expect("the daemon starts"));
    }

    pub fn start_daemon(&mut self) {
        self.spawn_daemon();
        self.until("the daemon answers", |own| own.ask(&["status"]).json["sentence"].is_string());
    }

    pub fn start_agent(&mut self) {
        self.spawn_agent();
        self.agent_connected();
    }

    pub fn spawn_agent(&mut self) {
        let mut command = Command::new(program("keelhold-agent"));
        command.arg("--state").arg(&self.agent_state).arg("run");
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = quiet.stderr(self.log("agent.log")).spawn();
        self.agent = Some(child.expect("the agent starts"));
    }

    pub fn agent_connected(&self) {
        self.until("the agent is connected", |own| {
            own.ask(&["machine", "list"]).json[0]["connected"] == Value::Bool(true)
        });
    }

    /// Asks again until it is so.
    pub fn until(&self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let began = Instant::now();
        while !is_so(self) {
            assert!(began.elapsed() < PATIENCE, "waited for: {what}\n{}", self.last_words());
            std::thread::park_timeout(ASK_AGAIN);
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
