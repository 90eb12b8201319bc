//! Points and what is in them.

use super::SharedDaemon;
use super::address::Query;
use super::answer::{Answer, Refused, body, bytes, lines};
use super::types::{FileEntry, Note, Point, PointDetails};
use crate::catalog::PointRow;
use crate::clock::parse_time;
use crate::failure::{Code, Failure};
use crate::id_text;
use crate::point::{
    CONTENT_PIECE_LEN, Matcher, OpenPoint, PoolEntry, details, file_entry, is_within, read_piece,
    rows_to_api,
};
use crate::record::NameError;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use keelhold_chunk::Kind;
use keelhold_disk::pool::{Piece, PointInfo};
use tokio::sync::mpsc;

const LIST_COUNT: usize = 1_024;
/// Zeros of a hole are sent in pieces of this size.
const ZEROS: Bytes = Bytes::from_static(&[0; 64 << 10]);

pub(super) fn query(raw: Option<String>) -> Result<Query, Failure> {
    let malformed = || Failure::new(Code::BadRequest, "the query is malformed");
    Query::parse(raw.as_deref().unwrap_or("")).ok_or_else(malformed)
}

pub async fn list(
    State(daemon): State<SharedDaemon>,
    RawQuery(raw): RawQuery,
) -> Answer<Vec<Point>> {
    let query = query(raw)?;
    let names = daemon.names().await?;
    let source = query.text("source");
    let mut rows = daemon.rows_anywhere();
    if let Some(source) = source {
        let name =
            source.parse().map_err(|error: NameError| Failure::of(Code::NameInvalid, &error))?;
        let ids: Vec<&str> =
            names.sources_named(&name).iter().map(|source| source.id.as_str()).collect();
        if ids.is_empty() {
            let text = format!("there is no source {source}");
            return Err(Failure::new(Code::SourceUnknown, text).into());
        }
        rows.retain(|row| ids.contains(&row.source.as_str()));
    }
    // What is said of a point depends on the others of its source: the page is cut out afterwards.
    let showing = daemon.showing(names, &rows).await?;
    Ok(Json(rows_to_api(page(&rows, &query)?, &showing)))
}

/// The newest so many rows, or all; of those up to a moment, if one is given.
fn page<'a>(rows: &'a [PointRow], query: &Query) -> Result<&'a [PointRow], Failure> {
    let wrong = |what: &str| Failure::new(Code::BadRequest, format!("{what} cannot be understood"));
    let mut rows = rows;
    if let Some(before) = query.text("before") {
        let before = parse_time(before).ok_or_else(|| wrong("the time of --before"))?;
        // Clocks jump: what is listed is in the order of commits.
        let end = rows.iter().rposition(|row| row.at < before.0).map_or(0, |last| last + 1);
        rows = &rows[..end];
    }
    if let Some(count) = query.text("count") {
        let count: usize = count.parse().map_err(|_| wrong("the number of --count"))?;
        rows = &rows[rows.len().saturating_sub(count)..];
    }
    Ok(rows)
}

pub async fn show(
    State(daemon): State<SharedDaemon>,
    Path(point): Path<String>,
) -> Answer<PointDetails> {
    let (info, _) = daemon.point(&point).await?;
    details_of(&daemon, &info).await
}

pub async fn details_of(daemon: &SharedDaemon, info: &PointInfo) -> Answer<PointDetails> {
    let showing = daemon.showing(daemon.names().await?, &daemon.rows_anywhere()).await?;
    Ok(Json(details(&PointRow::new(0, info), &showing)))
}

pub async fn note(
    State(daemon): State<SharedDaemon>,
    Path(point): Path<String>,
    body_bytes: Bytes,
) -> Answer<PointDetails> {
    let note: Note = body(&body_bytes)?;
    let (info, _) = daemon.point(&point).await?;
    daemon.set_note(&info, note.text).await?;
    details_of(&daemon, &info).await
}

async fn open(daemon: &SharedDaemon, point: &str) -> Result<OpenPoint, Failure> {
    let (info, _) = daemon.point(point).await?;
    daemon.open_point(info.id).await
}

fn unknown_path(path: &[u8]) -> Failure {
    let text = String::from_utf8_lossy(path);
    Failure::new(Code::PathUnknown, format!("the point has no path {text:?}"))
}

async fn find_entry(point: &OpenPoint, path: &[u8]) -> Result<(u64, PoolEntry), Failure> {
    point.find(path.to_vec()).await?.ok_or_else(|| unknown_path(path))
}

