//! Protection groups over the real daemon: texts, what they would do, what points say of themselves;
//! synchronisations; ending protection.

use std::fs;
use std::path::Path;

use keelhold_tests::appliance::{Appliance, Scratch};
use keelhold_tree::listing::compare;
use serde_json::Value;

const GROUP: &str = r#"name = "homes"
zone = "Europe/Berlin"
[[member]]
machine = "m"    # the laptop
source = "t"
[short_term]
points = ["daily 12:00"]
[short_term.keep]
daily = { for = "14 days" }
"#;

fn ready(scratch: &Scratch) -> (Appliance, std::path::PathBuf) {
    let tree = scratch.path().join("tree");
    fs::create_dir_all(tree.join("sub")).unwrap();
    fs::write(tree.join("sub/file"), b"first").unwrap();
    let appliance = Appliance::ready(scratch, 256);
    let path = tree.display().to_string();
    let _ = appliance.ask(&["source", "add", "m", "t", "--tree", &path]).ok();
    (appliance, tree)
}

fn write(scratch: &Scratch, name: &str, text: &str) -> String {
    let path = scratch.path().join(name);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn list(appliance: &Appliance, args: &[&str]) -> Vec<Value> {
    appliance.ask(args).ok().as_array().unwrap().clone()
}

fn restored(
    appliance: &Appliance,
    point: &str,
    scratch: &Scratch,
    name: &str,
) -> std::path::PathBuf {
    let target = scratch.path().join(name);
    assert_eq!(appliance.restore(point, &target)["result"], "ok");
    target
}

fn same(left: &Path, right: &Path) {
    let differences = compare(left, right).unwrap();
    assert!(differences.is_empty(), "{differences:?}");
}

#[test]
fn a_synchronisation_is_no_point_and_the_next_backup_goes_on_from_it() {
    let scratch = Scratch::new("sync");
    let (mut appliance, tree) = ready(&scratch);
    let first = appliance.ask(&["sync", "m/t", "--wait"]).ok();
    assert_eq!((&first["result"], &first["point"]), (&"ok".into(), &Value::Null));
    assert!(list(&appliance, &["point", "list"]).is_empty(), "a working state is not listed");
    same(&tree, &restored(&appliance, "m/t@working", &scratch, "one"));

    fs::write(tree.join("sub/second"), vec![7; 3 << 20]).unwrap();
    let second = appliance.ask(&["sync", "m/t", "--wait"]).ok();
    assert_eq!(second["result"], "ok");
    appliance.kill_daemon();
    appliance.start_daemon();
    appliance.agent_connected();
    same(&tree, &restored(&appliance, "m/t@working", &scratch, "two"));
    assert_eq!(appliance.ask(&["point", "forget", "m/t@working"]).error(4), "KH-E0609");

    // Nothing changed since: the point costs a message. (A file may be read again because it was too
    // young to be trusted; what it holds is there.)
    let point = appliance.backup("m/t");
    assert!(point["bytes_sent"].as_u64().unwrap() < 2_000, "{point}");
    same(&tree, &restored(&appliance, "m/t@latest", &scratch, "three"));
    assert_eq!(appliance.ask(&["restore", "m/t@working", "--to", "/nowhere"]).error(1), "KH-E0601");
}

#[test]
fn a_group_is_a_text_that_is_checked_applied_and_given_back() {
    let scratch = Scratch::new("groups");
    let (appliance, _tree) = ready(&scratch);
    let file = write(&scratch, "homes.toml", GROUP);
    let applied = appliance.ask(&["group", "apply", &file]).ok();
    assert_eq!(applied["groups"][0]["sources"][0], "m/t");
    let exported = list(&appliance, &["group", "export", "homes"]);
    assert_eq!((&exported[0]["text"], &exported[0]["version"]), (&GROUP.into(), &1.into()));
    assert_eq!(exported[0]["zone"], "Europe/Berlin");

    let next = list(&appliance, &["schedule", "next", "--count", "3"]);
    assert_eq!(next.len(), 3, "{next:?}");
    assert!(next.iter().all(|each| each["source"] == "m/t" && each["what"] == "point"), "{next:?}");

    let point = appliance.backup("m/t");
    let shown = list(&appliance, &["point", "list"]);
    let why = shown[0]["kept_because"].as_array().unwrap();
    let says = |what: &str| why.iter().any(|why| why.as_str().unwrap().contains(what));
    assert!(says("on demand") && says("last good"), "{why:?}");
    assert!(shown[0]["expires_at"].is_string(), "{shown:?}");
    let until = ["backup", "m/t", "--wait", "--keep-until", "2099-01-02"];
    let kept = appliance.ask(&until).ok();
    let shown = appliance.ask(&["point", "show", kept["point"].as_str().unwrap()]).ok();
    assert!(shown["expires_at"].as_str().unwrap().starts_with("2099-01-02"), "{shown}");
    let over = ["backup", "m/t", "--wait", "--keep-until", "2001-01-02"];
    assert_eq!(appliance.ask(&over).error(2), "KH-E0003");

    // The machine gets another name: the text follows, its comment stays.
    let _ = appliance.ask(&["machine", "rename", "m", "anna"]).ok();
    let exported = list(&appliance, &["group", "export"]);
    let text = exported[0]["text"].as_str().unwrap();
    assert_eq!(text, GROUP.replace("machine = \"m\"", "machine = \"anna\""));
    assert_eq!(exported[0]["sources"][0], "anna/t");
    let again = write(&scratch, "again.toml", text);
    assert_eq!(appliance.ask(&["group", "apply", &again]).ok()["groups"][0]["version"], 3);

    // Everything is records of the pool: the state directory can go.
    let _ = point;
}

#[test]
fn a_text_with_faults_changes_nothing_and_names_every_line() {
    let scratch = Scratch::new("faults");
    let (appliance, _tree) = ready(&scratch);
    let cases = [
        ("unknown key", GROUP.replace("zone =", "zoen ="), "line 2", "zone"),
        ("unknown zone", GROUP.replace("Berlin", "Berlni"), "line 2", "zone"),
        ("unknown machine", GROUP.replace("\"m\"", "\"mm\""), "line 4", "machine"),
        ("unknown source", GROUP.replace("\"t\"", "\"tt\""), "line 5", "source"),
        ("30 February", GROUP.replace("daily 12:00", "*-02-30 12:00"), "line 7", "30"),
        ("nothing kept", GROUP.replace("daily = { for = \"14 days\" }", ""), "line", "last good"),
    ];
    for (what, text, line, word) in cases {
        let file = write(&scratch, "bad.toml", &text);
        for verb in ["apply", "preview"] {
            let answer = appliance.ask(&["group", verb, &file]);
            let message = answer.json["error"]["message"].as_str().unwrap_or_default().to_owned();
            assert_eq!(answer.error(2), "KH-E0651", "{what}");
            assert!(message.contains(line) && message.contains(word), "{what}: {message}");
            assert!(message.contains("bad.toml"), "{what}: {message}");
        }
    }
    assert!(list(&appliance, &["group", "show"]).is_empty());
    assert_eq!(appliance.ask(&["group", "show", "nobody"]).error(1), "KH-E0652");

    // One source in two groups: refused, also if only one of them is new.
    let file = write(&scratch, "homes.toml", GROUP);
    let _ = appliance.ask(&["group", "apply", &file]).ok();
    let other = GROUP.replace("name = \"homes\"", "name = \"others\"");
    let other = write(&scratch, "others.toml", &other);
    assert_eq!(appliance.ask(&["group", "apply", &other]).error(4), "KH-E0654");
    // It moves if both are stated together.
    let without = GROUP.replace(
        "machine = \"m\"    # the laptop\nsource = \"t\"",
        "machine = \"*\"\nevery = \"file-systems\"",
    );
    let without = write(&scratch, "homes.toml", &without);
    let moved = appliance.ask(&["group", "apply", &without, &other]).ok();
    let group = |name: &str| {
        let groups = moved["groups"].as_array().unwrap();
        groups.iter().find(|group| group["name"] == name).unwrap().clone()
    };
    assert_eq!(group("others")["sources"][0], "m/t");
    assert!(group("homes")["sources"].as_array().unwrap().is_empty());
}

#[test]
fn whoever_ends_protection_says_what_becomes_of_the_points() {
    let scratch = Scratch::new("stop");
    let (mut appliance, tree) = ready(&scratch);
    let file = write(&scratch, "homes.toml", GROUP);
    let _ = appliance.ask(&["group", "apply", &file]).ok();
    let point = appliance.backup("m/t");
    let point = point["point"].as_str().unwrap();
    let _ = appliance.ask(&["source", "remove", "m/t", "--points", "policy"]).ok();
    let shown = appliance.ask(&["point", "show", point]).ok();
    let why = shown["kept_because"].to_string();
    assert!(why.contains("on demand") && shown["expires_at"].is_string(), "{shown}");
    assert!(list(&appliance, &["schedule", "next"]).is_empty(), "nothing is planned for it");

    // Added again it goes on with its history, in its group.
    let path = tree.display().to_string();
    let _ = appliance.ask(&["source", "add", "m", "t", "--tree", &path]).ok();
    assert!(appliance.backup("m/t")["bytes_sent"].as_u64().unwrap() < 2_000);
    let _ = appliance.ask(&["source", "remove", "m/t", "--points", "keep"]).ok();
    let shown = appliance.ask(&["point", "show", point]).ok();
    assert_eq!(shown["expires_at"], Value::Null, "{shown}");
    // Those that were to stay stay, also when the source is protected again.
    let _ = appliance.ask(&["source", "add", "m", "t", "--tree", &path]).ok();
    let shown = appliance.ask(&["point", "show", point]).ok();
    assert!(shown["kept_because"].to_string().contains("points stay"), "{shown}");
    assert_eq!(shown["expires_at"], Value::Null, "{shown}");
    appliance.kill_daemon();
    appliance.start_daemon();
    let _ = appliance.ask(&["machine", "remove", "m", "--points", "keep"]).ok();
    assert_eq!(list(&appliance, &["point", "list"]).len(), 2);
    assert_eq!(appliance.ask(&["machine", "remove", "m", "--points", "sell"]).code, 2);
}
