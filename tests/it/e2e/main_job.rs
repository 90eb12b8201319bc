//! Protect a tree and get it back: every kind of entry, through agent, wire, pool and restore.

use std::fs;
use std::path::Path;
use std::process::Command;

use keelhold_tests::appliance::{Appliance, Scratch};
use keelhold_tree::listing::compare;
use keelhold_tree::torture;
use serde_json::Value;

fn assert_same(left: &Path, right: &Path) {
    let differences = compare(left, right).unwrap();
    let said: Vec<String> = differences.iter().take(20).map(ToString::to_string).collect();
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), said.join("\n"));
}

/// What people would use to compare two trees.
fn assert_rsync_silent(left: &Path, right: &Path) {
    let output = Command::new("rsync")
        .args(["-aHAXSn", "--checksum", "--modify-window=-1", "--delete", "--itemize-changes"])
        .arg(format!("{}/", left.display()))
        .arg(format!("{}/", right.display()))
        .output()
        .unwrap();
    // Names beyond PATH_MAX are beyond rsync, too: it says so and goes on. Only differences count.
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.trim().is_empty(), "rsync would change:\n{said}");
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn a_torture_tree_comes_back_without_a_difference() {
    let scratch = Scratch::new("torture");
    let tree = scratch.path().join("tree");
    let made = torture::make(&tree, 1).unwrap();
    println!("{} entries, left out: {:?}", made.entry_count, made.left_out);
    assert!(made.entry_count >= 1000);
    let appliance = Appliance::ready(&scratch, 1024);
    appliance.protect(&tree);
    let first = appliance.backup("m/t");
    println!("first: {first}");
    assert_eq!(first["result"], "ok", "{first}");
    let target = scratch.path().join("restored");
    let restored = appliance.restore("m/t@latest", &target);
    assert_eq!(restored["result"], "ok", "{restored}");
    assert_eq!(restored["verified"], true);
    assert_same(&tree, &target);
    let again = appliance.backup("m/t");
    assert_eq!(again["files_changed"], 0, "{again}");
    assert_eq!(again["bytes_read"], 0, "{again}");
    let stored = again["bytes_stored"].as_u64().unwrap();
    assert!(stored <= 16 << 10, "an unchanged point added {stored} bytes");
}

/// The machine's own files.
fn copy_of_real_files(to: &Path) {
    fs::create_dir_all(to).unwrap();
    for (place, name) in [("/usr/share/doc", "doc"), ("/etc", "etc")] {
        let output = Command::new("cp").args(["-a", place]).arg(to.join(name)).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }
}

#[test]
fn real_files_come_back_after_changes_and_after_the_state_directory_is_gone() {
    let scratch = Scratch::new("real");
    let tree = scratch.path().join("tree");
    copy_of_real_files(&tree);
    let mut appliance = Appliance::ready(&scratch, 2048);
    appliance.protect(&tree);
    let first = appliance.backup("m/t");
    assert_eq!(first["result"], "ok", "{first}");
    fs::write(tree.join("etc/added"), vec![7; 300_000]).unwrap();
    fs::remove_file(tree.join("etc/passwd")).unwrap();
    fs::rename(tree.join("etc/fstab"), tree.join("etc/renamed")).unwrap();
    let second = appliance.backup("m/t");
    assert_eq!(second["result"], "ok", "{second}");
    let target = scratch.path().join("restored");
    assert_eq!(appliance.restore("m/t@latest", &target)["result"], "ok");
    assert_same(&tree, &target);
    assert_rsync_silent(&tree, &target);

    let lists: [&[&str]; 4] =
        [&["point", "list"], &["source", "list"], &["job", "list"], &["find", "renamed"]];
    let asked = |own: &Appliance| -> Vec<Value> {
        lists.iter().map(|verb| Value::from(own.ask(verb).lines)).collect()
    };
    let before = asked(&appliance);
    assert_eq!(before[0][0].as_array().unwrap().len(), 2);
    appliance.stop_daemon();
    fs::remove_dir_all(&appliance.state).unwrap();
    let disk = text(&appliance.pool);
    let _ = appliance.ask(&["pool", "import", "--disk", &disk]).ok();
    appliance.start_daemon();
    appliance.agent_connected();
    assert_eq!(asked(&appliance), before);
    let target = scratch.path().join("restored-2");
    assert_eq!(appliance.restore("m/t@latest", &target)["result"], "ok");
    assert_same(&tree, &target);
    let third = appliance.backup("m/t");
    assert_eq!(third["result"], "ok", "{third}");
    // What was written just before the last backup is read once more; nothing else is.
    assert!(third["files_changed"].as_u64().unwrap() <= 3, "{third}");
    assert_eq!(third["bytes_new"], 0, "{third}");
}

#[test]
fn parts_of_a_point_come_out_every_way() {
    let scratch = Scratch::new("ways");
    let tree = scratch.path().join("tree");
    fs::create_dir_all(tree.join("a/b")).unwrap();
    let big: Vec<u8> = (0..2_000_000u32).flat_map(u32::to_le_bytes).collect();
    fs::write(tree.join("a/big"), &big).unwrap();
    fs::write(tree.join("a/b/small"), "small").unwrap();
    let appliance = Appliance::ready(&scratch, 1024);
    appliance.protect(&tree);
    assert_eq!(appliance.backup("m/t")["result"], "ok");

    let raw = scratch.path().join("raw");
    let args = ["export", "m/t@latest", "--raw", &text(&raw), "--path", "a/big"];
    let _ = appliance.ask(&args).ok();
    assert_eq!(fs::read(&raw).unwrap(), big);

    let tar = scratch.path().join("out.tar");
    let _ = appliance.ask(&["export", "m/t@latest", "--tar", &text(&tar)]).ok();
    let untarred = scratch.path().join("untarred");
    fs::create_dir_all(&untarred).unwrap();
    let status = Command::new("tar").arg("-xf").arg(&tar).arg("-C").arg(&untarred).status();
    assert!(status.unwrap().success());
    assert_eq!(fs::read(untarred.join("a/big")).unwrap(), big);

    let target = scratch.path().join("part");
    let args = ["restore", "m/t@latest", "--to", &text(&target), "--path", "a/b"];
    let _ = appliance.ask(&args).ok();
    assert_eq!(fs::read_to_string(target.join("a/b/small")).unwrap(), "small");
    assert!(!target.join("a/big").exists());

    let files = appliance.ask(&["point", "files", "m/t@latest", "a"]);
    assert_eq!(files.lines.len(), 4, "the directory, its file, its directory, and the file in it");
}
