use super::*;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

pub(crate) struct Stage {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) scripts: Scripts,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().join("scripts");
        fs::create_dir(&directory).unwrap();
        let notes = Notes::new(&dir.path().join("owed"));
        Self { scripts: Scripts { directory, notes }, dir }
    }

    pub(crate) fn script(&self, name: &str, text: &str) -> Vec<u8> {
        let path = self.scripts.directory.join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        path.as_os_str().as_bytes().to_vec()
    }

    fn said(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).unwrap_or_default()
    }

    fn pair(&self, pre: &str, post: &str, limit_ms: u64) -> Pair {
        let demands = Demands {
            pre: Some(self.script("pre", pre)),
            post: Some(self.script("post", post)),
            script_seconds: 1,
            ..Demands::default()
        };
        Pair { limit: Duration::from_millis(limit_ms), ..self.scripts.allow(&demands).unwrap() }
    }

    fn owed(&self, pair: Pair) -> Owed {
        Owed::begin(&self.scripts, pair, "home", 7).unwrap()
    }

    fn noted(&self) -> usize {
        self.scripts.notes.all::<serde_json::Value>().len()
    }
}

const LONG: u64 = 60_000;

#[test]
fn only_scripts_that_nobody_else_can_write_are_allowed() {
    let stage = Stage::new();
    let good = stage.script("good", "true");
    let allow = |path: &[u8]| Script::allow(path, &stage.scripts.directory);
    allow(&good).unwrap();
    let at = |name: &str| stage.scripts.directory.join(name);
    let bytes = |path: &Path| path.as_os_str().as_bytes().to_vec();
    let outside = stage.dir.path().join("outside");
    fs::copy(at("good"), &outside).unwrap();
    symlink(&outside, at("link")).unwrap();
    symlink(stage.dir.path(), at("way")).unwrap();
    fs::create_dir(at("open")).unwrap();
    fs::copy(at("good"), at("open/script")).unwrap();
    fs::set_permissions(at("open"), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(allow(&bytes(&outside)), Err(NotAllowed::Elsewhere { .. })));
    assert!(matches!(allow(b"good"), Err(NotAllowed::Elsewhere { .. })));
    assert!(matches!(allow(&bytes(&at("../outside"))), Err(NotAllowed::Elsewhere { .. })));
    assert!(matches!(allow(&bytes(&at("./good"))), Err(NotAllowed::Elsewhere { .. })));
    assert!(matches!(allow(&bytes(&at(""))), Err(NotAllowed::Elsewhere { .. })));
    assert!(matches!(allow(&bytes(&at("link"))), Err(NotAllowed::Link { .. })));
    assert!(matches!(allow(&bytes(&at("way/outside"))), Err(NotAllowed::Link { .. })));
    assert!(matches!(allow(&bytes(&at("open/script"))), Err(NotAllowed::Writable { .. })));
    assert!(matches!(allow(&bytes(&at("open"))), Err(NotAllowed::Kind { .. })));
    assert!(matches!(allow(&bytes(&at("none"))), Err(NotAllowed::Look { .. })));
    for mode in [0o600, 0o710, 0o701, 0o720, 0o755, 0o777] {
        fs::set_permissions(at("good"), fs::Permissions::from_mode(mode)).unwrap();
        assert!(matches!(allow(&good), Err(NotAllowed::Mode { .. })), "{mode:o}");
    }
    fs::set_permissions(at("good"), fs::Permissions::from_mode(0o700)).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(at("good"), Some(12_345), None).unwrap();
        assert!(matches!(allow(&good), Err(NotAllowed::Owner { uid: 12_345, .. })));
    }
}

#[test]
fn scripts_know_what_for_and_nothing_else() {
    let stage = Stage::new();
    let print = "env | sort | grep -v ^_= | grep -v ^PWD= | grep -v ^SHLVL=; echo oops >&2; \
        echo keelhold-consistency: application";
    let mut owed = stage.owed(stage.pair(print, "env | grep KEELHOLD_RESULT", LONG));
    let ran = owed.pre(&Held::default()).unwrap();
    assert!(ran.is_well());
    assert_eq!(ran.reached, Some(keelhold_wire::Consistency::Application));
    let expected =
        ["KEELHOLD_JOB=7", "KEELHOLD_PHASE=pre", "KEELHOLD_RESULT=", "KEELHOLD_SOURCE=home"];
    assert_eq!(ran.lines[..4], expected);
    assert!(ran.lines[4].starts_with("PATH=/"));
    assert_eq!(ran.lines[5..], ["oops", "keelhold-consistency: application"]);
    owed.result("ok");
    assert_eq!(owed.pay().unwrap().lines, ["KEELHOLD_RESULT=ok"]);
    assert!(owed.pay().is_none(), "once");
    assert_eq!(stage.noted(), 0);
}

/// What the script has started goes with it.
#[test]
fn a_script_that_takes_too_long_is_ended_with_its_children() {
    let stage = Stage::new();
    let held = stage.dir.path().join("held");
    let text = format!("exec 9>>{0}; flock 9; sleep 1000 & echo started; wait", held.display());
    let mut owed = stage.owed(stage.pair(&text, "true", 500));
    let ran = owed.pre(&Held::default()).unwrap();
    assert!(matches!(ran.ended, Ended::TooLong { .. }), "{:?}", ran.ended);
    assert_eq!(ran.lines, ["started"]);
    // The child held the lock, too.
    fs::File::open(&held).unwrap().lock().unwrap();
    let leash = Leash::default();
    let mut owed = stage.owed(stage.pair("sleep 1000", "true", LONG));
    let let_go = leash.held();
    drop(leash);
    assert!(matches!(owed.pre(&let_go).unwrap().ended, Ended::GivenUp));
}

#[test]
fn post_runs_once_however_the_backup_ends() {
    let stage = Stage::new();
    let log = stage.dir.path().join("log");
    let post = format!("echo $KEELHOLD_PHASE $KEELHOLD_RESULT >> {}", log.display());
    // A pre that fails: the job is given up by dropping.
    let mut owed = stage.owed(stage.pair("exit 3", &post, LONG));
    assert_eq!(owed.pre(&Held::default()).unwrap().ended.to_string(), "ended with 3");
    assert_eq!(stage.noted(), 1);
    drop(owed);
    settle(Duration::from_secs(60));
    assert_eq!(stage.said("log"), "post failed\n");
    // Killed after pre had begun: the note alone is left.
    let owed = stage.owed(stage.pair("true", &post, LONG));
    std::mem::forget(owed);
    assert_eq!(stage.noted(), 1);
    recover(&stage.scripts);
    recover(&stage.scripts);
    assert_eq!(stage.said("log"), "post failed\npost interrupted\n");
    assert_eq!(stage.noted(), 0);
}

/// A debt whose script is not safe any more is not paid, and not forgotten.
#[test]
fn an_owed_script_that_became_unsafe_waits() {
    let stage = Stage::new();
    let log = stage.dir.path().join("log");
    let pair = stage.pair("true", &format!("echo ran >> {}", log.display()), LONG);
    std::mem::forget(stage.owed(pair));
    let path = stage.scripts.directory.join("post");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o722)).unwrap();
    recover(&stage.scripts);
    assert_eq!((stage.said("log").as_str(), stage.noted()), ("", 1));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    recover(&stage.scripts);
    assert_eq!((stage.said("log").as_str(), stage.noted()), ("ran\n", 0));
}
