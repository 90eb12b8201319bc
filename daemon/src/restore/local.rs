//! A restore on the appliance: entries come in order, one thread makes directories and hands places
//! out, a few others create and fill files. What was proved on reading is what is written, so a file
//! is either right or listed as failed.

use crate::api::types::{FailedPath, Outcome, RestoreResult, Skipped};
use crate::failure::{Code, Failure};
use crate::job::{JobId, Jobs};
use crate::point::{
    CONTENT_PIECE_LEN, Content, Damage, Loaded, OpenPoint, load_ordered, read_piece,
};
use crate::point_facts::{path_text, skipped};
use keelhold_disk::pool::Piece;
use keelhold_tree::write::{Report, UnwrittenReason};
use keelhold_tree::{Created, FileWriter, OnClash, Place, TreeWriter, WriteError, WriteOptions};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::{mpsc, watch};

/// Threads that create and fill files.
const WRITER_COUNT: usize = 4;

#[derive(Debug, Clone)]
pub struct Request {
    pub job: JobId,
    pub point_text: String,
    pub target: PathBuf,
    pub paths: Vec<Vec<u8>>,
    pub on_clash: Option<OnClash>,
}

type Batch = Vec<(Place, Loaded)>;
type Failed = Arc<Mutex<BTreeMap<Vec<u8>, Damage>>>;

fn of_target(error: &WriteError) -> Failure {
    let code = match error {
        WriteError::NotEmpty { .. } => Code::TargetNotEmpty,
        _ => Code::TargetUnusable,
    };
    Failure::of(code, error)
}

/// Restores and gives the result. `cancelled` ends it between two groups of files.
pub async fn restore(
    jobs: &Arc<Jobs>,
    point: OpenPoint,
    request: Request,
    cancelled: watch::Receiver<bool>,
) -> Result<RestoreResult, Failure> {
    let (began, jobs) = (Instant::now(), Arc::clone(jobs));
    let groups = load_ordered(point.clone(), request.paths.clone());
    let (asked, runtime) = (request.clone(), tokio::runtime::Handle::current());
    let write = move || write_tree(&jobs, &point, &asked, groups, &cancelled, &runtime);
    let written = tokio::task::spawn_blocking(write);
    let (report, failed) = written.await.map_err(|error| Failure::of(Code::Internal, &error))??;
    Ok(result(&request, &report, &failed, began.elapsed().as_secs_f64()))
}

fn write_tree(
    jobs: &Jobs,
    point: &OpenPoint,
    request: &Request,
    mut groups: mpsc::Receiver<Result<Vec<Loaded>, Failure>>,
    cancelled: &watch::Receiver<bool>,
    runtime: &tokio::runtime::Handle,
) -> Result<(Report, BTreeMap<Vec<u8>, Damage>), Failure> {
    let options = WriteOptions { on_clash: request.on_clash, ..WriteOptions::default() };
    let mut writer =
        TreeWriter::create(&request.target, options).map_err(|error| of_target(&error))?;
    let failed = Failed::default();
    let (batches, queue) = sync_channel::<Batch>(2);
    let queue = Mutex::new(queue);
    let placed = std::thread::scope(|scope| {
        for _ in 0..WRITER_COUNT {
            scope.spawn(|| write_files(&queue, point, runtime, &failed));
        }
        place_all(jobs, request.job, &mut writer, &mut groups, batches, cancelled)
    });
    // What is there so far stays: it is whole, and running again writes the rest.
    let report = writer.finish();
    placed?;
    let failed = std::mem::take(&mut *failed.lock().unwrap_or_else(PoisonError::into_inner));
    Ok((report, failed))
}

