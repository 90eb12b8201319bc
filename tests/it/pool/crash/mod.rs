//! The power goes after every device operation of short histories, with every choice of what had
//! reached the medium, whole and torn at sectors; a tenth of the images lose it again while they
//! recover. Nothing announced may be lost, nothing half done seen, nobody asked for help.

mod failing;
mod histories;
mod judge;
mod ledger;

use keelhold_disk::mutants::Mutants;
use keelhold_disk::sim::{CrashPlan, DeviceMutant, Rng};
use keelhold_tests::rig::campaign;

pub use histories::Story;
use judge::{Case, Judge, Tally};

use super::verdict::{Verdict, survive};

/// Images of one story under one seed, at most.
const IMAGES_PER_STORY: usize = 600;
const SEEDS: u64 = 3;

/// Enumerates one story on so many disks with so many copies. Of more images than `limit`, a seeded
/// choice is looked at. With two copies every other image has lost a disk.
pub fn enumerate(
    story: Story,
    seed: u64,
    disks: (usize, u16),
    mutants: (Mutants, DeviceMutant),
    limit: usize,
) -> Verdict<Tally> {
    let (rig, stage) = story.tell(seed, disks, mutants.0)?;
    let history = rig.world.take_history().expect("stories record");
    let ledger = stage.ledger.take();
    let plan =
        CrashPlan { samples: 12, torn_per_subset: 2, mutant: mutants.1, ..CrashPlan::new(seed) };
    let mut images = Vec::new();
    history.crashes(&plan, |image| images.push(image));
    let mut rng = Rng::new(seed ^ 0xc0ffee);
    // Whole and torn images stand beside each other: a choice among all keeps their shares.
    rng.shuffle(&mut images);
    images.truncate(limit);
    let mut judge = Judge { ledger: &ledger, mutants: mutants.0, tally: Tally::default() };
    for image in images {
        let answered = image.mark.unwrap_or_else(|| before(story)) as usize;
        let mut left = image.disks.clone();
        let lost = (disks.1 > 1 && rng.below(2) == 0).then(|| rng.index(left.len()));
        lost.map(|lost| left.remove(lost));
        judge.tally.disks_lost += u64::from(lost.is_some());
        let case = Case { seed: rng.next_u64(), disks: &left, answered };
        judge.tally.torn += u64::from(image.torn);
        let again = rng.below(10) == 0;
        judge.judge(&case, again).map_err(|words| {
            format!(
                "{story:?}, seed {seed}, disks and copies {disks:?}, lost {lost:?}, crash after step {} of {}, {} of {} \
                 open writes persisted, torn {}, again {again}, {answered} answered: {words}",
                image.after,
                history.len(),
                image.persisted,
                image.open,
                image.torn
            )
        })?;
    }
    Ok(judge.tally)
}

/// What was answered before the recording began, and so stands in no mark of it.
fn before(story: Story) -> u64 {
    match story {
        Story::First | Story::Records | Story::TwoAtOnce => 1,
        _ => 2,
    }
}

#[test]
fn no_crash_loses_what_was_announced() {
    let mut sum = Tally::default();
    for seed in 0..campaign(SEEDS) {
        for story in Story::ALL {
            for disks in [(1, 1), (3, 1), (2, 2), (3, 2)] {
                let mutants = (Mutants::default(), DeviceMutant::None);
                let tally = enumerate(story, seed, disks, mutants, IMAGES_PER_STORY);
                let tally = tally.unwrap_or_else(|words| panic!("{words}"));
                sum.images += tally.images;
                sum.torn += tally.torn;
                sum.crashed_again += tally.crashed_again;
                sum.points_read += tally.points_read;
                sum.disks_lost += tally.disks_lost;
            }
        }
    }
    println!(
        "crash enumeration: {} images, {} torn, {} crashed again during recovery, {} points read \
         back whole, {} with a disk lost; 0 lost, 0 half, 0 manual steps",
        sum.images, sum.torn, sum.crashed_again, sum.points_read, sum.disks_lost
    );
    assert!(sum.images >= 10_000, "{sum:?}");
    assert!(2 * sum.torn >= sum.images, "{sum:?}");
    assert!(10 * sum.crashed_again >= sum.images * 9 / 10, "{sum:?}");
}

#[test]
fn a_disk_that_breaks_its_word_is_noticed() {
    for mutant in
        [DeviceMutant::IgnoresFlush, DeviceMutant::ReordersAcrossFlush, DeviceMutant::Tears]
    {
        let noticed = Story::ALL.iter().any(|story| {
            let mutants = (Mutants::default(), mutant);
            survive(|| enumerate(*story, 1, (1, 1), mutants, 60)).is_err()
        });
        assert!(noticed, "{mutant:?} passes every story");
        println!("disk that breaks its word noticed: {mutant:?}");
    }
}
