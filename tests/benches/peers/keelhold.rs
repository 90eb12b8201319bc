//! Keelhold as it is shipped: the daemon, an agent on each of two machines, TLS on loopback, a pool
//! in a file.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use keelhold_tests::appliance::{Appliance, Scratch, program};
use serde_json::Value;

use super::measure::{forget_peak, output, peak_memory};
use super::tool::{Machine, Peaks, Tool, Trees};
use super::tree::list;

pub struct Keelhold {
    appliance: Appliance,
    second: Child,
    restores: usize,
    // Behind the processes that work in it.
    scratch: Scratch,
}

impl Keelhold {
    pub fn new(trees: &Trees, pool_mib: u64) -> Self {
        let scratch = Scratch::new("peers-keelhold");
        let appliance = Appliance::ready(&scratch, pool_mib);
        let second = second_agent(&appliance, &scratch);
        for (machine, tree) in [("m", &trees.first), ("second", &trees.second)] {
            let _ = appliance.ask(&["source", "add", machine, "t", "--tree", &text(tree)]).ok();
        }
        Self { appliance, second, restores: 0, scratch }
    }

    fn restore_to(&mut self, args: &[&str]) {
        let answer = self.appliance.ask(&[&["restore", "m/t@latest"], args].concat()).ok();
        assert_eq!(answer["result"], "ok", "{answer}");
    }

    fn pool(&self) -> Value {
        self.appliance.ask(&["pool", "status"]).ok()
    }

    fn number(&self, key: &str) -> u64 {
        self.pool()[key].as_u64().expect("the pool tells its sizes")
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn second_agent(appliance: &Appliance, scratch: &Scratch) -> Child {
    let state = scratch.path().join("second-agent");
    let token = appliance.ask(&["machine", "token", "second"]).ok();
    let word = |key: &str| token[key].as_str().expect("a token has this").to_owned();
    let agent = |args: &[&str]| {
        let mut command = Command::new(program("keelhold-agent"));
        command.arg("--state").arg(&state).args(args).stdin(Stdio::null());
        command
    };
    let _ = output(&mut agent(&["enroll", &word("url"), &word("token")]));
    let mut run = agent(&["run"]);
    let second = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    appliance.until("the second agent is connected", |own| {
        let list = own.ask(&["machine", "list"]).json;
        list.as_array().is_some_and(|all| all.iter().all(|one| one["connected"] == true))
    });
    second.expect("the second agent starts")
}

impl Tool for Keelhold {
    fn name(&self) -> &'static str {
        "keelhold"
    }

    fn pids(&self) -> Vec<u32> {
        let (daemon, agent) = self.appliance.pids();
        daemon.into_iter().chain(agent).chain([self.second.id()]).collect()
    }

    fn forget_peaks(&self) {
        self.pids().into_iter().for_each(forget_peak);
    }

    fn peaks(&self) -> Option<Peaks> {
        let (daemon, agent) = self.appliance.pids();
        let agent = peak_memory(agent?).max(peak_memory(self.second.id()));
        Some(Peaks { agent, daemon: peak_memory(daemon?) })
    }

    /// What the kernel counted on the daemon's connections, TLS included.
    fn wire_bytes(&self) -> Option<u64> {
        let port = self.appliance.address().rsplit_once(':')?.1.to_owned();
        let mut ss = Command::new("ss");
        ss.args(["-Htin", "state", "established", &format!("( sport = :{port} )")]);
        let said = String::from_utf8(ss.output().ok()?.stdout).ok()?;
        let word = |word: &str| -> Option<u64> {
            let (name, value) = word.split_once(':')?;
            matches!(name, "bytes_sent" | "bytes_received").then(|| value.parse().ok())?
        };
        Some(said.split_whitespace().filter_map(word).sum())
    }

    fn backup(&mut self, machine: Machine) {
        let source = match machine {
            Machine::First => "m/t",
            Machine::Second => "second/t",
        };
        let answer = self.appliance.backup(source);
        assert_eq!(answer["result"], "ok", "{answer}");
    }

    fn restore(&mut self) -> PathBuf {
        self.restores += 1;
        let target = self.scratch.path().join(format!("restored-{}", self.restores));
        self.restore_to(&["--to", &text(&target)]);
        target
    }

    fn restore_through_agent(&mut self) -> Option<PathBuf> {
        self.restores += 1;
        let name = format!("restored-{}", self.restores);
        self.restore_to(&["--machine", "m", "--to", &name]);
        Some(self.appliance.agent_state.join("restore").join(name))
    }

    fn one_file(&mut self, path: &Path) -> Vec<u8> {
        let mut command = Command::new(program("keelhold"));
        command.arg("--state").arg(&self.appliance.state);
        output(command.args(["export", "m/t@latest", "--raw", "-", "--path"]).arg(path))
    }

    /// The whole of a pool is proved while nobody works in it.
    fn before_verify(&mut self) {
        self.appliance.stop_daemon();
    }

    fn verify(&mut self) {
        let answer = self.appliance.ask(&["pool", "check", "--disk", &text(&self.appliance.pool)]);
        let _ = answer.ok();
    }

    fn after_verify(&mut self) {
        self.appliance.start_daemon();
        self.appliance.agent_connected();
    }

    fn stored(&self) -> u64 {
        self.number("bytes_used")
    }

    fn index_bytes(&self) -> Option<u64> {
        Some(self.number("index_bytes"))
    }

    fn notes(&self) -> Vec<String> {
        let (state, agent) = (list(&self.appliance.state), list(&self.appliance.agent_state));
        vec![
            format!("index in memory: {} bytes", self.number("index_bytes")),
            format!("state directory of the daemon: {} bytes, can be made again", state.blocks),
            format!("state directory of the agent: {} bytes, can be made again", agent.blocks),
        ]
    }
}

impl Drop for Keelhold {
    fn drop(&mut self) {
        let _ = self.second.kill();
        let _ = self.second.wait();
    }
}
