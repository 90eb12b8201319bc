//! The second copy: shipped to a directory, and everything back from it alone.

mod adopt;
mod cloud;
mod copy;
mod places;
mod refusals;
mod schedule;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use keelhold_tests::appliance::{Appliance, Scratch};
use keelhold_tests::chance::Chance;
use keelhold_tests::repository;
use keelhold_tree::listing::compare;
use keelhold_tree::torture;
use serde_json::Value;

pub fn text(path: &Path) -> String {
    path.display().to_string()
}

pub fn assert_same(left: &Path, right: &Path) {
    let differences = compare(left, right).unwrap();
    let said: Vec<String> = differences.iter().take(20).map(ToString::to_string).collect();
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), said.join("\n"));
}

pub fn url(place: &Path) -> String {
    format!("file://{}", place.display())
}

/// A vault `v` in a directory of the test, opened by its kit alone.
pub fn add(appliance: &Appliance, scratch: &Scratch) -> PathBuf {
    let place = scratch.path().join("vault");
    fs::create_dir_all(&place).unwrap();
    let added = appliance.ask(&["vault", "add", "v", "--url", &url(&place)]).ok();
    assert!(["ok", "behind"].contains(&added["state"].as_str().unwrap()), "{added}");
    place
}

pub fn ship(appliance: &Appliance) -> Value {
    let shipped = appliance.ask(&["vault", "ship", "v", "--wait"]).ok();
    assert_eq!(shipped["result"], "ok", "{shipped}");
    shipped
}

pub fn status(appliance: &Appliance) -> Value {
    appliance.ask(&["vault", "status"]).ok()[0].clone()
}

pub fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("no {key} in {value}"))
}

/// Random bytes in files of different sizes.
pub fn random_tree(tree: &Path, files: usize, seed: u64) {
    let mut chance = Chance::new(seed);
    for file in 0..files {
        let folder = tree.join(format!("d{}", file % 7));
        fs::create_dir_all(&folder).unwrap();
        let len = usize::try_from(chance.below(400_000)).unwrap();
        fs::write(folder.join(format!("f{file}")), chance.noise(len)).unwrap();
    }
}

/// The Python that `tests/run` made ready beside the programs.
pub fn second_reader(args: &[&str]) -> Value {
    let test = std::env::current_exe().unwrap();
    let python = test.ancestors().nth(3).unwrap().join("reader-venv/bin/python");
    assert!(python.exists(), "{} is missing: tests/run makes it", python.display());
    let program = repository().join("tests/reader/vault_reader.py");
    let output =
        Command::new(python).arg("-B").arg(program).args(args).arg("--json").output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}");
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}

/// Points of which the pool has what they need.
fn in_pool(appliance: &Appliance) -> Vec<String> {
    let points = appliance.ask(&["point", "list"]).ok();
    let here =
        |point: &&Value| point["places"].as_array().unwrap().iter().any(|place| place == "pool");
    let points = points.as_array().unwrap().iter().filter(here);
    points.map(|point| point["id"].as_str().unwrap().to_owned()).collect()
}

pub fn forget_all(appliance: &Appliance, except: &str) {
    for id in in_pool(appliance).iter().filter(|id| *id != except) {
        let _ = appliance.ask(&["point", "forget", id, "--now"]).ok();
    }
    // A reclaim that was under way already may have come too early for the last of them.
    appliance.until("the pool gave them up", |own| {
        let _ = own.ask(&["pool", "reclaim", "--wait"]).ok();
        in_pool(own) == [except]
    });
}

