//! Where a piece of work stands in the order of the walk.

use crate::dirs::Dir;
use std::cmp::Ordering;
use std::sync::Arc;

/// The place of `name` in `dir`. Compared by climbing to the common ancestor, so that no path is kept
/// per piece of work: paths of deep trees are long, and pieces are many.
#[derive(Debug, Clone)]
pub(crate) struct Position {
    pub(crate) dir: Arc<Dir>,
    pub(crate) name: Box<[u8]>,
    /// A block of names begins here; it comes before the directory of its first name is listed.
    pub(crate) block: bool,
}

impl Ord for Position {
    fn cmp(&self, other: &Self) -> Ordering {
        let (mut left, mut right) = (&self.dir, &other.dir);
        let (mut left_name, mut right_name) = (&self.name[..], &other.name[..]);
        // Parents are missing only at the roots, and two positions of one walk share theirs.
        while left.depth() > right.depth() {
            let Some(parent) = left.parent() else { break };
            (left_name, left) = (left.name(), parent);
        }
        while right.depth() > left.depth() {
            let Some(parent) = right.parent() else { break };
            (right_name, right) = (right.name(), parent);
        }
        while !Arc::ptr_eq(left, right) {
            let (Some(left_parent), Some(right_parent)) = (left.parent(), right.parent()) else {
                break;
            };
            (left_name, left) = (left.name(), left_parent);
            (right_name, right) = (right.name(), right_parent);
        }
        left_name
            .cmp(right_name)
            .then_with(|| self.dir.depth().cmp(&other.dir.depth()))
            .then_with(|| other.block.cmp(&self.block))
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Position {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Position {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_follow_the_order_of_paths() {
        let fd = rustix::fs::open("/", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty());
        let root = Dir::root(fd.unwrap()).unwrap();
        let a = root.child(b"a", 0, 0);
        let b = a.child(b"b", 0, 0);
        let other = root.child(b"a-b", 0, 0);
        let at = |dir: &Arc<Dir>, name: &[u8], block| Position {
            dir: dir.clone(),
            name: name.into(),
            block,
        };
        let ordered = [
            at(&root, b"a", true),
            at(&root, b"a", false),
            at(&a, b"b", true),
            at(&a, b"b", false),
            at(&b, b"x", false),
            at(&a, b"b-c", false),
            at(&root, b"a-b", false),
            at(&other, b"0", false),
        ];
        for (left_index, left) in ordered.iter().enumerate() {
            for (right_index, right) in ordered.iter().enumerate() {
                assert_eq!(left.cmp(right), left_index.cmp(&right_index));
            }
        }
    }
}
