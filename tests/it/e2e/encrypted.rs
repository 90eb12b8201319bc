//! An encrypted pool from the command line: made, served, checked, taken over, locked with another key,
//! and every way in which the key may be wrong.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use keelhold_tests::appliance::{Answer, Appliance, Scratch, program};
use keelhold_tests::liar::noise;

const MARKER: &str = "zxqv-nobody-may-read-this-vqxz";

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn key_file(scratch: &Scratch, name: &str, seed: u64) -> PathBuf {
    let path = scratch.path().join(name);
    fs::write(&path, noise(seed, 32)).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

fn code(answer: Answer, exit: i32) -> String {
    answer.error(exit)
}

/// `serve` that must refuse to start.
fn serve_refused(appliance: &Appliance, credentials: Option<&Path>) -> String {
    let mut command = Command::new(program("keelhold"));
    command.arg("--state").arg(&appliance.state).args(["--json", "serve", "--agents"]);
    command.arg(appliance.address()).stdin(Stdio::null());
    if let Some(directory) = credentials {
        command.env("CREDENTIALS_DIRECTORY", directory);
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    said["error"]["code"].as_str().unwrap().to_owned()
}

fn set_config(appliance: &Appliance, key: &Path) {
    let text = format!("[pool]\nkey_file = {:?}\n[groups]\ndefault_group = false\n", text(key));
    fs::write(appliance.state.join("config.toml"), text).unwrap();
}

fn marker_stands_in(path: &Path) -> bool {
    let bytes = fs::read(path).unwrap();
    bytes.windows(MARKER.len()).any(|window| window == MARKER.as_bytes())
}

#[test]
fn an_encrypted_pool_serves_with_its_key_and_with_no_other() {
    let scratch = Scratch::new("encrypted");
    let key = key_file(&scratch, "pool.key", 1);
    let other = key_file(&scratch, "other.key", 2);
    let tree = scratch.path().join("tree");
    fs::create_dir_all(&tree).unwrap();
    fs::write(tree.join(MARKER), format!("{MARKER} inside")).unwrap();
    fs::write(tree.join("long"), [noise(3, 90_000), MARKER.into(), noise(4, 90_000)].concat())
        .unwrap();

    let mut appliance = Appliance::new(&scratch);
    let disk = format!("{}:256MiB", text(&appliance.pool));
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let create = |key: &Path| {
        appliance.ask(&["pool", "create", "--disk", &disk, "--encrypt", "--key-file", &text(key)])
    };
    assert_eq!(code(create(&key), 4), "KH-E0223");
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    assert_eq!(code(create(&tree.join("long")), 4), "KH-E0223");
    assert_eq!(code(create(Path::new("/nonexistent")), 2), "KH-E0224");
    assert!(!appliance.pool.exists(), "a refusal made a file");
    let _ = create(&key).ok();

    assert_eq!(serve_refused(&appliance, None), "KH-E0221");
    set_config(&appliance, &other);
    assert_eq!(serve_refused(&appliance, None), "KH-E0222");
    set_config(&appliance, &key);
    appliance.start_daemon();
    appliance.enrol("m", &appliance.agent_state);
    appliance.start_agent();
    let _ = appliance.ask(&["source", "add", "m", MARKER, "--tree", &text(&tree)]).ok();
    let name = format!("m/{MARKER}");
    assert_eq!(appliance.backup(&name)["result"], "ok");
    let target = scratch.path().join("back");
    let restored = appliance.restore(&format!("{name}@latest"), &target);
    assert_eq!((&restored["result"], &restored["verified"]), (&"ok".into(), &true.into()));
    assert_eq!(fs::read(target.join("long")).unwrap(), fs::read(tree.join("long")).unwrap());
    let rotate = ["pool", "rotate-key", "--key-file", &text(&key), "--new-key-file", &text(&other)];
    assert_eq!(code(appliance.ask(&rotate), 4), "KH-E0102", "the daemon holds the pool");
    let disk = text(&appliance.pool);
    let inspect = appliance.ask(&["pool", "inspect", "--disk", &disk, "label"]);
    assert_eq!(code(inspect, 4), "KH-E0205", "the daemon holds the disk");
    let point = appliance.ask(&["point", "list"]).ok()[0]["id"].as_str().unwrap().to_owned();
    appliance.kill_agent();
    appliance.kill_daemon();
    assert!(!marker_stands_in(&appliance.pool), "the marker stands on the disk");

    let pool = text(&appliance.pool);
    let check =
        |more: &[&str]| appliance.ask(&[&["pool", "check", "--disk", &pool], more].concat());
    let proved = check(&["--key-file", &text(&key)]).ok();
    assert_eq!((&proved["result"], &proved["contents_proved"]), (&"ok".into(), &true.into()));
    let outside = check(&[]);
    assert_eq!(outside.code, 3, "{outside:?}");
    assert_eq!(outside.json["result"], "partial");
    assert_eq!(outside.json["contents_proved"], false);
    assert!(outside.json["frames"].as_u64().unwrap() > 0);
    assert_eq!(code(check(&["--key-file", &text(&other)]), 4), "KH-E0222");

    let inspect = |more: &[&str]| {
        let before = blake3::hash(&fs::read(&pool).unwrap());
        let said = appliance.ask(&[&["pool", "inspect", "--disk", &pool], more].concat());
        assert_eq!(blake3::hash(&fs::read(&pool).unwrap()), before, "{more:?} wrote");
        said
    };
    // Containers of data are numbered by their generations.
    let is_there = |number: &u32| {
        let place = format!("container:{number}");
        inspect(&["--key-file", &text(&key), &place]).json["sound"] == true
    };
    assert!((0..12).any(|number| is_there(&number)), "no container is shown");
    for place in ["label", "superblock", "journal", "state", "offset:0:70000"] {
        let shown = inspect(&["--key-file", &text(&key), place]).ok();
        assert_eq!(shown["sound"], true, "{place}: {shown}");
        assert!(!shown.to_string().contains(MARKER), "{place} shows what is stored");
    }
    let shown = inspect(&["--key-file", &text(&key), &format!("point:{point}")]).ok();
    assert_eq!(shown["sections"][0]["facts"]["point"], point.as_str());
    assert_eq!(inspect(&["label"]).ok()["sound"], true, "labels need no key");
    assert_eq!(inspect(&["nonsense:7"]).code, 2);

    let state = scratch.path().join("elsewhere");
    let import = |more: &[&str]| {
        let mut command = Command::new(program("keelhold"));
        command.arg("--state").arg(&state).args(["--json", "pool", "import", "--disk", &pool]);
        command.args(more).stdin(Stdio::null()).output().unwrap().status.code()
    };
    assert_eq!(import(&[]), Some(4));
    assert_eq!(import(&["--key-file", &text(&key)]), Some(0));

    let rotated = appliance.ask(&rotate).ok();
    assert_eq!(rotated["key_number"], 2);
    assert_eq!(serve_refused(&appliance, None), "KH-E0222", "the old key opens it");
    fs::remove_file(appliance.state.join("config.toml")).unwrap();
    let credentials = scratch.path().join("credentials");
    fs::create_dir(&credentials).unwrap();
    fs::copy(&key, credentials.join("pool-key")).unwrap();
    assert_eq!(serve_refused(&appliance, Some(&credentials)), "KH-E0222", "an old credential");
    set_config(&appliance, &other);
    appliance.start_daemon();
    assert_eq!(appliance.ask(&["point", "list"]).ok().as_array().unwrap().len(), 1);
    let again = scratch.path().join("again");
    assert_eq!(appliance.restore(&format!("{name}@latest"), &again)["result"], "ok");
}

#[test]
fn a_key_for_a_pool_that_is_not_encrypted_is_refused() {
    let scratch = Scratch::new("not-encrypted");
    let key = key_file(&scratch, "pool.key", 1);
    let appliance = Appliance::new(&scratch);
    let pool = text(&appliance.pool);
    let _ = appliance.ask(&["pool", "create", "--disk", &format!("{pool}:256MiB")]).ok();
    let check = appliance.ask(&["pool", "check", "--disk", &pool, "--key-file", &text(&key)]);
    assert_eq!(code(check, 4), "KH-E0225");
    let usage = appliance.ask(&["pool", "create", "--disk", &pool, "--encrypt"]);
    assert_eq!(usage.code, 2, "--encrypt without --key-file");
}
