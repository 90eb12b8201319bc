//! Files with several names are read under the first of them only; under the others stands the same
//! content, said again. The plan decides, within a budget, which of them the stream remembers.

use std::collections::HashMap;
use std::sync::Arc;

use keelhold_chunk::LinkGroup;
use keelhold_tree::{Entry, EntryKind};

use super::bounds::LINKS_LEN;
use super::read::Wanted;
use super::reading::{Facts, Outcome, ReadContent, Reading, Settings};

/// What a remembered file takes at least.
const FILE_COST: u64 = 512;
/// One byte of names and lengths of chunks for so much content, roughly.
const CONTENT_LEN_PER_BYTE: u64 = 1_024;

/// The plan's half: the groups whose first name was handed over.
#[derive(Debug, Default)]
pub(crate) struct Planned {
    groups: HashMap<LinkGroup, Left>,
    used: u64,
}

#[derive(Debug)]
struct Left {
    names: u32,
    cost: u64,
}

/// Which of its names an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    /// Nothing is to be remembered of it.
    Only,
    First(LinkGroup),
    Again {
        group: LinkGroup,
        last: bool,
    },
}

impl Planned {
    pub(crate) fn name(&mut self, entry: &Entry) -> Name {
        let (stat, size) = (entry.stat(), entry.identity().size);
        let Some(group) = stat.link_group() else { return Name::Only };
        if entry.kind() != EntryKind::File || size == 0 {
            return Name::Only;
        }
        if let Some(left) = self.groups.get_mut(&group) {
            left.names = left.names.saturating_sub(1);
            let last = left.names == 0;
            if last {
                self.used -= left.cost;
                self.groups.remove(&group);
            }
            return Name::Again { group, last };
        }
        let cost = FILE_COST + size / CONTENT_LEN_PER_BYTE;
        if self.used + cost > LINKS_LEN {
            return Name::Only;
        }
        self.used += cost;
        self.groups.insert(group, Left { names: stat.link_count - 1, cost });
        Name::First(group)
    }
}

/// A further name of a file that was handed over before.
#[derive(Debug)]
pub(crate) struct Linked {
    pub(crate) wanted: Wanted,
    pub(crate) group: LinkGroup,
    pub(crate) last: bool,
    /// To read it all the same, if its first name was gone.
    pub(crate) settings: Arc<Settings>,
}

/// The stream's half: what stands under the first names.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    files: HashMap<LinkGroup, (Facts, ReadContent)>,
}

impl Remembered {
    pub(crate) fn put(&mut self, group: LinkGroup, facts: Facts, content: ReadContent) {
        self.files.insert(group, (facts, content));
    }

    /// What was read under a first name.
    pub(crate) fn note(&mut self, reading: &Reading) {
        if let (Some(group), Outcome::Entry { facts, content }) = (reading.group, &reading.outcome)
        {
            self.put(group, facts.clone(), content.known());
        }
    }

    /// The same for a further name; `None` if there is nothing under the first.
    pub(crate) fn again(&mut self, linked: &Linked) -> Option<Reading> {
        let (facts, content) = match linked.last {
            true => self.files.remove(&linked.group)?,
            false => {
                let (facts, content) = self.files.get(&linked.group)?;
                (facts.clone(), content.known())
            }
        };
        let digest = facts.record.digest;
        let shortcut_wrong = linked.wanted.unchanged_digest.is_some_and(|was| was != digest);
        let facts = Facts { bytes_read: 0, shortcut_wrong, ..facts };
        let path = linked.wanted.entry.path().to_vec();
        Some(Reading { path, group: None, outcome: Outcome::Entry { facts, content } })
    }
}