/// Everything at a path and below, in order.
pub async fn files(
    State(daemon): State<SharedDaemon>,
    Path(point): Path<String>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Refused> {
    let query = query(raw)?;
    let path = query.bytes("path").unwrap_or_default().to_vec();
    let point = open(&daemon, &point).await?;
    let (from, _) = find_entry(&point, &path).await?;
    let (entries, told) = mpsc::channel(64);
    tokio::spawn(async move {
        if let Err(failure) = tell_files(&point, from, &path, &entries).await {
            let _ = entries.send(Err(failure)).await;
        }
    });
    Ok(lines(told))
}

async fn tell_files(
    point: &OpenPoint,
    mut from: u64,
    path: &[u8],
    entries: &mpsc::Sender<Result<FileEntry, Failure>>,
) -> Result<(), Failure> {
    loop {
        let scanned = point.scan(from, LIST_COUNT).await?;
        let Some((last, _)) = scanned.last() else {
            return Ok(());
        };
        from = last + 1;
        for (_, entry) in scanned {
            let shown = file_entry(&entry.path, &entry.attributes);
            if !is_within(&entry.path, path) || entries.send(Ok(shown)).await.is_err() {
                return Ok(());
            }
        }
    }
}

/// One level: what is in a directory, behind the name `after`; or with `self`, the entry itself.
pub async fn entries(
    State(daemon): State<SharedDaemon>,
    Path(point): Path<String>,
    RawQuery(raw): RawQuery,
) -> Answer<Vec<FileEntry>> {
    let query = query(raw)?;
    let path = query.bytes("path").unwrap_or_default().to_vec();
    let point = open(&daemon, &point).await?;
    if query.bytes("self").is_some() {
        let (_, entry) = find_entry(&point, &path).await?;
        return Ok(Json(vec![file_entry(&entry.path, &entry.attributes)]));
    }
    let after = query.bytes("after").map(<[u8]>::to_vec);
    let found = point.list(path, after, LIST_COUNT).await?;
    Ok(Json(found.iter().map(|entry| file_entry(&entry.path, &entry.attributes)).collect()))
}

/// The bytes of one file, or a stretch of it.
pub async fn content(
    State(daemon): State<SharedDaemon>,
    Path(point): Path<String>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Refused> {
    let query = query(raw)?;
    let path = query.bytes("path").unwrap_or_default().to_vec();
    let point = open(&daemon, &point).await?;
    let (_, entry) = find_entry(&point, &path).await?;
    if !matches!(entry.attributes.kind, Kind::File { .. }) {
        let text = String::from_utf8_lossy(&path);
        return Err(Failure::new(Code::NotAFile, format!("{text:?} is not a regular file")).into());
    }
    let from = query.number("offset").unwrap_or(0);
    let upto = query.number("len").map_or(entry.size(), |len| from.saturating_add(len));
    let (data, told) = mpsc::channel(2);
    tokio::spawn(async move {
        if let Err(failure) = tell_content(&point, entry, from, upto, &data).await {
            let _ = data.send(Err(failure)).await;
        }
    });
    Ok(bytes(told))
}

async fn tell_content(
    point: &OpenPoint,
    entry: PoolEntry,
    from: u64,
    upto: u64,
    data: &mpsc::Sender<Result<Bytes, Failure>>,
) -> Result<(), Failure> {
    let upto = upto.min(entry.size());
    let mut offset = from;
    while offset < upto {
        let len = CONTENT_PIECE_LEN.min(upto - offset);
        let mut pieces = read_piece(point, &entry, offset, len).await.map_err(|damage| {
            let path = String::from_utf8_lossy(&entry.path);
            Failure::new(Code::PoolDamaged, format!("{path}: {}", damage.reason))
        })?;
        if pieces.is_empty() {
            return Err(Failure::new(Code::PoolDamaged, "the content ends before its size"));
        }
        for piece in pieces.drain(..) {
            let len = piece.len().min(upto - offset);
            offset += len;
            if !send_piece(piece, len, data).await {
                return Ok(());
            }
        }
    }
    Ok(())
}

async fn send_piece(piece: Piece, len: u64, data: &mpsc::Sender<Result<Bytes, Failure>>) -> bool {
    match piece {
        Piece::Data(bytes) => {
            let len = usize::try_from(len).unwrap_or(bytes.len());
            data.send(Ok(bytes.slice(..len))).await.is_ok()
        }
        Piece::Hole(_) => {
            let mut left = len;
            while left > 0 {
                let part = left.min(ZEROS.len() as u64);
                let zeros = ZEROS.slice(..usize::try_from(part).unwrap_or(0));
                if data.send(Ok(zeros)).await.is_err() {
                    return false;
                }
                left -= part;
            }
            true
        }
    }
}

pub async fn tar(
    State(daemon): State<SharedDaemon>,
    Path(point): Path<String>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Refused> {
    let query = query(raw)?;
    let path = query.bytes("path").unwrap_or_default().to_vec();
    let point = open(&daemon, &point).await?;
    find_entry(&point, &path).await?;
    Ok(bytes(crate::restore::tar::stream(point, path)))
}

pub async fn diff(
    State(daemon): State<SharedDaemon>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Refused> {
    let query = query(raw)?;
    let side = |name| {
        query.text(name).ok_or_else(|| Failure::new(Code::BadRequest, format!("{name} is missing")))
    };
    let left = open(&daemon, side("left")?).await?;
    let right = open(&daemon, side("right")?).await?;
    let (found, told) = mpsc::channel(64);
    tokio::spawn(async move {
        if let Err(failure) = crate::point::diff(left, right, &found).await {
            let _ = found.send(Err(failure)).await;
        }
    });
    Ok(lines(told))
}

pub async fn find(
    State(daemon): State<SharedDaemon>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Refused> {
    let query = query(raw)?;
    let missing = || Failure::new(Code::BadRequest, "the pattern is missing");
    let matcher = Matcher::new(query.text("pattern").ok_or_else(missing)?)?;
    let names = daemon.names().await?;
    let mut points = daemon.points_anywhere().await?;
    points.retain(|point| point.trashed_until.is_none());
    if let Some(machine) = query.text("machine") {
        let prefix = format!("{machine}/");
        if !names.machines.values().any(|known| known.name == machine) {
            let text = format!("there is no machine {machine}");
            return Err(Failure::new(Code::MachineUnknown, text).into());
        }
        points.retain(|point| names.source(&id_text::encode(&point.source.0)).starts_with(&prefix));
    }
    let (hits, told) = mpsc::channel(64);
    tokio::spawn(async move {
        let searched = crate::point::find(&daemon, &names, points, &matcher, &hits).await;
        if let Err(failure) = searched {
            let _ = hits.send(Err(failure)).await;
        }
    });
    Ok(lines(told))
}
