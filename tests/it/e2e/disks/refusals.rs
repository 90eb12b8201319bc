//! What cannot be done with disks is refused with its code before anything is done.

use std::fs::{self, File};
use std::path::Path;

use keelhold_tests::appliance::{Appliance, Scratch};

use super::Fleet;

const MIB: usize = 1 << 20;

fn refused(fleet: &Fleet<'_>, verb: &[&str], exit: i32) -> String {
    fleet.appliance.ask(&[&["pool"], verb].concat()).error(exit)
}

#[test]
fn disks_that_cannot_join_are_refused_and_stay_as_they_were() {
    let scratch = Scratch::new("no-join");
    let mut fleet = Fleet::new(&scratch, &[96], 1);
    fleet.back_up(8 * MIB);
    let path = |name: &str| scratch.path().join(name);
    let text = |path: &Path| path.display().to_string();

    assert_eq!(refused(&fleet, &["add-disk", &fleet.shown(0)], 4), "KH-E0203", "its own");
    let foreign = path("foreign.img");
    fs::write(&foreign, vec![0xab; 64 << 20]).unwrap();
    assert_eq!(refused(&fleet, &["add-disk", &text(&foreign)], 4), "KH-E0203", "foreign bytes");
    assert_eq!(fs::read(&foreign).unwrap(), vec![0xab; 64 << 20], "not a byte was written");
    let exists = format!("{}:64MiB", text(&foreign));
    assert_eq!(refused(&fleet, &["add-disk", &exists], 4), "KH-E0203", "a file that exists");
    let signed = path("signed.img");
    let mut bytes = vec![0; 64 << 20];
    bytes[1080..1082].copy_from_slice(&[0x53, 0xef]);
    fs::write(&signed, &bytes).unwrap();
    assert_eq!(refused(&fleet, &["add-disk", &text(&signed)], 4), "KH-E0203", "a file system");
    assert_eq!(refused(&fleet, &["add-disk", &text(&path("none.img"))], 1), "KH-E0202", "nothing");
    let small = path("small.img");
    assert_eq!(refused(&fleet, &["add-disk", &format!("{}:2MiB", text(&small))], 4), "KH-E0214");
    assert!(!small.exists(), "a file was made for nothing");

    let other = Scratch::new("no-join-other");
    let other = Appliance::ready(&other, 96);
    let theirs = text(&other.pool);
    assert_eq!(refused(&fleet, &["add-disk", &theirs], 4), "KH-E0205", "another daemon has it");
    drop(other);
    let unused = path("unused.img");
    let mut theirs = Appliance::new(&scratch);
    theirs.state = path("other-state");
    let _ = theirs.ask(&["pool", "create", "--disk", &format!("{}:96MiB", text(&unused))]).ok();
    assert_eq!(refused(&fleet, &["add-disk", &text(&unused)], 4), "KH-E0203", "another pool's");

    let now = fleet.pool();
    assert_eq!(now["disks"].as_array().unwrap().len(), 1, "{now}");
    fleet.restart();
    fleet.restores_all("after refusals");
}

#[test]
fn disks_that_cannot_leave_are_refused_and_stay_in_use() {
    let scratch = Scratch::new("no-leave");
    let mut fleet = Fleet::new(&scratch, &[96], 1);
    fleet.back_up(40 * MIB);
    let only = fleet.shown(0);
    assert_eq!(refused(&fleet, &["drain-disk", "no-such-disk"], 1), "KH-E0213");
    assert_eq!(refused(&fleet, &["replace-disk", "/no/such", &fleet.sized(7, 96)], 1), "KH-E0213");
    assert_eq!(refused(&fleet, &["drain-disk", &only], 4), "KH-E0216");
    assert_eq!(refused(&fleet, &["replace-disk", &only, &fleet.sized(8, 32)], 4), "KH-E0214");
    assert!(!fleet.disk(8).exists());
    let _ = fleet.appliance.ask(&["pool", "add-disk", &fleet.sized(1, 32)]).ok();
    assert_eq!(refused(&fleet, &["drain-disk", &only], 4), "KH-E0218");
    assert_eq!((fleet.state_of(0), fleet.state_of(1)), ("ok".into(), "ok".into()));
    assert_eq!(refused(&fleet, &["check", "--disk", &only], 4), "KH-E0205", "while it is open");

    // A disk that somebody else holds is waited for: so long the first of two is under way.
    let held = File::create(scratch.path().join("held.img")).unwrap();
    held.set_len(64 << 20).unwrap();
    held.lock().unwrap();
    let held = scratch.path().join("held.img").display().to_string();
    let first = fleet.appliance.ask(&["pool", "add-disk", &held, "--background"]).ok();
    assert_eq!(refused(&fleet, &["drain-disk", &only], 4), "KH-E0219");
    let job = first["job"].to_string();
    assert_eq!(fleet.appliance.ask(&["job", "cancel", &job]).error(4), "KH-E0507");
    fleet.appliance.until("the first ends", |own| {
        own.ask(&["job", "show", &job]).json["error"]["code"] == "KH-E0205"
    });
    fleet.restart();
    fleet.back_up(MIB);
    fleet.restores_all("after refusals");
}

#[test]
fn two_copies_need_two_disks() {
    let scratch = Scratch::new("two-copies");
    let mut fleet = Fleet::new(&scratch, &[96, 96], 2);
    fleet.back_up(8 * MIB);
    assert_eq!(refused(&fleet, &["drain-disk", &fleet.shown(1)], 4), "KH-E0217");
    let _ = fleet.appliance.ask(&["pool", "add-disk", &fleet.sized(2, 96)]).ok();
    let drained = fleet.appliance.ask(&["pool", "drain-disk", &fleet.shown(1)]).ok();
    assert_eq!(drained["retired"], true, "{drained}");
    let pool = fleet.pool();
    assert_eq!((&pool["bytes_single"], &pool["copies"]), (&0.into(), &2.into()), "{pool}");
    // Any one of the two that are left is enough.
    for away in [0, 2] {
        fleet.appliance.stop_daemon();
        let aside = scratch.path().join("aside.img");
        fs::rename(fleet.disk(away), &aside).unwrap();
        fleet.appliance.start_daemon();
        fleet.restores_all("one of two");
        fleet.appliance.stop_daemon();
        fs::rename(&aside, fleet.disk(away)).unwrap();
        fleet.appliance.start_daemon();
        fleet.appliance.agent_connected();
    }
}
