use super::*;
use crate::scratch::{Scratch, is_root};
use crate::skipped::SkippedReason;
use crate::torture;
use keelhold_chunk::entry::path_order;
use std::fs;
use std::os::unix::fs::symlink;

fn walk(root: &Path, options: WalkOptions) -> (Vec<Vec<u8>>, Vec<Skipped>) {
    let (mut paths, mut skipped) = (Vec::new(), Vec::new());
    for found in Walk::new(root, options).unwrap() {
        match found {
            Found::Entry(entry) => paths.push(entry.path().to_vec()),
            Found::Skipped(skip) => skipped.push(skip),
        }
    }
    (paths, skipped)
}

fn shown(paths: &[Vec<u8>]) -> Vec<String> {
    paths.iter().map(|path| path.escape_ascii().to_string()).collect()
}

fn excluding(patterns: &[&str]) -> WalkOptions {
    WalkOptions { excludes: Rules::new(patterns).unwrap(), ..WalkOptions::default() }
}

/// Whoever helps and however little may wait: the same entries in the same order, each once.
#[test]
fn every_number_of_threads_gives_the_same_order() {
    let scratch = Scratch::new();
    let root = scratch.path("tree");
    torture::make(&root, 3).unwrap();
    let listing = crate::listing::Listing::of(&root).unwrap();
    let mut expected: Vec<Vec<u8>> = listing.entries.into_keys().collect();
    expected.sort_by(|left, right| path_order(left, right));
    for (threads, read_ahead) in [(0, 1), (1, 1), (2, 100), (8, 32 << 10), (16, 3)] {
        let options = WalkOptions { threads, read_ahead, ..WalkOptions::default() };
        let (paths, skipped) = walk(&root, options);
        assert_eq!(skipped, []);
        assert!(paths == expected, "{threads} threads, {read_ahead} ahead");
    }
}

#[test]
fn a_walk_may_be_dropped_at_any_entry() {
    let scratch = Scratch::new();
    scratch.fill(&["a/1", "a/2", "b/c/d", "e"]);
    for count in 0..8 {
        let walk = Walk::new(&scratch.path(""), WalkOptions::default()).unwrap();
        let taken: Vec<Found> = walk.take(count).collect();
        assert_eq!(taken.len(), count);
    }
}

#[test]
fn an_entry_outlives_its_walk() {
    let scratch = Scratch::new();
    scratch.fill(&["a/b/file"]);
    let walk = Walk::new(&scratch.path(""), WalkOptions::default()).unwrap();
    let Some(Found::Entry(entry)) = walk.last() else { panic!("no entry") };
    let (stat, attributes) = entry.attributes().unwrap();
    assert_eq!(stat, *entry.stat());
    assert_eq!(attributes.size(), 8);
    let mut content = [0; 100];
    let len = entry.open().unwrap().read_at(0, &mut content).unwrap();
    assert_eq!(&content[..len], b"a/b/file");
}

#[test]
fn exclusions_take_what_is_below_along() {
    let scratch = Scratch::new();
    scratch.fill(&["var/cache/x", "var/lib/y", "a.o", "src/b.o", "src/b.c", "tmp"]);
    let options = excluding(&["/var/cache", "**/*.o", "tmp/"]);
    let mut walk = Walk::new(&scratch.path(""), options).unwrap();
    let paths: Vec<Vec<u8>> = walk
        .by_ref()
        .map(|found| match found {
            Found::Entry(entry) => entry.path().to_vec(),
            Found::Skipped(skipped) => panic!("{skipped:?}"),
        })
        .collect();
    let expected = ["", "src", "src/b.c", "tmp", "var", "var/lib", "var/lib/y"];
    assert_eq!(shown(&paths), expected);
    assert_eq!(walk.excluded_count(), 3);
}

