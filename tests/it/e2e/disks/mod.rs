//! Disks of a running pool: they join, leave, are away, come back and rot, and nothing is lost.

mod degraded;
mod members;
mod refusals;

use std::fs;
use std::path::{Path, PathBuf};

use keelhold_tests::appliance::{Appliance, Scratch};
use keelhold_tests::liar::noise;
use keelhold_tree::listing::compare;
use serde_json::Value;

struct Fleet<'a> {
    scratch: &'a Scratch,
    appliance: Appliance,
    tree: PathBuf,
    /// Points, with what was in the tree then.
    points: Vec<(String, PathBuf)>,
}

impl<'a> Fleet<'a> {
    /// A running appliance over disks of these sizes in MiB, with an enrolled machine.
    fn new(scratch: &'a Scratch, mib: &[u64], copies: u16) -> Self {
        let tree = scratch.path().join("tree");
        fs::create_dir_all(&tree).unwrap();
        let appliance = Appliance::new(scratch);
        let mut fleet = Self { scratch, appliance, tree, points: Vec::new() };
        let disks: Vec<String> = (0..mib.len()).map(|at| fleet.sized(at, mib[at])).collect();
        let copies = copies.to_string();
        let mut args = vec!["pool", "create", "--copies", &copies, "--container", "1MiB"];
        disks.iter().for_each(|disk| args.extend(["--disk", disk]));
        let _ = fleet.appliance.ask(&args).ok();
        fleet.appliance.start_daemon();
        let state = fleet.appliance.agent_state.clone();
        fleet.appliance.enrol("m", &state);
        fleet.appliance.start_agent();
        fleet.appliance.protect(&fleet.tree);
        fleet
    }

    fn disk(&self, number: usize) -> PathBuf {
        self.scratch.path().join(format!("disk-{number}.img"))
    }

    fn shown(&self, number: usize) -> String {
        self.disk(number).display().to_string()
    }

    fn sized(&self, number: usize, mib: u64) -> String {
        format!("{}:{mib}MiB", self.shown(number))
    }

    /// One more file, and a point of it.
    fn back_up(&mut self, len: usize) {
        let number = self.points.len();
        fs::write(self.tree.join(format!("file-{number}")), noise(number as u64, len)).unwrap();
        let result = self.appliance.backup("m/t");
        assert_eq!(result["result"], "ok", "{result}");
        let copy = self.scratch.path().join(format!("copy-{number}"));
        fs::create_dir_all(&copy).unwrap();
        let status = std::process::Command::new("cp")
            .args(["-a", "--"])
            .arg(self.tree.join("."))
            .arg(&copy)
            .status()
            .unwrap();
        assert!(status.success());
        self.points.push((result["point"].as_str().unwrap().to_owned(), copy));
    }

    fn restores_all(&self, when: &str) {
        for (number, (point, copy)) in self.points.iter().enumerate() {
            let target = self.scratch.path().join(format!("restored-{number}"));
            let restored = self.appliance.restore(point, &target);
            assert_eq!(restored["result"], "ok", "{when}: {restored}");
            let differences = compare(copy, &target).unwrap();
            assert!(differences.is_empty(), "{when}: {differences:?}");
            fs::remove_dir_all(&target).unwrap();
        }
    }

    fn restart(&mut self) {
        self.appliance.stop_daemon();
        self.appliance.start_daemon();
        self.appliance.agent_connected();
    }

    fn pool(&self) -> Value {
        self.appliance.ask(&["pool", "status"]).ok()
    }

    /// How `pool status` calls the state of the disk at this place.
    fn state_of(&self, number: usize) -> String {
        state_in(&self.pool(), &self.disk(number))
    }

    /// The pool as a program reads it that shares nothing with the daemon but the disks.
    fn check_is_clean(&mut self, disks: &[usize]) {
        self.appliance.kill_agent();
        self.appliance.stop_daemon();
        let disks: Vec<String> = disks.iter().map(|disk| self.shown(*disk)).collect();
        let mut args = vec!["pool", "check"];
        disks.iter().for_each(|disk| args.extend(["--disk", disk]));
        let _ = self.appliance.ask(&args).ok();
    }
}

fn state_in(pool: &Value, path: &Path) -> String {
    let disks = pool["disks"].as_array().unwrap();
    let found = disks.iter().rfind(|disk| disk["path"] == path.display().to_string());
    found.map_or("none", |disk| disk["state"].as_str().unwrap()).to_owned()
}
