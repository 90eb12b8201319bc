//! Disks join and leave beside a running daemon, and go on where it was killed.

use std::fs;

use keelhold_tests::appliance::{Appliance, Scratch};
use serde_json::Value;

use super::Fleet;

const MIB: usize = 1 << 20;

#[test]
fn disks_join_are_replaced_and_leave_and_every_point_stays() {
    let scratch = Scratch::new("members");
    let mut fleet = Fleet::new(&scratch, &[128], 1);
    fleet.back_up(20 * MIB);
    let before = fleet.pool()["bytes_total"].as_u64().unwrap();

    let added = fleet.appliance.ask(&["pool", "add-disk", &fleet.sized(1, 128)]).ok();
    assert_eq!((&added["result"], &added["change"]), (&"ok".into(), &"add-disk".into()));
    assert!(fleet.pool()["bytes_total"].as_u64().unwrap() > before * 3 / 2);
    fleet.back_up(10 * MIB);

    let drained = fleet.appliance.ask(&["pool", "drain-disk", &fleet.shown(0)]).ok();
    assert_eq!((&drained["result"], &drained["retired"]), (&"ok".into(), &true.into()));
    assert!(drained["bytes_moved"].as_u64().unwrap() >= 10 << 20, "{drained}");
    fleet.back_up(MIB);
    fleet.restores_all("drained");

    // What left is needed no more, and the daemon knows by itself where the other is.
    fleet.appliance.stop_daemon();
    fs::remove_file(fleet.disk(0)).unwrap();
    fleet.appliance.start_daemon();
    fleet.appliance.agent_connected();
    fleet.restores_all("without the drained disk");

    let pool = fleet.pool();
    let old = pool["disks"].as_array().unwrap().iter().find(|disk| disk["state"] == "ok").unwrap();
    let old = old["id"].as_str().unwrap();
    let replaced = fleet.appliance.ask(&["pool", "replace-disk", old, &fleet.sized(2, 160)]).ok();
    assert_eq!((&replaced["retired"], &replaced["left"]), (&true.into(), &old.into()));
    fleet.back_up(MIB);
    fleet.restart();
    fleet.restores_all("replaced");
    let audit = fleet.appliance.ask(&["audit", "list"]).ok().to_string();
    for verb in ["pool add-disk", "pool drain-disk", "pool replace-disk"] {
        assert!(audit.contains(verb), "{verb} is not in the audit: {audit}");
    }
    fleet.check_is_clean(&[2]);

    // Elsewhere it is the same pool.
    fs::remove_dir_all(&fleet.appliance.state).unwrap();
    let imported = fleet.appliance.ask(&["pool", "import", "--disk", &fleet.shown(2)]).ok();
    assert_eq!(imported["missing"].as_array().map(Vec::len), Some(0), "{imported}");
    fleet.appliance.start_daemon();
    fleet.restores_all("imported");
}

/// The job once the daemon answers that it is over.
fn ended(appliance: &Appliance, job: u64) -> Value {
    let path = format!("/jobs/{job}");
    let mut last = Value::Null;
    appliance.until("the job ends", |own| {
        last = own.get(&path).unwrap_or_default();
        last["state"] == "done"
    });
    last
}

#[test]
fn a_change_of_disks_goes_on_after_the_daemon_was_killed() {
    let scratch = Scratch::new("members-killed");
    let mut fleet = Fleet::new(&scratch, &[96, 96], 1);
    fleet.back_up(24 * MIB);
    let (mut newest, mut cut, mut moved) = (2, 0, 0);
    // So many looks at the job before the daemon dies: somewhere else each time.
    for (round, looks) in [1, 2, 30, 60, 90, 150].into_iter().enumerate() {
        let pool = fleet.pool();
        let disks = pool["disks"].as_array().unwrap().iter();
        let in_use: Vec<String> = disks
            .filter(|disk| disk["state"] == "ok")
            .map(|disk| disk["id"].as_str().unwrap().to_owned())
            .collect();
        let joins = fleet.sized(newest, 96);
        let verb: &[&str] = match round % 3 {
            0 => &["pool", "replace-disk", &in_use[0], &joins],
            1 => &["pool", "add-disk", &joins],
            _ => &["pool", "drain-disk", &in_use[0]],
        };
        newest += 1;
        let args = [verb, &["--background"]].concat();
        let job = fleet.appliance.ask(&args).ok()["job"].as_u64().unwrap();
        let mut seen = 0;
        fleet.appliance.closely_until("the job was looked at often enough", |own| {
            seen += 1;
            let state = own.get(&format!("/jobs/{job}")).unwrap_or_default()["state"].clone();
            seen >= looks || state == "done"
        });
        match round % 2 {
            0 => fleet.appliance.kill_daemon(),
            _ => fleet.appliance.stop_daemon(),
        }
        fleet.appliance.start_daemon();
        fleet.appliance.agent_connected();
        let job = ended(&fleet.appliance, job);
        let log = fleet.appliance.ask(&["job", "log", &job["id"].to_string()]).ok();
        cut += u64::from(log.to_string().contains("goes on"));
        assert_eq!(job["result"], "ok", "{verb:?} after {looks} looks: {job}");
        moved += job["details"]["copies_moved"].as_u64().unwrap();
        fleet.back_up(MIB);
        fleet.restores_all("after a kill");
    }
    println!(
        "6 changes of disks, {cut} gone on with by another daemon, {moved} copies moved there"
    );
    let pool = fleet.pool();
    let disks = pool["disks"].as_array().unwrap().iter();
    assert_eq!(disks.filter(|disk| disk["state"] == "ok").count(), 2, "{pool}");
    assert_eq!(pool["bytes_unreadable"], 0);
}
