//! `keelhold pool inspect`: what stands at the fixed places of a disk, or which structure claims a
//! byte. Secrets and what records hold are not shown: the output is made to be passed on.

use super::Context;
use super::args::PoolInspect;
use super::pool::WORKERS;
use crate::failure::{Code, Exit, Failure};
use crate::pool_failure::of_open;
use crate::pool_open::{Bench, on_bench};
use keelhold_disk::format::SealedEntry;
use keelhold_disk::pool::{Claim, DiskReport, inspect_disk};
use keelhold_disk::units::PoolId;
use serde_json::{Value, json};

pub fn run(context: &Context, args: &PoolInspect) -> Result<Exit, Failure> {
    let (value, lines) = match &args.place {
        None => {
            on_bench(WORKERS, args.key.read()?, async |bench: Bench| disks(&bench, args).await)?
        }
        Some(place) => {
            let place = Wanted::parse(place)?;
            on_bench(WORKERS, args.key.read()?, async |bench: Bench| {
                claims(&bench, args, &place).await
            })?
        }
    };
    context.printer.show(&value, |_| lines)?;
    Ok(Exit::Ok)
}

/// A byte somebody asks about; without a disk it is asked of every disk.
struct Wanted {
    disk: Option<String>,
    offset: u64,
}

impl Wanted {
    fn parse(text: &str) -> Result<Self, Failure> {
        let (disk, offset) = match text.rsplit_once(':') {
            Some((disk, offset)) => (Some(disk.to_owned()), offset),
            None => (None, text),
        };
        let wrong = |_| {
            Failure::new(Code::BadRequest, format!("{text:?} is not a byte of a disk"))
                .hint("write it as OFFSET, or as DISK:OFFSET with the id that stands in the label")
        };
        Ok(Self { disk, offset: offset.parse().map_err(wrong)? })
    }

    fn is_in(&self, claim: &Claim) -> bool {
        let disk = claim.place.disk.to_string();
        self.disk.as_ref().is_none_or(|wanted| disk.starts_with(wanted))
            && (claim.place.offset..claim.place.offset + claim.len).contains(&self.offset)
    }
}

async fn claims(
    bench: &Bench,
    args: &PoolInspect,
    wanted: &Wanted,
) -> Result<(Value, Vec<String>), Failure> {
    let pool = bench.open_read_only(&args.disks).await?;
    let mut found = pool.claims().await;
    found.retain(|claim| wanted.is_in(claim));
    let show = |claim: &Claim| {
        json!({
            "what": claim.what,
            "disk": claim.place.disk.to_string(),
            "offset": claim.place.offset,
            "len": claim.len,
        })
    };
    let value = json!({
        "offset": wanted.offset,
        "claimed": !found.is_empty(),
        "claims": found.iter().map(show).collect::<Vec<_>>(),
    });
    let line = |claim: &Claim| format!("{} of {} bytes on {}", claim.what, claim.len, claim.place);
    let lines = match found.is_empty() {
        true => vec![String::from("no structure claims this byte: nobody reads it")],
        false => found.iter().map(line).collect(),
    };
    Ok((value, lines))
}

async fn disks(bench: &Bench, args: &PoolInspect) -> Result<(Value, Vec<String>), Failure> {
    let (mut values, mut lines) = (Vec::new(), Vec::new());
    for (device, path) in bench.devices(&args.disks)?.iter().zip(&args.disks) {
        let report = inspect_disk(device).await.map_err(|error| of_open(&error))?;
        values.push(disk_value(&report, &path.display().to_string()));
        lines.extend(disk_lines(&report, &path.display().to_string()));
    }
    Ok((Value::Array(values), lines))
}

/// The kinds of an entry's operations, without what they carry.
fn op_kinds(pool: PoolId, entry: &SealedEntry) -> Vec<String> {
    let kind = |op: String| op.split([' ', '(', '{']).next().unwrap_or_default().to_owned();
    match entry.clone().open(pool, None) {
        Ok(entry) => entry.ops.iter().map(|op| kind(format!("{op:?}"))).collect(),
        Err(fault) => vec![fault.to_string()],
    }
}

fn disk_value(report: &DiskReport, path: &str) -> Value {
    let label = &report.label;
    let superblocks: Vec<Value> = report
        .superblocks
        .iter()
        .map(|(offset, superblock)| match superblock {
            Ok(found) => json!({
                "offset": offset, "sequence": found.sequence, "epoch": found.epoch,
                "journal_sequence": found.journal_sequence,
                "journal_position": found.journal_position,
            }),
            Err(fault) => json!({ "offset": offset, "fault": fault.to_string() }),
        })
        .collect();
    let journal: Vec<Value> = report
        .journal
        .iter()
        .map(|(zone, offset, entry)| {
            let sequence = entry.header.sequence;
            json!({ "zone": zone, "offset": offset, "sequence": sequence, "ops": op_kinds(label.pool, entry) })
        })
        .collect();
    json!({
        "path": path,
        "pool": label.pool.to_string(),
        "disk": label.disk.to_string(),
        "disk_index": label.disk_index,
        "copies": label.copies,
        "bytes_total": label.zones.disk_len,
        "container_len": label.zones.container_len,
        "container_count": label.zones.container_count,
        "journal_len": label.zones.journal_len,
        "superblocks": superblocks,
        "journal": journal,
    })
}

fn disk_lines(report: &DiskReport, path: &str) -> Vec<String> {
    let (label, zones) = (&report.label, &report.label.zones);
    let mut lines = vec![
        format!("{path}: disk {} (index {}) of pool {}", label.disk, label.disk_index, label.pool),
        format!(
            "  {} containers of {} bytes, two journals of {} bytes, {} copies",
            zones.container_count, zones.container_len, zones.journal_len, label.copies
        ),
    ];
    lines.extend(report.superblocks.iter().map(|(offset, superblock)| match superblock {
        Ok(found) => format!(
            "  superblock at {offset}: sequence {}, epoch {}, journal from entry {} at {}",
            found.sequence, found.epoch, found.journal_sequence, found.journal_position
        ),
        Err(fault) => format!("  superblock at {offset}: {fault}"),
    }));
    lines.extend(report.journal.iter().map(|(zone, offset, entry)| {
        let ops = op_kinds(label.pool, entry).join(", ");
        format!("  journal {zone} at {offset}: entry {}: {ops}", entry.header.sequence)
    }));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_is_an_offset_with_or_without_its_disk() {
        let plain = Wanted::parse("4096").unwrap();
        assert_eq!((plain.disk, plain.offset), (None, 4096));
        assert_eq!(Wanted::parse("d4ed:0").unwrap().disk.as_deref(), Some("d4ed"));
        assert!(Wanted::parse("d4ed").is_err() && Wanted::parse("").is_err());
    }
}
