//! SIGKILL of the daemon or the agent in the middle of a backup: the next start works by itself, and
//! everything announced restores. The daemon's log tells in which phase a kill struck; the suite goes
//! on until every kind of moment was struck often enough.

mod life;

use std::collections::BTreeMap;

use keelhold_tests::appliance::Scratch;
use keelhold_tests::chance::Chance;
use keelhold_tests::rig::campaign;
use life::Life;

/// When a kill struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    /// The agent was sending; what it sent was being kept.
    Flow,
    /// The point was being made.
    Commit,
    /// A new root was being written while a backup ran.
    Checkpoint,
    /// The pool was being opened after an earlier kill.
    Recovery,
    /// The backup was over already, or had not sent anything.
    Beside,
}

/// Pools one after another: nothing is reclaimed yet, and a pool is kept small to be opened fast.
const LIVES: u64 = 3;
/// In each of them at least so many kills of each kind.
const WANTED: [(Moment, u64); 4] =
    [(Moment::Flow, 22), (Moment::Commit, 4), (Moment::Checkpoint, 4), (Moment::Recovery, 4)];
/// A kill that comes too late is tried again; not for ever.
const ROUNDS_MAX: u64 = 150;

type Spread = BTreeMap<Moment, u64>;

fn next_aim(struck: &Spread, chance: &mut Chance) -> Option<Moment> {
    let missing = |moment: Moment, wanted: u64| {
        wanted.saturating_sub(struck.get(&moment).copied().unwrap_or(0))
    };
    let mut open: Vec<Moment> = Vec::new();
    for (moment, wanted) in WANTED {
        open.extend((0..missing(moment, wanted)).map(|_| moment));
    }
    (!open.is_empty()).then(|| open[chance.below(open.len() as u64) as usize])
}

#[test]
fn a_killed_daemon_or_agent_loses_nothing_announced_and_the_backup_goes_on() {
    let mut chance = Chance::of_suite("kills");
    let (mut spread, mut points) = (Spread::new(), 0);
    for number in 0..campaign(LIVES) {
        let scratch = Scratch::new(&format!("kills-{number}"));
        let mut life = Life::begin(&scratch, Chance::new(chance.draw()));
        let mut struck = Spread::new();
        let mut rounds = 0;
        while let Some(aim) = next_aim(&struck, &mut chance) {
            for moment in life.round(aim) {
                *struck.entry(moment).or_default() += 1;
            }
            rounds += 1;
            assert!(rounds <= ROUNDS_MAX, "the kills come at the wrong moments: {struck:?}");
        }
        points += life.everything_restores();
        println!("pool {number}: {struck:?} in {rounds} rounds");
        for (moment, count) in struck {
            *spread.entry(moment).or_default() += count;
        }
    }
    let kills: u64 = spread.values().sum();
    println!("{kills} kills: {spread:?}; {points} points announced, all restored");
    let of = |moment: Moment| spread.get(&moment).copied().unwrap_or(0);
    assert!(kills >= 100 && of(Moment::Flow) >= 60, "{spread:?}");
    let phases = [Moment::Commit, Moment::Checkpoint, Moment::Recovery];
    assert!(phases.iter().all(|phase| of(*phase) >= 10), "{spread:?}");
}