fn place_all(
    jobs: &Jobs,
    job: JobId,
    writer: &mut TreeWriter,
    groups: &mut mpsc::Receiver<Result<Vec<Loaded>, Failure>>,
    batches: SyncSender<Batch>,
    cancelled: &watch::Receiver<bool>,
) -> Result<(), Failure> {
    while let Some(group) = groups.blocking_recv() {
        if *cancelled.borrow() {
            return Err(Failure::new(Code::Cancelled, format!("job {job} was cancelled")));
        }
        let group = group?;
        let (mut entries, mut files, mut bytes) = (0, 0, 0);
        let mut batch = Vec::with_capacity(group.len());
        for loaded in group {
            entries += 1;
            let attributes = loaded.entry.attributes.clone();
            if let keelhold_chunk::Kind::File { size } = attributes.kind {
                files += 1;
                bytes += size;
            }
            if let Some(place) = writer.place(&loaded.entry.path, attributes) {
                batch.push((place, loaded));
            }
        }
        if batches.send(batch).is_err() {
            return Err(Failure::new(Code::Internal, "the writers of the restore ended"));
        }
        jobs.progress(job, |progress| {
            progress.entries += entries;
            progress.files += files;
            progress.bytes_written += bytes;
        });
    }
    Ok(())
}

fn write_files(
    queue: &Mutex<Receiver<Batch>>,
    point: &OpenPoint,
    runtime: &tokio::runtime::Handle,
    failed: &Failed,
) {
    loop {
        let batch = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(batch) = batch else { return };
        for (place, loaded) in batch {
            let path = loaded.entry.path.clone();
            if let Err(damage) = write_entry(place, loaded, point, runtime) {
                failed.lock().unwrap_or_else(PoisonError::into_inner).insert(path, damage);
            }
        }
    }
}

fn write_entry(
    place: Place,
    loaded: Loaded,
    point: &OpenPoint,
    runtime: &tokio::runtime::Handle,
) -> Result<(), Damage> {
    // Damaged content is known before the file is made: nothing half appears in the target.
    if let Content::Damaged(damage) = loaded.content {
        return Err(damage);
    }
    let Created::Content(file) = place.create() else {
        return Ok(());
    };
    match loaded.content {
        Content::Whole(pieces) => {
            write_pieces(&file, 0, &pieces);
        }
        Content::Large => {
            let mut offset = 0;
            while offset < loaded.entry.size() {
                let pieces = runtime.block_on(read_piece(
                    point,
                    &loaded.entry,
                    offset,
                    CONTENT_PIECE_LEN,
                ))?;
                if !write_pieces(&file, offset, &pieces) {
                    break;
                }
                offset += CONTENT_PIECE_LEN;
            }
        }
        Content::Damaged(_) => {}
    }
    // What could not be written is in the writer's own report.
    file.finish();
    Ok(())
}

/// False: writing failed, which the file reports itself.
fn write_pieces(file: &FileWriter, mut offset: u64, pieces: &[Piece]) -> bool {
    for piece in pieces {
        if let Piece::Data(bytes) = piece
            && file.write_at(offset, bytes).is_err()
        {
            return false;
        }
        offset += piece.len();
    }
    true
}

fn result(
    request: &Request,
    report: &Report,
    damaged: &BTreeMap<Vec<u8>, Damage>,
    seconds: f64,
) -> RestoreResult {
    let named = |path: &[u8], reason: &UnwrittenReason| skipped(path, reason.to_string());
    let skipped: Vec<Skipped> =
        report.skipped().map(|each| named(&each.path, &each.reason)).collect();
    let mut failed: Vec<FailedPath> = damaged
        .iter()
        .map(|(path, damage)| FailedPath {
            path: path_text(path).0,
            place: damage.place.clone(),
            reason: damage.reason.clone(),
        })
        .collect();
    // A file given up because of damage is listed with the damage, not as unfinished.
    let others = report.failed().filter(|each| !damaged.contains_key(&each.path));
    failed.extend(others.map(|each| FailedPath {
        path: path_text(&each.path).0,
        place: None,
        reason: each.reason.to_string(),
    }));
    let left_alone =
        |each: &keelhold_tree::write::Unwritten| each.reason == UnwrittenReason::Exists;
    let complete = failed.is_empty() && report.skipped().all(left_alone);
    RestoreResult {
        result: if complete { Outcome::Ok } else { Outcome::Partial },
        job: request.job,
        point: request.point_text.clone(),
        target: path_text(std::os::unix::ffi::OsStrExt::as_bytes(request.target.as_os_str())).0,
        bytes_written: report.bytes_written,
        files: report.files + report.links,
        seconds,
        verified: failed.is_empty(),
        skipped,
        failed,
        error: None,
    }
}
