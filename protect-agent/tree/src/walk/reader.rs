//! The reader's side of a walk: puts results together in order.

use super::branch::{Branch, Item, Listing};
use super::schedule::{Done, Schedule, Work};
use super::{Entry, Found};
use crate::dirs::join;
use crate::skipped::{Skipped, SkippedReason};
use std::collections::VecDeque;
use std::sync::Arc;
use std::vec::IntoIter;

/// A directory that is being read out.
#[derive(Debug)]
struct Frame {
    path_len: usize,
    listing: Arc<Listing>,
    items: IntoIter<Item>,
    next_block: usize,
}

#[derive(Debug)]
pub(crate) struct Reader {
    schedule: Arc<Schedule>,
    frames: Vec<Frame>,
    /// Of the innermost frame. One for all: a path for each level of a deep tree would be too much.
    path: Vec<u8>,
    /// What is to be yielded before the walk goes on.
    first: VecDeque<Found>,
    /// A directory that was yielded and is to be entered next.
    enter: Option<(Vec<u8>, Arc<Branch>)>,
}

impl Reader {
    pub(crate) fn new(schedule: Arc<Schedule>, root: Entry, branch: Arc<Branch>) -> Self {
        let first = VecDeque::from([Found::Entry(root)]);
        Self {
            schedule,
            frames: Vec::new(),
            path: Vec::new(),
            first,
            enter: Some((Vec::new(), branch)),
        }
    }

    pub(crate) fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    pub(crate) fn next(&mut self) -> Option<Found> {
        loop {
            if let Some(found) = self.first.pop_front() {
                return Some(found);
            }
            if let Some((path, branch)) = self.enter.take() {
                self.push(path, branch);
                continue;
            }
            let frame = self.frames.last_mut()?;
            match frame.items.next() {
                Some(Item::Skipped { name, reason }) => {
                    let path = join(&self.path, frame.listing.names.get(name));
                    return Some(Found::Skipped(Skipped { path, reason: *reason }));
                }
                Some(Item::Entry { name, stat, below }) => {
                    let path = join(&self.path, frame.listing.names.get(name));
                    self.enter = below.map(|branch| (path.clone(), branch));
                    let dir = frame.listing.branch.dir.clone();
                    return Some(Found::Entry(Entry { dir, path, stat }));
                }
                None if frame.next_block < frame.listing.block_count() => {
                    let work = Work::Stat(frame.listing.clone(), frame.next_block);
                    frame.next_block += 1;
                    if let Done::Statted(items) = self.schedule.obtain(work) {
                        frame.items = items.into_iter();
                    }
                }
                None => {
                    self.frames.pop();
                    let path_len = self.frames.last().map_or(0, |frame| frame.path_len);
                    self.path.truncate(path_len);
                }
            }
        }
    }

    fn push(&mut self, path: Vec<u8>, branch: Arc<Branch>) {
        match self.schedule.obtain(Work::List(branch)) {
            Done::Listed(listing, items) => {
                let skipped = |(path, reason): &(Vec<u8>, SkippedReason)| {
                    Found::Skipped(Skipped::new(path, reason.clone()))
                };
                self.first.extend(listing.remarks.iter().map(skipped));
                self.frames.push(Frame {
                    path_len: path.len(),
                    listing,
                    items: items.into_iter(),
                    next_block: 1,
                });
                self.path = path;
            }
            Done::Unlisted(reason) => {
                self.first.push_back(Found::Skipped(Skipped { path, reason }));
            }
            Done::Statted(_) => {}
        }
    }
}
