//! Random schedules of what happens to disks, beside two streams, against what was announced.

use futures_util::future::join;
use keelhold_disk::device::DeviceOp;
use keelhold_disk::mutants::Mutants;
use keelhold_disk::sim::{Fault, FaultRule, Rng, When};
use keelhold_disk::units::{PointId, UnixNanos};
use keelhold_disk::{CommitError, IngestError};
use keelhold_tests::rig::{Files, Machine, SimPool, campaign, read_point};
use nix::errno::Errno;

use super::Fleet;
use crate::pool::content::change_tree;
use crate::pool::verdict::{Verdict, chain, ensure};

/// What a schedule counted.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub backups: u64,
    pub sessions_failed: u64,
    pub faults: u64,
    pub returns: u64,
    pub heals: u64,
}

struct Stream {
    machine: Machine,
    tree: Files,
    points: Vec<(PointId, Files)>,
}

struct Schedule {
    fleet: Fleet,
    streams: [Stream; 2],
    rng: Rng,
    copies: u16,
    all: Vec<usize>,
    /// The disk that is away or was fenced: at most one at a time, healed before the next.
    away: Option<usize>,
    tally: Tally,
}

async fn one(
    pool: SimPool,
    mut machine: Machine,
    tree: Files,
    now: UnixNanos,
) -> Result<(Machine, Files), IngestError> {
    machine.backup(&pool, &tree, now).await?;
    Ok((machine, tree))
}

impl Schedule {
    fn begin(seed: u64, mutants: Mutants) -> Verdict<Self> {
        let mut rng = Rng::new(seed);
        let disks = 2 + rng.index(3);
        let copies = 1 + (rng.below(3) > 0) as u16;
        let fleet = Fleet::new(seed, disks, copies, mutants)?;
        let all = fleet.rig.disks.clone();
        let streams = [1, 2].map(|number| Stream {
            machine: Machine::new(number),
            tree: Files::new(),
            points: Vec::new(),
        });
        Ok(Self { fleet, streams, rng, copies, all, away: None, tally: Tally::default() })
    }

    /// Both streams back up at the same time. With two copies both must come through.
    fn backups(&mut self) -> Verdict {
        let now = UnixNanos(self.fleet.rig.world.now() as i64);
        let mut futures = Vec::new();
        for stream in &mut self.streams {
            for _ in 0..2 {
                change_tree(&mut stream.tree, &mut self.rng, 4000);
            }
            let (machine, tree) = (stream.machine.clone(), stream.tree.clone());
            futures.push(one(self.fleet.pool.clone(), machine, tree, now));
        }
        let (second, first) = (futures.pop(), futures.pop());
        let (Some(first), Some(second)) = (first, second) else {
            return Ok(());
        };
        let (first, second) = self.fleet.rig.run(join(first, second));
        for (stream, answer) in self.streams.iter_mut().zip([first, second]) {
            match answer {
                Ok((machine, tree)) => {
                    self.tally.backups += 1;
                    stream.points.extend(machine.basis.as_ref().map(|(id, _)| (*id, tree)));
                    stream.machine = machine;
                }
                Err(error) => {
                    ensure!(
                        self.copies == 1,
                        "a session failed with two copies: {}",
                        chain(&error)
                    );
                    ensure!(is_of_a_disk(&error), "a failing disk gave {}", chain(&error));
                    self.tally.sessions_failed += 1;
                    // It begins again without a basis: that may be on the disk that is away.
                    stream.machine.basis = None;
                }
            }
        }
        Ok(())
    }

    /// Everything announced is listed, and what is served is right. With two copies all of it is.
    fn check(&mut self) -> Verdict {
        let listed: Vec<PointId> = self.fleet.pool.points().iter().map(|point| point.id).collect();
        for stream in &self.streams {
            for (id, files) in stream.points.iter().rev().take(3) {
                ensure!(listed.contains(id), "point {id} is gone");
                match self.fleet.rig.run(read_point(&self.fleet.pool, id)) {
                    Ok(read) => ensure!(read == *files, "point {id} holds other bytes"),
                    Err(error) => ensure!(
                        self.copies == 1 && self.away.is_some(),
                        "{} copies, {:?} away, point {id} cannot be read: {}, {:?}",
                        self.copies,
                        self.away,
                        chain(&error),
                        self.fleet.pool.status()
                    ),
                }
            }
        }
        Ok(())
    }

