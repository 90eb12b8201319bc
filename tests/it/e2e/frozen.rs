//! A source on btrfs is read from a snapshot: what is written meanwhile is of one moment, and the
//! snapshot is gone however the backup ends.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use keelhold_tests::appliance::{Appliance, Scratch};
use keelhold_tests::chance::Chance;
use serde_json::Value;

const PLACE: &str = ".keelhold-snapshots";
/// Between the two files of the database, in path order.
const FILES: usize = 8;
const FILE_LEN: usize = 6 << 20;
/// Backups that are begun until one is caught in the middle.
const TRIES: u32 = 30;

/// A btrfs in a file.
struct Mounted(PathBuf);

impl Mounted {
    /// None where this user may not mount.
    fn new(scratch: &Scratch) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("not tested: only root mounts");
            return None;
        }
        let (image, at) = (scratch.path().join("btrfs.img"), scratch.path().join("btrfs"));
        File::create(&image).unwrap().set_len(1 << 30).unwrap();
        fs::create_dir(&at).unwrap();
        let run = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        run("mkfs.btrfs", &["-q", image.to_str().unwrap()]);
        run("mount", &["-o", "loop", image.to_str().unwrap(), at.to_str().unwrap()]);
        Some(Self(at))
    }

    /// Snapshots of the agent that are there.
    fn snapshots(&self) -> usize {
        fs::read_dir(self.0.join(PLACE)).map_or(0, Iterator::count)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Writes a number to the first file, then to the last, then the next number: at every moment both
/// are the same, or the first is one ahead.
struct Database {
    ends: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Database {
    fn start(tree: &Path) -> Self {
        let open = |name: &str| {
            let mut how = File::options();
            let file = how.create(true).truncate(false).write(true).open(tree.join(name)).unwrap();
            file.write_all_at(&[0; 8], 0).unwrap();
            file
        };
        let (first, last) = (open("0-first"), open("9-last"));
        let (ends, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (theirs, count) = (Arc::clone(&ends), Arc::clone(&written));
        let thread = std::thread::spawn(move || {
            for number in 1u64.. {
                if theirs.load(Ordering::Relaxed) {
                    return;
                }
                first.write_all_at(&number.to_le_bytes(), 0).unwrap();
                last.write_all_at(&number.to_le_bytes(), 0).unwrap();
                count.store(number, Ordering::Relaxed);
                // A thousand or so a second: the file system is there for the backup, too.
                std::thread::park_timeout(std::time::Duration::from_millis(1));
            }
        });
        Self { ends, written, thread: Some(thread) }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn fill(tree: &Path, chance: &mut Chance) {
    for number in 0..FILES {
        fs::write(tree.join(format!("5-{number}")), chance.noise(FILE_LEN)).unwrap();
    }
}

/// The two numbers in a point.
fn numbers(appliance: &Appliance, point: &str) -> (u64, u64) {
    let number = |name: &str| {
        let bytes = appliance.content(point, name).unwrap();
        u64::from_le_bytes(bytes.try_into().unwrap())
    };
    (number("0-first"), number("9-last"))
}

fn consistency(appliance: &Appliance, point: &str) -> Value {
    appliance.get(&format!("/points/{point}")).unwrap()["consistency"].clone()
}

#[test]
fn files_written_in_lock_step_are_of_one_moment_and_the_snapshot_goes_on_every_way() {
    let mut chance = Chance::of_suite("frozen");
    let scratch = Scratch::new("frozen");
    let Some(mounted) = Mounted::new(&scratch) else { return };
    let tree = mounted.0.clone();
    fill(&tree, &mut chance);
    let database = Database::start(&tree);
    let mut appliance = Appliance::ready(&scratch, 1024);
    appliance.kill_agent();
    appliance.set_agent_toml("[server]\nreconnect_max_ms = 40\n");
    appliance.start_agent();
    appliance.protect(&tree);

    let before = database.written.load(Ordering::Relaxed);
    let job = appliance.backup_after(0, "m/t");
    let during = database.written.load(Ordering::Relaxed) - before;
    assert_eq!(job["result"], "ok", "{job}");
    let point = job["point"].as_str().unwrap();
    let (first, last) = numbers(&appliance, point);
    println!("first {first}, last {last}; {during} written while the backup ran");
    assert!(during > 10, "the database stood still");
    assert!(first == last || first == last + 1, "first {first}, last {last}");
    assert_eq!(consistency(&appliance, point), "crash");
    assert_eq!(mounted.snapshots(), 0);
    assert!(appliance.content(point, PLACE).is_none(), "a point does not show the place");

    cancelled(&appliance, &mounted, &mut chance);
    killed(&mut appliance, &mounted, &mut chance);
    live(&mut appliance, &mounted);
}

fn last_job(appliance: &Appliance) -> u64 {
    appliance.get("/jobs").unwrap()[0]["id"].as_u64().unwrap()
}

/// Backups of changed files, until one is caught while it reads from a snapshot: on a machine that is busy
/// one may have ended before anybody looked.
fn begin(appliance: &Appliance, mounted: &Mounted, chance: &mut Chance) -> u64 {
    for _ in 0..TRIES {
        let before = last_job(appliance);
        fill(&mounted.0, chance);
        let request = serde_json::json!({ "queue": true, "check": false });
        let _ = appliance.post("/sources/m/t/backup", &request).unwrap();
        let mut is_read = false;
        appliance.closely_until("a snapshot is read, or it is over", |own| {
            is_read = mounted.snapshots() == 1;
            is_read || is_over(own, before)
        });
        if is_read {
            return before;
        }
    }
    panic!("no snapshot was seen in {TRIES} backups");
}

/// Whether a job after this one has ended.
fn is_over(appliance: &Appliance, before: u64) -> bool {
    let job = &appliance.get("/jobs").unwrap()[0];
    job["id"].as_u64().unwrap() > before && job["state"] == "done"
}

fn cancelled(appliance: &Appliance, mounted: &Mounted, chance: &mut Chance) {
    let before = begin(appliance, mounted, chance);
    let job = last_job(appliance);
    let _ = appliance.post(&format!("/jobs/{job}/cancel"), &Value::Null);
    let ended = appliance.backup_after(before, "m/t");
    println!("cancelled: {}", ended["result"]);
    appliance.until("the snapshot is gone", |_| mounted.snapshots() == 0);
}

fn killed(appliance: &mut Appliance, mounted: &Mounted, chance: &mut Chance) {
    let mut tries = 0;
    let before = loop {
        let before = begin(appliance, mounted, chance);
        appliance.kill_agent();
        if mounted.snapshots() == 1 {
            break before;
        }
        // It came to its end just then.
        tries += 1;
        assert!(tries < TRIES, "no backup was killed while it read from a snapshot");
        appliance.start_agent();
        let _ = appliance.backup_after(before, "m/t");
    };
    println!("a killed agent leaves its snapshot: nobody else takes it away");
    // Somebody else's, in the same place: it stays.
    fs::create_dir(mounted.0.join(PLACE).join("theirs")).unwrap();
    appliance.start_agent();
    let job = appliance.backup_after(before, "m/t");
    assert_eq!(job["result"], "ok", "{job}");
    assert_eq!(mounted.snapshots(), 1);
    fs::remove_dir(mounted.0.join(PLACE).join("theirs")).unwrap();
    let point = job["point"].as_str().unwrap();
    let (first, last) = numbers(appliance, point);
    assert!(first == last || first == last + 1, "first {first}, last {last}");
}

/// The machine decides: without snapshots the column says so.
fn live(appliance: &mut Appliance, mounted: &Mounted) {
    let before = last_job(appliance);
    appliance.kill_agent();
    appliance.set_agent_toml("[snapshot]\nenabled = false\n[server]\nreconnect_max_ms = 40\n");
    appliance.start_agent();
    let job = appliance.backup_after(before, "m/t");
    let point = job["point"].as_str().unwrap();
    let (first, last) = numbers(appliance, point);
    println!("live: first {first}, last {last}");
    assert_eq!(consistency(appliance, point), "none");
    assert_eq!(mounted.snapshots(), 0);
}
