//! A pool that is full: it can be looked at, restored from and emptied, and goes on.

use std::fs;
use std::path::Path;

use keelhold_tests::appliance::{Answer, Appliance, Scratch};
use keelhold_tests::liar::noise;
use keelhold_tree::listing::compare;
use serde_json::Value;

fn fill(tree: &Path, seed: u64, mib: u64) {
    let _ = fs::remove_dir_all(tree);
    fs::create_dir_all(tree).unwrap();
    for number in 0..mib / 4 {
        fs::write(tree.join(format!("f{number}")), noise(seed * 1000 + number, 4 << 20)).unwrap();
    }
}

fn add(appliance: &Appliance, name: &str, tree: &Path) {
    let path = tree.display().to_string();
    let _ = appliance.ask(&["source", "add", "m", name, "--tree", &path]).ok();
}

fn backup(appliance: &Appliance, source: &str) -> Answer {
    appliance.ask(&["backup", source, "--wait"])
}

fn is_told_what_helps(answer: &Answer) {
    let hint = answer.json["error"]["hint"].as_str().unwrap_or_default();
    assert!(hint.contains("pool reclaim --empty-trash") && hint.contains("frees"), "{answer:?}");
}

fn log_of_last_job(appliance: &Appliance) -> String {
    let jobs = appliance.ask(&["job", "list"]).ok();
    let mut jobs = jobs.as_array().unwrap().iter();
    let backup = jobs.find(|job| job["kind"] == "backup").unwrap()["id"].to_string();
    let log = appliance.ask(&["job", "log", &backup]).ok();
    let lines = log.as_array().unwrap().iter();
    lines.map(|line| line["text"].as_str().unwrap().to_owned() + "\n").collect()
}

#[test]
fn a_pool_is_filled_and_emptied_by_its_admin_again_and_again() {
    let scratch = Scratch::new("never-wedged");
    let tree = scratch.path().join("tree");
    let appliance = Appliance::ready(&scratch, 256);
    add(&appliance, "t", &tree);
    let mut seed = 0;
    let mut refused_early = 0;
    for cycle in 0..4u64 {
        let mut made: Vec<String> = Vec::new();
        let refused = loop {
            seed += 1;
            assert!(made.len() < 20, "a pool of 256 MiB is never full");
            // As its last points did, or without warning.
            let mib = if cycle % 2 == 1 && made.len() == 2 { 400 } else { 24 };
            fill(&tree, seed, mib);
            let answer = backup(&appliance, "m/t");
            match answer.json["point"].as_str() {
                Some(point) if answer.code == 0 => made.push(point.to_owned()),
                _ => break answer,
            }
            let copy = scratch.path().join("copy");
            let _ = fs::remove_dir_all(&copy);
            fs::rename(&tree, &copy).unwrap();
        };
        is_told_what_helps(&refused);
        match refused.json["error"]["code"].as_str().unwrap() {
            "KH-E0211" => {
                assert_eq!(refused.code, 4, "{refused:?}");
                refused_early += 1;
            }
            "KH-E0206" => assert_eq!(refused.code, 1, "{refused:?}"),
            other => panic!("{other}: {refused:?}"),
        }
        assert!(made.len() >= 2, "cycle {cycle}: {} points", made.len());
        // Everything but backups works.
        assert!(appliance.ask(&["status"]).json["sentence"].is_string());
        let listed = appliance.ask(&["point", "list"]).ok();
        let back = scratch.path().join(format!("back-{cycle}"));
        assert_eq!(appliance.restore("m/t@latest", &back)["result"], "ok");
        assert!(compare(&scratch.path().join("copy"), &back).unwrap().is_empty());
        fs::remove_dir_all(&back).unwrap();
        let last = made.last().unwrap().as_str();
        let ids = listed.as_array().unwrap().iter().map(|point| point["id"].as_str().unwrap());
        let going: Vec<&str> = ids.filter(|id| *id != last).collect();
        let _ = appliance.ask(&[&["point", "forget", "--now"], &going[..]].concat()).ok();
        let _ = appliance.ask(&["pool", "reclaim", "--wait"]).ok();
        seed += 1;
        fill(&tree, seed, 24);
        let answer = backup(&appliance, "m/t");
        assert_eq!(answer.code, 0, "cycle {cycle}: {answer:?}");
        let copy = scratch.path().join("copy");
        let _ = fs::remove_dir_all(&copy);
        fs::rename(&tree, &copy).unwrap();
    }
    assert!(refused_early > 0, "nothing was refused before it began");
}

