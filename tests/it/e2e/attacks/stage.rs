//! An appliance with an honest machine `m`, and a machine `thief` that was honest once.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use keelhold_daemon::authority::Authority;
use keelhold_daemon::clock::{SharedClock, SystemClock};
use keelhold_daemon::pool_open;
use keelhold_daemon::record::{AUTHORITY, AuthorityRecord};
use keelhold_daemon::state_dir::StateDir;
use keelhold_daemon::store::Store;
use keelhold_tests::appliance::{Appliance, Scratch};
use keelhold_tests::liar::{Ending, Liar, Papers, noise};
use keelhold_tree::listing::compare;

use super::MEMORY_MAX;

/// What the honest machine would not like others to know of.
pub const SECRET_LEN: usize = 50_000;

pub fn secret() -> Vec<u8> {
    noise(77, SECRET_LEN)
}

pub struct Stage {
    pub appliance: Appliance,
    pub thief: Papers,
    pub thief_id: String,
    /// The appliance's own, as only its pool has it: to forge what no attacker could.
    pub authority: Authority,
    scratch: Scratch,
    round: u64,
}

impl Stage {
    pub fn open() -> Self {
        let scratch = Scratch::new("attacks");
        let tree = scratch.path().join("tree");
        fs::create_dir_all(&tree).unwrap();
        fs::write(tree.join("secret"), secret()).unwrap();
        let mut appliance = Appliance::ready(&scratch, 2048);
        appliance.protect(&tree);
        assert_eq!(appliance.backup("m/t")["result"], "ok");
        let state = scratch.path().join("thief");
        appliance.enrol("thief", &state);
        for name in ["t", "s1", "s2", "s3", "s4", "s5", "s6", "s7"] {
            let _ = appliance.ask(&["source", "add", "thief", name, "--tree", "/"]).ok();
        }
        appliance.stop_daemon();
        let authority = authority(&appliance.state);
        appliance.start_daemon();
        appliance.agent_connected();
        let machines = appliance.ask(&["machine", "list"]).ok();
        let thief_id = machines[1]["id"].as_str().unwrap().to_owned();
        let thief = Papers::of_machine(&state, appliance.address());
        let stage = Self { appliance, thief, thief_id, authority, scratch, round: 0 };
        stage.honest_thief();
        stage
    }

    /// Its first and legal point, the basis of its lies.
    fn honest_thief(&self) {
        let mut liar = self.session();
        let bytes = noise(1, 9_000);
        liar.offer(&bytes);
        assert_eq!(liar.want().wanted.count(), 1);
        liar.plain_frame(&bytes);
        liar.finish();
        assert_eq!(liar.ending(), Ending::Committed);
        self.wait_for_the_end_of(liar.job());
    }

    /// The thief, connected, with a job it has just been given.
    pub fn session(&self) -> Liar {
        let mut liar = Liar::greeted(&self.thief);
        let _ = self.appliance.ask(&["backup", "thief/t", "--queue"]).ok();
        liar.wait_for_job();
        liar
    }

    pub fn points(&self) -> usize {
        let points = self.appliance.ask(&["point", "list"]).ok();
        let of_thief = |point: &&serde_json::Value| {
            point["source"].as_str().is_some_and(|source| source.starts_with("thief/"))
        };
        points.as_array().unwrap().iter().filter(of_thief).count()
    }

    pub fn wait_for_the_end_of(&self, job: u64) {
        let job = job.to_string();
        self.appliance.until("the job is over", |own| {
            own.ask(&["job", "show", &job]).json["state"] == "done"
        });
    }

    /// The honest machine's backup works; says so.
    pub fn still_serves(&mut self, name: &str, ending: Ending) -> String {
        self.round += 1;
        let path = self.scratch.path().join("tree/changes");
        fs::write(path, noise(1_000 + self.round, 3_000)).unwrap();
        // Strangers may have taken every place at the door for a while.
        self.appliance.agent_connected();
        let result = self.appliance.backup("m/t");
        assert_eq!(result["result"], "ok", "after {name}: {result}");
        let memory = self.appliance.daemon_memory_max();
        assert!(memory < MEMORY_MAX, "after {name}: {} MiB", memory >> 20);
        let ending = match ending {
            Ending::Refused(code) => format!("KH-E{code:04}"),
            Ending::Cut => String::from("cut off"),
            Ending::Committed => String::from("a legal point"),
        };
        format!("{name}: {ending}")
    }

    /// Everything honest is there and right, and so is the pool.
    pub fn close(mut self) {
        let target = self.scratch.path().join("restored");
        assert_eq!(self.appliance.restore("m/t@latest", &target)["result"], "ok");
        assert!(compare(&self.scratch.path().join("tree"), &target).unwrap().is_empty());
        self.appliance.stop_daemon();
        let disk = self.appliance.pool.display().to_string();
        let _ = self.appliance.ask(&["pool", "check", "--disk", &disk]).ok();
    }
}

/// Read out of the pool while no daemon has it.
fn authority(state: &Path) -> Authority {
    let disks = StateDir::new(state.to_owned()).disks().unwrap().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (record, thread) = runtime.block_on(async {
        let clock: SharedClock = Arc::new(SystemClock);
        let sizes = pool_open::PoolSizes { workers: 1, index_budget: u64::MAX };
        let pool = pool_open::start(disks, sizes, None, Arc::clone(&clock)).await.unwrap();
        let store = Store::new(pool.handle, clock);
        let record: Option<AuthorityRecord> = store.record(AUTHORITY).await.unwrap();
        (record.unwrap(), pool.thread)
    });
    thread.join().unwrap();
    Authority::open(&record).unwrap()
}