#[test]
fn every_point_comes_back_from_the_vault_when_the_pool_has_it_no_more() {
    let scratch = Scratch::new("vault-back");
    let tree = scratch.path().join("tree");
    torture::make(&tree, 3).unwrap();
    let appliance = Appliance::ready(&scratch, 1024);
    appliance.protect(&tree);
    let place = add(&appliance, &scratch);
    let (mut points, mut copies) = (Vec::new(), Vec::new());
    for round in 0..3 {
        fs::create_dir_all(tree.join("more")).unwrap();
        random_tree(&tree.join("more"), 20, round);
        let point = appliance.backup("m/t");
        assert_ne!(point["result"], "failed", "{point}");
        let copy = scratch.path().join(format!("copy{round}"));
        assert_eq!(appliance.restore("m/t@latest", &copy)["result"], "ok");
        assert_same(&tree, &copy);
        points.push(point["point"].as_str().unwrap().to_owned());
        copies.push(copy);
        if round != 1 {
            let shipped = ship(&appliance);
            assert_eq!(number(&shipped, "points"), if round == 0 { 1 } else { 2 }, "{shipped}");
        }
    }
    let state = status(&appliance);
    assert_eq!((number(&state, "points"), number(&state, "backlog_points")), (3, 0), "{state}");
    assert!(number(&state, "objects") > 0 && number(&state, "bytes") > 0, "{state}");
    let verified = appliance.ask(&["vault", "verify", "v", "--whole"]).ok();
    assert_eq!((verified["result"].as_str(), number(&verified, "points")), (Some("ok"), 3));

    forget_all(&appliance, &points[2]);
    let listed = appliance.ask(&["point", "list"]).ok();
    let places: Vec<&Value> =
        listed.as_array().unwrap().iter().map(|point| &point["places"]).collect();
    let (away, both) = (serde_json::json!(["vault:v"]), serde_json::json!(["pool", "vault:v"]));
    assert_eq!(places, [&away, &away, &both], "{listed}");
    for (round, (point, copy)) in points.iter().zip(&copies).enumerate() {
        let target = scratch.path().join(format!("restored{round}"));
        assert_eq!(appliance.restore(point, &target)["result"], "ok");
        assert_same(copy, &target);
    }
    // And by a reader that shares no line with the appliance.
    let kit = scratch.path().join("kit.txt");
    let _ = appliance.ask(&["vault", "kit", "v", "--to", &text(&kit)]).ok();
    let target = scratch.path().join("by-python");
    let (vault, kit) = (text(&place), text(&kit));
    let _ = second_reader(&["restore", &vault, &points[0], &text(&target), "--share", &kit]);
    let _ = second_reader(&["verify", &vault, "--share", &kit]);
    assert_same(&copies[0], &target);
}

#[test]
fn what_left_the_pool_and_comes_back_is_sent_once() {
    let scratch = Scratch::new("vault-again");
    let (tree, other) = (scratch.path().join("tree"), scratch.path().join("other"));
    random_tree(&tree, 40, 9);
    fs::create_dir_all(&other).unwrap();
    fs::write(other.join("small"), "another source keeps the machine").unwrap();
    let appliance = Appliance::ready(&scratch, 512);
    appliance.protect(&tree);
    let _place = add(&appliance, &scratch);
    assert_eq!(appliance.backup("m/t")["result"], "ok");
    let first = ship(&appliance);
    assert!(number(&first, "bytes_data") > 1 << 20, "{first}");
    let _ = appliance.ask(&["source", "remove", "m/t", "--points", "delete"]).ok();
    let _ = appliance.ask(&["pool", "reclaim", "--wait", "--empty-trash"]).ok();
    appliance.protect(&tree);
    let again = appliance.backup("m/t");
    assert!(number(&again, "bytes_new") > 1 << 20, "the pool had forgotten it: {again}");
    let second = ship(&appliance);
    assert_eq!(number(&second, "bytes_data"), 0, "{second}");
    assert!(number(&second, "chunks_known") > 0, "{second}");
    let target = scratch.path().join("restored");
    assert_eq!(appliance.restore("m/t@latest", &target)["result"], "ok");
    assert_same(&tree, &target);
}

#[test]
fn damage_in_the_pool_is_read_from_the_vault() {
    let scratch = Scratch::new("vault-heals");
    let tree = scratch.path().join("tree");
    random_tree(&tree, 30, 5);
    let mut appliance = Appliance::ready(&scratch, 256);
    appliance.protect(&tree);
    let _place = add(&appliance, &scratch);
    assert_eq!(appliance.backup("m/t")["result"], "ok");
    let _shipped = ship(&appliance);
    let needle = fs::read(tree.join("d3/f3")).unwrap();
    appliance.stop_daemon();
    // Random bytes are stored as they are: the file's own bytes are found and spoilt.
    let disk = fs::read(&appliance.pool).unwrap();
    let probe = &needle[needle.len() / 2..needle.len() / 2 + 64];
    let at = disk.windows(64).position(|window| window == probe).expect("it is in the pool");
    let file = fs::File::options().write(true).open(&appliance.pool).unwrap();
    file.write_all_at(&[0; 64], at as u64).unwrap();
    appliance.start_daemon();
    let target = scratch.path().join("restored");
    let restored = appliance.restore("m/t@latest", &target);
    assert_eq!(restored["result"], "ok", "{restored}");
    assert_same(&tree, &target);
}
