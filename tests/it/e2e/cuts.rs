//! The connection between agent and daemon ends after every byte of a backup's session in turn, in
//! either direction, from the first of the handshake on. The agent comes back, the backup ends, its
//! point holds what was in the tree, and nothing is there twice.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;

use keelhold_tests::appliance::proxy::{Fault, Towards};
use keelhold_tests::appliance::{Appliance, Scratch};
use keelhold_tests::chance::Chance;
use keelhold_tests::rig::campaign;
use keelhold_tree::listing::compare;
use serde_json::Value;

/// Cuts in each direction, spread evenly from a random byte on: over many runs every byte's turn
/// comes. A campaign lays them closer.
const CUTS: u64 = 130;
/// Pieces that pass twice, in each direction.
const TWICE: u64 = 16;
/// Inside its entry, and one chunk each: shorter than where content is first cut.
const LENS: [usize; 4] = [200, 2_000, 8_000, 12_000];

struct Wire {
    appliance: Appliance,
    tree: PathBuf,
    chance: Chance,
    contents: Vec<Vec<u8>>,
    last_job: u64,
    points: usize,
    /// Chunks that one backup of a changed tree adds.
    chunks_each: u64,
}

impl Wire {
    fn begin(scratch: &Scratch, chance: Chance) -> Self {
        let tree = scratch.path().join("tree");
        fs::create_dir_all(&tree).unwrap();
        let mut appliance = Appliance::ready_by_proxy(scratch, 256);
        appliance.kill_agent();
        appliance.set_agent_toml("[server]\nreconnect_max_ms = 4\n");
        appliance.start_agent();
        appliance.protect(&tree);
        let (contents, last_job, points, chunks_each) = (Vec::new(), 0, 0, 0);
        let mut wire = Self { appliance, tree, chance, contents, last_job, points, chunks_each };
        wire.backup();
        wire
    }

    fn change(&mut self) {
        self.contents = LENS.iter().map(|len| self.chance.noise(*len)).collect();
        for (number, content) in self.contents.iter().enumerate() {
            fs::write(self.tree.join(format!("f{number}")), content).unwrap();
        }
    }

    fn chunks(&self) -> u64 {
        self.appliance.get("/pool").unwrap()["chunks"].as_u64().unwrap()
    }

    /// A backup of a changed tree, whatever the wire does; gives the chunks it added.
    fn backup(&mut self) -> u64 {
        self.change();
        let before = self.chunks();
        let job = self.appliance.backup_after(self.last_job, "m/t");
        assert_eq!(job["result"], "ok", "{job}");
        self.last_job = job["id"].as_u64().unwrap();
        self.points += 1;
        let listed = self.appliance.get("/points").unwrap();
        assert_eq!(listed.as_array().map(Vec::len), Some(self.points), "one job, one point");
        let point = job["point"].as_str().unwrap();
        for (number, content) in self.contents.iter().enumerate() {
            let found = self.appliance.content(point, &format!("f{number}"));
            assert!(found.as_ref() == Some(content), "f{number} of {point}");
        }
        self.chunks() - before
    }

    /// Length of an undisturbed session in each direction, from the handshake to the end.
    fn session(&mut self) -> [(Towards, u64); 2] {
        let before = self.appliance.proxy().bytes();
        self.appliance.proxy().break_now();
        self.chunks_each = self.backup();
        let after = self.appliance.proxy().bytes();
        [(Towards::Daemon, after.0 - before.0), (Towards::Agent, after.1 - before.1)]
    }

    /// Whether the byte came before the backup was over.
    fn strike(&mut self, fault: Fault, towards: Towards, byte: u64) -> bool {
        self.appliance.proxy().reconnect_with(fault, towards, byte);
        let chunks = self.backup();
        let at = format!("{fault:?} at byte {byte} towards {towards:?}");
        assert_eq!(chunks, self.chunks_each, "{at}: something was kept twice");
        self.appliance.proxy().has_struck()
    }

    /// The same bytes once more, said by somebody else: a recorded session is worth nothing.
    fn replay(&mut self) {
        let said = self.appliance.proxy().said();
        let mut daemon = TcpStream::connect(self.appliance.address()).unwrap();
        // The daemon may hang up in the middle.
        let _ = daemon.write_all(&said);
        let _ = daemon.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = daemon.read_to_end(&mut answer);
        let jobs = self.appliance.get("/jobs").unwrap();
        assert_eq!(jobs[0]["id"].as_u64(), Some(self.last_job), "{jobs}");
        assert_eq!(self.backup(), self.chunks_each);
    }
}

#[test]
fn a_connection_cut_at_any_byte_costs_nothing_but_time() {
    let mut chance = Chance::of_suite("cuts");
    let scratch = Scratch::new("cuts");
    let mut wire = Wire::begin(&scratch, Chance::new(chance.draw()));
    let session = wire.session();
    println!("a session: {session:?}");
    let mut struck = [0u64; 2];
    for (towards, len) in session {
        for (fault, count) in [(Fault::Cut, campaign(CUTS)), (Fault::Twice, TWICE)] {
            let stride = (len / count).max(1);
            let mut byte = chance.below(stride);
            while byte < len {
                struck[usize::from(fault == Fault::Twice)] +=
                    u64::from(wire.strike(fault, towards, byte));
                byte += stride;
            }
        }
    }
    wire.replay();
    let target = scratch.path().join("restored");
    assert_eq!(wire.appliance.restore("m/t@latest", &target)["result"], Value::from("ok"));
    assert!(compare(&wire.tree, &target).unwrap().is_empty());
    println!("{} cuts, {} pieces said twice, {} points", struck[0], struck[1], wire.points);
    // Sessions differ by a few bytes; the last positions may lie beyond the end of some.
    assert!(struck[0] >= 2 * CUTS * 9 / 10 && struck[1] >= TWICE, "{struck:?}");
}
