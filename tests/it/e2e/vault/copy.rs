//! Vaults into vaults: under another key, without the pool, and the first one lets go only what the other
//! was proved to have.

use std::fs;
use std::path::PathBuf;

use keelhold_tests::appliance::{Appliance, Scratch};
use serde_json::Value;

use super::{add, assert_same, forget_all, number, random_tree, second_reader, ship, text, url};

/// Three points in vault `v`, of which the pool has only the last; with what each must look like.
fn shipped_and_forgotten(scratch: &Scratch) -> (Appliance, Vec<(String, PathBuf)>) {
    let tree = scratch.path().join("tree");
    random_tree(&tree, 40, 5);
    let appliance = Appliance::ready(scratch, 512);
    appliance.protect(&tree);
    let _place = add(&appliance, scratch);
    let mut points = Vec::new();
    for round in 0..3 {
        random_tree(&tree.join("more"), 20, 60 + round);
        let point = appliance.backup("m/t")["point"].as_str().unwrap().to_owned();
        let copy = scratch.path().join(format!("copy{round}"));
        assert_eq!(appliance.restore(&point, &copy)["result"], "ok");
        points.push((point, copy));
        let _shipped = ship(&appliance);
    }
    forget_all(&appliance, &points[2].0);
    (appliance, points)
}

fn vault(appliance: &Appliance, name: &str) -> Value {
    let vaults = appliance.ask(&["vault", "status"]).ok();
    vaults.as_array().unwrap().iter().find(|vault| vault["name"] == name).unwrap().clone()
}

fn assert_holds(scratch: &Scratch, appliance: &Appliance, points: &[(String, PathBuf)]) {
    let kit = scratch.path().join("kit-w");
    let place = text(&scratch.path().join("other"));
    if !kit.exists() {
        let _ = appliance.ask(&["vault", "kit", "w", "--to", &text(&kit)]).ok();
        // A kit is in the manifests written after it.
        let _ = appliance.ask(&["vault", "ship", "w", "--wait"]).ok();
    }
    for (point, copy) in points {
        let target = scratch.path().join(format!("read-{point}"));
        let _ = fs::remove_dir_all(&target);
        let args = ["restore", &place, point, &text(&target), "--share", &text(&kit)];
        let _ = second_reader(&args);
        assert_same(copy, &target);
    }
}

#[test]
fn a_copy_is_a_vault_of_its_own_and_goes_on_where_it_was() {
    let scratch = Scratch::new("vault-copy");
    let (mut appliance, points) = shipped_and_forgotten(&scratch);
    let other = scratch.path().join("other");
    fs::create_dir_all(&other).unwrap();
    let _ = appliance.ask(&["vault", "add", "w", "--url", &url(&other)]).ok();
    assert_ne!(vault(&appliance, "v")["id"], vault(&appliance, "w")["id"]);
    // Begun, and the daemon dies: nothing wrong is there, and the same command goes on.
    let _ = appliance.post("/vaults/v/copy", &serde_json::json!({ "to": "w", "moves": false }));
    appliance.kill_daemon();
    appliance.start_daemon();
    let copied = appliance.ask(&["vault", "copy", "v", "w"]).ok();
    assert_eq!(copied["result"], "ok", "{copied}");
    assert_eq!(number(&vault(&appliance, "w"), "points"), 3);
    assert_eq!(number(&vault(&appliance, "v"), "points"), 3, "a copy takes nothing away");
    assert_holds(&scratch, &appliance, &points);
    let again = appliance.ask(&["vault", "copy", "v", "w"]).ok();
    assert_eq!((number(&again, "points"), number(&again, "chunks")), (0, 0), "{again}");
    assert_eq!(appliance.ask(&["vault", "copy", "v", "v"]).error(2), "KH-E0003");
    assert_eq!(appliance.ask(&["vault", "copy", "v", "x"]).error(1), "KH-E2001");
}

#[test]
fn a_move_lets_go_what_the_other_vault_was_proved_to_have() {
    let scratch = Scratch::new("vault-move");
    let (appliance, points) = shipped_and_forgotten(&scratch);
    let other = scratch.path().join("other");
    fs::create_dir_all(&other).unwrap();
    let _ = appliance.ask(&["vault", "add", "w", "--url", &url(&other)]).ok();
    let _ = appliance.ask(&["vault", "copy", "v", "w"]).ok();
    // What lies in the other one is damaged: the move ends there, and the first vault keeps everything.
    let object = largest(&other.join("d"));
    let bytes = fs::read(&object).unwrap();
    let mut damaged = bytes.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&object, damaged).unwrap();
    assert_eq!(appliance.ask(&["vault", "move", "v", "w"]).error(1), "KH-E2010");
    assert_eq!(number(&vault(&appliance, "v"), "points"), 3);
    fs::write(&object, bytes).unwrap();
    let moved = appliance.ask(&["vault", "move", "v", "w"]).ok();
    assert_eq!(moved["result"], "ok", "{moved}");
    assert_eq!(number(&vault(&appliance, "v"), "points"), 0);
    assert_eq!(number(&vault(&appliance, "w"), "points"), 3);
    assert_holds(&scratch, &appliance, &points);
    // Nothing comes back to the first one.
    let shipped = ship(&appliance);
    assert_eq!(number(&shipped, "points"), 0, "{shipped}");
    for (point, copy) in &points[..2] {
        let target = scratch.path().join(format!("back-{point}"));
        assert_eq!(appliance.restore(point, &target)["result"], "ok");
        assert_same(copy, &target);
    }
}

/// The longest file below a folder.
fn largest(folder: &std::path::Path) -> PathBuf {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            match entry.metadata().unwrap() {
                of if of.is_dir() => folders.push(entry.path()),
                of => found.push((of.len(), entry.path())),
            }
        }
    }
    found.into_iter().max().unwrap().1
}
