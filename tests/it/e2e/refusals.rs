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
        command.output().unwrap().status.code()
    };
    assert_ne!(other("agent-wrong", "KH1-AAAA"), Some(0), "a wrong token is refused");
    assert_eq!(other("agent-2", word), Some(0));
    assert_ne!(other("agent-3", word), Some(0), "a token works once");
    let tree = scratch.path().join("tree");
    fs::create_dir_all(&tree).unwrap();
    let _ = appliance.ask(&["source", "add", "m", "t", "--tree", &tree.display().to_string()]).ok();
    assert_eq!(appliance.backup("m/t")["result"], "ok");
    appliance.kill_agent();
    appliance.until("the machine is away", |own| {
        own.ask(&["machine", "list"])
            .json
            .as_array()
            .is_some_and(|machines| machines.iter().all(|machine| machine["connected"] == false))
    });
    let _ = appliance.ask(&["backup", "m/t", "--wait"]).error(4);
    let queued = appliance.ask(&["backup", "m/t", "--queue"]).ok();
    let job = queued["job"].as_u64().unwrap().to_string();
    appliance.start_agent();
    appliance.until("the queued job is done", |own| {
        own.ask(&["job", "show", &job]).json["state"] == "done"
    });
    let _ = appliance.ask(&["backup", "m/nothing"]).error(1);
    let _ =
        appliance.ask(&["restore", "m/t@1999-01-01T00:00:00Z", "--to", "/var/tmp/never"]).error(1);
}

#[test]
fn what_cannot_be_read_makes_a_partial_result_and_is_named() {
    let scratch = Scratch::new("partial");
    let tree = scratch.path().join("gone");
    fs::create_dir_all(&tree).unwrap();
    let appliance = Appliance::ready(&scratch, 256);
    let _ = appliance.ask(&["source", "add", "m", "t", "--tree", &tree.display().to_string()]).ok();
    assert_eq!(appliance.backup("m/t")["result"], "ok");
    fs::remove_dir_all(&tree).unwrap();
    let answer = appliance.ask(&["backup", "m/t", "--wait"]);
    assert_eq!(answer.code, 1, "{answer:?}");
    assert_eq!(answer.json["result"], "failed");
    assert!(answer.json["error"]["code"].is_string());
    let points = appliance.ask(&["point", "list"]).ok();
    assert_eq!(points.as_array().unwrap().len(), 1, "what was there stays");
}