#[test]
fn what_directories_say_of_themselves_is_heard_unless_switched_off() {
    let scratch = Scratch::new();
    scratch.fill(&[
        "cache/x/y",
        "cache/z",
        "false-cache/kept",
        "home/a.tmp",
        "home/b/c.tmp",
        "home/d",
    ]);
    let tag = "Signature: 8a477f597d28d172789f06886806bc55\n# made by a test\n";
    fs::write(scratch.path("cache/CACHEDIR.TAG"), tag).unwrap();
    fs::write(scratch.path("false-cache/CACHEDIR.TAG"), "something else").unwrap();
    fs::write(scratch.path("home/.keelholdignore"), "*.tmp\n").unwrap();
    let (paths, skipped) = walk(&scratch.path(""), WalkOptions::default());
    assert_eq!(skipped, []);
    let expected = [
        "",
        "cache",
        "cache/CACHEDIR.TAG",
        "false-cache",
        "false-cache/CACHEDIR.TAG",
        "false-cache/kept",
        "home",
        "home/.keelholdignore",
        "home/b",
        "home/d",
    ];
    assert_eq!(shown(&paths), expected);
    let (paths, _) = walk(&scratch.path(""), WalkOptions::default().no_default_excludes());
    assert_eq!(paths.len(), 15);
}

#[test]
fn a_line_nobody_understands_is_named() {
    let scratch = Scratch::new();
    scratch.fill(&["home/a"]);
    fs::write(scratch.path("home/.keelholdignore"), "a[\n").unwrap();
    let (paths, skipped) = walk(&scratch.path(""), WalkOptions::default());
    assert_eq!(paths.len(), 4);
    let path = b"home/.keelholdignore".to_vec();
    let reason = SkippedReason::BadRule { line: 1 };
    assert_eq!(skipped, [Skipped { path, reason }]);
}

#[test]
fn no_dump_is_heard_where_the_file_system_knows_it() {
    use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
    let scratch = Scratch::new();
    scratch.fill(&["marked", "plain"]);
    let file = fs::File::open(scratch.path("marked")).unwrap();
    let marked =
        ioctl_getflags(&file).and_then(|flags| ioctl_setflags(&file, flags | IFlags::NODUMP));
    if marked.is_err() {
        println!("this file system has no nodump flag: not covered");
        return;
    }
    let (paths, _) = walk(&scratch.path(""), WalkOptions::default());
    assert_eq!(shown(&paths), ["", "plain"]);
    let (paths, _) = walk(&scratch.path(""), WalkOptions::default().no_default_excludes());
    assert_eq!(shown(&paths), ["", "marked", "plain"]);
}

#[test]
fn links_are_entries_and_never_ways() {
    let scratch = Scratch::new();
    scratch.fill(&["real/file"]);
    symlink("real", scratch.path("way")).unwrap();
    symlink(".", scratch.path("real/loop")).unwrap();
    let (paths, skipped) = walk(&scratch.path(""), WalkOptions::default());
    assert_eq!(skipped, []);
    assert_eq!(shown(&paths), ["", "real", "real/file", "real/loop", "way"]);
}

#[test]
fn what_is_kept_out_is_named_and_stays_empty() {
    let scratch = Scratch::new();
    scratch.fill(&["pool/disk", "data"]);
    let options = WalkOptions {
        keep_out: vec![scratch.path("pool"), scratch.path("not there")],
        ..WalkOptions::default()
    };
    let (paths, skipped) = walk(&scratch.path(""), options);
    assert_eq!(shown(&paths), ["", "data", "pool"]);
    let reason = SkippedReason::KeptOut;
    assert_eq!(skipped, [Skipped { path: b"pool".to_vec(), reason }]);
}

