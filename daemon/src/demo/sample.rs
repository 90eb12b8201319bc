//! The tree the demo protects: a copy, because the demo changes it.

use crate::failure::{Code, Failure, chain};
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

/// What a sample of this machine's own files may hold.
const OWN: Limits = Limits { files: 20_000, bytes: 384 << 20, file_len: 32 << 20 };
const NONE: Limits = Limits { files: u64::MAX, bytes: u64::MAX, file_len: u64::MAX };
/// Where every Linux machine has files that everybody may read.
const OWN_FILES: [&str; 5] = ["/usr/share", "/usr/lib", "/etc", "/usr/include", "/usr/bin"];
const ODD_THINGS: &str = "odd things";

#[derive(Debug, Clone, Copy)]
struct Limits {
    files: u64,
    bytes: u64,
    file_len: u64,
}

#[derive(Debug, Default, Clone, Copy)]
pub struct Sample {
    pub files: u64,
    pub bytes: u64,
    pub unreadable: u64,
}

/// Bytes that a tree's files take, as far as they can be seen.
#[must_use]
pub fn len_of(tree: &Path) -> u64 {
    let (mut len, mut dirs) = (0, VecDeque::from([tree.to_owned()]));
    while let Some(dir) = dirs.pop_front() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(found) if found.is_dir() => dirs.push_back(entry.path()),
                Ok(found) => len += found.blocks() * 512,
                Err(_) => {}
            }
        }
    }
    len
}

fn failed(error: &io::Error) -> Failure {
    let why = chain(error);
    Failure::new(Code::DemoFailed, format!("the sample could not be made or changed: {why}"))
}

/// Copies `tree`, or some of this machine's own files, to `target`, and adds a few things that not
/// every backup brings back.
pub fn make(tree: Option<&Path>, target: &Path) -> Result<Sample, Failure> {
    let mut sample = Sample::default();
    let made = match tree {
        Some(tree) => fs::create_dir(target).and_then(|()| copy(tree, target, &mut sample, NONE)),
        None => copy_own(target, &mut sample),
    };
    made.and_then(|()| add_odd_things(&target.join(ODD_THINGS), &mut sample))
        .map_err(|error| failed(&error))?;
    Ok(sample)
}

fn copy_own(target: &Path, sample: &mut Sample) -> io::Result<()> {
    fs::create_dir(target)?;
    for own in OWN_FILES.map(Path::new).into_iter().filter(|own| own.is_dir()) {
        let into = target.join(own.file_name().unwrap_or_default());
        fs::create_dir(&into)?;
        copy(own, &into, sample, OWN)?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path, sample: &mut Sample, limits: Limits) -> io::Result<()> {
    let mut dirs = VecDeque::from([(from.to_owned(), to.to_owned())]);
    while let Some((from, to)) = dirs.pop_front() {
        let Ok(entries) = fs::read_dir(&from) else {
            sample.unreadable += 1;
            continue;
        };
        let mut entries: Vec<fs::DirEntry> = entries.flatten().collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            if sample.files >= limits.files || sample.bytes >= limits.bytes {
                return Ok(());
            }
            let (from, to) = (entry.path(), to.join(entry.file_name()));
            let Ok(found) = entry.metadata() else {
                continue;
            };
            let kind = found.file_type();
            if kind.is_dir() {
                fs::create_dir(&to)?;
                dirs.push_back((from, to));
            } else if kind.is_symlink() {
                symlink(fs::read_link(&from)?, &to)?;
                sample.files += 1;
            } else if kind.is_file() && found.len() <= limits.file_len {
                copy_file(&from, &to, found.len(), sample)?;
            }
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path, len: u64, sample: &mut Sample) -> io::Result<()> {
    match fs::copy(from, to) {
        Ok(_) => {
            sample.files += 1;
            sample.bytes += len;
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            sample.unreadable += 1;
            let _ = fs::remove_file(to);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// A sparse file, hard links, an odd name, a fifo, a dangling link, an empty directory.
fn add_odd_things(dir: &Path, sample: &mut Sample) -> io::Result<()> {
    fs::create_dir(dir)?;
    let mut sparse = fs::File::create(dir.join("sparse"))?;
    sparse.set_len(1 << 30)?;
    sparse.seek(SeekFrom::Start(700 << 20))?;
    sparse.write_all(&vec![7; 100_000])?;
    fs::write(dir.join("one inode"), b"two names\n")?;
    fs::hard_link(dir.join("one inode"), dir.join("the other name"))?;
    let odd = OsStr::from_bytes(b"no text \xff\xfe\nand a line break");
    fs::write(dir.join(odd), b"any byte may stand in a name\n")?;
    symlink("nowhere", dir.join("dangling"))?;
    fs::create_dir(dir.join("empty"))?;
    let mode = rustix::fs::Mode::from_raw_mode(0o640);
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, dir.join("fifo"), fifo, mode, 0)?;
    sample.files += 6;
    Ok(())
}

/// What was done to the tree between two backups.
#[derive(Debug, Default, Clone, Copy)]
pub struct Changes {
    pub rewritten: u64,
    pub appended: u64,
    pub removed: u64,
    pub renamed: u64,
    pub added: u64,
}

/// Changes about one file in fifty, in every way a file can change.
pub fn change(tree: &Path) -> Result<Changes, Failure> {
    let mut files = Vec::new();
    collect(tree, &mut files);
    files.sort();
    let mut changes = Changes::default();
    for (number, path) in files.iter().enumerate().filter(|(number, _)| number % 50 == 7) {
        change_file(number, path, &mut changes).map_err(|error| failed(&error))?;
    }
    Ok(changes)
}

fn change_file(number: usize, path: &Path, changes: &mut Changes) -> io::Result<()> {
    let beside = |suffix: &str| {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(suffix);
        path.with_file_name(name)
    };
    match (number / 50) % 5 {
        0 => {
            let mut bytes = fs::read(path)?;
            bytes.reverse();
            fs::write(path, bytes)?;
            changes.rewritten += 1;
        }
        1 => {
            fs::OpenOptions::new().append(true).open(path)?.write_all(b"one more line\n")?;
            changes.appended += 1;
        }
        2 => {
            fs::remove_file(path)?;
            changes.removed += 1;
        }
        3 => {
            fs::rename(path, beside(".renamed"))?;
            changes.renamed += 1;
        }
        _ => {
            fs::write(beside(".new"), format!("new {number}\n"))?;
            changes.added += 1;
        }
    }
    Ok(())
}

/// Regular files that may be written and do not stand among the odd things.
fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(found) = entry.metadata() else {
            continue;
        };
        if found.is_dir() {
            if entry.file_name() != ODD_THINGS {
                collect(&entry.path(), files);
            }
        } else if found.is_file()
            && found.len() < (4 << 20)
            && found.mode() & 0o200 != 0
            && entry.file_name().len() < 200
        {
            files.push(entry.path());
        }
    }
}

/// Files of random bytes: a backup of them lasts long enough to be interrupted.
pub fn add_random(dir: &Path, count: usize) -> Result<u64, Failure> {
    const LEN: usize = 8 << 20;
    let work = || -> io::Result<u64> {
        fs::create_dir_all(dir)?;
        let mut bytes = vec![0; LEN];
        for number in 0..count {
            getrandom::fill(&mut bytes).map_err(io::Error::other)?;
            fs::write(dir.join(format!("random-{number:03}")), &bytes)?;
        }
        Ok((count * LEN) as u64)
    };
    work().map_err(|error| failed(&error))
}
