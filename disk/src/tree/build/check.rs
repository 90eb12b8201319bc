//! What every entry of a tree must satisfy, whoever sent it.
//!
//! The parent of an entry is the entry before it or one of that one's ancestors: everything between a
//! directory and what is in it is in it too. So knowing the last entry is enough.

use keelhold_chunk::entry::{is_sound_path, path_order};

use crate::tree::BuildError;

/// The last entry of the tree so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Last {
    pub path: Vec<u8>,
    pub is_directory: bool,
}

pub(super) fn path<E>(path: &[u8]) -> Result<(), BuildError<E>> {
    match is_sound_path(path) {
        true => Ok(()),
        false => Err(BuildError::UnsoundPath { path: path.to_vec() }),
    }
}

/// Whether an entry at `path` may stand behind `last`.
pub(super) fn follows<E>(last: Option<&Last>, path: &[u8]) -> Result<(), BuildError<E>> {
    let Some(last) = last else {
        return match path.is_empty() {
            true => Ok(()),
            false => Err(BuildError::NoRoot { path: path.to_vec() }),
        };
    };
    if !path_order(&last.path, path).is_lt() {
        return Err(BuildError::Unsorted { path: path.to_vec(), after: last.path.clone() });
    }
    let parent = parent_of(path);
    let is_there = match last.path == parent {
        true => last.is_directory,
        false => is_above(parent, &last.path),
    };
    match is_there {
        true => Ok(()),
        false => Err(BuildError::NoParent { path: path.to_vec() }),
    }
}

fn parent_of(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    &path[..end]
}

fn is_above(directory: &[u8], path: &[u8]) -> bool {
    directory.is_empty()
        || path.strip_prefix(directory).is_some_and(|rest| rest.first() == Some(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follows_ok(last: &str, is_directory: bool, path: &str) -> bool {
        let last = Last { path: last.into(), is_directory };
        follows::<()>(Some(&last), path.as_bytes()).is_ok()
    }

    #[test]
    fn a_parent_is_the_last_entry_or_above_it() {
        assert!(follows_ok("a", true, "a/b"));
        assert!(!follows_ok("a", false, "a/b"));
        assert!(follows_ok("a", false, "b"));
        assert!(follows_ok("a/b/c", false, "a/d"));
        assert!(follows_ok("a/b/c", false, "b"));
        assert!(!follows_ok("a/b/c", false, "b/c"));
        assert!(!follows_ok("ab/c", false, "b/d"));
        assert!(!follows_ok("", false, "a") && follows_ok("", true, "a"));
    }

    #[test]
    fn order_is_that_of_paths() {
        assert!(follows_ok("a/b", false, "a-"));
        assert!(!follows_ok("a-", true, "a/b"));
        assert!(!follows_ok("a", true, "a") && !follows_ok("a", true, ""));
        assert!(follows::<()>(None, b"").is_ok() && follows::<()>(None, b"a").is_err());
    }
}
