//! The kinds of hidden changes. Each has a directory of its own with two files of one size and one
//! mtime.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use keelhold_tests::chance::Chance;
use keelhold_tests::mapped::Mapped;
use rustix::fs::{AtFlags, CWD, FallocateFlags, RenameFlags, Timespec, Timestamps};

const LEN: usize = 6_000;
/// Beyond what is read in one piece.
const LARGE_LEN: usize = 2_500_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Other bytes, mtime put back.
    Rewritten,
    /// Emptied first, then as long as before, mtime put back.
    Truncated,
    /// A few bytes in the middle of a large file, mtime put back.
    Patched,
    /// Data becomes a hole, mtime put back.
    Punched,
    /// A store through a mapping that was stored through before the first backup.
    Stored,
    /// A file like it renamed over it.
    RenamedOver,
    /// Removed and made again: often the same inode number.
    MadeAgain,
    /// Two files change names.
    Exchanged,
    /// The directories around two files change names.
    DirectoriesExchanged,
    /// A second name goes from one file to another.
    LinkMoved,
    /// Two files become one with two names.
    LinksJoined,
    /// Mode only.
    Mode,
    /// An attribute only.
    Attribute,
    /// mtime only, backwards.
    Time,
    /// Another target of the same length, mtime put back.
    Retargeted,
    /// Written without pause while the first backup reads, mtime put back each time.
    Restless,
}

impl Kind {
    pub const ALL: [Self; 15] = [
        Self::Rewritten,
        Self::Truncated,
        Self::Patched,
        Self::Punched,
        Self::Stored,
        Self::RenamedOver,
        Self::MadeAgain,
        Self::Exchanged,
        Self::DirectoriesExchanged,
        Self::LinkMoved,
        Self::LinksJoined,
        Self::Mode,
        Self::Attribute,
        Self::Time,
        Self::Retargeted,
    ];
}

/// The mtime of everything here.
fn set_mtime(path: &Path, secs: i64) {
    let time = Timespec { tv_sec: secs, tv_nsec: 987_654_321 };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn keep_mtime(path: &Path) {
    set_mtime(path, 1_500_000_000);
}

/// As long as before, and mtime as before.
pub fn rewrite(path: &Path, chance: &mut Chance) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(&chance.noise(LEN), 0).unwrap();
    keep_mtime(path);
}

fn make(path: &Path, len: usize, chance: &mut Chance) {
    fs::write(path, chance.noise(len)).unwrap();
    keep_mtime(path);
}

pub struct Case {
    pub kind: Kind,
    pub one: PathBuf,
    other: PathBuf,
    link: PathBuf,
    mapped: Option<Mapped>,
}

impl Case {
    pub fn prepare(kind: Kind, dir: &Path, chance: &mut Chance) -> Self {
        let (left, right) = (dir.join("left"), dir.join("right"));
        fs::create_dir_all(&left).unwrap();
        fs::create_dir_all(&right).unwrap();
        let len = if kind == Kind::Patched { LARGE_LEN } else { LEN };
        let (one, other, link) = (left.join("file"), right.join("file"), left.join("link"));
        make(&one, len, chance);
        make(&other, len, chance);
        let mut mapped = None;
        match kind {
            Kind::LinkMoved => fs::hard_link(&one, &link).unwrap(),
            Kind::Retargeted => {
                symlink("target-1", &link).unwrap();
                keep_mtime(&link);
            }
            Kind::Stored => {
                let mut open = Mapped::open(&one).unwrap();
                open.store(chance.below(LEN as u64) as usize, 1);
                keep_mtime(&one);
                mapped = Some(open);
            }
            _ => {}
        }
        for dir in [&left, &right] {
            keep_mtime(dir);
        }
        Self { kind, one, other, link, mapped }
    }

    pub fn change(&mut self, chance: &mut Chance) {
        match self.kind {
            Kind::Rewritten | Kind::Restless => rewrite(&self.one, chance),
            Kind::Truncated => make(&self.one, LEN, chance),
            Kind::Patched => {
                let file = fs::File::options().write(true).open(&self.one).unwrap();
                let at = chance.below((LARGE_LEN - 8) as u64);
                file.write_all_at(&chance.draw().to_le_bytes(), at).unwrap();
                keep_mtime(&self.one);
            }
            Kind::Punched => {
                let file = fs::File::options().write(true).open(&self.one).unwrap();
                let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                rustix::fs::fallocate(&file, flags, 0, 4096).unwrap();
                keep_mtime(&self.one);
            }
            Kind::Stored => {
                let mapped = self.mapped.as_mut().unwrap();
                // Nothing else touches the file: the page fault alone must show.
                (0..9).for_each(|_| mapped.store(chance.below(LEN as u64) as usize, 0x5a));
            }
            Kind::Mode => fs::set_permissions(&self.one, PermissionsExt::from_mode(0o640)).unwrap(),
            Kind::Attribute => {
                let flags = rustix::fs::XattrFlags::empty();
                rustix::fs::setxattr(&self.one, "user.hidden", &chance.noise(9), flags).unwrap();
            }
            Kind::Time => set_mtime(&self.one, 1_400_000_000),
            _ => self.change_names(chance),
        }
    }

    fn change_names(&self, chance: &mut Chance) {
        let dir = |path: &Path| path.parent().unwrap().to_owned();
        let exchange = |left: &Path, right: &Path| {
            rustix::fs::renameat_with(CWD, left, CWD, right, RenameFlags::EXCHANGE).unwrap();
        };
        match self.kind {
            Kind::RenamedOver => {
                let new = self.one.with_extension("new");
                make(&new, LEN, chance);
                fs::rename(new, &self.one).unwrap();
            }
            Kind::MadeAgain => {
                fs::remove_file(&self.one).unwrap();
                make(&self.one, LEN, chance);
            }
            Kind::Exchanged => exchange(&self.one, &self.other),
            Kind::DirectoriesExchanged => exchange(&dir(&self.one), &dir(&self.other)),
            Kind::LinkMoved => {
                fs::remove_file(&self.link).unwrap();
                fs::hard_link(&self.other, &self.link).unwrap();
            }
            Kind::LinksJoined => {
                fs::remove_file(&self.one).unwrap();
                fs::hard_link(&self.other, &self.one).unwrap();
            }
            Kind::Retargeted => {
                fs::remove_file(&self.link).unwrap();
                symlink("target-2", &self.link).unwrap();
                keep_mtime(&self.link);
            }
            _ => {}
        }
        for path in [&self.one, &self.other] {
            keep_mtime(&dir(path));
        }
    }
}
