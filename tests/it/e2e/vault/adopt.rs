//! An empty machine, a vault and a kit: the appliance is back.

use std::fs;
use std::path::Path;

use keelhold_tests::appliance::{Appliance, Scratch};
use serde_json::Value;

use super::{add, assert_same, number, random_tree, ship, text, url};

pub fn kit(appliance: &Appliance, scratch: &Scratch) -> String {
    let kit = scratch.path().join("kit.txt");
    let _ = appliance.ask(&["vault", "kit", "v", "--to", &text(&kit)]).ok();
    text(&kit)
}

pub fn lose_everything(appliance: &mut Appliance) {
    appliance.stop_daemon();
    fs::remove_dir_all(&appliance.state).unwrap();
    fs::remove_file(&appliance.pool).unwrap();
}

fn adopt(appliance: &Appliance, place: &Path, kit: &str) -> Value {
    appliance.ask(&["adopt", "--vault", &url(place), "--kit", kit]).ok()
}

/// Names, without what says when and how it was asked.
fn names(list: &Value, key: &str) -> Vec<String> {
    list.as_array().unwrap().iter().map(|each| each[key].to_string()).collect()
}

#[test]
fn an_empty_machine_takes_over_restores_and_goes_on() {
    let scratch = Scratch::new("vault-adopt");
    let tree = scratch.path().join("tree");
    random_tree(&tree, 60, 11);
    let mut appliance = Appliance::ready(&scratch, 512);
    appliance.protect(&tree);
    let group = scratch.path().join("g.toml");
    let goals = "name = \"g\"\n[[member]]\nmachine = \"m\"\nsource = \"t\"\n[short_term]\npoints = [\"*-01-01 00:00\"]\n[short_term.keep]\nyearly = { day = 1, month = \"january\", for = \"9 years\" }\n";
    fs::write(&group, goals).unwrap();
    let _ = appliance.ask(&["group", "apply", &text(&group)]).ok();
    let place = add(&appliance, &scratch);
    let first = appliance.backup("m/t");
    fs::write(tree.join("d1/added"), "added later").unwrap();
    let second = appliance.backup("m/t");
    let sent = number(&ship(&appliance), "bytes");
    let before = [&["point", "list"][..], &["source", "list"], &["group", "show"]]
        .map(|verb| appliance.ask(verb).ok());
    let kit = kit(&appliance, &scratch);
    lose_everything(&mut appliance);

    let adopted = adopt(&appliance, &place, &kit);
    assert_eq!(number(&adopted, "points"), 2, "{adopted}");
    appliance.start_daemon();
    let after = [&["point", "list"][..], &["source", "list"], &["group", "show"]]
        .map(|verb| appliance.ask(verb).ok());
    for (list, key) in [(0, "id"), (1, "name"), (2, "text")] {
        assert_eq!(names(&after[list], key), names(&before[list], key));
    }
    assert_eq!(after[0][0]["places"], serde_json::json!(["vault:v"]));
    let target = scratch.path().join("restored");
    let point = second["point"].as_str().unwrap();
    assert_eq!(appliance.restore(point, &target)["result"], "ok");
    assert_same(&tree, &target);
    let raw = scratch.path().join("raw");
    let args = ["export", point, "--raw", &text(&raw), "--path", "d1/added"];
    let _ = appliance.ask(&args).ok();
    assert_eq!(fs::read_to_string(&raw).unwrap(), "added later");
    let found = appliance.ask(&["find", "added"]);
    assert_eq!(found.lines.len(), 1, "{:?}", found.lines);
    // Nothing can be backed up to it yet, and it says so.
    appliance.agent_connected();
    let refused = appliance.ask(&["backup", "m/t", "--wait"]);
    assert_eq!(refused.error(4), "KH-E2017");
    assert!(appliance.ask(&["status"]).json["at_risk"].as_bool().unwrap());

    // A pool is made beside the running daemon, which takes it up.
    let disk = format!("{}:512MiB", appliance.pool.display());
    let _ = appliance.ask(&["pool", "create", "--disk", &disk]).ok();
    appliance.until("the daemon has a pool", |own| {
        own.ask(&["pool", "status"]).json["bytes_total"].as_u64().is_some_and(|len| len < 600 << 20)
            && own.ask(&["machine", "list"]).json[0]["connected"] == true
    });
    let third = appliance.backup("m/t");
    assert_eq!(third["result"], "ok", "{third}");
    let shipped = ship(&appliance);
    assert_eq!(number(&shipped, "bytes_data"), 0, "{shipped}");
    println!("{} bytes sent after adoption, {sent} before", shipped["bytes"]);
    let listed = appliance.ask(&["point", "list"]).ok();
    assert_eq!(listed.as_array().unwrap().len(), 3, "{listed}");
    for point in [&first, &third] {
        let target = scratch.path().join(format!("again-{}", point["point"].as_str().unwrap()));
        assert_eq!(appliance.restore(point["point"].as_str().unwrap(), &target)["result"], "ok");
    }
    let target = scratch.path().join(format!("again-{}", third["point"].as_str().unwrap()));
    assert_same(&tree, &target);
    // Once more: what was shipped under two pools is there.
    let verified = appliance.ask(&["vault", "verify", "v", "--whole"]).ok();
    assert_eq!((verified["result"].as_str(), number(&verified, "points")), (Some("ok"), 3));
}

#[test]
fn any_two_of_three_shares_open_it_and_one_does_not() {
    let scratch = Scratch::new("vault-shares");
    let tree = scratch.path().join("tree");
    random_tree(&tree, 5, 2);
    let mut appliance = Appliance::ready(&scratch, 256);
    appliance.protect(&tree);
    let place = add(&appliance, &scratch);
    assert_eq!(appliance.backup("m/t")["result"], "ok");
    let old = kit(&appliance, &scratch);
    let folder = scratch.path().join("shares");
    let args = ["vault", "kit", "v", "--to", &text(&folder), "--shares", "3", "--need", "2"];
    let made = appliance.ask(&args).ok();
    let shares: Vec<String> = made["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file.as_str().unwrap().to_owned())
        .collect();
    let _shipped = ship(&appliance);
    lose_everything(&mut appliance);
    let refused = |args: &[&str]| {
        let vault = url(&place);
        appliance.ask(&[&["adopt", "--vault", &vault], args].concat()).error(4)
    };
    assert_eq!(refused(&["--kit", &shares[0]]), "KH-E2007");
    assert_eq!(refused(&["--kit", &old]), "KH-E2007", "the kit printed before was replaced");
    let args = ["adopt", "--vault", &url(&place), "--kit", &shares[2], &shares[0]];
    let _ = appliance.ask(&args).ok();
    appliance.start_daemon();
    let target = scratch.path().join("restored");
    assert_eq!(appliance.restore("m/t@latest", &target)["result"], "ok");
    assert_same(&tree, &target);
}
