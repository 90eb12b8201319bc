//! Where an entry belongs, and making it there.

use super::OnClash;
use super::apply::{Before, Onto, apply};
use super::directory::{WriteDir, copy_names};
use super::file::{FileWriter, Open};
use super::links::{Claim, Made};
use super::report::UnwrittenReason;
use super::shared::Shared;
use crate::dirs::{open_component, open_quietly};
use crate::identity::{EntryKind, Stat};
use crate::read::OpenFile;
use keelhold_chunk::{Attributes, Kind};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, Weak};

/// Mode of a file nobody but its maker may open yet.
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

/// A place in a directory of the target for an entry that is no directory.
#[derive(Debug)]
pub struct Place {
    pub(crate) dir: Arc<WriteDir>,
    /// As the entry names it.
    path: Vec<u8>,
    name: Box<[u8]>,
    pub(crate) attributes: Attributes,
    pub(crate) shared: Arc<Shared>,
}

/// What became of a place.
#[derive(Debug)]
pub enum Created {
    /// A regular file that wants its content.
    Content(FileWriter),
    /// Nothing is left to do: the entry is there, or the report says why not.
    Done,
}

/// Under which name an entry was made, and which it is to take when it is complete.
#[derive(Debug)]
pub(crate) struct Landing {
    name: Box<[u8]>,
    replaces: Option<Box<[u8]>>,
}

