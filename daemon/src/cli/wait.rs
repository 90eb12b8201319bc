//! Starting a job and, where asked, following it to its end.

use super::Context;
use super::client::Client;
use crate::api::address::Address;
use crate::api::types::{
    BackupRequest, BackupResult, DiskResult, Job, JobEvent, JobKind, JobResult, JobState, Outcome,
    Pace, PruneResult, ReclaimResult, RestoreResult, ShipResult, Started, VerifyResult,
};
use crate::failure::{Code, Exit, Failure};
use crate::record::SourceName;
use crate::size_text::{count, size};
use std::time::{Duration, Instant};

/// Off a terminal one line says now and then that the job lives.
const HEARTBEAT: Duration = Duration::from_secs(10);

pub async fn start(
    client: &mut Client,
    source: &SourceName,
    request: &BackupRequest,
) -> Result<Started, Failure> {
    client.post(&super::source::address(source).segment(b"backup"), request).await
}

/// Says what was started, or waits for its end and prints the result.
pub async fn finish(
    context: &Context,
    client: Client,
    started: Started,
    wait: bool,
) -> Result<Exit, Failure> {
    let job = started.job;
    if started.joined {
        eprintln!("it is running already: this is job {job}");
    }
    if !wait {
        context.printer.show(&started, |_| {
            vec![
                format!("job {job} is on its way"),
                format!("follow it with: keelhold job show {job}"),
            ]
        })?;
        return Ok(Exit::Ok);
    }
    tokio::select! {
        job = follow(context, client, job) => show_result(context, &job?),
        _ = tokio::signal::ctrl_c() => {
            context.printer.end_progress();
            eprintln!("job {job} runs on; see it with `keelhold job show {job}`, \
                stop it with `keelhold job cancel {job}`");
            Ok(Exit::Cancelled)
        }
    }
}

/// Follows a job to its end.
pub async fn follow(context: &Context, mut client: Client, job: u64) -> Result<Job, Failure> {
    let address = Address::new("/jobs").segment(job.to_string().as_bytes()).segment(b"follow");
    let mut lines = client.lines(&address).await?;
    let mut told = Instant::now();
    while let Some(event) = lines.next::<JobEvent>().await? {
        match event {
            JobEvent::Done { job } => {
                context.printer.end_progress();
                return Ok(job);
            }
            JobEvent::Progress { job } => {
                let due = told.elapsed() >= HEARTBEAT;
                if context.printer.progress_is_live() || due {
                    told = Instant::now();
                    context.printer.progress(&progress_line(&job));
                }
            }
        }
    }
    context.printer.end_progress();
    Err(Failure::new(Code::DaemonUnreachable, format!("the daemon stopped while job {job} ran"))
        .hint(format!("the job goes on when the daemon is back: `keelhold job show {job}`")))
}

fn progress_line(job: &Job) -> String {
    let id = job.id;
    match job.state {
        JobState::Queued => format!("job {id} waits for its machine"),
        JobState::Parked => format!("job {id} is parked until its machine is back"),
        JobState::Running | JobState::Done => {
            let done = &job.progress;
            if matches!(job.kind, JobKind::Ship | JobKind::Copy) {
                let (at, of) = (count(done.containers_done), count(done.containers));
                return format!("job {id}: {} sent, {at} of {of} points", size(done.bytes_sent));
            }
            if job.kind == JobKind::Verify {
                let (at, of) = (count(done.containers_done), count(done.containers));
                return format!("job {id}: {at} of {of} objects, {} read", size(done.bytes_read));
            }
            if !matches!(job.kind, JobKind::Backup | JobKind::Check | JobKind::Restore) {
                let (at, of) = (count(done.containers_done), count(done.containers));
                return format!("job {id}: {at} of {of} containers");
            }
            let moved = done.bytes_sent + done.bytes_written;
            let (entries, read) = (count(done.entries), size(done.bytes_read));
            let pace = job.pace.as_ref().map(pace_words).unwrap_or_default();
            format!("job {id}: {entries} entries, {read} read, {} moved{pace}", size(moved))
        }
    }
}

/// As ", 12 MiB/s, about 3 min left".
pub fn pace_words(pace: &Pace) -> String {
    let mut words = format!(", {}/s", size(pace.bytes_per_second));
    match pace.seconds_left {
        Some(left) if left >= 90 => words += &format!(", about {} min left", left.div_ceil(60)),
        Some(left) => words += &format!(", about {left} s left"),
        None => {}
    }
    if pace.stuck {
        words += &format!(", nothing moved for {} min", pace.seconds_silent / 60);
    }
    words
}

fn show_result(context: &Context, job: &Job) -> Result<Exit, Failure> {
    let outcome = job.result.unwrap_or(Outcome::Failed);
    match &job.details {
        Some(JobResult::Backup(result)) => context.printer.show(result, backup_lines)?,
        Some(JobResult::Reclaim(result)) => context.printer.show(result, reclaim_lines)?,
        Some(JobResult::Restore(result)) => context.printer.show(result, restore_lines)?,
        Some(JobResult::Disk(result)) => context.printer.show(result, disk_lines)?,
        Some(JobResult::Ship(result)) => context.printer.show(result, ship_lines)?,
        Some(JobResult::Verify(result)) => context.printer.show(result, verify_lines)?,
        Some(JobResult::Prune(result)) => context.printer.show(result, prune_lines)?,
        None => context.printer.show(job, |_| Vec::new())?,
    }
    if let Some(error) = &job.error {
        let failure = Failure::from_wire(error.clone());
        eprintln!("error: {failure}");
        eprintln!("  {}", failure.hint);
        return Ok(failure.code.exit());
    }
    Ok(match outcome {
        Outcome::Ok => Exit::Ok,
        Outcome::Partial => Exit::Partial,
        Outcome::Failed | Outcome::Missed => Exit::Failed,
    })
}

