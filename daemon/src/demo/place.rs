//! Where the demo works: a directory on a real file system with room enough.

use crate::failure::{Code, Failure, chain};
use keelhold_tree::removal::remove_tree;
use rustix::fs::statvfs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Room the demo wants for its own sample, in all.
const ROOM: u64 = 3 << 30;
/// statfs magics of file systems that are memory: a pool there would show nothing.
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;

/// Taken away again when it is dropped, unless it is to be kept.
#[derive(Debug)]
pub struct Place {
    dir: PathBuf,
    keep: bool,
    pub file_system: String,
    pub bytes_free: u64,
}

impl Place {
    /// The first place that fits. The tree to protect says how much room its copy takes.
    pub fn find(tree: Option<&Path>, keep: bool) -> Result<Self, Failure> {
        let room = match tree {
            None => ROOM,
            Some(tree) => {
                let missing = |error: std::io::Error| {
                    let text = format!("{}: {}", tree.display(), chain(&error));
                    Failure::new(Code::BadRequest, text).hint("name a directory that can be read")
                };
                if !std::fs::metadata(tree).map_err(missing)?.is_dir() {
                    let text = format!("{} is not a directory", tree.display());
                    return Err(Failure::new(Code::BadRequest, text));
                }
                ROOM + 4 * super::sample::len_of(tree)
            }
        };
        let mut seen = Vec::new();
        for parent in candidates() {
            match Self::try_in(&parent, room, keep) {
                Ok(place) => return Ok(place),
                Err(why) => seen.push(format!("{}: {why}", parent.display())),
            }
        }
        let hint = "run it in a directory on a disk with more room";
        Err(Failure::new(Code::DemoFailed, format!("no place to work: {}", seen.join("; ")))
            .hint(hint))
    }

    fn try_in(parent: &Path, room: u64, keep: bool) -> Result<Self, String> {
        std::fs::create_dir_all(parent).map_err(|error| chain(&error))?;
        let file_system = file_system(parent).map_err(|error| chain(&error))?;
        if matches!(file_system, TMPFS | RAMFS) {
            return Err(String::from("this is memory, not a disk"));
        }
        let space = statvfs(parent).map_err(|error| chain(&error))?;
        let bytes_free = space.f_bavail.saturating_mul(space.f_frsize);
        if bytes_free < room {
            let (needed, free) = (crate::size_text::size(room), crate::size_text::size(bytes_free));
            return Err(format!("{free} free, {needed} needed"));
        }
        let dir = parent.join(format!("keelhold-demo-{}", std::process::id()));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&dir);
        made.map_err(|error| chain(&error))?;
        Ok(Self { dir, keep, file_system: name(file_system), bytes_free })
    }

    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.keep
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        if let Err(error) = remove_tree(&self.dir)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            eprintln!("{} could not be removed: {}", self.dir.display(), chain(&error));
        }
    }
}

fn candidates() -> Vec<PathBuf> {
    let variable =
        |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let mut candidates: Vec<PathBuf> = Vec::new();
    candidates.extend(variable("TMPDIR"));
    candidates.extend(variable("XDG_CACHE_HOME"));
    candidates.extend(variable("HOME").map(|home| home.join(".cache")));
    candidates.push(PathBuf::from("/var/tmp"));
    candidates.push(PathBuf::from("/tmp"));
    candidates.extend(std::env::current_dir());
    candidates
}

fn file_system(path: &Path) -> rustix::io::Result<u64> {
    Ok(rustix::fs::statfs(path)?.f_type.cast_unsigned())
}

fn name(magic: u64) -> String {
    match magic {
        0xef53 => String::from("ext4"),
        0x5846_5342 => String::from("xfs"),
        0x9123_683e => String::from("btrfs"),
        0x794c_7630 => String::from("overlayfs"),
        0x2fc1_2fc1 => String::from("zfs"),
        other => format!("file system {other:#x}"),
    }
}