impl Place {
    pub(crate) fn new(
        dir: Arc<WriteDir>,
        path: &[u8],
        name: &[u8],
        attributes: Attributes,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            dir,
            path: path.to_vec(),
            name: name.into(),
            attributes,
            shared,
        }
    }

    #[must_use]
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    #[must_use]
    pub fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    /// Under [`OnClash::Overwrite`], the regular file that is there now: its content may already be
    /// the one wanted, in whole or in part ([`Place::patch`]).
    #[must_use]
    pub fn existing(&self) -> Option<OpenFile> {
        let may_patch = self.shared.on_clash == OnClash::Overwrite
            && !self.dir.fresh
            && matches!(self.attributes.kind, Kind::File { .. })
            && self.attributes.link_group.is_none();
        if !may_patch {
            return None;
        }
        let dir = self.dir.dir.open().ok()?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = open_quietly(&dir, &self.name, flags).ok()?;
        let stat = Stat::at(&fd, b"").ok()?;
        // Another name of the same inode may stand outside the target.
        let sole = stat.kind() == EntryKind::File && stat.link_count == 1;
        sole.then(|| OpenFile::from_parts(fd, stat))
    }

    /// Writes into the existing file instead of making a new one: the caller has compared it and
    /// writes only what differs. It also gets length and attributes.
    #[must_use]
    pub fn patch(self, existing: &OpenFile) -> Created {
        let opened = self.dir.dir.open().and_then(|dir| {
            let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY;
            let fd = open_component(&dir, &self.name, flags, Mode::empty())?;
            let stat = Stat::at(&fd, b"")?;
            let (seen, now) = (existing.stat().identity, stat.identity);
            let same = (seen.device, seen.inode) == (now.device, now.inode);
            if same && stat.link_count == 1 {
                Ok((fd, stat))
            } else {
                Err(Errno::STALE)
            }
        });
        let Ok((fd, stat)) = opened else {
            return self.create();
        };
        let before = Before {
            uid: stat.uid,
            gid: Some(stat.gid),
            // Writing clears setuid and setgid, so the mode is set in any case.
            mode: None,
            may_have_xattrs: true,
        };
        let landing = Landing {
            name: self.name.clone(),
            replaces: None,
        };
        Created::Content(FileWriter::new(Open {
            fd: Arc::new(fd),
            place: self,
            landing,
            before,
            patched: true,
            group: None,
            end: AtomicU64::new(stat.identity.size),
            failed: Mutex::default(),
        }))
    }

    /// Makes the entry. Of a link group whoever comes first makes the inode (and is asked for content,
    /// so every entry of a group needs to know it), the others become hard links to it.
    #[must_use]
    pub fn create(self) -> Created {
        let shared = self.shared.clone();
        let Some(group) = self.attributes.link_group else {
            return self.make(None);
        };
        match shared.links.claim(group) {
            Claim::LinkTo(made) => {
                self.link(&made);
                Created::Done
            }
            Claim::Make(making) => self.make(Some(making)),
        }
    }

    fn make(self, making: Option<super::links::Making<'_>>) -> Created {
        match &self.attributes.kind {
            Kind::File { .. } => self.make_file(making),
            _ => {
                match self.make_other() {
                    Ok(made) => {
                        self.shared.count(&self.shared.counts.others, 1);
                        if let Some(making) = making {
                            making.made(made);
                        }
                    }
                    Err(reason) => self.shared.unwritten(&self.path, reason),
                }
                Created::Done
            }
        }
    }

    fn make_file(self, making: Option<super::links::Making<'_>>) -> Created {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let landed = self.at_free_name(|dir, name| {
            open_component(dir, name, flags, PRIVATE)
                .map_err(|errno| UnwrittenReason::create(&self.attributes.kind, errno))
        });
        let (fd, landing) = match landed {
            Ok(landed) => landed,
            Err(reason) => {
                self.shared.unwritten(&self.path, reason);
                return Created::Done;
            }
        };
        let fd = Arc::new(fd);
        let group = self.attributes.link_group;
        if let Some(making) = making
            && let Ok(stat) = rustix::fs::fstat(&fd)
        {
            making.made(Made {
                dir: self.dir.dir.clone(),
                name: landing.final_name().into(),
                device: stat.st_dev,
                inode: stat.st_ino,
                fd: Arc::downgrade(&fd),
            });
        }
        let before = self.dir.before_of_new(0o600);
        Created::Content(FileWriter::new(Open {
            fd,
            place: self,
            landing,
            before,
            patched: false,
            group,
            end: AtomicU64::new(0),
            failed: Mutex::default(),
        }))
    }

    /// Symbolic link, fifo, socket or device.
    fn make_other(&self) -> Result<Made, UnwrittenReason> {
        let kind = &self.attributes.kind;
        let failed = |errno| UnwrittenReason::create(kind, errno);
        let is_device = matches!(kind, Kind::CharDevice { .. } | Kind::BlockDevice { .. });
        if is_device && !self.shared.options.devices {
            return Err(UnwrittenReason::NotAsked { kind: kind.word() });
        }
        let (pinned, landing) = self.at_free_name(|dir, name| {
            make_node(dir, name, kind).map_err(failed)?;
            open_component(dir, name, OFlags::PATH, Mode::empty()).map_err(failed)
        })?;
        let stat = Stat::at(&pinned, b"").map_err(failed)?;
        // Whoever may write to the directory could have put something else there meanwhile; it would
        // be theirs, or have another name elsewhere.
        if stat.kind() != kind_of(kind) || stat.uid != self.shared.uid || stat.link_count != 1 {
            return Err(UnwrittenReason::Swapped);
        }
        let before = self.dir.before_of_new(0o600);
        let path = || self.path.clone();
        apply(
            Onto::Pinned(pinned.as_fd()),
            &self.attributes,
            before,
            &self.shared,
            path,
        );
        landing.land(self)?;
        let identity = stat.identity;
        let (device, inode, name) = (identity.device, identity.inode, landing.final_name().into());
        Ok(Made {
            dir: self.dir.dir.clone(),
            name,
            device,
            inode,
            fd: Weak::new(),
        })
    }

    fn link(&self, made: &Made) {
        let linked = made
            .open()
            .map_err(|errno| match errno {
                Errno::STALE => UnwrittenReason::Swapped,
                errno => UnwrittenReason::Link(errno.into()),
            })
            .and_then(|fd| {
                let from = format!("/proc/self/fd/{}", fd.as_raw_fd());
                let (_, landing) = self.at_free_name(|dir, name| {
                    rustix::fs::linkat(CWD, &from, dir, name, AtFlags::SYMLINK_FOLLOW).map_err(
                        |errno| match errno {
                            Errno::EXIST => UnwrittenReason::create(&self.attributes.kind, errno),
                            errno => UnwrittenReason::Link(errno.into()),
                        },
                    )
                })?;
                landing.land(self)?;
                Ok(landing)
            });
        match linked {
            Ok(landing) => {
                self.shared.count(&self.shared.counts.links, 1);
                if let Some(group) = self.attributes.link_group {
                    self.shared
                        .links
                        .linked(group, &self.dir.dir, landing.final_name());
                }
            }
            Err(reason) => self.shared.unwritten(&self.path, reason),
        }
    }

    /// Makes something under the entry's name or, if that is taken, as the policy for clashes says.
    /// `make` must fail with `EEXIST` where the name is taken.
    fn at_free_name<T>(
        &self,
        make: impl Fn(&OwnedFd, &[u8]) -> Result<T, UnwrittenReason>,
    ) -> Result<(T, Landing), UnwrittenReason> {
        let taken = |reason: &UnwrittenReason| matches!(reason, UnwrittenReason::Create { errno, .. } if errno.0 == Errno::EXIST);
        let dir = self
            .dir
            .dir
            .open()
            .map_err(|_| UnwrittenReason::DirectoryMissing)?;
        match make(&dir, &self.name) {
            Err(reason) if taken(&reason) => {}
            done => {
                return done.map(|made| {
                    (
                        made,
                        Landing {
                            name: self.name.clone(),
                            replaces: None,
                        },
                    )
                });
            }
        }
        if self.dir.fresh {
            return Err(UnwrittenReason::NameTaken);
        }
        let names: Box<dyn Iterator<Item = Vec<u8>>> = match self.shared.on_clash {
            OnClash::Skip => return Err(UnwrittenReason::Exists),
            OnClash::Copy => Box::new(copy_names(&self.name)),
            OnClash::Overwrite => {
                Box::new(std::iter::repeat_with(|| self.shared.interim_name()).take(100))
            }
        };
        let overwrite = self.shared.on_clash == OnClash::Overwrite;
        for name in names {
            match make(&dir, &name) {
                Err(reason) if taken(&reason) => {}
                done => {
                    let replaces = overwrite.then(|| self.name.clone());
                    return done.map(|made| {
                        (
                            made,
                            Landing {
                                name: name.into(),
                                replaces,
                            },
                        )
                    });
                }
            }
        }
        Err(UnwrittenReason::NameTaken)
    }
}