#[test]
fn a_parked_session_goes_before_a_backup_is_refused_and_the_backup_goes_on() {
    let scratch = Scratch::new("sacrifice");
    let (large, small) = (scratch.path().join("large"), scratch.path().join("small"));
    fill(&large, 1, 400);
    fill(&small, 2, 60);
    let appliance = Appliance::ready(&scratch, 256);
    add(&appliance, "large", &large);
    add(&appliance, "small", &small);
    let answer = backup(&appliance, "m/large");
    assert_eq!(answer.json["error"]["code"], "KH-E0206", "{answer:?}");
    is_told_what_helps(&answer);
    let answer = backup(&appliance, "m/small");
    let log = log_of_last_job(&appliance);
    assert_eq!(answer.code, 0, "{answer:?}\n{log}");
    assert!(log.contains("parked session of m/large is given up"), "{log}");
    assert!(log.contains("the backup goes on"), "{log}");
    let back = scratch.path().join("back");
    assert_eq!(appliance.restore("m/small@latest", &back)["result"], "ok");
    assert!(compare(&small, &back).unwrap().is_empty());
}

#[test]
fn a_machine_keeps_to_its_quota_and_is_told_when_it_does_not() {
    let scratch = Scratch::new("quota");
    let tree = scratch.path().join("tree");
    fill(&tree, 1, 20);
    let appliance = Appliance::ready(&scratch, 512);
    add(&appliance, "t", &tree);
    assert_eq!(appliance.ask(&["machine", "quota", "m", "lots"]).error(2), "KH-E0003");
    assert_eq!(appliance.ask(&["machine", "quota", "x", "1GiB"]).error(1), "KH-E0301");
    let _ = appliance.ask(&["machine", "quota", "m", "30MiB"]).ok();
    assert_eq!(appliance.backup("m/t")["result"], "ok");
    let machine = |appliance: &Appliance| appliance.ask(&["machine", "list"]).ok()[0].clone();
    let shown = machine(&appliance);
    let used = shown["bytes_exclusive"].as_u64().unwrap();
    assert_eq!(shown["quota_bytes"], 30 << 20);
    assert!((20 << 20..22 << 20).contains(&used), "{shown}");
    // Nobody knows how much the second one takes before it has.
    fill(&tree, 2, 20);
    assert_eq!(backup(&appliance, "m/t").error(4), "KH-E0312");
    assert_eq!(appliance.ask(&["point", "list"]).ok().as_array().unwrap().len(), 1);
    let result = appliance.ask(&["pool", "reclaim", "--wait"]).ok();
    assert_eq!(machine(&appliance)["bytes_exclusive"], used, "{result}");
    let _ = appliance.ask(&["machine", "quota", "m", "none"]).ok();
    assert_eq!(appliance.backup("m/t")["result"], "ok");
    assert_eq!(machine(&appliance)["quota_bytes"], Value::Null);
    // With a quota that is used up nothing begins.
    let _ = appliance.ask(&["machine", "quota", "m", "30MiB"]).ok();
    assert_eq!(backup(&appliance, "m/t").error(4), "KH-E0312");
    let back = scratch.path().join("back");
    assert_eq!(appliance.restore("m/t@latest", &back)["result"], "ok");
    assert!(compare(&tree, &back).unwrap().is_empty());
}
