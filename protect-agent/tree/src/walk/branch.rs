//! One directory of a walk: its names, and the `stat`s of its children in blocks.

use super::decide::Decide;
use super::names::Names;
use crate::dirs::{Dir, open_quietly};
use crate::identity::Stat;
use crate::rules::{cache_tag, ignore};
use crate::skipped::SkippedReason;
use ignore::IgnoreList;
use keelhold_chunk::entry::{NAME_LEN_MAX, PATH_LEN_MAX};
use rustix::fs::{FileType, OFlags};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// Children whose `stat`s are one piece of work: enough to sort them by inode with profit, few enough
/// that several threads share a large directory.
pub(crate) const BLOCK: usize = 512;

#[derive(Debug)]
pub(crate) struct Branch {
    pub(crate) dir: Arc<Dir>,
    /// The list of exclusions that holds for this directory, from those above it.
    above: Option<Arc<IgnoreList>>,
}

/// A directory that has been read.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) branch: Arc<Branch>,
    pub(crate) names: Names,
    /// Own list of exclusions, or the one from above.
    pub(crate) ignore: Option<Arc<IgnoreList>>,
    /// What reading the directory itself came across, by path.
    pub(crate) remarks: Vec<(Vec<u8>, SkippedReason)>,
}

#[derive(Debug)]
pub(crate) enum Item {
    Entry { name: usize, stat: Stat, below: Option<Arc<Branch>> },
    Skipped { name: usize, reason: Box<SkippedReason> },
}

impl Branch {
    pub(crate) fn root(dir: Arc<Dir>) -> Self {
        Self { dir, above: None }
    }

    pub(crate) fn list(self: &Arc<Self>, decide: &Decide) -> Result<Listing, SkippedReason> {
        let fd = self
            .dir
            .open()
            .map_err(|errno| SkippedReason::unless_vanished(errno, SkippedReason::Open))?;
        let names = Names::read(fd.as_fd())
            .map_err(|errno| SkippedReason::unless_vanished(errno, SkippedReason::List))?;
        let (branch, ignore) = (self.clone(), self.above.clone());
        let mut listing = Listing { branch, names, ignore, remarks: Vec::new() };
        listing.prepare(fd.as_fd(), decide);
        Ok(listing)
    }
}

impl Listing {
    /// Applies what the directory says about itself.
    fn prepare(&mut self, fd: BorrowedFd<'_>, decide: &Decide) {
        if decide.options.cache_tags
            && let Some(index) = self.names.find(cache_tag::NAME)
            && let Ok(content) = read_beginning(fd, cache_tag::NAME, 64)
            && cache_tag::is_tag(&content)
        {
            decide.count_excluded(self.names.len() - 1);
            self.names.keep_only(index);
        }
        if decide.options.ignore_files && self.names.find(ignore::NAME).is_some() {
            let path = self.branch.dir.path();
            match read_beginning(fd, ignore::NAME, ignore::LEN_MAX) {
                Ok(content) => {
                    let above = self.branch.above.clone();
                    let (list, bad) = IgnoreList::parse(&content, path.len(), above);
                    self.ignore = Some(list);
                    let list_path = crate::dirs::join(&path, ignore::NAME);
                    let remark = |line| (list_path.clone(), SkippedReason::BadRule { line });
                    self.remarks.extend(bad.into_iter().map(remark));
                }
                // It is named when its content is read for the backup, too.
                Err(errno) => {
                    let list_path = crate::dirs::join(&path, ignore::NAME);
                    self.remarks.push((list_path, SkippedReason::Open(errno.into())));
                }
            }
        }
    }

    pub(crate) fn block_count(&self) -> usize {
        self.names.len().div_ceil(BLOCK)
    }

    /// First name of a block: its place in the order.
    pub(crate) fn block_name(&self, block: usize) -> &[u8] {
        self.names.get(block * BLOCK)
    }