/// With nobody reading ahead, what goes away between two steps of the reader is seen to vanish.
#[test]
fn what_vanishes_or_is_swapped_is_named() {
    let scratch = Scratch::new();
    scratch.fill(&["gone/x", "swapped/x", "elsewhere/secret", "link/x"]);
    let root = scratch.path("");
    let options = WalkOptions { threads: 0, ..WalkOptions::default() };
    let mut walk = Walk::new(&root, options).unwrap();
    // The root, and its first directory with its content.
    let first: Vec<Found> = walk.by_ref().take(2).collect();
    assert_eq!(first.len(), 2);
    fs::remove_dir_all(scratch.path("gone")).unwrap();
    fs::remove_dir_all(scratch.path("link")).unwrap();
    symlink("elsewhere", scratch.path("link")).unwrap();
    fs::rename(scratch.path("swapped"), scratch.path("aside")).unwrap();
    fs::create_dir(scratch.path("swapped")).unwrap();
    fs::write(scratch.path("swapped/other"), "").unwrap();
    let (mut paths, mut skipped) = (Vec::new(), Vec::new());
    for found in walk {
        match found {
            Found::Entry(entry) => paths.push(entry.path().to_vec()),
            Found::Skipped(Skipped { path, reason }) => skipped.push((path, reason)),
        }
    }
    assert_eq!(shown(&paths), ["elsewhere/secret", "gone", "link", "swapped"]);
    assert_eq!(skipped[0], (b"gone".to_vec(), SkippedReason::Vanished));
    assert_eq!(skipped[1].0, b"link".to_vec());
    assert!(matches!(skipped[1].1, SkippedReason::Open(_)));
    assert_eq!(skipped[2], (b"swapped".to_vec(), SkippedReason::Vanished));
    assert_eq!(skipped.len(), 3);
}

#[test]
fn a_root_that_cannot_be_walked_is_an_error() {
    let scratch = Scratch::new();
    scratch.fill(&["file"]);
    let walk = |path: &Path| Walk::new(path, WalkOptions::default()).map(|_| ()).unwrap_err();
    assert!(matches!(walk(&scratch.path("none")), WalkError::Open { .. }));
    assert!(matches!(walk(&scratch.path("file")), WalkError::NotDirectory { .. }));
    assert!(matches!(walk(Path::new("/proc")), WalkError::KernelFileSystem { .. }));
}

/// A mount that is taken away again when the test ends, however it ends.
struct Mount(PathBuf);

impl Mount {
    fn new(arguments: &[&str], at: PathBuf) -> Option<Self> {
        let mut command = std::process::Command::new("mount");
        let done = command.args(arguments).arg(&at).output();
        done.is_ok_and(|output| output.status.success()).then_some(Self(at))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let mut command = std::process::Command::new("umount");
        let _ = command.arg("-l").arg(&self.0).output();
    }
}

#[test]
fn mounts_are_borders() {
    let scratch = Scratch::new();
    scratch.fill(&["other/", "proc/", "self/file", "bound/", "aside/file"]);
    let aside = scratch.path("aside");
    let own = scratch.path("self");
    let mounts = [
        Mount::new(&["-t", "tmpfs", "none"], scratch.path("other")),
        Mount::new(&["-t", "proc", "none"], scratch.path("proc")),
        Mount::new(&["--bind", own.to_str().unwrap()], own.clone()),
        Mount::new(&["--bind", aside.to_str().unwrap()], scratch.path("bound")),
    ];
    if mounts.iter().any(Option::is_none) {
        assert!(!is_root() || std::env::var_os("CI").is_none(), "mounts are refused");
        println!("nothing may be mounted here: borders of mounts are not covered");
        return;
    }
    fs::write(scratch.path("other/file"), "").unwrap();
    let (paths, skipped) = walk(&scratch.path(""), WalkOptions::default());
    let expected = ["", "aside", "aside/file", "bound", "other", "proc", "self", "self/file"];
    assert_eq!(shown(&paths), expected);
    let skip = |path: &str, reason| Skipped::new(path.as_bytes(), reason);
    let name = |name: &str| name.to_owned();
    let bound = skipped[0].clone();
    assert_eq!(bound.path, b"bound");
    assert!(matches!(bound.reason, SkippedReason::OtherFileSystem { .. }));
    let tmpfs = SkippedReason::OtherFileSystem { file_system: name("tmpfs") };
    let proc = SkippedReason::KernelFileSystem { file_system: name("proc") };
    assert_eq!(skipped[1..], [skip("other", tmpfs), skip("proc", proc.clone())]);
    assert!(skipped.iter().all(|skipped| !skipped.reason.makes_partial()));
    let options = WalkOptions { all_file_systems: true, ..WalkOptions::default() };
    let (paths, skipped) = walk(&scratch.path(""), options);
    assert_eq!(skipped, [skip("proc", proc)]);
    assert!(paths.contains(&b"other/file".to_vec()) && paths.contains(&b"bound/file".to_vec()));
}
