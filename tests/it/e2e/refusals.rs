//! Bad input: a clear error with its code, the exit code of the contract, and nothing lost.

use std::fs;
use std::process::Command;

use keelhold_tests::appliance::{Appliance, Scratch, program};

#[test]
fn wrong_usage_exits_2_and_says_how() {
    for args in [&["--nonsense"][..], &["point", "explode"], &["vault", "add"], &["restore"]] {
        let output = Command::new(program("keelhold")).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn without_a_daemon_or_a_pool_it_says_so() {
    let scratch = Scratch::new("nothing");
    let appliance = Appliance::new(&scratch);
    let code = appliance.ask(&["point", "list"]).error(1);
    assert!(code.starts_with("KH-E"), "{code}");
    let answer = appliance.ask(&["pool", "import", "--disk", "/nonexistent/disk"]);
    assert!(matches!(answer.code, 1 | 4), "{answer:?}");
}

#[test]
fn foreign_and_used_disks_are_refused() {
    let scratch = Scratch::new("disks");
    let appliance = Appliance::new(&scratch);
    let foreign = scratch.path().join("foreign.img");
    fs::write(&foreign, vec![0xab; 64 << 20]).unwrap();
    let disk = foreign.display().to_string();
    let _ = appliance.ask(&["pool", "create", "--disk", &disk]).error(4);
    assert_eq!(fs::read(&foreign).unwrap(), vec![0xab; 64 << 20], "not a byte was written");
    let _ = appliance.ask(&["pool", "import", "--disk", &disk]).error(1);
    let own = appliance.pool.display().to_string();
    let _ = appliance.ask(&["pool", "create", "--disk", &format!("{own}:256MiB")]).ok();
    let answer = appliance.ask(&["pool", "create", "--disk", &own]);
    assert!(matches!(answer.code, 1 | 4), "{answer:?}");
}

#[test]
fn tokens_work_once_and_machines_that_are_away_are_refused() {
    let scratch = Scratch::new("tokens");
    let mut appliance = Appliance::ready(&scratch, 256);
    let token = appliance.ask(&["machine", "token", "second"]).ok();
    let (url, word) = (token["url"].as_str().unwrap(), token["token"].as_str().unwrap());
    let other = |folder: &str, token: &str| {
        let state = scratch.path().join(folder);
        let mut command = Command::new(program("keelhold-agent"));
        command.arg("--state").arg(state).args(["--json", "enroll", url, token]);
        let output = command.output().unwrap();
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code(), said["error"]["code"].as_str().unwrap_or_default().to_owned())
    };
    let refused = |code: i32, error: &str| (Some(code), error.to_owned());
    // Not a token; one nobody made, with the right pin; the right one; the same once more.
    assert_eq!(other("agent-wrong", "KH1-AAAA"), refused(1, "KH-E1012"));
    let mut made_up: keelhold_wire::Token = word.parse().unwrap();
    made_up.secret = [1; 16];
    assert_eq!(other("agent-made-up", &made_up.to_string()), refused(4, "KH-E0303"));
    assert_eq!(other("agent-2", word).0, Some(0));
    assert_eq!(other("agent-3", word), refused(4, "KH-E0305"));
    let tree = scratch.path().join("tree");
    fs::create_dir_all(&tree).unwrap();
    appliance.protect(&tree);
    assert_eq!(appliance.backup("m/t")["result"], "ok");
    appliance.kill_agent();
    appliance.until("the machine is away", |own| {
        own.ask(&["machine", "list"])
            .json
            .as_array()
            .is_some_and(|machines| machines.iter().all(|machine| machine["connected"] == false))
    });
    assert_eq!(appliance.ask(&["backup", "m/t", "--wait"]).error(4), "KH-E0307");
    let queued = appliance.ask(&["backup", "m/t", "--queue"]).ok();
    let job = queued["job"].as_u64().unwrap().to_string();
    appliance.start_agent();
    appliance.until("the queued job is done", |own| {
        own.ask(&["job", "show", &job]).json["state"] == "done"
    });
    assert_eq!(appliance.ask(&["backup", "m/nothing"]).error(1), "KH-E0401");
    let args = ["restore", "m/t@1999-01-01T00:00:00Z", "--to", "/var/tmp/never"];
    assert_eq!(appliance.ask(&args).error(1), "KH-E0601");
    let args = ["restore", "m/t@latest", "--to", "/var/tmp/never", "--path", "not/there"];
    assert_eq!(appliance.ask(&args).error(1), "KH-E0603");
    let args = ["source", "add", "m", "u", "--tree", "relative/path"];
    assert_eq!(appliance.ask(&args).error(2), "KH-E0402");
}

#[test]
fn what_cannot_be_read_makes_a_partial_result_and_is_named() {
    let scratch = Scratch::new("partial");
    let tree = scratch.path().join("gone");
    fs::create_dir_all(&tree).unwrap();
    let appliance = Appliance::ready(&scratch, 256);
    appliance.protect(&tree);
    assert_eq!(appliance.backup("m/t")["result"], "ok");
    fs::remove_dir_all(&tree).unwrap();
    let answer = appliance.ask(&["backup", "m/t", "--wait"]);
    assert_eq!(answer.code, 1, "{answer:?}");
    assert_eq!(answer.json["result"], "failed");
    assert!(answer.json["error"]["code"].is_string());
    let points = appliance.ask(&["point", "list"]).ok();
    assert_eq!(points.as_array().unwrap().len(), 1, "what was there stays");
}
