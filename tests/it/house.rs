//! The house: who imports whom, how large files may be, what the documents must hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Crate of this workspace → crates of this workspace it may depend on.
const IMPORTS: [(&str, &[&str]); 10] = [
    ("keelhold-chunk", &[]),
    ("keelhold-cipher", &[]),
    ("keelhold-disk", &["keelhold-chunk", "keelhold-cipher"]),
    ("keelhold-wire", &["keelhold-chunk"]),
    ("keelhold-tree", &["keelhold-chunk"]),
    // Policy is pure: it sees nothing of the house.
    ("keelhold-policy", &[]),
    ("keelhold-vault", &["keelhold-disk", "keelhold-chunk", "keelhold-cipher"]),
    ("keelhold-agent", &["keelhold-wire", "keelhold-tree", "keelhold-chunk"]),
    (
        "keelhold",
        &[
            "keelhold-disk",
            "keelhold-wire",
            "keelhold-tree",
            "keelhold-chunk",
            "keelhold-agent",
            "keelhold-policy",
            "keelhold-vault",
        ],
    ),
    // The only place that sees everything; nothing depends on it.
    (
        "keelhold-tests",
        &[
            "keelhold-disk",
            "keelhold-wire",
            "keelhold-tree",
            "keelhold-chunk",
            "keelhold-agent",
            "keelhold-policy",
            "keelhold-vault",
            "keelhold",
        ],
    ),
];

/// Files longer than 600 lines, each with its length on the day it was let in. May only shrink.
const LONG_FILES: [(&str, usize); 0] = [];
const FILE_LINES_MAX: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn crates_import_only_whom_they_may() {
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        IMPORTS.iter().map(|(name, may)| (*name, may.iter().copied().collect())).collect();
    for package in metadata()["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let may = allowed.get(name).unwrap_or_else(|| panic!("{name} is not in the table"));
        for dependency in package["dependencies"].as_array().unwrap() {
            let other = dependency["name"].as_str().unwrap();
            if allowed.contains_key(other) && dependency["kind"].is_null() {
                assert!(may.contains(other), "{name} must not import {other}");
            }
        }
    }
}

#[test]
fn the_daemon_uses_the_agent_only_in_the_demo() {
    for file in sources("daemon/src") {
        let in_demo = file.components().any(|part| part.as_os_str() == "demo");
        let text = fs::read_to_string(&file).unwrap();
        assert!(in_demo || !text.contains("keelhold_agent::"), "{}", file.display());
    }
}

fn sources(below: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![root().join(below)];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    found
}

fn all_sources() -> Vec<PathBuf> {
    ["disk", "protect-agent", "daemon", "tests"].iter().flat_map(|top| sources(top)).collect()
}

#[test]
fn files_stay_small() {
    let (mut lengths, root) = (Vec::new(), root());
    for file in all_sources() {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        lengths.push(lines);
        let name = file.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        let limit =
            LONG_FILES.iter().find(|(long, _)| *long == name).map_or(FILE_LINES_MAX, |l| l.1);
        assert!(lines <= limit, "{name} has {lines} lines, {limit} are allowed");
    }
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    println!("{} files, median {median} lines, longest {:?}", lengths.len(), lengths.last());
    assert!(median <= 150, "the median file has {median} lines");
}

/// What would make the engine depend on where and when it runs.
#[test]
fn the_engine_has_no_clock_thread_or_randomness() {
    let banned =
        ["std::time", "std::thread", "RandomState", "getrandom", "SystemTime", "Instant::"];
    for file in sources("disk/src") {
        let text = fs::read_to_string(&file).unwrap();
        for word in banned {
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let found = code.into_iter().find(|line| line.contains(word));
            // Tests of the real devices may use threads; the engine may not.
            let is_test = file.components().any(|part| {
                let part = part.as_os_str().to_string_lossy();
                part.starts_with("tests") || part.starts_with("conformance")
            });
            let in_tests = text.find("#[cfg(test)]").zip(text.find(word));
            let in_test_module = in_tests.is_some_and(|(tests, found)| found > tests);
            assert!(found.is_none() || is_test || in_test_module, "{}: {word}", file.display());
        }
    }
}

#[test]
fn unsafe_stands_in_the_files_that_need_it() {
    let allowed = [
        "disk/src/buffer.rs",
        "disk/src/device/uring.rs",
        "disk/src/device/uring/",
        "protect-agent/tree/src/btrfs.rs",
        "tests/src/mapped.rs",
    ];
    let root = root();
    for file in all_sources() {
        let name = file.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).unwrap();
        let has = text.lines().any(|line| {
            let code = line.split("//").next().unwrap_or_default();
            code.contains("unsafe {") || code.contains("unsafe impl") || code.contains("unsafe fn")
        });
        let may = allowed.iter().any(|place| name.starts_with(place));
        assert!(!has || may || name == "tests/it/house.rs", "{name} contains unsafe code");
    }
}

#[test]
fn documents_are_there_and_not_too_long() {
    let documents = [
        ("README.md", 200),
        ("ARCHITECTURE.md", 400),
        ("CHANGELOG.md", 400),
        ("disk/FORMAT.md", 600),
        ("daemon/vault/VAULT.md", 600),
        ("protect-agent/wire/PROTOCOL.md", 600),
        ("systemd/README.md", 200),
    ];
    for (name, limit) in documents {
        let text = fs::read_to_string(root().join(name)).unwrap_or_else(|_| panic!("no {name}"));
        assert!(text.lines().count() <= limit, "{name} is longer than {limit} lines");
        let titles = text.lines().filter(|line| line.starts_with("# ")).count();
        assert!(titles >= 1, "{name} has no title");
    }
}
