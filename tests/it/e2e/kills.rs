//! SIGKILL at any moment: the next start works by itself, and everything announced restores.

use std::fs;
use std::path::Path;

use keelhold_tests::appliance::{Appliance, Scratch};
use keelhold_tree::listing::compare;
use serde_json::Value;

/// Kills per run; a campaign multiplies them.
const KILLS: u64 = 24;

fn campaign() -> u64 {
    std::env::var("KEELHOLD_CAMPAIGN").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn write_files(tree: &Path, round: u64) {
    for number in 0..12 {
        let path = tree.join(format!("f{number}"));
        fs::write(path, noise(round * 100 + number, 700_000)).unwrap();
    }
}

/// Entries and sent bytes of the newest job.
fn progress(appliance: &Appliance, job: u64) -> (u64, bool) {
    let shown = appliance.ask(&["job", "show", &job.to_string()]).json;
    (shown["progress"]["bytes_sent"].as_u64().unwrap_or(0), shown["state"] == "done")
}

#[test]
fn a_killed_daemon_or_agent_loses_nothing_announced_and_the_backup_goes_on() {
    let scratch = Scratch::new("kills");
    let tree = scratch.path().join("tree");
    fs::create_dir_all(&tree).unwrap();
    write_files(&tree, 0);
    let mut appliance = Appliance::ready(&scratch, 2048);
    let _ = appliance.ask(&["source", "add", "m", "t", "--tree", &tree.display().to_string()]).ok();
    assert_eq!(appliance.backup("m/t")["result"], "ok");
    let (mut while_flowing, mut after_end) = (0, 0);
    for round in 1..=KILLS * campaign() {
        write_files(&tree, round);
        let announced = appliance.ask(&["point", "list"]).ok();
        let job = appliance.ask(&["backup", "m/t"]).ok()["job"].as_u64().unwrap();
        // The moment of the kill moves through the job from round to round.
        let wanted = (round % 8) * 1_000_000;
        let mut done = false;
        appliance.until("bytes flow", |own| {
            let (sent, over) = progress(own, job);
            done = over;
            over || sent >= wanted
        });
        if done {
            after_end += 1
        } else {
            while_flowing += 1
        }
        if round % 3 == 0 {
            appliance.kill_agent();
            appliance.start_agent();
        } else {
            appliance.kill_daemon();
            appliance.start_daemon();
            appliance.agent_connected();
        }
        let found = appliance.ask(&["point", "list"]).ok();
        for point in announced.as_array().unwrap() {
            assert!(found.as_array().unwrap().contains(point), "{point} was announced and is gone");
        }
        let result = appliance.backup("m/t");
        assert_eq!(result["result"], "ok", "round {round}: {result}");
        if round % 4 == 0 {
            let target = scratch.path().join("restored");
            assert_eq!(appliance.restore("m/t@latest", &target)["result"], Value::from("ok"));
            assert!(compare(&tree, &target).unwrap().is_empty(), "round {round}");
            fs::remove_dir_all(target).unwrap();
        }
    }
    println!("killed {while_flowing} times while a backup ran, {after_end} times after its end");
    assert!(while_flowing * 2 >= after_end, "most kills came too late");
}
