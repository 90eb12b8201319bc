//! Inodes with several names.
//!
//! The entry of a group that comes first to be created makes the inode; the others become names of
//! it. If making it fails, the next one makes it. Only inodes made by this restore are linked to, and
//! a name is believed only after the inode behind it was compared.

use crate::dirs::{Dir, lock, open_component};
use keelhold_chunk::LinkGroup;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};

/// An inode of a link group, made by this restore.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) dir: Arc<Dir>,
    pub(crate) name: Box<[u8]>,
    pub(crate) device: u64,
    pub(crate) inode: u64,
    /// While it is being filled its name may still be an interim one.
    pub(crate) fd: Weak<OwnedFd>,
}

#[derive(Debug)]
enum Group {
    Making,
    /// With the names it has got beside its first.
    Made(Made, Vec<(Arc<Dir>, Box<[u8]>)>),
}

#[derive(Debug, Default)]
pub(crate) struct Links {
    groups: Mutex<HashMap<LinkGroup, Group>>,
    decided: Condvar,
}

pub(crate) enum Claim<'a> {
    Make(Making<'a>),
    LinkTo(Made),
}

/// The right to make the inode of a group; given up when dropped.
pub(crate) struct Making<'a> {
    links: &'a Links,
    group: Option<LinkGroup>,
}

impl Links {
    /// Waits while another thread is creating the inode (not while it fills it).
    pub(crate) fn claim(&self, group: LinkGroup) -> Claim<'_> {
        let mut groups = lock(&self.groups);
        loop {
            match groups.get(&group) {
                None => {
                    groups.insert(group, Group::Making);
                    return Claim::Make(Making { links: self, group: Some(group) });
                }
                Some(Group::Made(made, _)) => return Claim::LinkTo(made.clone()),
                Some(Group::Making) => {
                    groups = self.decided.wait(groups).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    pub(crate) fn linked(&self, group: LinkGroup, dir: &Arc<Dir>, name: &[u8]) {
        if let Some(Group::Made(_, names)) = lock(&self.groups).get_mut(&group) {
            names.push((dir.clone(), name.into()));
        }
    }

    /// The inode will not be completed: the names it has got beside its first.
    pub(crate) fn abandon(&self, group: LinkGroup) -> Vec<(Arc<Dir>, Box<[u8]>)> {
        match lock(&self.groups).remove(&group) {
            Some(Group::Made(_, names)) => names,
            _ => Vec::new(),
        }
    }
}

impl Making<'_> {
    pub(crate) fn made(mut self, made: Made) {
        if let Some(group) = self.group.take() {
            lock(&self.links.groups).insert(group, Group::Made(made, Vec::new()));
            self.links.decided.notify_all();
        }
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            lock(&self.links.groups).remove(&group);
            self.links.decided.notify_all();
        }
    }
}

impl Made {
    /// A descriptor of the inode.
    pub(crate) fn open(&self) -> rustix::io::Result<Arc<OwnedFd>> {
        if let Some(fd) = self.fd.upgrade() {
            return Ok(fd);
        }
        let fd = open_component(self.dir.open()?, &self.name, OFlags::PATH, Mode::empty())?;
        let stat = rustix::fs::fstat(&fd)?;
        if (stat.st_dev, stat.st_ino) == (self.device, self.inode) {
            Ok(Arc::new(fd))
        } else {
            Err(Errno::STALE)
        }
    }
}
