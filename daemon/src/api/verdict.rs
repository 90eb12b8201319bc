//! Am I protected? One sentence out of what is known, and what to do where the answer is no.

use super::types::{Disk, PoolStatus};
use crate::size_text::size;

/// Damaged places that are named; `pool status` has the others.
const NAMED_MAX: usize = 2;

/// What is said first, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub sentence: String,
    pub at_risk: bool,
    pub lines: Vec<String>,
}

/// How many sources there are, how many have a point, and how many a complete newest one.
#[derive(Debug, Clone, Copy)]
pub struct Sources {
    pub all: u64,
    pub protected: u64,
    pub good: u64,
    /// Whose newest point is older than its group allows.
    pub overdue: u64,
}

#[must_use]
pub fn verdict(pool: &PoolStatus, sources: Sources) -> Verdict {
    of_pool(pool).unwrap_or_else(|| {
        let (sentence, at_risk) = of_sources(sources);
        Verdict { sentence, at_risk, lines: Vec::new() }
    })
}

/// Of an appliance that was adopted and has no disks yet.
#[must_use]
pub fn without_pool(restorable: u64) -> Verdict {
    Verdict {
        sentence: format!(
            "At risk: nothing new can be protected without a pool. {restorable} sources can be restored from the vault."
        ),
        at_risk: true,
        lines: vec![String::from("make a pool: keelhold pool create --disk PATH:SIZE")],
    }
}

fn at_risk(sentence: String, lines: Vec<String>) -> Option<Verdict> {
    Some(Verdict { sentence: format!("At risk: {sentence}"), at_risk: true, lines })
}

/// What is wrong with the pool, the worst of it first.
fn of_pool(pool: &PoolStatus) -> Option<Verdict> {
    let away: Vec<&Disk> =
        pool.disks.iter().filter(|disk| matches!(&*disk.state, "missing" | "fenced")).collect();
    let said: Vec<String> = away.iter().map(|disk| said(disk)).collect();
    let said = said.join(", ");
    let mut lines: Vec<String> = away.iter().map(|disk| help(disk)).collect();
    if !pool.writable {
        let text = format!("{said}; nothing new can be protected. What is stored can be restored.");
        return at_risk(text, lines);
    }
    if pool.bytes_unreadable > 0 {
        let gone = size(pool.bytes_unreadable);
        let text = format!("{said}; {gone} that are only there cannot be restored. Backups go on.");
        return at_risk(text, lines);
    }
    if pool.chunks_lost > 0 || pool.scrub.open > 0 {
        let text = match pool.chunks_lost {
            0 => String::from("scrub found damage that could not be mended."),
            lost => format!("{lost} chunks are damaged in every copy."),
        };
        lines.extend(
            pool.scrub.damage.iter().take(NAMED_MAX).map(|place| format!("damage: {place}")),
        );
        let next = "the next backup of whoever has them sends them again; then: \
            keelhold pool scrub --wait";
        lines
            .push(if pool.chunks_lost > 0 { next } else { "see: keelhold pool status" }.to_owned());
        return at_risk(text, lines);
    }
    let once = size(pool.bytes_single);
    if !away.is_empty() {
        let what = match pool.bytes_single {
            0 => String::from("nothing that is stored needs it"),
            _ => format!("{once} are kept once only"),
        };
        return at_risk(format!("{said}; {what}. Backups and restores go on."), lines);
    }
    if pool.bytes_single > 0 {
        let full = pool.disks.iter().filter(|disk| disk.state == "stale").map(|disk| {
            let path = &disk.path;
            format!("disk {path} was away and is brought up to date; if that does not end: keelhold pool status")
        });
        let text = format!("{once} are kept once only; they are being copied to a second disk.");
        return at_risk(text, full.collect());
    }
    None
}

fn said(disk: &Disk) -> String {
    let place = if disk.path.is_empty() { &disk.id } else { &disk.path };
    match &*disk.state {
        "missing" => format!("disk {place} is missing"),
        _ => format!("disk {place} failed to write"),
    }
}

fn help(disk: &Disk) -> String {
    let id = &disk.id;
    let first = match &*disk.state {
        "missing" => "bring the disk back and restart the daemon",
        _ => "restart the daemon if it was a cable",
    };
    format!("{first}, or: keelhold pool replace-disk {id} PATH")
}

