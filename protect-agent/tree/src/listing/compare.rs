//! Differences between two listings.

use super::{Listed, Listing};
use std::fmt::{self, Debug};
use std::io;
use std::path::Path;

/// One aspect in which two trees differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub path: Vec<u8>,
    pub aspect: &'static str,
    pub left: String,
    pub right: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.escape_ascii();
        write!(f, "{path}: {}: {} != {}", self.aspect, self.left, self.right)
    }
}

/// How the trees at `left` and `right` differ. Both are listed at the same time.
pub fn compare(left: &Path, right: &Path) -> io::Result<Vec<Difference>> {
    std::thread::scope(|scope| {
        let left = scope.spawn(|| Listing::of(left));
        let right = Listing::of(right)?;
        let left = left.join().map_err(|_| io::Error::other("the listing was interrupted"))??;
        Ok(left.differences(&right))
    })
}

impl Listing {
    /// In order of path bytes; empty if the trees are equal.
    #[must_use]
    pub fn differences(&self, right: &Self) -> Vec<Difference> {
        let mut differences = Vec::new();
        for (path, entry) in &self.entries {
            match right.entries.get(path) {
                Some(other) => entry.differences(other, path, &mut differences),
                None => differences.push(Difference {
                    path: path.clone(),
                    aspect: "entry",
                    left: format!("{:?}", entry.kind),
                    right: "missing".to_owned(),
                }),
            }
        }
        let only_right = right.entries.iter().filter(|(path, _)| !self.entries.contains_key(*path));
        differences.extend(only_right.map(|(path, entry)| Difference {
            path: path.clone(),
            aspect: "entry",
            left: "missing".to_owned(),
            right: format!("{:?}", entry.kind),
        }));
        differences.sort_by(|left, right| left.path.cmp(&right.path));
        differences
    }
}

impl Listed {
    fn differences(&self, right: &Self, path: &[u8], found: &mut Vec<Difference>) {
        let mut look = |aspect, left: &dyn Debug, right: &dyn Debug| {
            let (left, right) = (format!("{left:?}"), format!("{right:?}"));
            if left != right {
                found.push(Difference { path: path.to_vec(), aspect, left, right });
            }
        };
        if self == right {
            return;
        }
        look("type", &self.kind, &right.kind);
        look("mode", &format_args!("{:o}", self.mode), &format_args!("{:o}", right.mode));
        look("owner", &(self.uid, self.gid), &(right.uid, right.gid));
        look("size", &self.size, &right.size);
        look("mtime", &self.mtime, &right.mtime);
        let linked =
            |entry: &Self| entry.linked_to.as_ref().map(|path| path.escape_ascii().to_string());
        look("link group", &linked(self), &linked(right));
        look("device number", &self.device_number, &right.device_number);
        look("target", &text(&self.target), &text(&right.target));
        let xattrs = |entry: &Self| -> Vec<(String, String)> {
            entry.xattrs.iter().map(|xattr| (text(&xattr.name), text(&xattr.value))).collect()
        };
        look("xattrs", &xattrs(self), &xattrs(right));
        look("extents", &self.extents, &right.extents);
        look("content", &self.content, &right.content);
    }
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
