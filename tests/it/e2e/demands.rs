//! What a group demands of its machines: scripts around a backup, a least consistency, and file systems
//! that join by themselves.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use keelhold_tests::appliance::{Appliance, Scratch};
use serde_json::Value;

fn apply(appliance: &Appliance, scratch: &Scratch, text: &str) {
    let file = scratch.path().join("group.toml");
    fs::write(&file, text).unwrap();
    let _ = appliance.ask(&["group", "apply", &file.display().to_string()]).ok();
}

/// Goals that make no point while a test runs.
const SELDOM: &str = "points = [\"*-01-01 00:00\"]\n";
const KEEP: &str =
    "[short_term.keep]\nyearly = { day = 1, month = \"january\", for = \"9 years\" }\n";

fn of_tree(demands: &str, more: &str) -> String {
    let member = "[[member]]\nmachine = \"m\"\nsource = \"t\"\n";
    format!("name = \"g\"\n{member}[short_term]\n{SELDOM}{demands}{KEEP}{more}")
}

fn script(folder: &Path, name: &str, lines: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{lines}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    path
}

fn list(appliance: &Appliance, args: &[&str]) -> Vec<Value> {
    appliance.ask(args).ok().as_array().unwrap().clone()
}

/// An agent that takes scripts from a folder of the test.
fn ready(scratch: &Scratch) -> (Appliance, PathBuf) {
    let (tree, scripts) = (scratch.path().join("tree"), scratch.path().join("scripts"));
    fs::create_dir(&tree).unwrap();
    fs::create_dir(&scripts).unwrap();
    fs::set_permissions(&scripts, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(tree.join("data"), "before the dump").unwrap();
    let mut appliance = Appliance::ready(scratch, 256);
    appliance.kill_agent();
    appliance
        .set_agent_toml(&format!("[scripts]\ndirectory = {:?}\n", scripts.display().to_string()));
    appliance.start_agent();
    let path = tree.display().to_string();
    let _ = appliance.ask(&["source", "add", "m", "t", "--tree", &path]).ok();
    (appliance, scripts)
}

#[test]
fn scripts_run_around_a_backup_and_post_always_runs() {
    let scratch = Scratch::new("scripts");
    let (appliance, scripts) = ready(&scratch);
    let (log, tree) = (scratch.path().join("log"), scratch.path().join("tree"));
    let said = || fs::read_to_string(&log).unwrap_or_default();
    let dump = format!(
        "echo pre >> {0}; echo dumped > {1}/data; echo keelhold-consistency: application",
        log.display(),
        tree.display()
    );
    let pre = script(&scripts, "pre", &dump);
    let post =
        script(&scripts, "post", &format!("echo post $KEELHOLD_RESULT >> {}", log.display()));
    let programs = format!("[scripts]\npre = {pre:?}\npost = {post:?}\ntime_limit = \"1m\"\n");
    apply(&appliance, &scratch, &of_tree("consistency = \"application\"\n", &programs));

    let point = appliance.backup("m/t");
    assert_eq!(point["result"], "ok", "{point}");
    let shown = appliance.ask(&["point", "show", point["point"].as_str().unwrap()]).ok();
    assert_eq!(shown["consistency"], "application");
    let target = scratch.path().join("restored");
    assert_eq!(appliance.restore("m/t@latest", &target)["result"], "ok");
    assert_eq!(fs::read_to_string(target.join("data")).unwrap(), "dumped\n", "read before pre ran");
    assert_eq!(said().lines().count(), 2, "{}", said());
    assert!(said().starts_with("pre\npost"), "{}", said());

    // A pre script that fails: nothing is read, post runs, and the reason is said.
    let _ = script(
        &scripts,
        "pre",
        &format!("echo pre >> {}; echo disk full >&2; exit 7", log.display()),
    );
    let failed = appliance.ask(&["backup", "m/t", "--wait"]);
    assert_eq!((failed.code, &failed.json["result"]), (1, &"failed".into()), "{}", failed.json);
    assert!(failed.json["error"].to_string().contains("KH-E1025"), "{}", failed.json);
    assert_eq!(said().lines().count(), 4, "{}", said());
    let job = failed.json["job"].to_string();
    let lines = appliance.ask(&["job", "log", &job]).ok().to_string();
    assert!(lines.contains("disk full"), "what the script said is in the job's log: {lines}");

    // A script of somebody else's place does not run, whatever the server says.
    let outside = script(scratch.path(), "outside", &format!("echo outside >> {}", log.display()));
    let programs = format!("[scripts]\npre = {outside:?}\n");
    apply(&appliance, &scratch, &of_tree("", &programs));
    let refused = appliance.ask(&["backup", "m/t", "--wait"]);
    assert!(refused.json["error"].to_string().contains("KH-E1024"), "{}", refused.json);
    assert!(!said().contains("outside"));
    assert_eq!(list(&appliance, &["point", "list"]).len(), 1);
}

#[test]
fn a_point_that_reaches_less_than_its_group_demands_is_partial_and_says_why() {
    let scratch = Scratch::new("least");
    let (appliance, _) = ready(&scratch);
    apply(&appliance, &scratch, &of_tree("consistency = \"application\"\n", ""));
    let point = appliance.ask(&["backup", "m/t", "--wait"]);
    assert_eq!((point.code, &point.json["result"]), (3, &"partial".into()), "{}", point.json);
    assert!(point.json["skipped"].to_string().contains("application"), "{}", point.json);
}

#[test]
fn file_systems_join_by_themselves_or_are_shown() {
    let scratch = Scratch::new("mounts");
    let appliance = Appliance::ready(&scratch, 128);
    let rule = |new: &str| {
        let member =
            format!("[[member]]\nmachine = \"*\"\nevery = \"file-systems\"\nnew = \"{new}\"\n");
        format!("name = \"g\"\n{member}[short_term]\n{SELDOM}{KEEP}")
    };
    apply(&appliance, &scratch, &rule("show"));
    let covered = |appliance: &Appliance| list(appliance, &["group", "show", "g"])[0].clone();
    appliance.until("the agent has told what is mounted", |own| {
        covered(own)["not_covered"].as_array().is_some_and(|found| !found.is_empty())
    });
    let shown = covered(&appliance);
    assert!(shown["not_covered"].to_string().contains("m:/"), "{shown}");
    assert!(list(&appliance, &["source", "list"]).is_empty());

    apply(&appliance, &scratch, &rule("join"));
    appliance.until("file systems are sources", |own| !list(own, &["source", "list"]).is_empty());
    let sources = list(&appliance, &["source", "list"]);
    let root = sources.iter().find(|source| source["tree"] == "/").expect("the root file system");
    assert_eq!(root["name"], "root");
    assert!(covered(&appliance)["sources"].to_string().contains("m/root"));
    // What somebody removed was decided about: it does not come back.
    let _ = appliance.ask(&["source", "remove", "m/root"]).ok();
    apply(&appliance, &scratch, &rule("join"));
    let names = list(&appliance, &["source", "list"]);
    assert!(names.iter().all(|source| source["name"] != "root"), "{names:?}");
}
