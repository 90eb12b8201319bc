//! Disks that are full, gone, foreign or damaged: refused with a reason, and nothing lost.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::process::Command;

use keelhold_tests::appliance::{Appliance, Scratch, program};
use keelhold_tests::liar::noise;
use keelhold_tree::listing::compare;

/// Starts a daemon that cannot start; gives its code and what it says.
fn serve(appliance: &Appliance) -> (Option<i32>, String) {
    let mut command = Command::new(program("keelhold"));
    command.arg("--state").arg(&appliance.state).args(["serve", "--agents", appliance.address()]);
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_full_pool_refuses_and_keeps_what_it_has() {
    let scratch = Scratch::new("full-pool");
    let tree = scratch.path().join("tree");
    fs::create_dir_all(&tree).unwrap();
    fs::write(tree.join("first"), noise(1, 20 << 20)).unwrap();
    let appliance = Appliance::ready(&scratch, 256);
    appliance.protect(&tree);
    assert_eq!(appliance.backup("m/t")["result"], "ok");
    let copy = scratch.path().join("copy");
    assert_eq!(appliance.restore("m/t@latest", &copy)["result"], "ok");
    for number in 0..4 {
        fs::write(tree.join(format!("more-{number}")), noise(9 + number, 80 << 20)).unwrap();
    }
    let answer = appliance.ask(&["backup", "m/t", "--wait"]);
    assert_eq!(answer.json["error"]["code"], "KH-E0206", "{answer:?}");
    assert_eq!(answer.code, 1);
    assert!(!answer.json["error"]["hint"].as_str().unwrap().is_empty());
    let points = appliance.ask(&["point", "list"]).ok();
    assert_eq!(points.as_array().unwrap().len(), 1);
    let again = scratch.path().join("again");
    assert_eq!(appliance.restore("m/t@latest", &again)["result"], "ok");
    assert!(compare(&copy, &again).unwrap().is_empty());
    assert!(appliance.ask(&["status"]).json["sentence"].is_string());
}

#[test]
fn a_pool_disk_that_is_gone_foreign_or_damaged_stops_the_start() {
    let scratch = Scratch::new("gone-disk");
    let mut appliance = Appliance::ready(&scratch, 256);
    appliance.kill_agent();
    appliance.stop_daemon();
    let aside = scratch.path().join("aside.img");
    fs::rename(&appliance.pool, &aside).unwrap();
    let (code, said) = serve(&appliance);
    assert_eq!(code, Some(1));
    assert!(said.contains("KH-E0202") && said.contains("pool import"), "{said}");
    fs::write(&appliance.pool, vec![0xab; 64 << 20]).unwrap();
    let (code, said) = serve(&appliance);
    assert_eq!(code, Some(1));
    assert!(said.contains("KH-E0209"), "{said}");
    // Everything that names the pool is gone from the disk's two ends.
    fs::copy(&aside, &appliance.pool).unwrap();
    let disk = File::options().write(true).open(&appliance.pool).unwrap();
    let len = disk.metadata().unwrap().len();
    disk.write_all_at(&vec![0x55; 4 << 20], 0).unwrap();
    disk.write_all_at(&vec![0x55; 4 << 20], len - (4 << 20)).unwrap();
    let (code, said) = serve(&appliance);
    assert_eq!(code, Some(1));
    assert!(said.contains("KH-E0209") || said.contains("KH-E0207"), "{said}");
    fs::rename(&aside, &appliance.pool).unwrap();
    appliance.start_daemon();
}

/// A file system of one MiB, if this user may mount one.
struct Small(std::path::PathBuf);

impl Small {
    fn mount(at: std::path::PathBuf) -> Option<Self> {
        fs::create_dir_all(&at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&at);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then_some(Self(at))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).output();
    }
}

#[test]
fn a_full_target_is_said_with_every_path_that_is_missing() {
    let scratch = Scratch::new("full-target");
    let tree = scratch.path().join("tree");
    fs::create_dir_all(&tree).unwrap();
    fs::write(tree.join("large"), noise(1, 5 << 20)).unwrap();
    fs::write(tree.join("small"), noise(2, 5_000)).unwrap();
    let appliance = Appliance::ready(&scratch, 256);
    appliance.protect(&tree);
    assert_eq!(appliance.backup("m/t")["result"], "ok");
    let Some(small) = Small::mount(scratch.path().join("small")) else {
        return println!("NOT COVERED: this user may not mount a small file system");
    };
    let target = small.0.join("to").display().to_string();
    let answer = appliance.ask(&["restore", "m/t@latest", "--to", &target]);
    assert_eq!(answer.code, 3, "{answer:?}");
    assert_eq!(answer.json["failed"][0]["path"], "large", "{answer:?}");
    let again = scratch.path().join("again");
    assert_eq!(appliance.restore("m/t@latest", &again)["result"], "ok");
    assert!(compare(&tree, &again).unwrap().is_empty());
}

/// Without room for its memory of what it has sent, a machine is slower and no less protected.
#[test]
fn a_machine_whose_disk_is_full_is_backed_up_all_the_same() {
    let scratch = Scratch::new("full-machine");
    let tree = scratch.path().join("tree");
    fs::create_dir_all(&tree).unwrap();
    fs::write(tree.join("file"), noise(1, 1 << 20)).unwrap();
    let mut appliance = Appliance::new(&scratch);
    let Some(small) = Small::mount(scratch.path().join("small")) else {
        return println!("NOT COVERED: this user may not mount a small file system");
    };
    appliance.agent_state = small.0.join("agent");
    appliance.make_ready(256);
    appliance.protect(&tree);
    let filled = fs::write(small.0.join("ballast"), vec![1; 2 << 20]);
    assert!(filled.is_err(), "the disk is full");
    for _ in 0..2 {
        let result = appliance.backup("m/t");
        assert_eq!(result["result"], "ok", "{result}");
    }
    let target = scratch.path().join("back");
    assert_eq!(appliance.restore("m/t@latest", &target)["result"], "ok");
    assert!(compare(&tree, &target).unwrap().is_empty());
    appliance.kill_agent();
}
