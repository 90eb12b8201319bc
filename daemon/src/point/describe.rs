//! Points and their entries as the API shows them.

use super::open::PoolEntry;
use crate::api::types::{Change, DiffLine, FileEntry, Outcome, Pin, Point, PointDetails, Xattr};
use crate::catalog::PointRow;
use crate::clock::{Look, rfc3339};
use crate::point_facts::path_text;
use crate::retention::point::nanos;
use crate::source::Names;
use crate::vault::Elsewhere;
use data_encoding::HEXLOWER;
use keelhold_chunk::{Attributes, Kind};
use keelhold_disk::units::UnixNanos;
use keelhold_policy::retain::Verdict;
use std::collections::{HashMap, HashSet};

/// What is known beside the rows when points are shown.
#[derive(Debug)]
pub struct Showing {
    pub names: Names,
    pub look: Look,
    /// Stored bytes that only this point needs, by its id.
    pub exclusive: HashMap<String, u64>,
    /// Points that are the last good ones of their sources.
    pub last_good: HashSet<String>,
    /// What the policy says of the points it speaks for.
    pub verdicts: HashMap<String, Verdict>,
    pub elsewhere: Elsewhere,
}

fn kept_because(row: &PointRow, showing: &Showing) -> Vec<String> {
    let shown = |at: i64| rfc3339(showing.look.on_the_wall(UnixNanos(at)));
    if let Some(until) = row.trashed_until {
        return vec![match until <= showing.look.witnessed.0 {
            true => String::from("its time in the trash is over, the next reclaim drops it"),
            false => format!("it is in the trash until {}", shown(until)),
        }];
    }
    if let Some(verdict) = showing.verdicts.get(&row.id) {
        return match verdict.goes() {
            true => vec![String::from("its time is over, it goes at the next look")],
            false => verdict.kept_because.iter().map(ToString::to_string).collect(),
        };
    }
    let mut why = Vec::new();
    if let Some(pin) = row.facts.pin.as_ref().filter(|pin| pin.until > showing.look.witnessed.0) {
        why.push(format!("pinned until {}: {}", shown(pin.until), pin.why));
    }
    if showing.last_good.contains(&row.id) {
        why.push(String::from("it is the last good point of its source"));
    }
    if why.is_empty() {
        why.push(String::from("no policy says when it may go"));
    }
    why
}

#[must_use]
pub fn row_to_api(row: &PointRow, showing: &Showing) -> Point {
    let (names, look) = (&showing.names, showing.look);
    let time = |at: i64| rfc3339(UnixNanos(at));
    let witnessed = |at: i64| rfc3339(look.on_the_wall(UnixNanos(at)));
    Point {
        id: row.id.clone(),
        source: names.source(&row.source),
        at: time(row.at),
        result: if row.partial { Outcome::Partial } else { Outcome::Ok },
        skipped_count: row.facts.skipped_count,
        places: showing.elsewhere.places(&row.id),
        consistency: row.facts.consistency.clone(),
        bytes_source: row.bytes_source,
        bytes_exclusive: showing.exclusive.get(&row.id).copied(),
        tags: row.facts.tags.clone(),
        kept_because: kept_because(row, showing),
        expires_at: showing
            .verdicts
            .get(&row.id)
            .and_then(|verdict| verdict.expires_at)
            .map(|at| rfc3339(nanos(at))),
        trashed_until: row.trashed_until.map(witnessed),
        pin: row.facts.pin.as_ref().filter(|pin| pin.until > look.witnessed.0).map(|pin| Pin {
            until: witnessed(pin.until),
            why: pin.why.clone(),
            by: pin.by.clone(),
        }),
        note: names.notes.get(&row.id).cloned(),
        entries: row.entries,
    }
}

/// Points, oldest first.
#[must_use]
pub fn rows_to_api(rows: &[PointRow], showing: &Showing) -> Vec<Point> {
    rows.iter().map(|row| row_to_api(row, showing)).collect()
}

#[must_use]
pub fn details(row: &PointRow, showing: &Showing) -> PointDetails {
    let root = HEXLOWER.decode(row.facts.root_hex.as_bytes()).unwrap_or_default();
    PointDetails {
        point: row_to_api(row, showing),
        committed_at: rfc3339(UnixNanos(match row.facts.made_at {
            0 => row.committed_at,
            made_at => made_at,
        })),
        files: row.facts.files,
        root: path_text(&root).0,
        skipped: row.facts.skipped.clone(),
        not_covered: row.facts.not_covered.clone(),
    }
}

#[must_use]
pub fn file_entry(path: &[u8], attributes: &Attributes) -> FileEntry {
    let (path, path_hex) = path_text(path);
    let target = match &attributes.kind {
        Kind::Symlink { target } => Some(target),
        _ => None,
    };
    let mtime = jiff::Timestamp::new(attributes.mtime.secs, attributes.mtime.nanos.cast_signed());
    FileEntry {
        path,
        path_hex,
        kind: attributes.kind.word().to_owned(),
        size: attributes.size(),
        mode: attributes.mode,
        uid: attributes.uid,
        gid: attributes.gid,
        // A file may carry a time no calendar has.
        mtime: match mtime {
            Ok(mtime) => mtime.to_string(),
            Err(_) => format!("{}s", attributes.mtime.secs),
        },
        target: target.map(|target| path_text(target).0),
        target_hex: target.and_then(|target| path_text(target).1),
        xattrs: attributes
            .xattrs
            .iter()
            .map(|xattr| Xattr {
                name_hex: HEXLOWER.encode(&xattr.name),
                value_hex: HEXLOWER.encode(&xattr.value),
            })
            .collect(),
        device: match attributes.kind {
            Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
                Some((major, minor))
            }
            _ => None,
        },
        link_group: attributes.link_group.map(|group| format!("{}:{}", group.device, group.inode)),
    }
}

/// One line of a comparison; `None` if there is nothing on either side.
#[must_use]
pub fn path_difference(
    change: Change,
    before: Option<&PoolEntry>,
    after: Option<&PoolEntry>,
) -> Option<DiffLine> {
    let shown = after.or(before)?;
    let (path, path_hex) = path_text(&shown.path);
    let size = |entry: &PoolEntry| entry.attributes.size();
    Some(DiffLine {
        change,
        path,
        path_hex,
        kind: shown.attributes.kind.word().to_owned(),
        size_before: before.map(size),
        size_after: after.map(size),
    })
}