fn backup_lines(result: &BackupResult) -> Vec<String> {
    let mut lines = Vec::new();
    if result.result == Outcome::Failed {
        return lines;
    }
    let (word, source) = (result.result.word(), &result.source);
    lines.push(match &result.point {
        Some(point) => format!("{word}: point {point} of {source}"),
        None => format!("{word}: {source}@working"),
    });
    lines.push(format!(
        "{} files, {} in all; {} changed; {} read, {} sent, {} new, {} stored; {:.1} s",
        count(result.files),
        size(result.bytes_source),
        count(result.files_changed),
        size(result.bytes_read),
        size(result.bytes_sent),
        size(result.bytes_new),
        size(result.bytes_stored),
        result.seconds
    ));
    if let Some(wrong) = result.wrong_shortcuts {
        lines.push(format!("{wrong} entries differed although they looked unchanged"));
    }
    let skipped = result.skipped.iter().take(20);
    lines.extend(skipped.map(|skipped| missing(&skipped.path, &skipped.reason)));
    if result.skipped_count > 20 {
        let point = result.point.as_deref().unwrap_or("POINT");
        let more = result.skipped_count - 20;
        lines.push(format!("and {more} more: keelhold point show {point}"));
    }
    lines
}

fn missing(path: &str, reason: &str) -> String {
    format!("missing: {} ({reason})", super::print::safe(path))
}

fn reclaim_lines(result: &ReclaimResult) -> Vec<String> {
    let mut lines = vec![format!(
        "{}: {} freed; {} points dropped, {} sessions ended, {} containers freed, {} compacted; {:.1} s",
        result.result.word(),
        size(result.bytes_freed),
        count(result.points_dropped),
        count(result.sessions_ended),
        count(result.containers_freed),
        count(result.containers_compacted),
        result.seconds
    )];
    if result.bytes_left > 0 {
        let left = size(result.bytes_left);
        lines.push(format!("{left} stay as dead shares of containers too full to be worth moving"));
    }
    lines.extend(result.damaged.iter().take(20).map(|what| format!("damaged, left: {what}")));
    lines
}

fn disk_lines(result: &DiskResult) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(result.joined.iter().map(|id| format!("disk {id} is of the pool now")));
    if let Some(id) = &result.left {
        let (moved, bytes) = (count(result.copies_moved), size(result.bytes_moved));
        lines.push(format!("{moved} containers moved, {bytes}; {:.1} s", result.seconds));
        lines.push(match result.retired {
            true => format!("disk {id} is of the pool no more and may be taken away"),
            false => format!("disk {id} stays: what no copy can give is still on it"),
        });
    }
    lines.extend(result.unmoved.iter().take(20).map(|what| format!("not moved: {what}")));
    lines
}

fn ship_lines(result: &ShipResult) -> Vec<String> {
    let mut lines = vec![format!(
        "{}: {} points in vault {}, {} sent in {} objects and {} requests; {:.1} s",
        result.result.word(),
        count(result.points),
        result.vault,
        size(result.bytes),
        count(result.objects),
        count(result.requests),
        result.seconds
    )];
    if result.chunks_known > 0 {
        lines.push(format!("{} chunks were there already", count(result.chunks_known)));
    }
    if result.points_gone > 0 {
        lines.push(format!("{} points left the vault by its policy", count(result.points_gone)));
    }
    if result.locks_renewed > 0 {
        lines.push(format!("locks of {} objects renewed", count(result.locks_renewed)));
    }
    if result.repacked > 0 {
        let (objects, sent) = (count(result.repacked), size(result.bytes_repacked));
        lines.push(format!("{objects} objects that were mostly dead written again, {sent} sent"));
    }
    lines.extend(result.left_out.iter().map(|what| format!("left out: {what}")));
    lines
}

fn verify_lines(result: &VerifyResult) -> Vec<String> {
    let what = if result.whole { "all" } else { "a sample" };
    let mut lines = vec![format!(
        "{}: {what} of vault {} read: {} objects, {} chunks, {} points, {}; {:.1} s",
        result.result.word(),
        result.vault,
        count(result.objects),
        count(result.chunks),
        count(result.points),
        size(result.bytes),
        result.seconds
    )];
    lines.extend(result.findings.iter().map(|what| format!("not as it was shipped: {what}")));
    lines
}

fn prune_lines(result: &PruneResult) -> Vec<String> {
    let (objects, bytes) = (count(result.objects), size(result.bytes));
    let all = size(result.bytes_all);
    let mut lines = vec![match result.dry_run {
        true => format!("vault {}: {objects} objects would go, {bytes} of {all}", result.vault),
        false => format!(
            "{}: {objects} objects of vault {} deleted, {bytes} of {all}; {:.1} s",
            result.result.word(),
            result.vault,
            result.seconds
        ),
    }];
    if result.locked > 0 {
        let bytes = size(result.bytes_locked);
        lines.push(format!(
            "{} objects are locked for now, {bytes}: delete again later",
            count(result.locked)
        ));
    }
    if result.dry_run {
        lines.extend(result.names.iter().take(20).map(|name| format!("  {name}")));
    }
    lines
}

fn restore_lines(result: &RestoreResult) -> Vec<String> {
    let mut lines = vec![format!(
        "{}: {} files, {} written to {}; {:.1} s",
        result.result.word(),
        count(result.files),
        size(result.bytes_written),
        super::print::safe(&result.target),
        result.seconds
    )];
    lines.extend(result.skipped.iter().take(20).map(|each| missing(&each.path, &each.reason)));
    lines.extend(result.failed.iter().take(20).map(|each| missing(&each.path, &each.reason)));
    lines
}
