//! Every command of the README, run as it stands there but for paths and secrets.

use std::path::Path;
use std::process::Command;

use keelhold_tests::appliance::{Appliance, Scratch, program};
use keelhold_tests::repository;

/// Commands that make what this test runs, or run it.
const BUILD: [&str; 2] =
    ["cargo build --release --locked -p keelhold -p keelhold-agent", "tests/run"];

/// The lines of all shell blocks, without their comments.
fn commands() -> Vec<String> {
    let text = std::fs::read_to_string(repository().join("README.md")).unwrap();
    let blocks = text.split("```").skip(1).step_by(2);
    let shell = blocks.filter_map(|block| block.strip_prefix("sh\n"));
    let lines = shell.flat_map(str::lines).map(|line| line.split("  #").next().unwrap_or(line));
    lines.map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// The group the README states.
fn group() -> String {
    let text = std::fs::read_to_string(repository().join("README.md")).unwrap();
    let mut blocks = text.split("```").skip(1).step_by(2);
    let group = blocks.find_map(|block| block.strip_prefix("toml\n"));
    group.expect("a group's text").to_owned()
}

struct Reader<'a> {
    scratch: &'a Scratch,
    appliance: Appliance,
    /// URL and token, as `machine token` gave them.
    invitation: Option<(String, String)>,
}

impl Reader<'_> {
    fn path(&self, name: &str) -> String {
        self.scratch.path().join(name).display().to_string()
    }

    /// The word as it is on this machine.
    fn word(&self, word: &str) -> String {
        match (word, &self.invitation) {
            ("/dev/sdb", _) if self.appliance.pool.exists() => {
                self.appliance.pool.display().to_string()
            }
            ("/dev/sdb", _) => format!("{}:512MiB", self.appliance.pool.display()),
            ("/dev/sdc" | "/dev/sdd", _) => self.path(word.trim_start_matches("/dev/")),
            ("homes.toml", _) => self.path("homes.toml"),
            ("/home" | "/srv/restored" | "/srv/kit.txt", _) => {
                self.path(word.trim_start_matches('/'))
            }
            ("file:///srv/offsite", _) => format!("file://{}", self.path("offsite")),
            ("keelhold://appliance:7447", Some((url, _))) => url.clone(),
            ("KH1-…", Some((_, token))) => token.clone(),
            ("POINT", _) => {
                let points = self.appliance.ask(&["point", "list"]).ok();
                points[0]["id"].as_str().expect("there is a point").to_owned()
            }
            _ => word.to_owned(),
        }
    }

    fn run(&mut self, line: &str) {
        let words: Vec<String> =
            words(line.trim_start_matches("sudo ")).iter().map(|word| self.word(word)).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["cargo", "run", "--release", "--", rest @ ..] => self.demo(rest),
            // On another machine: this one has an appliance.
            ["keelhold", "adopt", rest @ ..] => {
                let folder = self.scratch.path().join("other");
                std::fs::create_dir_all(&folder).unwrap();
                let mut other = Appliance::new(self.scratch);
                other.state = folder.join("state");
                let adopted = other.ask(&[&["adopt"], rest].concat()).ok();
                assert!(adopted["points"].as_u64().unwrap() >= 1, "{adopted}");
            }
            ["keelhold", rest @ ..] => {
                let json = self.appliance.ask(rest).ok();
                if let (Some(url), Some(token)) = (json["url"].as_str(), json["token"].as_str()) {
                    self.invitation = Some((url.to_owned(), token.to_owned()));
                }
            }
            ["keelhold-agent", rest @ ..] => {
                let _ = self.appliance.agent_ask(rest).ok();
            }
            ["install", rest @ ..] => self.install(rest),
            ["systemctl", "enable", "--now", "keelhold"] => self.appliance.start_daemon(),
            ["systemctl", "enable", "--now", "keelhold-agent"] => {
                self.appliance.spawn_agent();
                self.appliance.machine_connected("anna-laptop");
            }
            _ => assert!(BUILD.contains(&line), "a command that no test runs: {line}"),
        }
    }

    fn demo(&self, args: &[&str]) {
        let mut command = Command::new(program("keelhold"));
        command.args(args).args(["--exit", "--json"]).env("HOME", self.scratch.path());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stdout));
    }

    /// Into the scratch directory instead of the system's.
    fn install(&self, args: &[&str]) {
        let (target, rest) = args.split_last().unwrap();
        let target = self.path(target.trim_start_matches('/'));
        std::fs::create_dir_all(&target).unwrap();
        let sources = rest.iter().flat_map(|word| match word.strip_prefix("target/release/") {
            Some(name) => vec![program(name).display().to_string()],
            None => expand(word),
        });
        let status = Command::new("install").args(sources).arg(target).status().unwrap();
        assert!(status.success(), "install {args:?}");
    }
}

/// What a shell makes of a star.
fn expand(word: &str) -> Vec<String> {
    let Some((folder, suffix)) = word.split_once("/*") else {
        return vec![word.to_owned()];
    };
    let entries = std::fs::read_dir(repository().join(folder)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path().display().to_string());
    let found: Vec<String> = paths.filter(|path| path.ends_with(suffix)).collect();
    assert!(!found.is_empty(), "{word} names nothing");
    found
}

/// What a shell makes of blanks and quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (part, text) in line.split('"').enumerate() {
        match part % 2 {
            0 => words.extend(text.split_whitespace().map(str::to_owned)),
            _ => words.push(text.to_owned()),
        }
    }
    words
}

fn put_tree(at: &Path) {
    std::fs::create_dir_all(at.join("anna")).unwrap();
    std::fs::write(at.join("anna/letter"), "dear reader").unwrap();
}

#[test]
fn every_command_of_the_readme_does_what_it_says() {
    let scratch = Scratch::new("readme");
    put_tree(&scratch.path().join("home"));
    std::fs::create_dir_all(scratch.path().join("offsite")).unwrap();
    for disk in ["sdc", "sdd"] {
        let disk = std::fs::File::create(scratch.path().join(disk)).unwrap();
        disk.set_len(512 << 20).unwrap();
    }
    std::fs::write(scratch.path().join("homes.toml"), group()).unwrap();
    let appliance = Appliance::new(&scratch);
    let mut reader = Reader { scratch: &scratch, appliance, invitation: None };
    let commands = commands();
    assert!(commands.len() >= 12, "{commands:?}");
    commands.iter().for_each(|line| reader.run(line));
    let restored = scratch.path().join("srv/restored/anna/letter");
    assert_eq!(std::fs::read_to_string(restored).unwrap(), "dear reader");
}
