//! `.keelholdignore`: what the owner of a directory leaves out of its backup.
//!
//! One pattern a line, a subset of gitignore's:
//!
//! - Empty lines and lines that begin with `#` say nothing; `\#` and `\!` begin a pattern with that
//!   character. Spaces at the end of a line do not count unless the last is written `\ `.
//! - A pattern without `/`, but for one at its end, is compared with the name of everything below the
//!   directory; one with `/` at its beginning or inside with the path from the directory. `*`, `?`,
//!   `[…]` stop at `/`, `**` does not.
//! - `/` at the end: directories only.
//! - `!` takes an earlier line back. The last line that fits decides; lists further down decide before
//!   lists further up. What lies in a directory that is left out cannot be taken back.
//!
//! The list itself stays in the backup. A line that is not understood leaves nothing out and is named
//! in the result.

use super::matcher;
use globset::{Candidate, GlobMatcher};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

pub(crate) const NAME: &[u8] = b".keelholdignore";

/// Longer lists are read up to here: enough for any list written by people, and a bound on memory.
pub(crate) const LEN_MAX: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct IgnoreList {
    above: Option<Arc<IgnoreList>>,
    /// Length of the path of the list's directory, from the root.
    base_len: usize,
    lines: Vec<Line>,
}

impl Drop for IgnoreList {
    /// As deep as the tree, if its owner likes: not by recursion.
    fn drop(&mut self) {
        let mut next = self.above.take();
        while let Some(mut list) = next.and_then(Arc::into_inner) {
            next = list.above.take();
        }
    }
}

#[derive(Debug)]
struct Line {
    glob: GlobMatcher,
    /// Compared with the path from the list's directory, not with the name.
    whole_path: bool,
    directories_only: bool,
    take_back: bool,
}

impl IgnoreList {
    /// The list and the numbers, from 1, of lines that are not understood.
    pub(crate) fn parse(
        content: &[u8],
        base_len: usize,
        above: Option<Arc<IgnoreList>>,
    ) -> (Arc<Self>, Vec<usize>) {
        let mut lines = Vec::new();
        let mut bad = Vec::new();
        for (number, line) in (1..).zip(content.split(|byte| *byte == b'\n')) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            match std::str::from_utf8(line).map(parse_line) {
                Ok(Some(Ok(line))) => lines.push(line),
                Ok(None) => {}
                Ok(Some(Err(_))) | Err(_) => bad.push(number),
            }
        }
        (Arc::new(Self { above, base_len, lines }), bad)
    }

    /// Whether the entry `path` below the list's directory is left out.
    pub(crate) fn leave_out(&self, path: &[u8], is_directory: bool) -> bool {
        let mut list = self;
        loop {
            if let Some(decision) = list.decide(path, is_directory) {
                return decision;
            }
            match &list.above {
                Some(above) => list = above,
                None => return false,
            }
        }
    }

    fn decide(&self, path: &[u8], is_directory: bool) -> Option<bool> {
        let below = &path[self.base_len..];
        let below = below.strip_prefix(b"/").unwrap_or(below);
        let name = &below[below.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1)..];
        let below = Candidate::new(OsStr::from_bytes(below));
        let name = Candidate::new(OsStr::from_bytes(name));
        let fits = |line: &&Line| {
            (is_directory || !line.directories_only)
                && line.glob.is_match_candidate(if line.whole_path { &below } else { &name })
        };
        self.lines.iter().rev().find(fits).map(|line| !line.take_back)
    }
}

fn parse_line(line: &str) -> Option<Result<Line, super::RuleError>> {
    let trimmed = line.trim_end_matches(' ');
    // `\ ` at the end keeps one space.
    let line = if trimmed.ends_with('\\') && trimmed.len() < line.len() {
        &line[..=trimmed.len()]
    } else {
        trimmed
    };
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (take_back, line) = match line.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let (directories_only, line) = match line.strip_suffix('/') {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let whole_path = line.contains('/');
    let pattern = line.strip_prefix('/').unwrap_or(line);
    Some(matcher(pattern).map(|glob| Line { glob, whole_path, directories_only, take_back }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_mean_what_the_head_says() {
        let text = b"# no\n\n*.tmp\n!keep.tmp\n/only-here\nsub/x\nbuild/\n\\#odd\n\\!odd\nsp\\ \n**/deep\n";
        let (list, bad) = IgnoreList::parse(text, 3, None);
        assert!(bad.is_empty());
        let out = |path: &str, is_directory| list.leave_out(path.as_bytes(), is_directory);
        for path in ["dir/a.tmp", "dir/b/a.tmp", "dir/only-here", "dir/sub/x", "dir/#odd"] {
            assert!(out(path, false), "{path}");
        }
        assert!(out("dir/!odd", false) && out("dir/sp ", false) && out("dir/a/b/deep", false));
        assert!(out("dir/x/build", true) && !out("dir/x/build", false));
        for path in ["dir/keep.tmp", "dir/b/only-here", "dir/a/sub/x", "dir/no", "dir/sp"] {
            assert!(!out(path, false), "{path}");
        }
    }

    #[test]
    fn lists_further_down_decide_first() {
        let (above, _) = IgnoreList::parse(b"*.log\n", 0, None);
        let (below, _) = IgnoreList::parse(b"!this.log\n", 1, Some(above));
        assert!(!below.leave_out(b"d/this.log", false));
        assert!(below.leave_out(b"d/that.log", false));
    }

    #[test]
    fn a_bad_line_is_named_and_leaves_nothing_out() {
        let (list, bad) = IgnoreList::parse(b"good\na[\n\xff\xfe\n", 0, None);
        assert_eq!(bad, [2, 3]);
        assert!(list.leave_out(b"good", false) && !list.leave_out(b"a[", false));
    }
}
