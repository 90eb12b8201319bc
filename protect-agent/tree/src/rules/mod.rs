//! What is left out of a walk because somebody said so.
//!
//! - [`Rules`]: patterns of the source's policy (`--exclude`).
//! - `.keelholdignore` (module `ignore`): a directory's own list.
//! - `CACHEDIR.TAG`: a cache says of itself that it can be made again.
//!
//! A directory that is left out takes everything below it along. The root is never left out.

pub(crate) mod cache_tag;
pub(crate) mod ignore;

use globset::{Candidate, GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// A pattern that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the pattern {pattern:?} is not understood: {reason}")]
pub struct RuleError {
    pub pattern: String,
    pub reason: String,
}

/// Exclusions by glob.
///
/// A pattern is compared with the whole path from the root, without its first `/` if it has one:
/// `var/cache` or `/var/cache` is that directory and all in it, `**/*.o` every object file, `home/*/tmp`
/// each user's. `*` and `?` stop at `/`, `**` does not; `[a-z]` and `{a,b}` work; `\` takes a meaning
/// away. A pattern that ends in `/` means directories only.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    anything: GlobSet,
    directories: GlobSet,
}

impl Rules {
    pub fn new<P: AsRef<str>>(patterns: &[P]) -> Result<Self, RuleError> {
        let mut anything = GlobSetBuilder::new();
        let mut directories = GlobSetBuilder::new();
        for pattern in patterns {
            let pattern = pattern.as_ref();
            let anchored = pattern.strip_prefix('/').unwrap_or(pattern);
            match anchored.strip_suffix('/') {
                Some(name) => directories.add(glob(name)?),
                None => anything.add(glob(anchored)?),
            };
        }
        let build = |set: GlobSetBuilder| {
            set.build().map_err(|error| RuleError {
                pattern: error.glob().unwrap_or_default().to_owned(),
                reason: error.kind().to_string(),
            })
        };
        Ok(Self { anything: build(anything)?, directories: build(directories)? })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.anything.is_empty() && self.directories.is_empty()
    }

    pub(crate) fn leave_out(&self, path: &[u8], is_directory: bool) -> bool {
        if self.is_empty() {
            return false;
        }
        let path = Candidate::new(OsStr::from_bytes(path));
        self.anything.is_match_candidate(&path)
            || is_directory && self.directories.is_match_candidate(&path)
    }
}

fn glob(pattern: &str) -> Result<globset::Glob, RuleError> {
    let failed = |reason: String| RuleError { pattern: pattern.to_owned(), reason };
    if pattern.is_empty() {
        return Err(failed("it is empty".to_owned()));
    }
    GlobBuilder::new(pattern)
        .literal_separator(true)
        .backslash_escape(true)
        .build()
        .map_err(|error| failed(error.kind().to_string()))
}

fn matcher(pattern: &str) -> Result<GlobMatcher, RuleError> {
    glob(pattern).map(|glob| glob.compile_matcher())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_paths_from_the_root() {
        let rules = Rules::new(&["/var/cache", "**/*.o", "home/*/tmp/", "a\\*b", "x/**"]).unwrap();
        for (path, is_directory) in [
            (&b"var/cache"[..], true),
            (b"var/cache", false),
            (b"top.o", false),
            (b"a/b/\xff\n.o", false),
            (b"home/me/tmp", true),
            (b"a*b", false),
            (b"x/y/z", false),
        ] {
            assert!(rules.leave_out(path, is_directory), "{}", path.escape_ascii());
        }
        for (path, is_directory) in [
            (&b"srv/var/cache"[..], true),
            (b"var/cache2", true),
            (b"home/me/tmp", false),
            (b"home/a/b/tmp", true),
            (b"acb", false),
            (b"x", true),
        ] {
            assert!(!rules.leave_out(path, is_directory), "{}", path.escape_ascii());
        }
    }

    #[test]
    fn what_is_not_understood_is_an_error_that_names_the_pattern() {
        let error = Rules::new(&["ok", "a[z"]).unwrap_err();
        assert_eq!(error.pattern, "a[z");
        assert!(Rules::new(&["/"]).is_err() && Rules::new(&[""]).is_err());
    }
}
