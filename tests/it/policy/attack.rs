//! A clock that jumps by up to ten years: no schedule is stuck, none runs years of slots, one alarm
//! for each jump of more than a day.

use std::collections::HashMap;

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use keelhold_policy::mutants::Mutants;
use keelhold_policy::schedule::{History, Kind, Now, Outcome, decide};
use keelhold_tests::chance::Chance;
use keelhold_tests::rig::campaign;

use super::Verdict;
use super::naive::{DAY, HOUR, at, minute_of};
use super::year::{machine, one_source};

const BEGIN: i64 = 20_500 * DAY;
const YEAR: i64 = 365 * DAY;

#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    jumps: u64,
    alarms: u64,
    starts: i64,
}

struct Attack {
    chance: Chance,
    wall: i64,
    witnessed: i64,
    /// Where a jump may lead back to.
    visited: Vec<i64>,
}

impl Attack {
    fn now(&self) -> Now {
        Now { wall: at(self.wall), witnessed: SignedDuration::from_mins(self.witnessed) }
    }

    fn draw_jump(&mut self) -> i64 {
        let size = match self.chance.below(5) {
            0 => 2 * HOUR,
            1 => 3 * DAY,
            2 => YEAR,
            _ => 10 * YEAR,
        };
        let mut by = self.chance.below(2 * size as u64) as i64 - size;
        match self.chance.below(6) {
            // A boot in 1970, and a clock that is put right: the truth, or where it was before.
            0 => by = 2 * DAY - self.wall,
            1 => by = BEGIN + self.witnessed - self.wall,
            2 => {
                let place = self.chance.below(self.visited.len() as u64) as usize;
                by = self.visited[place] - self.wall;
            }
            _ => {}
        }
        let wall = (self.wall + by).clamp(DAY, BEGIN + 100 * YEAR);
        wall - self.wall
    }
}

/// One schedule of jumps over a source whose slots are `gap` minutes apart.
pub fn attack(seed: u64, mutants: Mutants) -> Verdict<Tally> {
    let mut chance = Chance::new(seed);
    let (text, gap) = match chance.below(3) {
        0 => ("daily 12:00", DAY),
        1 => ("hourly", HOUR),
        _ => ("daily 02:30 08:30 14:30 20:30", 6 * HOUR),
    };
    let goals = one_source(TimeZone::UTC, text);
    let mut world = Attack { chance, wall: BEGIN, witnessed: 0, visited: vec![BEGIN] };
    let mut history = History::new(world.now()).with_mutants(mutants);
    let mut tally = Tally::default();
    let (mut last_start, mut started) = (0, HashMap::<i64, i64>::new());
    for _ in 0..40 {
        let end = world.witnessed + world.chance.below(4 * DAY as u64) as i64;
        while world.witnessed <= end {
            let decision = decide(&goals, &mut history, &machine(true), world.now());
            tally.alarms += u64::from(decision.jump.is_some());
            for start in &decision.start {
                let slot = minute_of(start.slot.ok_or("a start for nothing")?);
                let earlier = started.insert(slot, world.witnessed);
                if let Some(when) = earlier.filter(|at| world.witnessed - at < gap / 2) {
                    let slot = at(slot);
                    return Err(format!(
                        "seed {seed}: {slot} twice, {when} and {}",
                        world.witnessed
                    ));
                }
                tally.starts += 1;
                last_start = world.witnessed;
                history.finished("anna/home", &Kind::Point, Outcome::Good, world.now());
            }
            if world.witnessed - last_start > gap + 2 * DAY + 3 * HOUR {
                return Err(format!("seed {seed}, {text}: stuck at {:?}", world.now()));
            }
            let step = 1 + world.chance.below(90) as i64;
            world.wall += step;
            world.witnessed += step;
        }
        world.visited.push(world.wall);
        let by = world.draw_jump();
        world.wall += by;
        let is_boot = world.chance.below(5) == 0;
        // What passes while no daemon runs cannot be told from a jump forward.
        tally.jumps += u64::from(by.abs() > DAY && !(is_boot && by > 0));
        if is_boot {
            tally.alarms += u64::from(history.daemon_started(world.now()).is_some());
        }
    }
    // The last jump was not looked at yet.
    let decision = decide(&goals, &mut history, &machine(true), world.now());
    tally.alarms += u64::from(decision.jump.is_some());
    if tally.alarms != tally.jumps {
        return Err(format!("seed {seed}: {} jumps, {} alarms", tally.jumps, tally.alarms));
    }
    if tally.starts > world.witnessed / gap + 40 + 2 {
        return Err(format!("seed {seed}: {} starts in {} min", tally.starts, world.witnessed));
    }
    Ok(tally)
}

#[test]
fn no_clock_stops_a_schedule_or_makes_it_run_years() {
    let seed = Chance::of_suite("attacks of clocks").draw() >> 32;
    let (mut jumps, mut starts) = (0, 0);
    let count = campaign(500);
    for number in 0..count {
        let tally = attack(seed + number, Mutants::default());
        let tally = tally.unwrap_or_else(|words| panic!("{words}"));
        (jumps, starts) = (jumps + tally.jumps, starts + tally.starts);
    }
    println!("{count} schedules: {jumps} jumps above a day, as many alarms; {starts} starts");
    assert!(jumps > count * 10);
}
