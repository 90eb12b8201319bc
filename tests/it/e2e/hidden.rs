//! Changes that hide: size and mtime as before, another name's inode, bytes stored through a mapping,
//! writes within the tick of the read. The next ordinary backup finds every one of them.

mod kinds;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use keelhold_tests::appliance::{Appliance, Scratch};
use keelhold_tests::chance::Chance;
use keelhold_tests::rig::campaign;
use keelhold_tree::listing::compare;
use keelhold_tree::removal::remove_tree;
use kinds::{Case, Kind, rewrite};

const ROUNDS: u64 = 10;
/// Cases of a round that change between two backups, and such that are written all the time while
/// the first of them reads.
const QUIET: usize = 45;
const RESTLESS: usize = 5;
/// Younger files are read again whatever they look like: they would hide nothing.
const SETTLED: Duration = Duration::from_millis(60);

fn case_dir(round: &Path, number: usize) -> std::path::PathBuf {
    round.join(format!("c{number:02}"))
}

/// Rewrites files of the same size, mtime put back, until told to stop. Gives the rewrites.
fn write_restlessly(files: &[std::path::PathBuf], stop: &AtomicBool, mut chance: Chance) -> u64 {
    let mut writes = 0;
    while !stop.load(Ordering::Relaxed) {
        for path in files {
            rewrite(path, &mut chance);
            writes += 1;
        }
    }
    writes
}

struct Rounds {
    appliance: Appliance,
    tree: std::path::PathBuf,
    restored: std::path::PathBuf,
    chance: Chance,
    found: BTreeMap<Kind, u64>,
    restless_writes: u64,
}

impl Rounds {
    fn round(&mut self, number: u64) {
        let dir = self.tree.join(format!("r{number:02}"));
        let kinds: Vec<Kind> = (0..QUIET).map(|case| Kind::ALL[case % Kind::ALL.len()]).collect();
        let mut cases: Vec<Case> = Vec::new();
        for (case, kind) in kinds.iter().enumerate() {
            cases.push(Case::prepare(*kind, &case_dir(&dir, case), &mut self.chance));
        }
        let mut restless = Vec::new();
        for case in QUIET..QUIET + RESTLESS {
            let made = Case::prepare(Kind::Restless, &case_dir(&dir, case), &mut self.chance);
            restless.push(made.one.clone());
            cases.push(made);
        }
        let made = Instant::now();
        std::thread::park_timeout(SETTLED);
        while made.elapsed() < SETTLED {
            std::thread::park_timeout(SETTLED);
        }
        self.backup_under_writes(&restless);
        for case in &mut cases {
            case.change(&mut self.chance);
        }
        assert_eq!(self.appliance.backup("m/t")["result"], "ok");
        self.compare(number);
        // The next round's restore is of the next round's files.
        drop(remove_tree(&dir));
        for case in cases {
            *self.found.entry(case.kind).or_default() += 1;
        }
    }

    /// What was written while it was read may be torn in this point, and is named then.
    fn backup_under_writes(&mut self, files: &[std::path::PathBuf]) {
        let stop = AtomicBool::new(false);
        let chance = Chance::new(self.chance.draw());
        let writes = std::thread::scope(|scope| {
            let writer = scope.spawn(|| write_restlessly(files, &stop, chance));
            let result = self.appliance.backup("m/t");
            stop.store(true, Ordering::Relaxed);
            assert!(result["result"] == "ok" || result["result"] == "partial", "{result}");
            writer.join().unwrap()
        });
        self.restless_writes += writes;
    }

    fn compare(&self, number: u64) {
        let target = self.restored.join(number.to_string());
        assert_eq!(self.appliance.restore("m/t@latest", &target)["result"], "ok");
        let differences = compare(&self.tree, &target).unwrap();
        let said: Vec<String> = differences.iter().take(9).map(ToString::to_string).collect();
        assert!(said.is_empty(), "round {number}: missed\n{}", said.join("\n"));
        remove_tree(&target).unwrap();
    }
}

#[test]
fn every_hidden_change_is_found_by_the_next_ordinary_backup() {
    let chance = Chance::of_suite("hidden");
    let scratch = Scratch::new("hidden");
    let (tree, restored) = (scratch.path().join("tree"), scratch.path().join("restored"));
    fs::create_dir_all(&tree).unwrap();
    let appliance = Appliance::ready(&scratch, 512);
    appliance.protect(&tree);
    let found = BTreeMap::new();
    let mut rounds = Rounds { appliance, tree, restored, chance, found, restless_writes: 0 };
    for number in 0..campaign(ROUNDS) {
        rounds.round(number);
    }
    let count: u64 = rounds.found.values().sum();
    println!("{count} hidden changes found: {:?}", rounds.found);
    println!("{} writes while a backup read", rounds.restless_writes);
    assert!(count >= 500 && rounds.found.len() == Kind::ALL.len() + 1);
    // The backups were ordinary ones, which read nothing that they need not.
    std::thread::park_timeout(SETTLED);
    assert_eq!(rounds.appliance.backup("m/t")["result"], "ok");
    let again = rounds.appliance.backup("m/t");
    assert_eq!(again["bytes_read"], 0, "{again}");
}
