//! Finding paths over all points.
//!
//! Points of one source share most of their entries, so a hit that is the same entry as in the point
//! before (path, kind, size, time) is told once, with the first point that has it.

use super::describe::file_entry;
use crate::api::types::Found;
use crate::clock::rfc3339;
use crate::daemon::Daemon;
use crate::failure::{Code, Failure};
use crate::id_text;
use crate::source::Names;
use globset::{GlobBuilder, GlobMatcher};
use keelhold_chunk::Attributes;
use keelhold_disk::pool::PointInfo;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use tokio::sync::mpsc;

const SCAN_COUNT: usize = 1024;

/// A glob over whole paths; without a `/` it is a glob over names.
#[derive(Debug, Clone)]
pub struct Matcher {
    glob: GlobMatcher,
    whole: bool,
}

impl Matcher {
    pub fn new(pattern: &str) -> Result<Self, Failure> {
        let whole = pattern.contains('/');
        let glob = GlobBuilder::new(pattern.trim_start_matches('/'))
            .literal_separator(true)
            .backslash_escape(true)
            .build()
            .map_err(|error| Failure::of(Code::BadRequest, &error))?;
        Ok(Self { glob: glob.compile_matcher(), whole })
    }

    #[must_use]
    pub fn matches(&self, path: &[u8]) -> bool {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        let text = if self.whole { path } else { name };
        !path.is_empty() && self.glob.is_match(Path::new(OsStr::from_bytes(text)))
    }
}

/// Sends every hit, sources one after another, points in the order of their commits.
pub async fn find(
    daemon: &Daemon,
    names: &Names,
    points: Vec<PointInfo>,
    matcher: &Matcher,
    hits: &mpsc::Sender<Result<Found, Failure>>,
) -> Result<(), Failure> {
    let mut by_source: BTreeMap<String, Vec<PointInfo>> = BTreeMap::new();
    for point in points {
        let source = names.source(&id_text::encode(&point.source.0));
        by_source.entry(source).or_default().push(point);
    }
    for (source, points) in by_source {
        let mut told: HashMap<Vec<u8>, Attributes> = HashMap::new();
        for info in points {
            let point = daemon.open_point(info.id).await?;
            let mut from = 0;
            loop {
                let entries = point.scan(from, SCAN_COUNT).await?;
                let Some((last, _)) = entries.last() else {
                    break;
                };
                from = last + 1;
                for (_, entry) in entries {
                    if !matcher.matches(&entry.path)
                        || told.get(&entry.path) == Some(&entry.attributes)
                    {
                        continue;
                    }
                    let found = Found {
                        point: id_text::encode(&info.id.0),
                        source: source.clone(),
                        at: rfc3339(info.at),
                        entry: file_entry(&entry.path, &entry.attributes),
                    };
                    told.insert(entry.path, entry.attributes);
                    if hits.send(Ok(found)).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths() {
        let name = Matcher::new("*.conf").unwrap();
        assert!(name.matches(b"etc/a.conf") && !name.matches(b"etc/a.conf.d/x"));
        let path = Matcher::new("etc/**/*.conf").unwrap();
        assert!(path.matches(b"etc/a/b.conf") && !path.matches(b"usr/etc/b.conf"));
        assert!(Matcher::new("/etc/*").unwrap().matches(b"etc/hosts"));
        assert!(Matcher::new("[").is_err());
        assert!(Matcher::new("\u{fffd}*").is_ok() && !name.matches(b""));
    }
}
