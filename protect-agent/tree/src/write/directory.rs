//! A directory of the target.
//!
//! It lives as long as something is still to be written into it: each entry in work and each
//! directory below holds it. Whoever lets go last gives it its attributes. Until then a directory made
//! here is open to nobody but its maker.

use super::OnClash;
use super::apply::{Before, Onto, apply};
use super::report::UnwrittenReason;
use super::shared::Shared;
use crate::dirs::{Dir, open_component};
use crate::identity::Stat;
use crate::skipped::Errno;
use crate::xattrs::Subject;
use keelhold_chunk::{Attributes, Kind};
use rustix::fs::{AtFlags, Gid, Mode, OFlags};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

#[derive(Debug)]
pub(crate) struct WriteDir {
    pub(crate) dir: Arc<Dir>,
    parent: Option<Arc<WriteDir>>,
    /// Set at the end; absent for a directory that was there and stays as it is.
    attributes: OnceLock<Attributes>,
    before: Before,
    /// Made by this restore: nothing in it can be there before.
    pub(crate) fresh: bool,
    /// What is created here gets the owner of this process and no ACL.
    pub(crate) plain: bool,
    shared: Arc<Shared>,
}

impl WriteDir {
    /// `made`: for this restore; `ours`: that, or empty, so that the root's attributes go to it.
    pub(crate) fn root(
        dir: Arc<Dir>,
        made: bool,
        ours: bool,
        shared: &Arc<Shared>,
    ) -> rustix::io::Result<Arc<Self>> {
        let fd = dir.open()?;
        let mut stat = Stat::at(&fd, b"")?;
        // What the target inherited belongs to the place it stands in, not to the tree.
        let plain = made && make_plain(&fd, &stat, shared).is_ok();
        if plain {
            (stat.gid, stat.mode) = (shared.gid, 0o700);
        }
        let before = before(&stat, plain);
        let (attributes, shared) = (OnceLock::new(), shared.clone());
        Ok(Arc::new(Self { dir, parent: None, attributes, before, fresh: ours, plain, shared }))
    }

    /// The root's attributes: for a target that is new, or that is to be overwritten.
    pub(crate) fn set_root_attributes(&self, attributes: Attributes) {
        if (self.fresh || self.shared.on_clash == OnClash::Overwrite) && attributes.is_directory() {
            // A second root entry is out of order and was refused.
            let _ = self.attributes.set(attributes);
        }
    }

    /// Makes `name` in `parent`, or enters what is there. Without attributes it keeps those it has.
    pub(crate) fn make(
        parent: &Arc<Self>,
        name: &[u8],
        attributes: Option<Attributes>,
        shared: &Arc<Shared>,
    ) -> Result<Arc<Self>, UnwrittenReason> {
        let failed = |errno| UnwrittenReason::create(&Kind::Directory, errno);
        let fd = parent.dir.open().map_err(|_| UnwrittenReason::DirectoryMissing)?;
        match rustix::fs::mkdirat(&fd, name, Mode::RWXU) {
            Ok(()) => Self::made(parent, name, attributes, shared),
            Err(rustix::io::Errno::EXIST) => Self::there(parent, name, attributes, shared),
            Err(errno) => Err(failed(errno)),
        }
    }

