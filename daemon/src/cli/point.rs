//! `keelhold point …` and `keelhold find`

use super::Context;
use super::args::{Find, Point};
use super::client::Lines;
use super::print::safe;
use crate::api::address::Address;
use crate::api::types;
use crate::failure::{Exit, Failure};
use crate::size_text::size;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::os::unix::ffi::OsStrExt as _;

fn address(point: &str) -> Address {
    Address::new("/points").segment(point.as_bytes())
}

pub async fn run(context: &Context, verb: Point) -> Result<Exit, Failure> {
    let mut client = context.client().await?;
    match verb {
        Point::List { source, trash, count, before } => {
            let mut address = Address::new("/points");
            if let Some(source) = source {
                address = address.query("source", source.as_bytes());
            }
            if let Some(count) = count {
                address = address.query("count", count.to_string().as_bytes());
            }
            if let Some(before) = before {
                address = address.query("before", before.as_bytes());
            }
            let mut points: Vec<types::Point> = client.get(&address).await?;
            // For programs the list is whole; a field says what is in the trash.
            points.retain(|point| trash || context.printer.json || point.trashed_until.is_none());
            let head = ["POINT", "SOURCE", "AT", "RESULT", "SIZE", "ALONE", "SKIPPED", "NOTE"];
            context.printer.table(&points, &head, row)?;
        }
        Point::Show { point } => {
            let point: types::PointDetails = client.get(&address(&point)).await?;
            context.printer.show(&point, describe)?;
        }
        Point::Files { point, path } => {
            let path = path.unwrap_or_default();
            let path = path.as_os_str().as_bytes();
            let path = path.strip_prefix(b"/").unwrap_or(path);
            let path = path.strip_suffix(b"/").unwrap_or(path);
            let address = address(&point).segment(b"files").query("path", path);
            let lines = client.lines(&address).await?;
            each(context, lines, |entry: &types::FileEntry| file_line(entry)).await?;
        }
        Point::Diff { left, right } => {
            let address = Address::new("/diff")
                .query("left", left.as_bytes())
                .query("right", right.as_bytes());
            let lines = client.lines(&address).await?;
            each(context, lines, diff_line).await?;
        }
        Point::Note { point, text } => {
            let address = address(&point).segment(b"note");
            let point: types::PointDetails = client.post(&address, &types::Note { text }).await?;
            context.printer.show(&point, describe)?;
        }
        Point::Forget { points, now, dry_run } => {
            return super::forget::forget(context, points, now, dry_run).await;
        }
        Point::UndoForget { point } => {
            let address = address(&point).segment(b"undo-forget");
            let point: types::PointDetails = client.post(&address, &()).await?;
            context.printer.show(&point, describe)?;
        }
        Point::Pin { point, until, why } => {
            let address = address(&point).segment(b"pin");
            let pin = types::NewPin { until, why };
            let point: types::PointDetails = client.post(&address, &pin).await?;
            context.printer.show(&point, describe)?;
        }
        Point::Unpin { point } => {
            let address = address(&point).segment(b"unpin");
            let point: types::PointDetails = client.post(&address, &()).await?;
            context.printer.show(&point, describe)?;
        }
    }
    Ok(Exit::Ok)
}

pub async fn find(context: &Context, args: Find) -> Result<Exit, Failure> {
    let mut address = Address::new("/find").query("pattern", args.pattern.as_bytes());
    if let Some(machine) = args.machine {
        address = address.query("machine", machine.as_bytes());
    }
    let lines = context.client().await?.lines(&address).await?;
    each(context, lines, |found: &types::Found| {
        format!("{}  {}  {}  {}", found.point, found.source, found.at, file_line(&found.entry))
    })
    .await?;
    Ok(Exit::Ok)
}

/// Prints lines as they come, so that nothing has to be held.
async fn each<T: DeserializeOwned + Serialize>(
    context: &Context,
    mut lines: Lines,
    text: impl Fn(&T) -> String,
) -> Result<(), Failure> {
    while let Some(value) = lines.next::<T>().await? {
        if context.printer.json {
            context.printer.json(&value)?;
        } else {
            context.printer.line(&text(&value))?;
        }
    }
    Ok(())
}

fn row(point: &types::Point) -> Vec<String> {
    vec![
        point.id.clone(),
        point.source.clone(),
        point.at.clone(),
        point.result.word().to_owned(),
        size(point.bytes_source),
        point.bytes_exclusive.map(size).unwrap_or_default(),
        point.skipped_count.to_string(),
        remark(point),
    ]
}

/// What somebody should know who sees the point in a list.
fn remark(point: &types::Point) -> String {
    let trashed = point.trashed_until.as_ref().map(|until| format!("in the trash until {until}"));
    let pinned = point.pin.as_ref().map(|pin| format!("pinned: {}", safe(&pin.why)));
    let note = point.note.as_deref().map(safe);
    let said: Vec<String> = trashed.into_iter().chain(pinned).chain(note).collect();
    said.join("; ")
}

fn describe(details: &types::PointDetails) -> Vec<String> {
    let point = &details.point;
    let mut lines = vec![
        format!("point {} of {}", point.id, point.source),
        format!("at: {}, committed: {}", point.at, details.committed_at),
        format!("result: {}, consistency: {}", point.result.word(), point.consistency),
        format!("tree: {}", safe(&details.root)),
        format!("{} entries, {} files, {}", point.entries, details.files, size(point.bytes_source)),
        format!("in: {}", point.places.join(", ")),
        format!("kept because: {}", safe(&point.kept_because.join(", "))),
    ];
    lines.extend(
        point.bytes_exclusive.map(|bytes| format!("only this point needs {}", size(bytes))),
    );
    lines.extend(point.note.iter().map(|note| format!("note: {}", safe(note))));
    let list = |what: &'static str, list: &[types::Skipped]| -> Vec<String> {
        let line =
            |each: &types::Skipped| format!("{what}: {} ({})", safe(&each.path), each.reason);
        list.iter().map(line).collect()
    };
    lines.extend(list("missing", &details.skipped));
    let unnamed = point.skipped_count.saturating_sub(details.skipped.len() as u64);
    if unnamed > 0 {
        lines.push(format!("and {unnamed} more that are not named"));
    }
    lines.extend(list("not covered", &details.not_covered));
    lines
}

fn file_line(entry: &types::FileEntry) -> String {
    let target = entry.target.as_deref().map(|target| format!(" -> {}", safe(target)));
    format!(
        "{:<12} {:04o} {:>6}:{:<6} {:>14} {}  {}{}",
        entry.kind,
        entry.mode,
        entry.uid,
        entry.gid,
        entry.size,
        entry.mtime,
        safe(if entry.path.is_empty() { "." } else { &entry.path }),
        target.unwrap_or_default()
    )
}

fn diff_line(line: &types::DiffLine) -> String {
    let mark = match line.change {
        types::Change::Added => '+',
        types::Change::Removed => '-',
        types::Change::Content => 'M',
        types::Change::Attributes => 'a',
    };
    format!("{mark} {}", safe(&line.path))
}
