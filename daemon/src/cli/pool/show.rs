//! The pool, for people.

use crate::api::types;
use crate::size_text::{count, size};

pub fn pool_lines(status: &types::PoolStatus) -> Vec<String> {
    let mut lines = vec![
        format!("pool {}", status.id),
        format!(
            "{} of {} used, {} free ({} of it reserved)",
            size(status.bytes_used),
            size(status.bytes_total),
            size(status.bytes_free),
            size(status.bytes_reserved)
        ),
        format!(
            "{} points of {} in {} chunks; dedup {:.2}, compression {:.2}",
            status.points,
            size(status.bytes_logical),
            count(status.chunks),
            status.dedup_ratio,
            status.compression_ratio
        ),
        format!("index: {}", size(status.index_bytes)),
    ];
    lines.extend(super::scrub::lines(&status.scrub));
    lines.extend(reclaim_lines(&status.reclaim));
    lines.push(crate::api::full_line(&status.forecast));
    if status.copies > 1 {
        let (copies, once) = (status.copies, size(status.bytes_single));
        lines.push(format!("everything on {copies} disks, but for {once} that are kept once"));
    }
    if status.bytes_unreadable > 0 {
        lines.push(format!("not to be read: {}", size(status.bytes_unreadable)));
    }
    if status.chunks_lost > 0 {
        lines.push(format!("damaged in every copy: {} chunks", count(status.chunks_lost)));
    }
    let in_use = status.disks.iter().filter(|disk| disk.state != "retired");
    lines.extend(in_use.map(disk_line));
    lines
}

fn disk_line(disk: &types::Disk) -> String {
    let way = if disk.direct { "direct" } else { "cached" };
    let (id, path, state) = (&disk.id, &disk.path, &disk.state);
    let mut line = format!("disk {id} at {path}: {state}, {}, {way}", size(disk.bytes_total));
    for (number, what) in [
        (disk.read_errors, "reads refused"),
        (disk.mismatches, "reads of wrong bytes"),
        (disk.write_errors, "writes failed"),
    ] {
        if number > 0 {
            line.push_str(&format!(", {number} {what}"));
        }
    }
    line
}

fn reclaim_lines(reclaim: &types::ReclaimStatus) -> Vec<String> {
    let mut lines = vec![format!(
        "reclaim: {}; dead {}, expected to be {}, in the trash {}",
        reclaim.state,
        size(reclaim.bytes_dead),
        size(reclaim.bytes_expected),
        size(reclaim.bytes_trash)
    )];
    if let (Some(at), Some(last)) = (&reclaim.last_at, &reclaim.last) {
        let (freed, left) = (size(last.bytes_freed), size(last.bytes_left));
        lines.push(format!("  last at {at} ({}): {freed} freed, {left} left", last.why));
    }
    lines.extend(reclaim.next_at.iter().map(|at| format!("  next leaves the trash at {at}")));
    lines
}
