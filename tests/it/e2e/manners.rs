//! What people do in between: ask twice, lose patience, take rights away.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use keelhold_tests::appliance::{Appliance, Scratch, program};
use keelhold_tests::liar::noise;

/// A tree whose backup takes a moment.
fn slow_tree(scratch: &Scratch) -> PathBuf {
    let tree = scratch.path().join("tree");
    fs::create_dir_all(&tree).unwrap();
    for number in 0..24 {
        fs::write(tree.join(format!("f{number}")), noise(number, 16 << 20)).unwrap();
    }
    tree
}

#[test]
fn a_running_source_is_joined_and_lost_patience_stops_nothing() {
    let scratch = Scratch::new("patience");
    let tree = slow_tree(&scratch);
    let appliance = Appliance::ready(&scratch, 1024);
    appliance.protect(&tree);
    let mut waiting = Command::new(program("keelhold"));
    waiting.arg("--state").arg(&appliance.state).args(["backup", "m/t", "--wait"]);
    let waiting = waiting.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let waiting = waiting.spawn().unwrap();
    appliance.until("the job runs", |own| own.ask(&["job", "list"]).json[0]["state"] == "running");
    let joined = appliance.ask(&["backup", "m/t"]).ok();
    assert_eq!(joined["joined"], true, "{joined}");
    let job = joined["job"].as_u64().unwrap();
    let pid = rustix::process::Pid::from_child(&waiting);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = waiting.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    for way in [format!("keelhold job show {job}"), format!("keelhold job cancel {job}")] {
        assert!(said.contains(&way), "{said}");
    }
    let job = job.to_string();
    appliance.until("the job is done all the same", |own| {
        own.ask(&["job", "show", &job]).json["state"] == "done"
    });
    assert_eq!(appliance.ask(&["job", "show", &job]).json["result"], "ok");
    assert_eq!(appliance.ask(&["point", "list"]).ok().as_array().unwrap().len(), 1);
}

#[test]
fn a_cancelled_job_ends_with_130_and_leaves_no_point() {
    let scratch = Scratch::new("cancel");
    let tree = slow_tree(&scratch);
    let appliance = Appliance::ready(&scratch, 1024);
    appliance.protect(&tree);
    let job = appliance.ask(&["backup", "m/t"]).ok()["job"].as_u64().unwrap().to_string();
    let _ = appliance.ask(&["job", "cancel", &job]).ok();
    appliance
        .until("the job is over", |own| own.ask(&["job", "show", &job]).json["state"] == "done");
    let shown = appliance.ask(&["job", "show", &job]).ok();
    assert_eq!(shown["error"]["code"], "KH-E0002", "{shown}");
    assert!(appliance.ask(&["point", "list"]).ok().as_array().unwrap().is_empty());
    assert_eq!(appliance.ask(&["job", "cancel", &job]).error(4), "KH-E0502");
    assert_eq!(appliance.ask(&["job", "show", "99999"]).error(1), "KH-E0501");
    assert_eq!(appliance.backup("m/t")["result"], "ok");
}

/// Gives a tree to a user without rights.
fn hand_over(path: &Path, user: u32) {
    chown(path, Some(user), Some(user)).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| hand_over(&entry.unwrap().path(), user));
    }
}

#[test]
fn what_the_agent_may_not_read_makes_the_point_partial_and_is_named() {
    const NOBODY: u32 = 65_534;
    if !rustix::process::geteuid().is_root() {
        return println!("NOT COVERED: only root can start an agent as another user");
    }
    let scratch = Scratch::new("unreadable");
    let tree = scratch.path().join("tree");
    fs::create_dir_all(tree.join("closed")).unwrap();
    for (name, mode) in [("open", 0o644), ("secret", 0o600), ("closed/inside", 0o644)] {
        fs::write(tree.join(name), noise(3, 4_000)).unwrap();
        fs::set_permissions(tree.join(name), Permissions::from_mode(mode)).unwrap();
    }
    fs::set_permissions(tree.join("closed"), Permissions::from_mode(0o700)).unwrap();
    let mut appliance = Appliance::ready(&scratch, 256);
    appliance.kill_agent();
    hand_over(&appliance.agent_state, NOBODY);
    appliance.agent_user = Some(NOBODY);
    appliance.start_agent();
    appliance.protect(&tree);
    let answer = appliance.ask(&["backup", "m/t", "--wait"]);
    assert_eq!(answer.code, 3, "{answer:?}");
    assert_eq!(answer.json["result"], "partial");
    let skipped = answer.json["skipped"].as_array().unwrap();
    let named = |name: &str| skipped.iter().any(|each| each["path"] == name);
    assert!(named("secret") && named("closed") && !named("open"), "{skipped:?}");
    let target = scratch.path().join("back");
    let _ = appliance.restore("m/t@latest", &target);
    assert_eq!(fs::read(target.join("open")).unwrap(), noise(3, 4_000));
}

#[test]
fn a_revoked_machine_is_told_so_and_comes_back_with_a_new_token() {
    let scratch = Scratch::new("revoked");
    let tree = scratch.path().join("tree");
    fs::create_dir_all(&tree).unwrap();
    let mut appliance = Appliance::ready(&scratch, 256);
    appliance.protect(&tree);
    assert_eq!(appliance.backup("m/t")["result"], "ok");
    let _ = appliance.ask(&["machine", "revoke", "m"]).ok();
    assert_eq!(appliance.ask(&["backup", "m/t", "--wait"]).error(4), "KH-E0307");
    appliance.until("the agent knows why", |own| {
        let status = own.agent_ask(&["status"]).json;
        status["last_error"].as_str().is_some_and(|error| error.contains("not accepted"))
    });
    appliance.kill_agent();
    appliance.enrol("m", &appliance.agent_state);
    appliance.start_agent();
    assert_eq!(appliance.backup("m/t")["result"], "ok");
    let points = appliance.ask(&["point", "list"]).ok();
    assert_eq!(points.as_array().unwrap().len(), 2, "its history stays");
}
