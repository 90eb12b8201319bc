//! A reader that shares no line with the pool, written from the format's document: what it lists and
//! restores is what the appliance lists and restores, and it refuses what it cannot prove or know.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use keelhold_disk::format::{ChecksumKey, Head, Label, Magic, Place, Superblock};
use keelhold_disk::units::{BLOCK, BLOCK_U64};
use keelhold_tests::appliance::{Appliance, Scratch};
use keelhold_tests::chance::Chance;
use keelhold_tests::repository;
use keelhold_tests::rig::campaign;
use keelhold_tree::listing::{Difference, compare};
use keelhold_tree::removal::remove_tree;
use keelhold_tree::torture;
use serde_json::Value;

/// What the appliance adds to a point that is not in the pool.
const NOT_STORED: [&str; 4] = ["places", "bytes_exclusive", "kept_because", "expires_at"];
const FLIPS: u64 = 40;

struct Said {
    ok: bool,
    json: Value,
    error: String,
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// The Python that `tests/run` made ready beside the programs.
fn reader(verb: &str, disks: &[PathBuf], rest: &[&str]) -> Said {
    let test = std::env::current_exe().unwrap();
    let python = test.ancestors().nth(3).unwrap().join("reader-venv/bin/python");
    assert!(python.exists(), "{} is missing: tests/run makes it", python.display());
    let program = repository().join("tests/reader/keelhold_reader.py");
    let mut command = Command::new(python);
    command.arg("-B").arg(program).arg(verb).args(disks).args(rest);
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!error.contains("Traceback"), "{error}");
    let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    Said { ok: output.status.success(), json, error }
}

fn restored(disks: &[PathBuf], point: &str, to: &Path) -> Said {
    reader("restore", disks, &["--point", point, "--to", &text(to)])
}

fn listed(disks: &[PathBuf]) -> Value {
    let said = reader("list", disks, &[]);
    assert!(said.ok, "{}", said.error);
    said.json
}

/// The list of the second reader says of every point what the appliance says.
fn assert_same_list(own: &Value, theirs: &Value) {
    let (own, theirs) = (own.as_array().unwrap(), theirs["points"].as_array().unwrap());
    assert_eq!(own.len(), theirs.len());
    for (own, theirs) in own.iter().zip(theirs) {
        let mut own = own.as_object().unwrap().clone();
        own.retain(|key, _| !NOT_STORED.contains(&key.as_str()));
        let mut theirs = theirs.as_object().unwrap().clone();
        theirs.retain(|key, _| own.contains_key(key));
        assert_eq!(own, theirs);
    }
}

fn differences(left: &Path, right: &Path) -> Vec<String> {
    compare(left, right).unwrap().iter().take(20).map(Difference::to_string).collect()
}

/// An appliance, the disks of its pool, and a tree that is its source `m/t`.
struct Stage {
    scratch: Scratch,
    appliance: Appliance,
    disks: Vec<PathBuf>,
    tree: PathBuf,
}

