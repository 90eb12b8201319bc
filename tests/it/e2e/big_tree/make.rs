//! A big tree out of this machine's own files, with rarities sprinkled in; filled up with generated
//! files where the machine has too few.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use keelhold_tests::chance::Chance;
use rustix::fs::{CWD, FileType, Mode, XattrFlags};

pub const FILES: usize = 100_000;
pub const BYTES: u64 = 2 << 30;
/// Larger files of the machine would only add bytes.
const LARGEST: &str = "--max-size=4m";
/// Copies on their way at once.
const HANDS: usize = 8;
const FILL_LEN: usize = 8 << 20;

#[derive(Debug, Default)]
pub struct Made {
    pub files: usize,
    pub bytes: u64,
    generated: usize,
    hard_links: usize,
    attributes: usize,
    lists: usize,
    sparse: usize,
    special: usize,
}

/// Where real files may be found.
fn places() -> Vec<PathBuf> {
    let mut places = vec![PathBuf::from("/usr/lib"), "/usr/share".into(), "/usr/include".into()];
    if let Some(home) = std::env::var_os("CARGO_HOME").or_else(|| std::env::var_os("HOME")) {
        let home = PathBuf::from(home);
        places.extend([home.join("registry/src"), home.join(".cargo/registry/src")]);
    }
    places.retain(|place| place.is_dir());
    places
}

pub fn big(tree: &Path, chance: &mut Chance) -> Made {
    fs::create_dir_all(tree).unwrap();
    let mut made = Made::default();
    let mut files = Vec::new();
    for (number, place) in places().iter().enumerate() {
        // Missing bytes are made up faster than copied.
        if made.files >= FILES {
            break;
        }
        let to = tree.join(format!("real-{number}"));
        fs::create_dir_all(&to).unwrap();
        copy(place, &to);
        count(&to, &mut made, &mut files);
    }
    sprinkle(tree, &files, &mut made, chance);
    fill(tree, &mut made, chance);
    made
}

/// Copies what is in a place with many hands: one file after another, each new file waits for the disk.
fn copy(place: &Path, to: &Path) {
    let mut parts = Vec::new();
    for entry in fs::read_dir(place).unwrap().flatten() {
        let nested = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let below = nested.then(|| fs::read_dir(entry.path()).ok()).flatten();
        match below {
            Some(below) => {
                let to = to.join(entry.file_name());
                fs::create_dir_all(&to).unwrap();
                parts.extend(below.flatten().map(|entry| (entry.path(), to.clone())));
            }
            None => parts.push((entry.path(), to.to_path_buf())),
        }
    }
    // So many arguments at most for one program.
    let mut work: Vec<(Vec<PathBuf>, PathBuf)> = Vec::new();
    for (from, to) in parts {
        match work.last_mut() {
            Some((some, last)) if *last == to && some.len() < 40 => some.push(from),
            _ => work.push((vec![from], to)),
        }
    }
    let work = Mutex::new(work);
    let take = || work.lock().unwrap().pop();
    std::thread::scope(|scope| {
        for _ in 0..HANDS {
            scope.spawn(|| {
                while let Some((from, to)) = take() {
                    rsync(&from, &to);
                }
            });
        }
    });
}

fn rsync(from: &[PathBuf], to: &Path) {
    let args = ["-aHAXW", "--inplace", LARGEST];
    let output = Command::new("rsync").args(args).args(from).arg(to).output().unwrap();
    // What vanished meanwhile is not in the tree, and that is all.
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 24)), "{said}");
}

fn count(dir: &Path, made: &mut Made, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            count(&entry.path(), made, files);
        } else if kind.is_file() {
            made.files += 1;
            made.bytes += entry.metadata().unwrap().len();
            files.push(entry.path());
        }
    }
}

/// Hard links, extended attributes, access lists, holes, and what only root may make.
fn sprinkle(tree: &Path, files: &[PathBuf], made: &mut Made, chance: &mut Chance) {
    let links = tree.join("links");
    fs::create_dir_all(&links).unwrap();
    for (number, path) in files.iter().step_by(53).enumerate() {
        fs::hard_link(path, links.join(format!("l{number}"))).unwrap();
        made.hard_links += 1;
    }
    for path in files.iter().step_by(211) {
        let value = chance.noise(1 + chance.clone().below(90) as usize);
        rustix::fs::setxattr(path, "user.keelhold", &value, XattrFlags::empty()).unwrap();
        made.attributes += 1;
    }
    let listed: Vec<&PathBuf> = files.iter().step_by(499).collect();
    let status =
        Command::new("setfacl").args(["-m", "u:12345:r,g:54321:rw"]).args(&listed).status();
    assert!(status.unwrap().success());
    made.lists = listed.len();
    let rare = tree.join("rare");
    fs::create_dir_all(&rare).unwrap();
    for number in 0..60u64 {
        let file = fs::File::create(rare.join(format!("sparse-{number}"))).unwrap();
        for _ in 0..=number % 7 {
            file.write_all_at(&chance.noise(5_000), chance.below(1 << 24)).unwrap();
        }
        file.set_len((1 << 24) + chance.below(1 << 20)).unwrap();
        made.sparse += 1;
        // Holes are not counted: they are no bytes of anybody's.
        made.files += 1;
    }
    let mode = Mode::from_raw_mode(0o640);
    for number in 0..20u32 {
        let path = rare.join(format!("fifo-{number}"));
        rustix::fs::mknodat(CWD, &path, FileType::Fifo, mode, 0).unwrap();
        let device = rustix::fs::makedev(7, 200 + number);
        let path = rare.join(format!("device-{number}"));
        // Only root may; `tests/run` says aloud that it is not.
        let made_it = rustix::fs::mknodat(CWD, &path, FileType::BlockDevice, mode, device).is_ok();
        made.special += 1 + usize::from(made_it);
    }
}

fn fill(tree: &Path, made: &mut Made, chance: &mut Chance) {
    let mut number = 0;
    while made.files < FILES || made.bytes < BYTES {
        let dir = tree.join(format!("fill/{}", number / 500));
        fs::create_dir_all(&dir).unwrap();
        let few = made.files < FILES;
        let len = if few { 200 + chance.below(20_000) as usize } else { FILL_LEN };
        fs::write(dir.join(format!("g{number}")), chance.noise(len)).unwrap();
        number += 1;
        (made.files, made.bytes) = (made.files + 1, made.bytes + len as u64);
        made.generated += 1;
    }
}