    fn disturb(&mut self) -> Verdict {
        let disk = self.all[self.rng.index(self.all.len())];
        match self.rng.below(7) {
            0 if self.away.is_none() => {
                // It fails in the midst of what comes next.
                let op = [DeviceOp::Write, DeviceOp::Flush][self.rng.index(2)];
                let when = When::Nth(self.rng.below(20));
                let rule = FaultRule::new(disk, op, when, Fault::Error(Errno::EIO));
                self.fleet.rig.world.add_fault(rule);
                self.away = Some(disk);
                self.tally.faults += 1;
            }
            1 if self.away.is_none() => {
                let when = When::Nth(self.rng.below(30));
                let rule = FaultRule::new(disk, DeviceOp::Write, when, Fault::Vanish);
                self.fleet.rig.world.add_fault(rule);
                self.away = Some(disk);
                self.tally.faults += 1;
            }
            2 if self.away.is_none() => {
                // Closed first: of one copy nobody promises that a crash beside it is survived.
                let now = self.fleet.rig.now();
                let closed = self.fleet.rig.run(self.fleet.pool.clone().close(now));
                closed.map_err(|error| format!("close: {}", chain(&error)))?;
                let left: Vec<usize> = self.all.iter().copied().filter(|at| *at != disk).collect();
                self.fleet.reopen_on(&left)?;
                self.away = Some(disk);
                self.tally.faults += 1;
                self.forget_bases();
            }
            3 => self.fleet.rig.world.slow(disk, 1 + self.rng.below(100)),
            4 if self.away.is_none() && self.copies == 2 => {
                // One at a time: two could strike a read and its repetition.
                self.fleet.rig.world.clear_faults();
                let rule = FaultRule::new(
                    disk,
                    DeviceOp::Read,
                    When::Nth(self.rng.below(20)),
                    Fault::Error(Errno::EIO),
                );
                self.fleet.rig.world.add_fault(rule);
            }
            5 => {
                let mut order = self.all.clone();
                self.rng.shuffle(&mut order);
                self.settle()?;
                if self.away.is_none() {
                    self.fleet.reopen_on(&order)?;
                }
            }
            _ => self.settle()?,
        }
        Ok(())
    }

    /// With one copy, what a machine had as its basis may be out of reach.
    fn forget_bases(&mut self) {
        if self.copies == 1 {
            self.streams.iter_mut().for_each(|stream| stream.machine.basis = None);
        }
    }

    /// The disk that was away is back, stale, and is brought up to date.
    fn settle(&mut self) -> Verdict {
        let Some(disk) = self.away else {
            return Ok(());
        };
        self.fleet.rig.world.clear_faults();
        self.fleet.rig.world.come_back(disk);
        let all = self.all.clone();
        self.fleet.reopen_on(&all)?;
        self.away = None;
        self.tally.returns += 1;
        self.fleet.heal()?;
        self.tally.heals += 1;
        let status = self.fleet.pool.status();
        ensure!(!status.degraded, "healed and still degraded: {status:?}");
        Ok(())
    }

    fn end(&mut self) -> Verdict {
        self.settle()?;
        self.fleet.rig.world.clear_faults();
        let all = self.all.clone();
        self.fleet.reopen_on(&all)?;
        self.fleet.heal()?;
        self.fleet.verify_is_clean()?;
        for stream in &self.streams {
            for (id, files) in &stream.points {
                let read = self.fleet.rig.run(read_point(&self.fleet.pool, id));
                let read = read.map_err(|error| format!("point {id}: {}", chain(&error)))?;
                ensure!(read == *files, "point {id} holds other bytes at the end");
            }
        }
        Ok(())
    }
}

fn is_of_a_disk(error: &IngestError) -> bool {
    match error {
        IngestError::Commit(CommitError::DiskLost { .. } | CommitError::Fenced { .. }) => true,
        IngestError::Commit(CommitError::Read(read)) | IngestError::Read(read) => {
            !read.is_corruption()
        }
        IngestError::Tree(_) => true,
        _ => false,
    }
}

pub fn run(seed: u64, mutants: Mutants) -> Verdict<Tally> {
    let mut schedule = Schedule::begin(seed, mutants)?;
    for step in 0..12 {
        let stepped =
            schedule.disturb().and_then(|()| schedule.backups()).and_then(|()| schedule.check());
        stepped.map_err(|words| format!("step {step}: {words}"))?;
    }
    schedule.end().map_err(|words| format!("at the end: {words}"))?;
    Ok(schedule.tally)
}

#[test]
fn whatever_happens_to_disks_nothing_announced_is_lost() {
    let mut sum = Tally::default();
    let seeds = campaign(200);
    for seed in 0..seeds {
        let tally = run(seed, Mutants::default());
        let tally = tally.unwrap_or_else(|words| panic!("seed {seed}: {words}"));
        sum.backups += tally.backups;
        sum.sessions_failed += tally.sessions_failed;
        sum.faults += tally.faults;
        sum.returns += tally.returns;
        sum.heals += tally.heals;
    }
    println!("schedules of disks: {seeds}, {sum:?}, 0 violations");
}
