//! Bytes that rot in a real pool: each is found by the check, which names the place, or lies where
//! no structure claims it. What a damaged pool gives back is right or listed as failed.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use keelhold_tests::appliance::{Answer, Appliance, Scratch};
use keelhold_tests::chance::Chance;
use keelhold_tests::rig::campaign;
use keelhold_tree::listing::compare;

const FLIPS: u64 = 500;
/// After so many flips the damaged pool is also restored from.
const RESTORE_EVERY: u64 = 50;
const SECTOR: usize = 512;

/// Where something was ever written.
fn written(pool: &Path) -> Vec<u64> {
    let bytes = fs::read(pool).unwrap();
    let sectors = (0u64..).zip(bytes.chunks(SECTOR));
    sectors.filter(|(_, bytes)| bytes.iter().any(|byte| *byte != 0)).map(|(at, _)| at).collect()
}

fn flip(pool: &File, at: u64, mask: u8) {
    let mut byte = [0];
    pool.read_exact_at(&mut byte, at).unwrap();
    pool.write_all_at(&[byte[0] ^ mask], at).unwrap();
}

fn pool(appliance: &Appliance, verb: &str, rest: &[&str]) -> Answer {
    let pool = appliance.pool.display().to_string();
    appliance.ask(&[&["pool", verb, "--disk", &pool], rest].concat())
}

/// Whether the check found it. Then it must have said where it is.
fn is_found(answer: &Answer) -> bool {
    if answer.code == 0 {
        return false;
    }
    let findings = answer.json["findings"].as_array();
    match findings {
        Some(findings) => {
            assert!(!findings.is_empty(), "{answer:?}");
            let told = |finding: &serde_json::Value| finding["place"].is_string();
            assert!(findings.iter().all(told), "a finding without its place: {answer:?}");
        }
        None => assert!(answer.json["error"]["code"].is_string(), "{answer:?}"),
    }
    true
}

/// The daemon over the damaged pool: wrong bytes never, missing ones listed.
fn restores_right_or_says_so(appliance: &mut Appliance, tree: &Path, target: &Path) -> bool {
    appliance.spawn_daemon();
    if !appliance.daemon_answers_or_ends() {
        return false;
    }
    let to = target.display().to_string();
    let answer = appliance.ask(&["restore", "m/t@latest", "--to", &to]);
    let whole = answer.json["result"] == "ok";
    if whole {
        let differences = compare(tree, target).unwrap();
        assert!(differences.is_empty(), "a wrong restore was called ok: {differences:?}");
    } else {
        let failed = answer.json["failed"].as_array();
        let said = failed.is_some_and(|failed| !failed.is_empty());
        assert!(said || answer.json["error"]["code"].is_string(), "{answer:?}");
    }
    let _ = fs::remove_dir_all(target);
    appliance.kill_daemon();
    whole
}

#[test]
fn a_byte_that_rots_is_found_or_lies_in_space_nobody_claims() {
    let scratch = Scratch::new("rot");
    let tree = scratch.path().join("tree");
    let copied = Command::new("cp").args(["-a", "/etc"]).arg(&tree).status().unwrap();
    assert!(copied.success());
    let mut appliance = Appliance::ready(&scratch, 256);
    appliance.protect(&tree);
    assert_eq!(appliance.backup("m/t")["result"], "ok");
    fs::write(tree.join("changed"), "on the second day").unwrap();
    assert_eq!(appliance.backup("m/t")["result"], "ok");
    appliance.kill_agent();
    appliance.stop_daemon();

    let mut chance = Chance::of_suite("rot");
    let (sectors, sound) = (written(&appliance.pool), fs::read(&appliance.pool).unwrap());
    let disk = File::options().read(true).write(true).open(&appliance.pool).unwrap();
    let (mut found, mut unclaimed, mut whole, mut restores) = (0, 0, 0, 0);
    for number in 0..campaign(FLIPS) {
        let sector = sectors[chance.below(sectors.len() as u64) as usize];
        let at = sector * SECTOR as u64 + chance.below(SECTOR as u64);
        let mask = 1 << chance.below(8);
        flip(&disk, at, mask);
        if is_found(&pool(&appliance, "check", &[])) {
            found += 1;
        } else {
            let said = pool(&appliance, "inspect", &[&at.to_string()]).ok();
            assert!(said["claims"].as_array().is_some_and(Vec::is_empty), "{at}: {said}");
            unclaimed += 1;
        }
        if number % RESTORE_EVERY == 0 {
            let target = scratch.path().join(format!("restored-{number}"));
            whole += u64::from(restores_right_or_says_so(&mut appliance, &tree, &target));
            restores += 1;
            // A daemon writes to its pool.
            disk.write_all_at(&sound, 0).unwrap();
        } else {
            flip(&disk, at, mask);
        }
    }
    println!("{found} found, {unclaimed} in unclaimed space; {whole} of {restores} restores whole");
    assert!(found >= campaign(FLIPS) / 2, "the flips hit nothing");
    assert_eq!(pool(&appliance, "check", &[]).code, 0, "the pool is as it was");
}