impl Landing {
    pub(crate) fn final_name(&self) -> &[u8] {
        self.replaces.as_ref().unwrap_or(&self.name)
    }

    /// Takes the place of what is there, in one step: at no moment is neither of the two there.
    pub(crate) fn land(&self, place: &Place) -> Result<(), UnwrittenReason> {
        let Some(replaced) = &self.replaces else {
            return Ok(());
        };
        let dir = place
            .dir
            .dir
            .open()
            .map_err(|_| UnwrittenReason::DirectoryMissing)?;
        let rename = || rustix::fs::renameat(&dir, &self.name[..], &dir, &replaced[..]);
        let done = match rename() {
            Err(Errno::ISDIR) => {
                match rustix::fs::unlinkat(&dir, &replaced[..], AtFlags::REMOVEDIR) {
                    Ok(()) => rename(),
                    Err(errno) => Err(errno),
                }
            }
            done => done,
        };
        let outcome = done.map_err(|errno| match errno {
            Errno::NOTEMPTY | Errno::EXIST | Errno::ISDIR => UnwrittenReason::DirectoryInTheWay,
            errno => UnwrittenReason::Replace(errno.into()),
        });
        if outcome.is_err() {
            self.remove(place);
        }
        outcome
    }

    /// Takes away what was made but not completed.
    pub(crate) fn remove(&self, place: &Place) {
        if let Ok(dir) = place.dir.dir.open() {
            // If it cannot be removed the report names the entry all the same.
            let _ = rustix::fs::unlinkat(&dir, &self.name[..], AtFlags::empty());
        }
    }
}

fn make_node(dir: &OwnedFd, name: &[u8], kind: &Kind) -> rustix::io::Result<()> {
    let (file_type, device) = match kind {
        Kind::Symlink { target } => return rustix::fs::symlinkat(&target[..], dir, name),
        Kind::Fifo => (FileType::Fifo, 0),
        Kind::Socket => (FileType::Socket, 0),
        Kind::CharDevice { major, minor } => (
            FileType::CharacterDevice,
            rustix::fs::makedev(*major, *minor),
        ),
        Kind::BlockDevice { major, minor } => {
            (FileType::BlockDevice, rustix::fs::makedev(*major, *minor))
        }
        // Neither comes here: files and directories have ways of their own.
        Kind::File { .. } | Kind::Directory => return Err(Errno::INVAL),
    };
    rustix::fs::mknodat(dir, name, file_type, PRIVATE, device)
}

fn kind_of(kind: &Kind) -> EntryKind {
    match kind {
        Kind::File { .. } => EntryKind::File,
        Kind::Directory => EntryKind::Directory,
        Kind::Symlink { .. } => EntryKind::Symlink,
        Kind::Fifo => EntryKind::Fifo,
        Kind::Socket => EntryKind::Socket,
        Kind::CharDevice { .. } => EntryKind::CharDevice,
        Kind::BlockDevice { .. } => EntryKind::BlockDevice,
    }
}