    fn open_component(&self, name: &[u8]) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        open_component(&self.dir.open()?, name, flags, Mode::empty())
    }

    fn made(
        parent: &Arc<Self>,
        name: &[u8],
        attributes: Option<Attributes>,
        shared: &Arc<Shared>,
    ) -> Result<Arc<Self>, UnwrittenReason> {
        let failed = |errno| UnwrittenReason::create(&Kind::Directory, errno);
        let fd = parent.open_component(name).map_err(failed)?;
        let mut stat = Stat::at(&fd, b"").map_err(failed)?;
        // Between making and opening, whoever may write to the parent could put another one there.
        if stat.uid != shared.uid || stat.mode & 0o777 != 0o700 {
            return Err(UnwrittenReason::Swapped);
        }
        if !parent.plain || stat.gid != shared.gid || stat.mode != 0o700 {
            make_plain(&fd, &stat, shared).map_err(failed)?;
            (stat.gid, stat.mode) = (shared.gid, 0o700);
        }
        let dir = parent.dir.open_child(name, fd).map_err(failed)?;
        shared.count(&shared.counts.directories, 1);
        Ok(Arc::new(Self {
            dir,
            parent: Some(parent.clone()),
            attributes: attributes.map(OnceLock::from).unwrap_or_default(),
            before: before(&stat, true),
            fresh: true,
            plain: true,
            shared: shared.clone(),
        }))
    }

    fn there(
        parent: &Arc<Self>,
        name: &[u8],
        attributes: Option<Attributes>,
        shared: &Arc<Shared>,
    ) -> Result<Arc<Self>, UnwrittenReason> {
        let failed = |errno| UnwrittenReason::create(&Kind::Directory, errno);
        if parent.fresh {
            // Nothing was in it: somebody else is at work there, or the file system takes two names
            // of the tree for one.
            return Err(UnwrittenReason::NameTaken);
        }
        let fd = match parent.open_component(name) {
            Err(rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => {
                return Self::instead(parent, name, attributes, shared);
            }
            done => done.map_err(failed)?,
        };
        let stat = Stat::at(&fd, b"").map_err(failed)?;
        let dir = parent.dir.open_child(name, fd).map_err(failed)?;
        let attributes = attributes.filter(|_| shared.on_clash == OnClash::Overwrite);
        Ok(Arc::new(Self {
            dir,
            parent: Some(parent.clone()),
            attributes: attributes.map(OnceLock::from).unwrap_or_default(),
            before: before(&stat, false),
            fresh: false,
            plain: false,
            shared: shared.clone(),
        }))
    }

    /// Something that is no directory has the name.
    fn instead(
        parent: &Arc<Self>,
        name: &[u8],
        attributes: Option<Attributes>,
        shared: &Arc<Shared>,
    ) -> Result<Arc<Self>, UnwrittenReason> {
        let fd = parent.dir.open().map_err(|_| UnwrittenReason::DirectoryMissing)?;
        match shared.on_clash {
            OnClash::Skip => Err(UnwrittenReason::Exists),
            OnClash::Overwrite => {
                let replaced = |errno: rustix::io::Errno| UnwrittenReason::Replace(errno.into());
                rustix::fs::unlinkat(&fd, name, AtFlags::empty()).map_err(replaced)?;
                rustix::fs::mkdirat(&fd, name, Mode::RWXU).map_err(replaced)?;
                Self::made(parent, name, attributes, shared)
            }
            OnClash::Copy => {
                for name in copy_names(name) {
                    match rustix::fs::mkdirat(&fd, &name[..], Mode::RWXU) {
                        Ok(()) => return Self::made(parent, &name, attributes, shared),
                        Err(rustix::io::Errno::EXIST) => {}
                        Err(errno) => {
                            return Err(UnwrittenReason::create(&Kind::Directory, errno));
                        }
                    }
                }
                Err(UnwrittenReason::NameTaken)
            }
        }
    }

    /// What is known of an inode just created here. Group and ACL may come from the directory.
    pub(crate) fn before_of_new(&self, mode: u16) -> Before {
        Before {
            uid: self.shared.uid,
            gid: self.plain.then_some(self.shared.gid),
            mode: self.plain.then_some(mode),
            may_have_xattrs: !self.plain,
        }
    }

    fn complete(&mut self) {
        let Some(attributes) = self.attributes.take() else {
            return;
        };
        match self.dir.open() {
            Ok(fd) => {
                let path = || self.dir.path();
                apply(Onto::Open(fd.as_fd()), &attributes, self.before, &self.shared, path);
            }
            Err(errno) => {
                let reason = match errno {
                    rustix::io::Errno::STALE => UnwrittenReason::Swapped,
                    errno => UnwrittenReason::Mode(Errno(errno)),
                };
                self.shared.unwritten(&self.dir.path(), reason);
            }
        }
    }
}

impl Drop for WriteDir {
    /// Completes this directory, then those above it that waited only for this one; not by recursion,
    /// since trees are deeper than stacks.
    fn drop(&mut self) {
        self.complete();
        let mut next = self.parent.take();
        while let Some(mut dir) = next.and_then(Arc::into_inner) {
            dir.complete();
            next = dir.parent.take();
        }
    }
}

fn before(stat: &Stat, plain: bool) -> Before {
    Before { uid: stat.uid, gid: Some(stat.gid), mode: Some(stat.mode), may_have_xattrs: !plain }
}

/// Takes away what a new directory inherited, so that nothing below inherits it again.
fn make_plain(fd: &OwnedFd, stat: &Stat, shared: &Shared) -> rustix::io::Result<()> {
    let subject = Subject::Open(fd.as_fd());
    for name in [&b"system.posix_acl_default"[..], b"system.posix_acl_access"] {
        match subject.remove(name) {
            Ok(()) | Err(rustix::io::Errno::NODATA | rustix::io::Errno::NOTSUP) => {}
            Err(errno) => return Err(errno),
        }
    }
    if stat.gid != shared.gid {
        rustix::fs::fchown(fd, None, Some(Gid::from_raw(shared.gid)))?;
    }
    rustix::fs::fchmod(fd, Mode::RWXU)
}

/// Other names for an entry whose own is taken.
pub(crate) fn copy_names(name: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    const COPIES_MAX: usize = 100;
    (1..=COPIES_MAX).map(move |number| {
        let suffix =
            if number == 1 { ".restored".to_owned() } else { format!(".restored-{number}") };
        let room = keelhold_chunk::entry::NAME_LEN_MAX - suffix.len();
        let mut copy = name[..name.len().min(room)].to_vec();
        copy.extend_from_slice(suffix.as_bytes());
        copy
    })
}

impl Shared {
    pub(crate) fn set_root(&self, root: &WriteDir, attributes: Attributes) {
        root.set_root_attributes(attributes);
        self.counts.directories.fetch_add(1, Ordering::Relaxed);
    }
}
