//! `keelhold pool check`: everything read and proved, and nothing changed. Of an encrypted pool whose key
//! is not given, everything that can be proved without it.

use super::Context;
use super::args::PoolDisks;
use super::pool::WORKERS;
use crate::failure::{Code, Exit, Failure, chain};
use crate::id_text;
use crate::pool_open::{Bench, on_bench};
use crate::size_text::{count, size};
use keelhold_disk::error::ReadError;
use keelhold_disk::pool::{OutsideReport, VerifyFinding, VerifyReport};
use keelhold_disk::units::PoolId;
use serde_json::{Value, json};

struct Verdict {
    value: Value,
    lines: Vec<String>,
    exit: Exit,
}

pub fn run(context: &Context, args: &PoolDisks) -> Result<Exit, Failure> {
    let printer = context.printer;
    let key = args.key.read()?;
    let mut told = 0;
    let mut progress = |done: u64, of: u64| {
        let percent = (done * 100).checked_div(of).unwrap_or(100);
        if percent > told && printer.progress_is_live() {
            told = percent;
            printer.progress(&format!("{percent} % read and proved"));
        }
    };
    let verdict = on_bench(WORKERS, key, async |bench: Bench| {
        let opened = bench.open_read_only(&args.disks).await;
        match opened {
            Ok(pool) => {
                let report = pool.verify(&mut progress).await;
                Ok(of_pool(&report))
            }
            Err(failure) if failure.code == Code::KeyNeeded => {
                let (pool, report) = bench.verify_outside(&args.disks, &mut progress).await?;
                Ok(of_outside(pool, &report))
            }
            Err(failure) => Err(failure),
        }
    });
    printer.end_progress();
    let Verdict { value, lines, exit } = verdict?;
    printer.show(&value, |_| lines)?;
    Ok(exit)
}

fn points(finding: &VerifyFinding) -> Vec<String> {
    finding.points.iter().map(|point| id_text::encode(&point.0)).collect()
}

fn place(error: &ReadError) -> Option<String> {
    error.place().map(|place| place.to_string())
}

fn of_pool(report: &VerifyReport) -> Verdict {
    let finding = |finding: &VerifyFinding| {
        json!({
            "error": chain(&finding.error),
            "place": place(&finding.error),
            "chunks": finding.chunks.len(),
            "points": points(finding),
        })
    };
    let findings: Vec<Value> = report.findings.iter().map(finding).collect();
    let is_well = findings.is_empty();
    let value = json!({
        "result": if is_well { "ok" } else { "failed" },
        "runs": report.runs, "frames": report.frames, "chunks": report.chunks,
        "bytes_stored": report.bytes_stored, "bytes_plain": report.bytes_plain,
        "contents_proved": true,
        "findings": findings,
    });
    let exit = if is_well { Exit::Ok } else { Exit::Failed };
    Verdict { value, lines: pool_lines(report), exit }
}

fn pool_lines(report: &VerifyReport) -> Vec<String> {
    let mut lines = vec![format!(
        "{} chunks in {} frames read and proved: {} stored, {} plain",
        count(report.chunks),
        count(report.frames),
        size(report.bytes_stored),
        size(report.bytes_plain)
    )];
    for finding in &report.findings {
        lines.push(format!("damage: {}", chain(&finding.error)));
        lines.push(match points(finding).as_slice() {
            [] => String::from("  no recovery point needs it"),
            points => format!("  points touched: {}", points.join(", ")),
        });
    }
    let verdict = if report.findings.is_empty() { "all is well" } else { "the pool is damaged" };
    lines.push(verdict.to_owned());
    lines
}

fn of_outside(pool: PoolId, report: &OutsideReport) -> Verdict {
    let finding = |error: &ReadError| json!({ "error": chain(error), "place": place(error) });
    let findings: Vec<Value> = report.findings.iter().map(finding).collect();
    // Not "ok": what was sealed was not looked into.
    let (result, exit) = match findings.is_empty() {
        true => ("partial", Exit::Partial),
        false => ("failed", Exit::Failed),
    };
    let value = json!({
        "result": result,
        "pool": pool.to_string(),
        "containers": report.containers, "runs": report.runs, "frames": report.frames,
        "bytes_stored": report.bytes_stored, "journal_entries": report.entries,
        "runs_behind_gaps": report.behind_gaps,
        "contents_proved": false,
        "findings": findings,
        "doubtful": report.doubtful.iter().map(finding).collect::<Vec<_>>(),
    });
    let mut lines = vec![format!(
        "{} frames in {} runs of {} containers read against their hashes: {} stored",
        count(report.frames),
        count(report.runs),
        count(report.containers),
        size(report.bytes_stored)
    )];
    if report.behind_gaps > 0 {
        lines
            .push(format!("{} runs stand behind gaps, as a crash leaves them", report.behind_gaps));
    }
    let doubtful = report.doubtful.iter();
    lines.extend(doubtful.map(|error| format!("damage, or left by a crash: {}", chain(error))));
    lines.extend(report.findings.iter().map(|error| format!("damage: {}", chain(error))));
    lines.push(match findings.is_empty() {
        true => String::from("nothing damaged was found"),
        false => String::from("the pool is damaged"),
    });
    lines.push(String::from(
        "contents were not proved: the pool is encrypted; add --key-file FILE to prove them and to learn which points are touched",
    ));
    Verdict { value, lines, exit }
}
