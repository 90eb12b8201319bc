//! Entries that are neither files nor directories: symbolic links, fifos, sockets, devices.

use super::apply::{Onto, apply};
use super::links::Made;
use super::place::{PRIVATE, Place};
use super::report::UnwrittenReason;
use crate::dirs::open_component;
use crate::identity::{EntryKind, Stat};
use keelhold_chunk::Kind;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Weak;

impl Place {
    pub(crate) fn make_other(&self) -> Result<Made, UnwrittenReason> {
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
        let path = || self.path().to_vec();
        apply(Onto::Pinned(pinned.as_fd()), &self.attributes, before, &self.shared, path);
        landing.land(self)?;
        let identity = stat.identity;
        let (device, inode, name) = (identity.device, identity.inode, landing.final_name().into());
        Ok(Made { dir: self.dir.dir.clone(), name, device, inode, fd: Weak::new() })
    }
}

fn make_node(dir: &OwnedFd, name: &[u8], kind: &Kind) -> rustix::io::Result<()> {
    let (file_type, device) = match kind {
        Kind::Symlink { target } => return rustix::fs::symlinkat(&target[..], dir, name),
        Kind::Fifo => (FileType::Fifo, 0),
        Kind::Socket => (FileType::Socket, 0),
        Kind::CharDevice { major, minor } => {
            (FileType::CharacterDevice, rustix::fs::makedev(*major, *minor))
        }
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
