//! restic and borg, with their own defaults and repositories on the same file system.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::measure::{output, run};
use super::tool::{Machine, Tool, Trees};
use super::tree::list;

const PASSWORD: &str = "the same for both";

/// The version a program tells, or how to get it.
pub fn version(program: &str) -> Option<String> {
    let arg = if program == "restic" { "version" } else { "--version" };
    let Ok(output) = Command::new(program).arg(arg).output() else {
        let package = if program == "borg" { "borgbackup" } else { program };
        println!("NOT COMPLETE: {program} is missing; `apt-get install {package}` brings it");
        return None;
    };
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn label(machine: Machine) -> &'static str {
    match machine {
        Machine::First => "first",
        Machine::Second => "second",
    }
}

pub struct Restic {
    place: PathBuf,
    trees: Trees,
}

impl Restic {
    pub fn new(place: PathBuf, trees: Trees) -> Self {
        fs::create_dir_all(&place).expect("a directory for restic");
        let own = Self { place, trees };
        run(own.command().arg("init"));
        own
    }

    fn command(&self) -> Command {
        let mut command = Command::new("restic");
        command.env("RESTIC_PASSWORD", PASSWORD).arg("--quiet");
        command.arg("--cache-dir").arg(self.place.join("cache"));
        command.arg("--repo").arg(self.place.join("repository"));
        command
    }
}

impl Tool for Restic {
    fn name(&self) -> &'static str {
        "restic"
    }

    fn backup(&mut self, machine: Machine) {
        let mut command = self.command();
        run(command.args(["backup", "--host", label(machine)]).arg(self.trees.of(machine)));
    }

    fn restore(&mut self) -> PathBuf {
        let target = self.place.join("restored");
        let mut command = self.command();
        run(command.args(["restore", "latest", "--host", "first", "--target"]).arg(&target));
        let inside = self.trees.first.strip_prefix("/").expect("the tree's path is absolute");
        target.join(inside)
    }

    fn one_file(&mut self, path: &Path) -> Vec<u8> {
        let mut command = self.command();
        command.args(["dump", "--host", "first", "latest"]);
        output(command.arg(self.trees.first.join(path)))
    }

    fn verify(&mut self) {
        run(self.command().args(["check", "--read-data"]));
    }

    fn stored(&self) -> u64 {
        list(&self.place.join("repository")).blocks
    }
}

pub struct Borg {
    place: PathBuf,
    trees: Trees,
    archives: usize,
    newest: String,
}

impl Borg {
    pub fn new(place: PathBuf, trees: Trees) -> Self {
        fs::create_dir_all(&place).expect("a directory for borg");
        let own = Self { place, trees, archives: 0, newest: String::new() };
        run(own.command("init").args(["--encryption", "repokey"]).arg(own.repository()));
        own
    }

    fn repository(&self) -> PathBuf {
        self.place.join("repository")
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new("borg");
        command.env("BORG_PASSPHRASE", PASSWORD).env("BORG_BASE_DIR", self.place.join("home"));
        command.arg(verb);
        command
    }

    fn archive(&self, name: &str) -> String {
        format!("{}::{name}", self.repository().display())
    }
}

impl Tool for Borg {
    fn name(&self) -> &'static str {
        "borg"
    }

    fn backup(&mut self, machine: Machine) {
        self.archives += 1;
        let name = format!("{}-{}", label(machine), self.archives);
        let mut command = self.command("create");
        command.args(["--compression", "lz4"]).arg(self.archive(&name)).arg(".");
        run(command.current_dir(self.trees.of(machine)));
        if machine == Machine::First {
            self.newest = name;
        }
    }

    /// No bar asks for it, and it would be half of the run.
    fn is_daily(&self) -> bool {
        false
    }

    fn restore(&mut self) -> PathBuf {
        let target = self.place.join("restored");
        fs::create_dir_all(&target).expect("a directory to restore to");
        run(self.command("extract").arg(self.archive(&self.newest)).current_dir(&target));
        target
    }

    fn one_file(&mut self, path: &Path) -> Vec<u8> {
        let mut command = self.command("extract");
        output(command.arg("--stdout").arg(self.archive(&self.newest)).arg(path))
    }

    fn verify(&mut self) {
        run(self.command("check").arg("--verify-data").arg(self.repository()));
    }

    fn stored(&self) -> u64 {
        list(&self.repository()).blocks
    }
}