    /// `stat`s the children of one block. In order of inodes, since on most file systems those lie on
    /// the disk like that; the result is in order of names.
    pub(crate) fn stat_block(&self, block: usize, decide: &Decide) -> Vec<Item> {
        let range = block * BLOCK..((block + 1) * BLOCK).min(self.names.len());
        let dir = match self.branch.dir.open() {
            Ok(dir) => dir,
            Err(errno) => {
                let reason = SkippedReason::unless_vanished(errno, SkippedReason::Stat);
                let skip = |name| Item::Skipped { name, reason: Box::new(reason.clone()) };
                return range.map(skip).collect();
            }
        };
        let mut by_inode: Vec<usize> = range.clone().collect();
        by_inode.sort_unstable_by_key(|index| self.names.listed(*index).inode);
        let mut stats = vec![None; range.len()];
        for index in by_inode {
            stats[index - range.start] = Some(Stat::at(&dir, self.names.get(index)));
        }
        // Only exclusions need whole paths.
        let compared = self.ignore.is_some() || !decide.options.excludes.is_empty();
        let path = compared.then(|| self.branch.dir.path());
        let mut items = Vec::with_capacity(range.len());
        for (index, stat) in range.zip(stats.into_iter().flatten()) {
            let path = path.as_deref();
            self.decide_item(index, stat, dir.as_fd(), path, decide, &mut items);
        }
        items
    }

    fn decide_item(
        &self,
        index: usize,
        stat: rustix::io::Result<Stat>,
        dir: BorrowedFd<'_>,
        dir_path: Option<&[u8]>,
        decide: &Decide,
        items: &mut Vec<Item>,
    ) {
        let name = self.names.get(index);
        let listed = self.names.listed(index);
        let is_directory = stat.as_ref().map_or(listed.is_directory, Stat::is_directory);
        let no_dump = stat.as_ref().is_ok_and(|stat| stat.no_dump);
        if decide.leaves_out(dir_path, name, is_directory, no_dump, self.ignore.as_deref()) {
            decide.count_excluded(1);
            return;
        }
        let skip = |reason| Item::Skipped { name: index, reason: Box::new(reason) };
        if name.len() > NAME_LEN_MAX {
            let limit = NAME_LEN_MAX;
            return items.push(skip(SkippedReason::NameTooLong { limit }));
        }
        if self.branch.dir.path_len_of(name) > PATH_LEN_MAX {
            let limit = PATH_LEN_MAX;
            return items.push(skip(SkippedReason::PathTooLong { limit }));
        }
        let stat = match stat {
            Ok(stat) => stat,
            Err(errno) => {
                let reason = SkippedReason::unless_vanished(errno, SkippedReason::Stat);
                return items.push(skip(reason));
            }
        };
        if is_directory && decide.is_own_place(&stat) {
            return decide.count_excluded(1);
        }
        let border = decide.border(&self.branch.dir, listed.inode, &stat, dir, name);
        if border.is_some() && !is_directory {
            return items.extend(border.map(skip));
        }
        let enter = is_directory && border.is_none();
        let below = enter.then(|| {
            let dir = self.branch.dir.child(name, stat.identity.device, stat.identity.inode);
            Arc::new(Branch { dir, above: self.ignore.clone() })
        });
        items.push(Item::Entry { name: index, stat, below });
        items.extend(border.map(skip));
    }
}

fn read_beginning(dir: BorrowedFd<'_>, name: &[u8], len_max: usize) -> rustix::io::Result<Vec<u8>> {
    let fd = open_quietly(dir, name, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
    if !FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode).is_file() {
        return Err(rustix::io::Errno::INVAL);
    }
    let mut content = Vec::new();
    let mut piece = [0; 4096];
    while content.len() < len_max {
        let left = (len_max - content.len()).min(piece.len());
        match rustix::io::read(&fd, &mut piece[..left])? {
            0 => break,
            len => content.extend_from_slice(&piece[..len]),
        }
    }
    Ok(content)
}
