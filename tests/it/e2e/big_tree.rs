//! A hundred thousand real files through agent, wire and pool, and back by both ways; what an
//! unchanged tree costs on the wire; what a killed agent sends again.

mod make;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use keelhold_tests::appliance::{Appliance, Scratch};
use keelhold_tests::chance::Chance;
use keelhold_tree::listing::Listing;
use keelhold_tree::removal::remove_tree;
use make::{BYTES, FILES};
use serde_json::Value;

/// Younger files are read again whatever they look like.
const SETTLED: Duration = Duration::from_millis(60);
/// Bodies of frames that may be on their way when a connection ends; see the wire's limits.
const FRAMES_ON_THEIR_WAY: u64 = 16 << 20;

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn settle() {
    let began = Instant::now();
    while began.elapsed() < SETTLED {
        std::thread::park_timeout(SETTLED);
    }
}

/// What people would use to compare two trees.
fn rsync_differences(left: &Path, right: &Path) -> String {
    let output = Command::new("rsync")
        .args(["-aHAXSn", "--checksum", "--modify-window=-1", "--delete", "--itemize-changes"])
        .args([format!("{}/", left.display()), format!("{}/", right.display())])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Both opinions about both restores, side by side.
fn assert_same(tree: &Path, restored: &[PathBuf; 2]) {
    let listing = Listing::of(tree).unwrap();
    std::thread::scope(|scope| {
        for target in restored {
            let listing = &listing;
            scope.spawn(move || {
                let differences = listing.differences(&Listing::of(target).unwrap());
                let said: Vec<String> =
                    differences.iter().take(9).map(ToString::to_string).collect();
                assert!(said.is_empty(), "{}: {}", target.display(), said.join("\n"));
                let said = rsync_differences(tree, target);
                assert!(said.is_empty(), "{}: rsync would change\n{said}", target.display());
            });
        }
    });
}

/// Length of the plainest list of what a backup must know of every entry.
fn find_len(tree: &Path) -> u64 {
    let format = "%p %s %T@ %C@ %i %m %U %G\n";
    let output = Command::new("find").arg(tree).args(["-printf", format]).output().unwrap();
    assert!(output.status.success());
    output.stdout.len() as u64
}

struct Clock(Instant);

impl Clock {
    fn lap(&mut self, what: &str) {
        println!("{what}: {:.1} s", self.0.elapsed().as_secs_f64());
        self.0 = Instant::now();
    }
}

fn back_up_unchanged(appliance: &Appliance, tree: &Path) {
    let before = appliance.proxy().bytes();
    let again = appliance.backup("m/t");
    let after = appliance.proxy().bytes();
    assert_eq!(again["result"], "ok", "{again}");
    assert_eq!(again["bytes_read"], 0, "{again}");
    let (wire, list) = (after.0 - before.0 + after.1 - before.1, find_len(tree));
    println!("unchanged: {wire} bytes on the wire; the list of find has {list}");
    assert!(wire * 100 < list, "{wire} of {list}");
}

#[test]
fn a_hundred_thousand_real_files_come_back_by_both_ways() {
    let mut chance = Chance::of_suite("big tree");
    let scratch = Scratch::new("big");
    let (tree, there) = (scratch.path().join("tree"), scratch.path().join("agent-restore"));
    let mut clock = Clock(Instant::now());
    let made = make::big(&tree, &mut chance);
    println!("{made:?}");
    assert!(made.files >= FILES && made.bytes >= BYTES, "{made:?}");
    clock.lap("made");
    let mut appliance = Appliance::ready_by_proxy(&scratch, 6144);
    fs::create_dir_all(&there).unwrap();
    appliance.kill_agent();
    appliance.set_agent_toml(&format!("[restore]\nroot = \"{}\"\n", there.display()));
    appliance.start_agent();
    appliance.protect(&tree);
    settle();
    let first = appliance.backup("m/t");
    assert_eq!(first["result"], "ok", "{first}");
    clock.lap("backed up");
    back_up_unchanged(&appliance, &tree);
    clock.lap("backed up unchanged");
    let restored = [scratch.path().join("restored"), there.join("whole")];
    assert_eq!(appliance.restore("m/t@latest", &restored[0])["result"], "ok");
    clock.lap("restored on the appliance");
    let to = text(&restored[1]);
    let answer = appliance.ask(&["restore", "m/t@latest", "--machine", "m", "--to", &to]);
    assert_eq!(answer.ok()["result"], "ok");
    clock.lap("restored through the agent");
    assert_same(&tree, &restored);
    clock.lap("compared twice by listing and rsync");
    let trees = [&tree, &restored[0], &restored[1]];
    std::thread::scope(|scope| {
        for tree in trees {
            scope.spawn(|| remove_tree(tree));
        }
    });
    clock.lap("removed");
}

/// A tree whose bytes do not compress: what is sent is known without a second opinion.
#[test]
fn an_agent_killed_half_way_sends_nothing_twice() {
    let mut chance = Chance::of_suite("half way");
    let scratch = Scratch::new("half");
    let tree = scratch.path().join("tree");
    fs::create_dir_all(&tree).unwrap();
    let (files, len) = (1_600, 60_000);
    for number in 0..files {
        fs::write(tree.join(format!("f{number:04}")), chance.noise(len)).unwrap();
    }
    let whole = files as u64 * len as u64;
    let mut appliance = Appliance::ready_by_proxy(&scratch, 512);
    appliance.protect(&tree);
    let started = appliance.ask(&["backup", "m/t"]).ok();
    let job = started["job"].as_u64().unwrap();
    appliance.closely_until("half of it is there", |own| own.proxy().bytes().0 >= whole / 2);
    appliance.kill_agent();
    let shown = appliance.get(&format!("/jobs/{job}")).unwrap();
    assert_ne!(shown["state"], "done", "{shown}");
    let first = appliance.proxy().bytes().0;
    appliance.start_agent();
    let ended = appliance.backup_after(job - 1, "m/t");
    assert_eq!((&ended["result"], ended["id"].as_u64()), (&Value::from("ok"), Some(job)));
    let both = appliance.proxy().bytes().0;
    // Ids and attributes are said again, some 160 bytes a file, and TLS has its share.
    let said_again = files as u64 * 400 + both / 500;
    println!("{whole} bytes: {first} sent until the kill, {} afterwards", both - first);
    assert!(both <= whole + said_again + FRAMES_ON_THEIR_WAY, "sent twice");
    let target = scratch.path().join("restored");
    assert_eq!(appliance.restore("m/t@latest", &target)["result"], "ok");
    assert!(keelhold_tree::listing::compare(&tree, &target).unwrap().is_empty());
}