fn of_sources(sources: Sources) -> (String, bool) {
    let Sources { all, protected, good, overdue } = sources;
    if all == 0 {
        let text = "Nothing is protected yet: add a source with `keelhold source add`.";
        return (text.to_owned(), true);
    }
    if protected < all {
        let open = all - protected;
        return (format!("At risk: {open} of {all} sources have no recovery point."), true);
    }
    if overdue > 0 {
        let text = format!(
            "At risk: the newest point of {overdue} of {all} sources is older than its group allows."
        );
        return (text, true);
    }
    if good < all {
        let open = all - good;
        let text = format!(
            "Protected in part: the newest point of {open} of {all} sources lacks something."
        );
        return (text, true);
    }
    (format!("Protected: all {all} sources have a complete recovery point."), false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const GOOD: Sources = Sources { all: 3, protected: 3, good: 3, overdue: 0 };

    fn pool(states: [&str; 2]) -> PoolStatus {
        let disk = |(number, state): (usize, &str)| {
            json!({ "id": format!("id{number}"), "path": format!("/dev/sd{number}"),
                "state": state, "bytes_total": 9, "direct": true, "bytes_used": 5,
                "bytes_single": 0, "read_errors": 0, "mismatches": 0, "write_errors": 0 })
        };
        let disks: Vec<_> = states.into_iter().enumerate().map(disk).collect();
        let scrub = json!({ "state": "idle", "last_at": null, "last_found": 0, "pass": 0,
            "until_pass": null, "bytes_read": 0, "found": 0, "healed": 0, "open": 0, "damage": [] });
        let reclaim = json!({ "state": "idle", "last_at": null, "last": null, "bytes_dead": 0,
            "bytes_expected": 0, "bytes_trash": 0, "next_at": null });
        let forecast = json!({ "state": "not filling", "full_on": null, "bytes_per_day": null });
        serde_json::from_value(json!({ "id": "p", "bytes_total": 9, "bytes_used": 5,
            "bytes_free": 4, "bytes_reserved": 1, "bytes_logical": 5, "dedup_ratio": 1.0,
            "compression_ratio": 1.0, "chunks": 1, "points": 1, "index_bytes": 1, "copies": 2,
            "writable": true, "bytes_single": 0, "bytes_unreadable": 0, "chunks_lost": 0,
            "disks": disks, "scrub": scrub, "reclaim": reclaim, "forecast": forecast }))
        .unwrap()
    }

    #[test]
    fn the_sentence_says_whether_to_worry() {
        let sound = pool(["ok", "ok"]);
        let of =
            |all, protected, good| verdict(&sound, Sources { all, protected, good, overdue: 0 });
        let late = verdict(&sound, Sources { overdue: 1, ..GOOD });
        assert!(late.at_risk && late.sentence.contains("older than its group allows"));
        assert!(of(0, 0, 0).at_risk);
        assert!(of(3, 2, 2).sentence.contains("1 of 3"));
        assert!(of(3, 3, 2).at_risk);
        assert!(!of(3, 3, 3).at_risk);
    }

    #[test]
    fn one_of_two_disks_is_no_reason_to_say_that_all_is_over() {
        for state in ["missing", "fenced"] {
            let degraded = PoolStatus { bytes_single: 5 << 20, ..pool(["ok", state]) };
            let said = verdict(&degraded, GOOD);
            assert!(said.at_risk && said.sentence.contains("/dev/sd1"), "{said:?}");
            assert!(
                said.sentence.contains("5.0 MiB are kept once only. Backups and restores go on")
            );
            assert!(said.lines[0].contains("replace-disk id1"), "{said:?}");
            let closed = PoolStatus { writable: false, ..degraded };
            assert!(verdict(&closed, GOOD).sentence.contains("nothing new can be protected"));
        }
        let stale = PoolStatus { bytes_single: 1, ..pool(["ok", "stale"]) };
        assert!(verdict(&stale, GOOD).sentence.contains("being copied"));
        assert!(!verdict(&pool(["draining", "slow"]), GOOD).at_risk);
    }

    #[test]
    fn damage_that_was_mended_is_none_and_what_was_not_is_a_risk() {
        let mut damaged = pool(["ok", "ok"]);
        damaged.scrub.last_found = 1;
        damaged.scrub.healed = 1;
        assert!(!verdict(&damaged, GOOD).at_risk);
        damaged.scrub.open = 1;
        damaged.scrub.damage = vec!["a label".into()];
        let said = verdict(&damaged, GOOD);
        assert!(said.at_risk && said.lines[0].contains("a label"), "{said:?}");
        let lost = PoolStatus { chunks_lost: 2, ..pool(["ok", "ok"]) };
        assert!(verdict(&lost, GOOD).sentence.contains("2 chunks are damaged in every copy"));
        let away = PoolStatus { bytes_unreadable: 1 << 20, ..pool(["ok", "missing"]) };
        assert!(verdict(&away, GOOD).sentence.contains("1.0 MiB that are only there"));
    }
}
