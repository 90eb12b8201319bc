//! One of two disks is away, comes back, is exchanged, or rots: served all the while, said, mended.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use keelhold_tests::appliance::Scratch;
use keelhold_tests::liar::noise;

use super::Fleet;

const MIB: usize = 1 << 20;

/// Waits until everything is on two disks again.
fn healed(fleet: &Fleet<'_>) {
    fleet.appliance.until("everything is kept twice", |own| {
        let pool = own.ask(&["pool", "status"]).json;
        pool["bytes_single"] == 0 && pool["bytes_used"].as_u64() > Some(0)
    });
}

fn is_at_risk(fleet: &Fleet<'_>, words: &[&str]) {
    let status = fleet.appliance.ask(&["status"]);
    assert_eq!(status.code, 3, "{status:?}");
    let sentence = status.json["sentence"].as_str().unwrap();
    assert!(words.iter().all(|word| sentence.contains(word)), "{words:?}: {}", status.json);
    let lines = status.json["lines"].as_array().unwrap();
    assert!(lines.len() <= 12, "{lines:?}");
}

#[test]
fn a_disk_that_was_away_is_brought_up_to_date() {
    let scratch = Scratch::new("away");
    let mut fleet = Fleet::new(&scratch, &[96, 96], 2);
    fleet.back_up(6 * MIB);
    assert_eq!(fleet.appliance.ask(&["status"]).code, 0);

    fleet.appliance.stop_daemon();
    let aside = scratch.path().join("aside.img");
    fs::rename(fleet.disk(1), &aside).unwrap();
    fleet.appliance.start_daemon();
    fleet.appliance.agent_connected();
    assert_eq!(fleet.state_of(1), "missing");
    is_at_risk(&fleet, &["disk-1.img is missing", "kept once", "Backups and restores go on"]);
    let help = fleet.appliance.ask(&["status"]).json["lines"][0].to_string();
    assert!(help.contains("replace-disk"), "{help}");
    fleet.restores_all("one disk away");
    fleet.back_up(8 * MIB);
    assert!(fleet.pool()["bytes_single"].as_u64().unwrap() >= 14 << 20);
    fleet.restores_all("one disk away, and a backup since");

    fleet.appliance.stop_daemon();
    fs::rename(&aside, fleet.disk(1)).unwrap();
    fleet.appliance.start_daemon();
    fleet.appliance.agent_connected();
    healed(&fleet);
    assert_eq!((fleet.state_of(0), fleet.state_of(1)), ("ok".into(), "ok".into()));
    assert_eq!(fleet.appliance.ask(&["status"]).code, 0);

    fleet.appliance.stop_daemon();
    fs::rename(fleet.disk(0), &aside).unwrap();
    fleet.appliance.start_daemon();
    fleet.restores_all("from the disk that was away, alone");
}

#[test]
fn a_disk_that_was_wiped_is_replaced_at_its_own_place() {
    let scratch = Scratch::new("wiped");
    let mut fleet = Fleet::new(&scratch, &[96, 96], 2);
    fleet.back_up(6 * MIB);
    fleet.appliance.stop_daemon();
    File::create(fleet.disk(1)).unwrap().set_len(96 << 20).unwrap();
    fleet.appliance.start_daemon();
    fleet.appliance.agent_connected();
    is_at_risk(&fleet, &["disk-1.img is missing"]);
    fleet.restores_all("one disk wiped");
    let place = fleet.shown(1);
    let replaced = fleet.appliance.ask(&["pool", "replace-disk", &place, &place]).ok();
    assert_eq!((&replaced["retired"], &replaced["result"]), (&true.into(), &"ok".into()));
    healed(&fleet);
    assert_eq!(fleet.appliance.ask(&["status"]).code, 0);
    fleet.restart();
    assert_eq!(fleet.state_of(1), "ok");
    fleet.restores_all("replaced");
    fleet.check_is_clean(&[0, 1]);
}

#[test]
fn what_rots_in_one_copy_is_mended_from_the_other() {
    let scratch = Scratch::new("rots");
    let mut fleet = Fleet::new(&scratch, &[96, 96], 2);
    fleet.back_up(4 * MIB);
    let sound = fleet.appliance.ask(&["pool", "scrub", "--wait"]).ok();
    assert_eq!(sound["last_found"], 0, "{sound}");
    fleet.appliance.stop_daemon();

    // Noise is stored as it is: a stretch of it is found, and one bit of it turned.
    let needle = &noise(0, 4 * MIB)[MIB..MIB + 32];
    let bytes = fs::read(fleet.disk(1)).unwrap();
    let at = bytes.windows(needle.len()).position(|window| window == needle).unwrap() as u64;
    let disk = File::options().write(true).open(fleet.disk(1)).unwrap();
    disk.write_all_at(&[needle[0] ^ 8], at).unwrap();
    drop((disk, bytes));

    fleet.appliance.start_daemon();
    fleet.appliance.agent_connected();
    let found = fleet.appliance.ask(&["pool", "scrub", "--wait"]);
    assert_eq!(found.code, 3, "{found:?}");
    assert!(found.json["last_found"].as_u64().unwrap() > 0, "{found:?}");
    assert_eq!(found.json["healed"], found.json["last_found"], "{found:?}");
    assert_eq!(found.json["damage"].as_array().map(Vec::len), Some(0), "{found:?}");
    let pool = fleet.pool();
    let faults = |number: usize| pool["disks"][number]["mismatches"].as_u64().unwrap();
    assert!(faults(0) == 0 && faults(1) > 0, "{pool}");
    assert_eq!(fleet.appliance.ask(&["status"]).code, 0, "what was mended is no risk");
    let again = fleet.appliance.ask(&["pool", "scrub", "--wait"]).ok();
    assert_eq!(again["last_found"], 0, "{again}");

    fleet.appliance.stop_daemon();
    fs::remove_file(fleet.disk(0)).unwrap();
    fleet.appliance.start_daemon();
    fleet.restores_all("from the copy that was mended, alone");
}
