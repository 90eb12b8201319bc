//! Every protection left out in turn: some test must notice, or it protects nothing that is tested.

use keelhold_disk::mutants::{Mutant, Mutants};
use keelhold_disk::sim::DeviceMutant;

use super::crash::{Story, enumerate};
use super::disks::{copies, halves, schedules};
use super::verdict::{Verdict, survive};
use super::{
    bounded, encrypted, flips, image_within, outgoing, reclaim, roots, scrub, simulation,
    strangers, swapped,
};

/// A check under a mutant, by name.
type Check = (&'static str, fn(Mutants) -> Verdict);

fn crashes(mutants: Mutants) -> Verdict {
    for disks in [(1, 1), (3, 1)] {
        for story in Story::ALL {
            enumerate(story, 0, disks, (mutants, DeviceMutant::None), 150)?;
        }
    }
    Ok(())
}

/// The runs of the state: nothing but frame hashes and the reference proves them.
fn state_flips(mutants: Mutants) -> Verdict {
    // Not an encrypted pool: there the seal would notice.
    let still = flips::still(3, false, mutants);
    let frames = still.claims.iter().filter(|claim| claim.what == "frame");
    let bytes: Vec<u64> = frames
        .flat_map(|claim| claim.place.offset..claim.place.offset + claim.len)
        .step_by(2)
        .collect();
    flips::flip_all(&still, &bytes, mutants)
}

fn seeds(count: u64, check: fn(u64, Mutants) -> Verdict, mutants: Mutants) -> Verdict {
    (0..count).try_for_each(|seed| check(seed, mutants))
}

/// The check that is made for the mutant.
fn made_for(mutant: Mutant) -> Check {
    match mutant {
        Mutant::SpanDigest | Mutant::ChunkId => {
            ("wrong directories", |mutants| swapped::exchange(40, mutants).map(drop))
        }
        Mutant::IncomingId => ("forged bytes", strangers::forged_bytes),
        Mutant::ForeignHave => ("foreign have", strangers::foreign_have),
        Mutant::Quorum => ("lone superblock", roots::lone_superblock),
        Mutant::StateCheck => {
            ("stale stretches", |mutants| roots::stale_stretches(mutants).map(drop))
        }
        Mutant::FrameHash => ("flipped bytes of the state", state_flips),
        Mutant::JournalEpoch => ("entry passed over", roots::passed_over),
        Mutant::JournalChain | Mutant::JournalHole => ("hole in the journal", roots::hole),
        Mutant::FoundIsThere => {
            ("every moment", |mutants| reclaim::window::every_moment(mutants).map(drop))
        }
        Mutant::SessionPins => ("PSA-2025-00019-1", reclaim::races::by_name),
        Mutant::TrashPins | Mutant::FreeOnlyDead | Mutant::FreedRests => {
            ("reclaim races", |mutants| reclaim::races::races(0..300, mutants).map(drop))
        }
        Mutant::LostIsAsked => ("damages", |mutants| scrub::damages(0..60, mutants).map(drop)),
        Mutant::ReaderPins => ("held places", reclaim::space::held),
        Mutant::MovedIsProved => ("damage compacted", reclaim::damage::flipped_and_compacted),
        Mutant::ShippedIsProved => ("damage on its way out", outgoing::flipped_and_shipped),
        Mutant::ContainerSalt => {
            ("a pool image inside a backup", |mutants| image_within::forged(mutants).map(drop))
        }
        Mutant::RunSalt => ("nonces", encrypted::nonces),
        Mutant::SealPlace => ("transplanted runs", encrypted::transplanted),
        Mutant::StaleDisk => ("stale disk", |mutants| seeds(12, halves::stale_never_wins, mutants)),
        Mutant::SplitHalves => ("split halves", |mutants| seeds(4, halves::split, mutants)),
        Mutant::JournalMove => {
            ("two disks of the journal lost", |mutants| seeds(40, halves::journal_follows, mutants))
        }
        Mutant::HealProof => {
            ("damage here and there", |mutants| seeds(4, copies::crosswise, mutants))
        }
        Mutant::SheetsHaveAll | Mutant::JoinedSieve | Mutant::MemoryUntilRoot => {
            ("look-ups in sheets", |mutants| seeds(30, bounded::known, mutants))
        }
        Mutant::LostRuns => ("schedules of disks", |mutants| {
            (0..60).try_for_each(|seed| schedules::run(seed, mutants).map(drop))
        }),
        // What is written in which order, and what recovery makes of it.
        _ => ("crash enumeration", crashes),
    }
}

/// Words of the check that noticed, or nothing.
fn caught(mutant: Mutant) -> Option<(&'static str, String)> {
    let mutants = Mutants::without(mutant);
    let (name, check) = made_for(mutant);
    if let Err(words) = survive(|| check(mutants)) {
        return Some((name, words));
    }
    for seed in 0..20 {
        if let Err(words) = survive(|| simulation::live(seed, 1000, mutants)) {
            return Some(("simulation", format!("seed {seed}: {words}")));
        }
    }
    None
}

/// One alone: `KEELHOLD_MUTANT=NAME cargo test … every_mutant -- --nocapture`.
#[test]
fn every_mutant_is_caught() {
    let mut missed = Vec::new();
    let one = std::env::var("KEELHOLD_MUTANT").ok();
    let asked = |mutant: &Mutant| one.as_ref().is_none_or(|name| format!("{mutant:?}") == *name);
    for mutant in Mutant::ALL.into_iter().filter(asked) {
        match caught(mutant) {
            Some((by, words)) => {
                let words: String = words.chars().take(200).collect();
                println!("mutant {mutant:?} caught by {by}: {words}");
            }
            None => missed.push(mutant),
        }
    }
    assert!(missed.is_empty(), "mutants nobody noticed: {missed:?}");
}