impl Stage {
    fn new(name: &str, disk_count: usize, mib: u64) -> Self {
        let scratch = Scratch::new(name);
        let tree = scratch.path().join("tree");
        fs::create_dir_all(&tree).unwrap();
        let mut appliance = Appliance::new(&scratch);
        let disks: Vec<PathBuf> =
            (0..disk_count).map(|n| scratch.path().join(format!("disk-{n}.img"))).collect();
        let mut args = vec!["pool".to_owned(), "create".to_owned()];
        for disk in &disks {
            args.extend(["--disk".to_owned(), format!("{}:{mib}MiB", disk.display())]);
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let _ = appliance.ask(&args).ok();
        appliance.start_daemon();
        appliance.enrol("m", &appliance.agent_state);
        appliance.start_agent();
        let _ = appliance.ask(&["source", "add", "m", "t", "--tree", &text(&tree)]).ok();
        Self { scratch, appliance, disks, tree }
    }

    /// The id of the new point.
    fn backup(&self) -> String {
        let ended = self.appliance.backup("m/t");
        assert_eq!(ended["result"], "ok", "{ended}");
        ended["point"].as_str().unwrap().to_owned()
    }

    /// What the appliance lists and restores, and then, over the disks of a daemon that was ended by
    /// `end`, the second reader. Gives how many journal entries this one read.
    fn compare_all(&mut self, end: fn(&mut Appliance)) -> u64 {
        let own = self.appliance.ask(&["point", "list"]).ok();
        let points: Vec<&str> =
            own.as_array().unwrap().iter().map(|point| point["id"].as_str().unwrap()).collect();
        let place = |who: &str, point: &str| self.scratch.path().join(format!("{who}-{point}"));
        for point in &points {
            let answer = self.appliance.restore(point, &place("own", point));
            assert_eq!(answer["result"], "ok", "{answer}");
        }
        end(&mut self.appliance);
        let theirs = listed(&self.disks);
        assert_same_list(&own, &theirs);
        for point in &points {
            let (left, right) = (place("own", point), place("second", point));
            let said = restored(&self.disks, point, &right);
            assert!(said.ok, "{}", said.error);
            assert_eq!(differences(&left, &right), Vec::<String>::new(), "{point}");
        }
        let newest = place("second", points.last().unwrap());
        assert_eq!(differences(&self.tree, &newest), Vec::<String>::new());
        theirs["journal_entries"].as_u64().unwrap()
    }

    /// Changes of every kind between two points.
    fn change(&self, round: u8) {
        let dir = self.tree.join(format!("round-{round}"));
        fs::create_dir_all(&dir).unwrap();
        let mut chance = Chance::new(u64::from(round));
        fs::write(dir.join("large"), chance.noise(5 << 20)).unwrap();
        fs::write(dir.join("text"), "words, and again ".repeat(5000)).unwrap();
        fs::write(dir.join("small"), [round]).unwrap();
        fs::hard_link(dir.join("large"), self.tree.join(format!("linked-{round}"))).unwrap();
        if let Some(before) = round.checked_sub(1) {
            let before = self.tree.join(format!("round-{before}"));
            let _ = fs::remove_file(before.join("text"));
            let _ = fs::rename(before.join("large"), dir.join("moved"));
        }
    }
}

#[test]
fn a_torture_tree_and_its_changes_are_read_the_same() {
    let mut stage = Stage::new("second-torture", 1, 1024);
    let made = torture::make(&stage.tree, 7).unwrap();
    assert!(made.entry_count >= 1000);
    let first = stage.backup();
    for round in 0..2 {
        stage.change(round);
        let _ = stage.backup();
    }
    let _ = stage.appliance.ask(&["point", "note", &first, "before the move, “so”"]).ok();
    let entries = stage.compare_all(Appliance::stop_daemon);
    println!("{} entries in the tree, {entries} in the journal", made.entry_count);
}

#[test]
fn two_disks_are_read_in_any_order_and_listed_from_either() {
    let mut stage = Stage::new("second-disks", 2, 512);
    for round in 0..3 {
        stage.change(round);
        let _ = stage.backup();
    }
    let _ = stage.compare_all(Appliance::stop_daemon);
    let written = |disk: &PathBuf| fs::read(disk).unwrap().windows(4).any(|word| word == b"KHRN");
    assert!(stage.disks.iter().all(written), "a disk holds no run");
    stage.disks.reverse();
    assert_eq!(listed(&stage.disks)["points"].as_array().unwrap().len(), 3);
    // What the pool is stands on both; of the data either has a part.
    for disk in &stage.disks {
        let alone = listed(std::slice::from_ref(disk));
        assert_eq!(alone["points"].as_array().unwrap().len(), 3);
    }
}

#[test]
fn what_only_the_journal_tells_is_read_after_a_kill() {
    let mut stage = Stage::new("second-kill", 1, 512);
    for round in 0..2 {
        stage.change(round);
        let _ = stage.backup();
    }
    // Opened again: the first points come from a checkpoint, the others from the journal.
    stage.appliance.kill_daemon();
    stage.appliance.start_daemon();
    stage.appliance.agent_connected();
    for round in 2..4 {
        stage.change(round);
        let _ = stage.backup();
    }
    let first = stage.appliance.ask(&["point", "list"]).ok()[0]["id"].clone();
    let _ = stage.appliance.ask(&["point", "note", first.as_str().unwrap(), "killed later"]).ok();
    let entries = stage.compare_all(Appliance::kill_daemon);
    assert!(entries >= 3, "{entries} entries");
}

/// A stopped pool of one disk with one point, and that point.
fn small_pool(name: &str) -> (Stage, String) {
    let mut stage = Stage::new(name, 1, 256);
    stage.change(0);
    for number in 0..80 {
        fs::write(stage.tree.join(format!("round-0/few-{number}")), [7; 5000]).unwrap();
    }
    let point = stage.backup();
    stage.appliance.kill_agent();
    stage.appliance.kill_daemon();
    (stage, point)
}

fn flip(disk: &File, at: u64, mask: u8) {
    let mut byte = [0];
    disk.read_exact_at(&mut byte, at).unwrap();
    disk.write_all_at(&[byte[0] ^ mask], at).unwrap();
}

fn open(disk: &Path) -> File {
    File::options().read(true).write(true).open(disk).unwrap()
}

/// Whatever stands in a restored tree is right, and what is missing was named.
fn assert_right_as_far_as_it_goes(stage: &Stage, said: &Said, target: &Path) {
    if said.ok {
        assert_eq!(differences(&stage.tree, target), Vec::<String>::new());
        return;
    }
    assert!(said.error.contains(" at ") || said.error.contains("chunk"), "{}", said.error);
    if !target.exists() {
        return;
    }
    let found = compare(&stage.tree, target).unwrap();
    // With one of its names missing a file is in no group, or in one of another first name.
    let allowed = |difference: &Difference| {
        let missing = difference.aspect == "entry" && difference.right == "missing";
        missing || difference.aspect == "link group"
    };
    let wrong: Vec<String> =
        found.iter().filter(|one| !allowed(one)).map(Difference::to_string).collect();
    assert!(wrong.is_empty(), "{wrong:?}\n{}", said.error);
}

#[test]
fn a_damaged_frame_is_an_error_with_its_place_and_never_wrong_bytes() {
    let (stage, point) = small_pool("second-frame");
    let (pool, target) = (&stage.disks[0], stage.scratch.path().join("restored"));
    // Noise does not compress: it lies in the pool as it is in the file.
    let large = fs::read(stage.tree.join("round-0/large")).unwrap();
    let needle = &large[4 << 20..][..64];
    let bytes = fs::read(pool).unwrap();
    let at = bytes.windows(64).position(|window| window == needle).unwrap() as u64;
    flip(&open(pool), at, 4);
    let said = restored(&stage.disks, &point, &target);
    assert!(!said.ok);
    let place = format!("round-0/large: {} at ", pool.display());
    assert!(said.error.contains(&place) && said.error.contains("wrong checksum"), "{}", said.error);
    assert!(!target.join("round-0/large").exists() && !target.join("linked-0").exists());
    assert!(target.join("round-0/text").exists(), "the rest is given back");
    assert_right_as_far_as_it_goes(&stage, &said, &target);
}

#[test]
fn a_flipped_byte_anywhere_is_found_or_means_nothing() {
    let (stage, point) = small_pool("second-flips");
    let pool = open(&stage.disks[0]);
    let bytes = fs::read(&stage.disks[0]).unwrap();
    let written: Vec<u64> = (0u64..)
        .zip(bytes.chunks(BLOCK))
        .filter(|(_, block)| block.iter().any(|byte| *byte != 0))
        .map(|(number, _)| number * BLOCK_U64)
        .collect();
    drop(bytes);
    let mut chance = Chance::of_suite("second reader");
    let mut refused = 0;
    for number in 0..campaign(FLIPS) {
        // Most blocks are content; every other flip hits the structures before the containers.
        let most = if number % 2 == 0 { written.len() as u64 } else { 40 };
        let at = written[chance.below(most) as usize] + chance.below(BLOCK_U64);
        let mask = 1 << chance.below(8);
        flip(&pool, at, mask);
        let target = stage.scratch.path().join(format!("restored-{number}"));
        let said = restored(&stage.disks, &point, &target);
        refused += u64::from(!said.ok);
        assert_right_as_far_as_it_goes(&stage, &said, &target);
        let _ = remove_tree(&target);
        flip(&pool, at, mask);
    }
    println!("{refused} of {} flips mattered", campaign(FLIPS));
    assert!(refused > 0, "the flips hit nothing");
}

#[test]
fn what_the_reader_does_not_know_is_refused_by_name() {
    let (stage, _) = small_pool("second-unknown");
    let pool = open(&stage.disks[0]);
    let mut block = vec![0; BLOCK];
    pool.read_exact_at(&mut block, 0).unwrap();
    let label = Label::decode(&block, 0).unwrap();
    let key = ChecksumKey::new(&label.secret, &[0; 16]);
    let place = |offset| Place { disk: label.disk, offset };

    // The last entry of the journal, in both zones, with an operation of a later version.
    let sound = fs::read(&stage.disks[0]).unwrap();
    let entries: Vec<(u64, u64)> = (0u64..)
        .zip(sound.chunks(BLOCK))
        .filter(|(_, block)| block[16..20] == *b"KHJE")
        .map(|(number, block)| {
            let sequence = u64::from_le_bytes(block[72..80].try_into().unwrap());
            (sequence, number * BLOCK_U64)
        })
        .collect();
    let last = entries.iter().map(|(sequence, _)| *sequence).max().unwrap();
    for (sequence, offset) in entries {
        if sequence == last {
            let start = usize::try_from(offset).unwrap();
            let len = u32::from_le_bytes(sound[start + 64..][..4].try_into().unwrap()) as usize;
            let mut entry = sound[start..][..len].to_vec();
            entry[128] = 200;
            Head::seal(&mut entry, &key, Magic::JournalEntry, label.pool, place(offset), sequence);
            pool.write_all_at(&entry, offset).unwrap();
        }
    }
    let said = reader("list", &stage.disks, &[]);
    assert!(!said.ok && said.error.contains("operation 200 is not known"), "{}", said.error);
    pool.write_all_at(&sound, 0).unwrap();

    // Bits of the first two feature words do not keep anybody from reading, of the third they do.
    for offset in label.zones.superblocks() {
        pool.read_exact_at(&mut block, offset).unwrap();
        let mut superblock = Superblock::decode(&block, &key, label.pool, place(offset)).unwrap();
        superblock.features.compatible = 1 << 9;
        superblock.features.read_only_compatible = 1 << 3;
        pool.write_all_at(&superblock.encode(&key, label.pool, place(offset)), offset).unwrap();
    }
    assert_eq!(listed(&stage.disks)["points"].as_array().unwrap().len(), 1);
    for offset in label.zones.superblocks() {
        pool.read_exact_at(&mut block, offset).unwrap();
        let mut superblock = Superblock::decode(&block, &key, label.pool, place(offset)).unwrap();
        superblock.features.incompatible = 1 << 6;
        pool.write_all_at(&superblock.encode(&key, label.pool, place(offset)), offset).unwrap();
    }
    let said = reader("list", &stage.disks, &[]);
    assert!(!said.ok && said.error.contains("features 0x40 are not known"), "{}", said.error);
}
