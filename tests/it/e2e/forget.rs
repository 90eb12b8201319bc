//! Points that go, come back and are kept; and the space they leave.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use keelhold_tests::appliance::{Appliance, Scratch, program};
use keelhold_tests::liar::noise;
use keelhold_tree::listing::compare;
use serde_json::Value;

const TREE_FILES: u64 = 8;

/// Two thirds of a tree are new in each round.
fn change(tree: &Path, round: u64) {
    fs::create_dir_all(tree).unwrap();
    for number in 0..TREE_FILES {
        let name = if number % 3 == 0 { "kept" } else { "changed" };
        let seed = if number % 3 == 0 { number } else { round * 100 + number };
        fs::write(tree.join(format!("{name}-{number}")), noise(seed, 3 << 20)).unwrap();
    }
}

/// An appliance with so many points of one source; gives their ids, oldest first.
fn with_points(scratch: &Scratch, count: u64) -> (Appliance, Vec<String>) {
    let tree = scratch.path().join("tree");
    let appliance = Appliance::ready(scratch, 512);
    let path = tree.display().to_string();
    let _ = appliance.ask(&["source", "add", "m", "t", "--tree", &path]).ok();
    let mut points = Vec::new();
    for round in 0..count {
        change(&tree, round);
        points.push(appliance.backup("m/t")["point"].as_str().unwrap().to_owned());
    }
    (appliance, points)
}

fn point(appliance: &Appliance, id: &str) -> Value {
    let listed = appliance.ask(&["point", "list"]).ok();
    let found = listed.as_array().unwrap().iter().find(|point| point["id"] == id);
    found.cloned().unwrap_or(Value::Null)
}

