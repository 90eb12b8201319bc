//! Where an entry belongs, and making it there.

use super::OnClash;
use super::apply::Before;
use super::directory::WriteDir;
use super::file::{FileWriter, Open};
use super::landing::Landing;
use super::links::{Claim, Made};
use super::report::UnwrittenReason;
use super::shared::Shared;
use crate::dirs::{open_component, open_quietly};
use crate::identity::{EntryKind, Stat};
use crate::read::OpenFile;
use keelhold_chunk::{Attributes, Kind};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

/// Mode of what nobody but its maker may open yet.
pub(crate) const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

/// A place in a directory of the target for an entry that is no directory.
#[derive(Debug)]
pub struct Place {
    pub(crate) dir: Arc<WriteDir>,
    /// As the entry names it.
    path: Vec<u8>,
    pub(crate) name: Box<[u8]>,
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

impl Place {
    pub(crate) fn new(
        dir: Arc<WriteDir>,
        path: &[u8],
        name: &[u8],
        attributes: Attributes,
        shared: Arc<Shared>,
    ) -> Self {
        Self { dir, path: path.to_vec(), name: name.into(), attributes, shared }
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
            if same && stat.link_count == 1 { Ok((fd, stat)) } else { Err(Errno::STALE) }
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
        let landing = Landing { name: self.name.clone(), replaces: None };
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
                    self.shared.links.linked(group, &self.dir.dir, landing.final_name());
                }
            }
            Err(reason) => self.shared.unwritten(&self.path, reason),
        }
    }
}
