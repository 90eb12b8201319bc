//! One appliance that is killed again and again, and what it must have after every kill.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use keelhold_tests::appliance::watch::{Death, Trap};
use keelhold_tests::appliance::{Appliance, Scratch};
use keelhold_tests::chance::Chance;
use keelhold_tree::listing::compare;
use serde_json::{Value, json};

use super::Moment;

const FILES: usize = 6;
const FILE_LEN: usize = 250_000;
const POOL_MIB: u64 = 192;
/// Text of a note: a few of them fill the quarter of the journal after which a checkpoint is due.
const NOTE_LEN: usize = 200 << 10;

/// Seeds of the files, which are their contents.
type Content = [u64; FILES];

pub struct Life {
    appliance: Appliance,
    chance: Chance,
    tree: PathBuf,
    scratch: PathBuf,
    now: Content,
    /// Every point that was ever listed, as it was listed, and what was in the tree.
    announced: BTreeMap<String, (Value, Content)>,
    last_job: u64,
}

fn words_of(moment: Moment) -> (&'static str, u64) {
    match moment {
        Moment::Commit => ("commit", 6),
        Moment::Recovery => ("recovery", 7),
        _ => ("checkpoint", 4),
    }
}

impl Life {
    pub fn begin(scratch: &Scratch, chance: Chance) -> Self {
        let tree = scratch.path().join("tree");
        fs::create_dir_all(&tree).unwrap();
        let mut appliance = Appliance::ready(scratch, POOL_MIB);
        appliance.protect(&tree);
        appliance.kill_agent();
        appliance.kill_daemon();
        appliance.spawn_watched(None);
        appliance.set_agent_toml("[server]\nreconnect_max_ms = 40\n");
        appliance.spawn_agent();
        let (announced, scratch) = (BTreeMap::new(), scratch.path().to_path_buf());
        let now = [0; FILES];
        let mut life = Self { appliance, chance, tree, scratch, now, announced, last_job: 0 };
        life.change();
        life.backup_ends();
        life
    }

    fn change(&mut self) {
        for (number, seed) in self.now.iter_mut().enumerate() {
            *seed = self.chance.draw();
            let bytes = Chance::new(*seed).noise(FILE_LEN);
            fs::write(self.tree.join(format!("f{number}")), bytes).unwrap();
        }
    }

    /// One backup of a changed tree, struck where `aim` says if that can be had. Gives the moments
    /// that were struck in truth.
    pub fn round(&mut self, aim: Moment) -> Vec<Moment> {
        self.change();
        let watch = self.appliance.watch();
        match aim {
            Moment::Commit | Moment::Checkpoint => {
                let (phase, words) = words_of(aim);
                let words = self.chance.below(words) as u32;
                watch.arm(Some(Trap { phase, words }));
            }
            _ => watch.arm(None),
        }
        let request = json!({ "queue": true, "check": false });
        let started = self.appliance.post("/sources/m/t/backup", &request);
        let job = started.and_then(|started| started["job"].as_u64());
        let mut struck = match aim {
            Moment::Flow if self.chance.below(3) == 0 => vec![self.kill_agent_in_flow(job)],
            Moment::Flow | Moment::Recovery => self.kill_daemon_in_flow(job),
            _ => self.wait_for_trap(job, aim),
        };
        if aim == Moment::Recovery {
            struck.extend(self.kill_in_recovery());
        }
        self.backup_ends();
        struck
    }

    /// Waits until a random share of the backup has arrived.
    fn flow(&mut self, job: Option<u64>) -> (u64, bool) {
        let wanted = 1 + self.chance.below((FILES * FILE_LEN) as u64);
        let mut seen = (0, false);
        self.appliance.closely_until("bytes flow", |own| {
            let shown = job.and_then(|job| own.get(&format!("/jobs/{job}"))).unwrap_or_default();
            seen =
                (shown["progress"]["bytes_sent"].as_u64().unwrap_or(0), shown["state"] == "done");
            seen.1 || seen.0 >= wanted
        });
        seen
    }

    fn kill_agent_in_flow(&mut self, job: Option<u64>) -> Moment {
        let (sent, over) = self.flow(job);
        self.appliance.kill_agent();
        let passed_commit = self.appliance.watch().has_seen("commit");
        self.appliance.spawn_agent();
        if sent > 0 && !over && !passed_commit { Moment::Flow } else { Moment::Beside }
    }

    fn kill_daemon_in_flow(&mut self, job: Option<u64>) -> Vec<Moment> {
        let (sent, over) = self.flow(job);
        let death = self.appliance.kill_watched();
        self.appliance.spawn_watched(None);
        vec![moment_of(&death, sent > 0 && !over)]
    }