/// What people see.
fn text(appliance: &Appliance, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(program("keelhold"));
    command.arg("--state").arg(&appliance.state).args(args).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn forgetting_can_be_undone_and_every_refusal_says_what_to_do() {
    let scratch = Scratch::new("forget");
    let (mut appliance, points) = with_points(&scratch, 3);
    let (first, second, last) = (points[0].as_str(), points[1].as_str(), points[2].as_str());
    let before = scratch.path().join("before");
    assert_eq!(appliance.restore(first, &before)["result"], "ok");
    let exclusive = point(&appliance, first)["bytes_exclusive"].as_u64().unwrap();
    assert!(exclusive > 10 << 20, "five changed files of 3 MiB: {exclusive}");

    let forgotten = appliance.ask(&["point", "forget", first]).ok();
    assert!(forgotten["trashed_until"].is_string(), "{forgotten}");
    let shown = point(&appliance, first);
    assert_eq!(shown["trashed_until"], forgotten["trashed_until"]);
    assert!(shown["kept_because"][0].as_str().unwrap().contains("in the trash"), "{shown}");
    let (_, listed, _) = text(&appliance, &["point", "list"]);
    assert!(!listed.contains(first) && listed.contains(second), "{listed}");
    let (_, listed, _) = text(&appliance, &["point", "list", "--trash"]);
    assert!(listed.contains(first), "{listed}");
    // A start over changes nothing, a reclaim neither: its time is not over.
    appliance.kill_daemon();
    appliance.start_daemon();
    appliance.agent_connected();
    let result = appliance.ask(&["pool", "reclaim", "--wait"]).ok();
    assert_eq!((&result["result"], &result["points_dropped"]), (&"ok".into(), &0.into()));
    assert_eq!(appliance.ask(&["point", "forget", first]).error(4), "KH-E0611");
    assert_eq!(
        appliance.ask(&["point", "pin", first, "--until", "2999-01-01", "--why", "x"]).error(4),
        "KH-E0611"
    );
    let _ = appliance.ask(&["point", "undo-forget", first]).ok();
    assert_eq!(point(&appliance, first)["trashed_until"], Value::Null);
    assert_eq!(appliance.ask(&["point", "undo-forget", first]).error(4), "KH-E0608");
    let after = scratch.path().join("after");
    assert_eq!(appliance.restore(first, &after)["result"], "ok");
    assert!(compare(&before, &after).unwrap().is_empty());

    // Pins.
    let pinned = ["point", "pin", second, "--until", "2999-01-01", "--why", "for the auditors"];
    let shown = appliance.ask(&pinned).ok();
    assert_eq!(shown["pin"]["why"], "for the auditors");
    assert_eq!(appliance.ask(&["point", "forget", second]).error(4), "KH-E0605");
    let (code, _, said) = text(&appliance, &["point", "forget", first, second]);
    assert!(code == Some(4) && said.contains("auditors") && said.contains("unpin"), "{said}");
    assert_eq!(point(&appliance, first)["trashed_until"], Value::Null, "all or none");
    assert!(point(&appliance, second)["kept_because"][0].as_str().unwrap().contains("auditors"));
    assert_eq!(
        appliance.ask(&["point", "pin", second, "--until", "1999-01-01", "--why", "x"]).error(2),
        "KH-E0003"
    );
    assert_eq!(appliance.ask(&["point", "unpin", first]).error(4), "KH-E0612");
    let _ = appliance.ask(&["point", "unpin", second]).ok();
    let _ = appliance.ask(&["point", "forget", second]).ok();

    // The others.
    assert_eq!(appliance.ask(&["point", "forget", last]).error(4), "KH-E0606");
    let (code, _, said) = text(&appliance, &["point", "forget", "--now", "--yes", last]);
    assert!(code == Some(4) && said.contains("keelhold backup m/t"), "{said}");
    assert_eq!(
        appliance.ask(&["point", "forget", "aaaaaaaaaaaaaaaaaaaaaaaaaa"]).error(4),
        "KH-E0610"
    );
    assert_eq!(
        appliance.ask(&["point", "undo-forget", "aaaaaaaaaaaaaaaaaaaaaaaaaa"]).error(1),
        "KH-E0601"
    );
    assert_eq!(appliance.ask(&["point", "forget", "m/t@working"]).error(4), "KH-E0610");
    let (code, _, said) = text(&appliance, &["point", "forget", "--now", first]);
    assert!(code == Some(4) && said.contains("KH-E0005") && said.contains("--yes"), "{said}");
    assert_eq!(point(&appliance, first)["trashed_until"], Value::Null);

    // At once, and the daemon drops it by itself; then it is too late.
    let forgotten = appliance.ask(&["point", "forget", "--now", first]).ok();
    assert_eq!(forgotten["trashed_until"], Value::Null);
    appliance.until("it is dropped", |own| point(own, first).is_null());
    assert_eq!(appliance.ask(&["point", "undo-forget", first]).error(4), "KH-E0607");
    assert_eq!(appliance.ask(&["restore", first, "--to", "/var/tmp/never"]).error(1), "KH-E0601");
    let kept = scratch.path().join("kept");
    assert_eq!(appliance.restore("m/t@latest", &kept)["result"], "ok");
    assert!(compare(&scratch.path().join("tree"), &kept).unwrap().is_empty());

    // What was done and what was refused is written down.
    let audited = appliance.ask(&["audit", "list"]).ok();
    let audited = audited.as_array().unwrap();
    let count = |action: &str, result: &str| {
        let is_it = |entry: &&Value| entry["action"] == action && entry["result"] == result;
        audited.iter().filter(is_it).count()
    };
    assert_eq!((count("point forget", "ok"), count("point forget --now", "ok")), (2, 1));
    assert_eq!((count("point forget", "KH-E0605"), count("point forget", "KH-E0606")), (2, 1));
    assert_eq!((count("point pin", "ok"), count("point unpin", "ok")), (1, 1));
    assert!(audited.iter().all(|entry| entry["actor"].as_str().unwrap().starts_with("uid ")));
}

#[test]
fn a_dry_run_says_what_a_reclaim_then_gives_back() {
    let scratch = Scratch::new("dry-run");
    let (mut appliance, points) = with_points(&scratch, 6);
    // Containers that are open are given back only when they are sealed.
    appliance.stop_daemon();
    appliance.start_daemon();
    appliance.agent_connected();
    let going: Vec<&str> = points[..5].iter().map(String::as_str).collect();
    let forecast = appliance.ask(&[&["point", "forget", "--dry-run"], &going[..]].concat()).ok();
    assert_eq!(forecast["refused"], Value::Array(Vec::new()), "{forecast}");
    let bytes = |value: &Value, key: &str| value[key].as_u64().unwrap();
    assert!(bytes(&forecast, "bytes_exclusive") > 70 << 20, "{forecast}");
    let all =
        appliance.ask(&[&["point", "forget", "--dry-run"], &going[..], &[&points[5]]].concat());
    let all = all.ok();
    assert_eq!(all["refused"][0]["code"], "KH-E0606", "{all}");
    assert_eq!(appliance.ask(&["point", "list"]).ok().as_array().unwrap().len(), 6);
    let before = appliance.ask(&["pool", "status"]).ok();
    let _ = appliance.ask(&[&["point", "forget"], &going[..]].concat()).ok();
    let trashed = appliance.ask(&["pool", "status"]).ok();
    assert_eq!(trashed["reclaim"]["bytes_trash"], forecast["bytes_exclusive"]);
    let (code, _, said) = text(&appliance, &["pool", "reclaim", "--empty-trash", "--wait"]);
    assert!(code == Some(4) && said.contains("5 points") && said.contains(going[0]), "{said}");
    let result = appliance.ask(&["pool", "reclaim", "--empty-trash", "--wait"]).ok();
    println!("forecast {forecast}\nreclaimed {result}");
    appliance.until("all are dropped", |own| {
        own.ask(&["point", "list"]).ok().as_array().unwrap().len() == 1
    });
    appliance.until("all is freed", |own| {
        let status = own.ask(&["pool", "status"]).ok();
        let freed = bytes(&status, "bytes_free").saturating_sub(bytes(&before, "bytes_free"));
        status["reclaim"]["state"] == "idle" && freed > 0
    });
    let jobs = appliance.ask(&["job", "list"]).ok();
    let freed: u64 = jobs
        .as_array()
        .unwrap()
        .iter()
        .filter(|job| job["kind"] == "reclaim")
        .map(|job| appliance.ask(&["job", "show", &job["id"].to_string()]).ok())
        .map(|job| bytes(&job["details"], "bytes_freed"))
        .sum();
    let expected = bytes(&forecast, "bytes_freed");
    assert!(freed.abs_diff(expected) * 100 <= expected * 3, "{freed} freed, forecast {forecast}");
    let after = appliance.ask(&["pool", "status"]).ok();
    assert_eq!(bytes(&after["reclaim"], "bytes_trash"), 0, "{after}");
    assert!(after["reclaim"]["last_at"].is_string());
    let copy = scratch.path().join("copy");
    assert_eq!(appliance.restore("m/t@latest", &copy)["result"], "ok");
    assert!(compare(&scratch.path().join("tree"), &copy).unwrap().is_empty());
    let audited = appliance.ask(&["audit", "list"]).ok();
    assert_eq!(audited.as_array().unwrap().last().unwrap()["action"], "pool reclaim --empty-trash");
}

#[test]
fn a_source_that_is_given_up_may_take_its_points_along() {
    let scratch = Scratch::new("give-up");
    let (appliance, points) = with_points(&scratch, 2);
    let pin = ["point", "pin", &points[0], "--until", "2999-01-01", "--why", "trial"];
    let _ = appliance.ask(&pin).ok();
    let delete = ["source", "remove", "m/t", "--points", "delete"];
    assert_eq!(appliance.ask(&delete).error(4), "KH-E0605");
    assert_eq!(appliance.ask(&["source", "list"]).ok().as_array().unwrap().len(), 1);
    let _ = appliance.ask(&["point", "unpin", &points[0]]).ok();
    let _ = appliance.ask(&delete).ok();
    for id in &points {
        assert!(point(&appliance, id)["trashed_until"].is_string());
        let _ = appliance.ask(&["point", "undo-forget", id]).ok();
    }
    // Nobody protects it any more: its last point may go, too.
    let _ = appliance.ask(&["point", "forget", "--now", &points[1]]).ok();
    let copy = scratch.path().join("copy");
    assert_eq!(appliance.restore(&points[0], &copy)["result"], "ok");
}