    fn wait_for_trap(&mut self, job: Option<u64>, aim: Moment) -> Vec<Moment> {
        let point = self.announced.keys().next().cloned().unwrap();
        let (mut over, mut turn) = (false, 0);
        self.appliance.closely_until("the trap springs or the job ends", |own| {
            if aim == Moment::Checkpoint {
                turn += 1;
                let text = format!("{turn}").repeat(NOTE_LEN);
                let _ = own.post(&format!("/points/{point}/note"), &json!({ "text": text }));
            }
            let shown = job.and_then(|job| own.get(&format!("/jobs/{job}"))).unwrap_or_default();
            over = shown["state"] == "done";
            over || own.watch().sprung()
        });
        self.appliance.watch().disarm();
        if !self.appliance.watch().sprung() {
            return Vec::new();
        }
        let death = self.appliance.kill_watched();
        self.appliance.spawn_watched(None);
        vec![moment_of(&death, false)]
    }

    /// The daemon was killed and starts again; it is killed once more while it opens its pool.
    fn kill_in_recovery(&mut self) -> Option<Moment> {
        let _ = self.appliance.kill_watched();
        let (phase, words) = words_of(Moment::Recovery);
        let words = self.chance.below(words) as u32;
        self.appliance.spawn_watched(Some(Trap { phase, words }));
        self.appliance.closely_until("the trap springs or the daemon answers", |own| {
            own.watch().sprung() || own.get("/status").is_some()
        });
        if !self.appliance.watch().sprung() {
            return None;
        }
        let death = self.appliance.kill_watched();
        self.appliance.spawn_watched(None);
        Some(moment_of(&death, false))
    }

    /// Whatever was killed works again by itself: the job that ran goes on and makes one point.
    fn backup_ends(&mut self) {
        let ended = self.appliance.backup_after(self.last_job, "m/t");
        assert_eq!(ended["result"], "ok", "{ended}");
        self.last_job = ended["id"].as_u64().unwrap();
        self.check_list(&ended);
        let newest = ended["point"].as_str().unwrap().to_owned();
        let other = self.chance.below(self.announced.len() as u64) as usize;
        let other = self.announced.keys().nth(other).unwrap().clone();
        for point in [newest, other] {
            self.check_content(&point);
        }
    }

    /// What was listed is listed as it was, and one point more, the job's, with its outcome.
    fn check_list(&mut self, job: &Value) {
        let listed = self.appliance.get("/points").unwrap();
        let mut listed: BTreeMap<String, Value> = listed
            .as_array()
            .unwrap()
            .iter()
            .map(|point| (point["id"].as_str().unwrap().to_owned(), point.clone()))
            .collect();
        for (id, (was, _)) in &self.announced {
            let mut is =
                listed.remove(id).unwrap_or_else(|| panic!("{was} was announced and is gone"));
            // What follows from the points beside it.
            for now in ["note", "kept_because", "bytes_exclusive"] {
                is[now] = was[now].clone();
            }
            assert_eq!(is, *was);
        }
        let new = job["point"].as_str().unwrap();
        assert_eq!(listed.len(), 1, "a job makes one point: {listed:?}");
        let point = listed.remove(new).unwrap_or_else(|| panic!("{job} is not listed"));
        assert_eq!(point["result"], job["result"]);
        self.announced.insert(new.to_owned(), (point, self.now));
    }

    fn check_content(&self, point: &str) {
        for (number, seed) in self.announced[point].1.iter().enumerate() {
            let found = self.appliance.content(point, &format!("f{number}"));
            let wanted = Chance::new(*seed).noise(FILE_LEN);
            assert!(found == Some(wanted), "f{number} of {point} is not what was backed up");
        }
    }

    /// At the end every point is restored, and the newest compared in every respect.
    pub fn everything_restores(&mut self) -> usize {
        for (point, (_, content)) in &self.announced {
            let target = self.scratch.join("restored");
            assert_eq!(self.appliance.restore(point, &target)["result"], "ok");
            for (number, seed) in content.iter().enumerate() {
                let found = fs::read(target.join(format!("f{number}"))).unwrap();
                assert!(found == Chance::new(*seed).noise(FILE_LEN), "f{number} of {point}");
            }
            if *content == self.now {
                assert!(compare(&self.tree, &target).unwrap().is_empty(), "{point}");
            }
            fs::remove_dir_all(target).unwrap();
        }
        self.announced.len()
    }
}

/// The last phase begun and not ended decides; without one, whether bytes were flowing.
fn moment_of(death: &Death, flowing: bool) -> Moment {
    let is_in = |phase: &str| death.open.iter().any(|open| open == phase);
    match () {
        () if is_in("recovery") => Moment::Recovery,
        () if is_in("checkpoint") => Moment::Checkpoint,
        () if is_in("commit") => Moment::Commit,
        () if flowing && !death.seen.contains("commit") => Moment::Flow,
        () => Moment::Beside,
    }
}
