//! Reclaim beside everything that may make a dead chunk live again.
//!
//! PSA-2025-00019-1 of Proxmox Backup Server: reclaim starts; a new point reuses chunks that only an
//! old point refers to; the old point is dropped before reclaim reads it; the chunks are swept though
//! the new point needs them.

use std::collections::BTreeMap;

use futures_util::future::join3;
use keelhold_disk::mutants::Mutants;
use keelhold_disk::pool::ReclaimOptions;
use keelhold_disk::sim::Rng;
use keelhold_disk::units::{PointId, UnixNanos};
use keelhold_disk::{IngestError, ReclaimError};
use keelhold_tests::rig::{Files, Machine, Rig, Shape, SimPool, campaign, read_point};

use crate::pool::content::noise;
use crate::pool::verdict::{Verdict, chain, ensure, survive};

const SCHEDULES: u64 = 2000;
/// Virtual time in which most schedules end, and many do not.
const MIDST_NANOS: u64 = 40_000_000;

/// What the schedules did, to see that they met what they are about.
#[derive(Debug, Default, Clone, Copy)]
pub struct Met {
    pub schedules: u64,
    pub crashes: u64,
    pub containers_freed: u64,
    pub containers_compacted: u64,
    /// Bytes that a new point took from the old one without sending them.
    pub bytes_reused: u64,
    pub points_read: u64,
}

impl Met {
    fn add(&mut self, other: Self) {
        self.schedules += other.schedules;
        self.crashes += other.crashes;
        self.containers_freed += other.containers_freed;
        self.containers_compacted += other.containers_compacted;
        self.bytes_reused += other.bytes_reused;
        self.points_read += other.points_read;
    }
}

struct Race {
    rig: Rig,
    pool: SimPool,
    rng: Rng,
    machine: Machine,
    other: Machine,
    /// Points that must be there, with what they hold.
    promised: BTreeMap<PointId, Files>,
    met: Met,
}

/// Files that are long enough to be chunks and few enough to be quick.
fn files(seed: u64, count: u64) -> Files {
    (0..count).map(|n| (format!("f{n}"), noise(seed * 100 + n, 4000))).collect()
}

impl Race {
    fn begin(seed: u64, mutants: Mutants) -> Verdict<Self> {
        let mut rng = Rng::new(seed);
        let disk_count = 1 + rng.index(2);
        let copies = 1 + rng.index(disk_count) as u16;
        let mut rig = Rig::shaped(seed, Shape { copies, ..Shape::toy(disk_count) }, mutants);
        let pool = rig.create().map_err(|error| chain(&error))?;
        let (machine, other) = (Machine::new(1), Machine::new(2));
        let (promised, met) = (BTreeMap::new(), Met::default());
        Ok(Self { rig, pool, rng, machine, other, promised, met })
    }

    fn now(&self) -> UnixNanos {
        self.rig.now()
    }

    fn backup(&mut self, other: bool, files: &Files) -> Verdict<PointId> {
        let (now, pool) = (self.now(), self.pool.clone());
        let machine = if other { &mut self.other } else { &mut self.machine };
        let made = self.rig.run(machine.backup(&pool, files, now));
        let point = made.map_err(|error| chain(&error))?.id;
        self.promised.insert(point, files.clone());
        Ok(point)
    }

    /// Only the points given back hold the old files; some of them may be in the trash already.
    fn prepare(&mut self, seed: u64) -> Verdict<(Files, Vec<PointId>)> {
        let old = files(seed, 6 + self.rng.below(24));
        let mut holders = vec![self.backup(false, &old)?];
        if self.rng.below(3) == 0 {
            holders.push(self.backup(false, &old)?);
        }
        if self.rng.below(3) == 0 {
            holders.push(self.backup(true, &old)?);
        }
        let kept = files(seed + 1_000_000, 3);
        self.backup(false, &kept)?;
        self.backup(true, &kept)?;
        if self.rng.below(2) == 0 {
            self.forget(&holders)?;
        }
        if self.rng.below(2) == 0 {
            // Nothing is cached: every look-up waits for the disk.
            self.rig.end();
            self.pool = self.rig.open().map_err(|error| chain(&error))?;
        }
        Ok((old, holders))
    }

    fn forget(&mut self, points: &[PointId]) -> Verdict {
        let now = self.now();
        let forgotten = self.rig.run(self.pool.forget(points, now, now));
        forgotten.map_err(|error| chain(&error))?;
        points.iter().for_each(|point| drop(self.promised.remove(point)));
        Ok(())
    }

    /// Everything at once: reclaim, the new point, and the end of the old ones.
    fn run(&mut self, old: &Files, holders: &[PointId]) -> Verdict {
        self.met.schedules += 1;
        let (now, pool) = (self.now(), self.pool.clone());
        let part = 1 + self.rng.index(old.len());
        let mut new: Files = old.iter().take(part).map(|(n, f)| (n.clone(), f.clone())).collect();
        new.insert("own".into(), noise(self.rng.next_u64(), 700));
        let least_dead = 1 + self.rng.below(30) as u8;
        let mut machine = self.machine.clone();
        // Now and then without a basis: every chunk is offered.
        if self.rng.below(2) == 0 {
            machine.basis = None;
        }
        let forgets = self.rng.below(4) > 0;
        let steps = self.rng.below(3);
        let options = ReclaimOptions { least_dead, confirmed: false };
        // Where in the reclaim the session meets it.
        let delay = self.rig.world.sleep(self.rng.below(MIDST_NANOS / 4));
        let work = join3(
            async {
                let first = pool.reclaim(options, now).await?;
                let second = pool.reclaim(options, now).await?;
                Ok::<_, ReclaimError>((first, second))
            },
            async {
                delay.await;
                session(&pool, &mut machine, &new, now, steps).await
            },
            async {
                match forgets {
                    true => pool.forget(holders, now, now).await,
                    false => Ok(()),
                }
            },
        );
        let crashes = self.rng.below(3) == 0;
        let nanos = if crashes { 1 + self.rng.below(MIDST_NANOS) } else { u64::MAX >> 2 };
        let done = self.rig.run_at_most(nanos, work);
        if forgets {
            holders.iter().for_each(|point| drop(self.promised.remove(point)));
        }
        match done {
            None => {
                self.met.crashes += 1;
                self.rig.crash();
                self.pool = self.rig.open().map_err(|error| chain(&error))?;
            }
            Some((reclaimed, made, forgotten)) => {
                forgotten.map_err(|error| chain(&error))?;
                let (first, second) = reclaimed.map_err(|error| chain(&error))?;
                for report in [first, second] {
                    ensure!(report.damaged.is_empty(), "reclaim found {:?}", report.damaged);
                    self.met.containers_freed += report.containers_freed;
                    self.met.containers_compacted += report.containers_compacted;
                }
                let (point, sent) = made.map_err(|error| chain(&error))?;
                let all: u64 = new.values().map(|file| file.len() as u64).sum();
                self.met.bytes_reused += all - sent;
                self.promised.insert(point, new);
            }
        }
        Ok(())
    }

    fn judge(&mut self) -> Verdict {
        let audit = self.rig.run(self.pool.audit_sets());
        audit.map_err(|error| format!("the sets are wrong: {}", chain(&error)))?;
        for (point, files) in &self.promised {
            let read = self.rig.run(read_point(&self.pool, point));
            let read = read.map_err(|error| format!("point {point}: {}", chain(&error)))?;
            ensure!(read == *files, "point {point} holds other bytes");
            self.met.points_read += 1;
        }
        let report = self.rig.run(self.pool.verify(|_, _| {}));
        ensure!(report.findings.is_empty(), "verify finds {:?}", report.findings);
        Ok(())
    }
}

/// A backup that steps in between, so that what it was told of is pinned in the journal, too.
async fn session(
    pool: &SimPool,
    machine: &mut Machine,
    files: &Files,
    now: UnixNanos,
    steps: u64,
) -> Result<(PointId, u64), IngestError> {
    let session = match machine.begin(pool, now).await {
        // Its basis was dropped a moment ago.
        Err(IngestError::Read(_)) => {
            machine.basis = None;
            machine.begin(pool, now).await?
        }
        session => session?,
    };
    let sent = machine.send(pool, session, files).await?;
    for _ in 0..steps {
        pool.step(session, now).await?;
    }
    let commit = keelhold_disk::pool::CommitPoint { at: now, ..Default::default() };
    let point = pool.commit(session, commit, now).await?;
    Ok((point.id, sent))
}

pub fn race(seed: u64, mutants: Mutants) -> Verdict<Met> {
    let mut race = Race::begin(seed, mutants)?;
    let (old, holders) = race.prepare(seed)?;
    race.run(&old, &holders)?;
    race.judge()?;
    // Once more over what the first round left behind.
    let (old, holders) = race.prepare(seed + 500_000)?;
    race.run(&old, &holders)?;
    race.judge()?;
    Ok(race.met)
}

pub fn races(seeds: std::ops::Range<u64>, mutants: Mutants) -> Verdict<Met> {
    let mut sum = Met::default();
    for seed in seeds {
        let met = race(seed, mutants).map_err(|words| format!("seed {seed}: {words}"))?;
        sum.add(met);
    }
    Ok(sum)
}

/// The schedule by name, step after step: no chance in it.
pub fn by_name(mutants: Mutants) -> Verdict {
    for session_first in [true, false] {
        let mut race = Race::begin(1, mutants)?;
        let old = files(1, 12);
        let holder = race.backup(false, &old)?;
        race.backup(false, &files(2, 3))?;
        let (pool, now) = (race.pool.clone(), race.now());
        let machine = Machine { basis: None, ..race.machine.clone() };
        if !session_first {
            race.forget(&[holder])?;
        }
        // The new point is told of chunks that only the old one refers to.
        let session = race.rig.run(machine.begin(&pool, now)).map_err(|error| chain(&error))?;
        let sent = race.rig.run(machine.send(&pool, session, &old));
        let sent = sent.map_err(|error| chain(&error))?;
        ensure!(sent == 0, "{sent} bytes of the machine's own history were sent again");
        if session_first {
            race.forget(&[holder])?;
        }
        let later = race.now();
        let reclaim = |race: &mut Race| {
            let report = race.rig.run(pool.reclaim(ReclaimOptions::default(), later));
            report.map_err(|error| chain(&error))
        };
        let report = reclaim(&mut race)?;
        ensure!(report.points_dropped == 1, "the old point was not dropped: {report:?}");
        let commit = keelhold_disk::pool::CommitPoint { at: now, ..Default::default() };
        let point = race.rig.run(pool.commit(session, commit, now));
        let point = point.map_err(|error| chain(&error))?;
        race.promised.insert(point.id, old);
        reclaim(&mut race)?;
        race.judge()?;
    }
    Ok(())
}

#[test]
fn psa_2025_00019_1() {
    by_name(Mutants::default()).unwrap_or_else(|words| panic!("{words}"));
}

#[test]
fn no_schedule_frees_what_a_point_needs() {
    let count = campaign(SCHEDULES / 2);
    let mut bad = Vec::new();
    let mut sum = Met::default();
    for seed in 0..count {
        match survive(|| races(seed..seed + 1, Mutants::default())) {
            Ok(met) => sum.add(met),
            Err(words) => {
                println!("{words}");
                bad.push(seed);
            }
        }
        assert!(bad.len() < 5, "seeds that went wrong: {bad:?}");
    }
    assert!(bad.is_empty(), "seeds that went wrong: {bad:?}");
    println!("reclaim races: {sum:?}");
    assert!(sum.schedules >= SCHEDULES && sum.crashes > SCHEDULES / 10);
    assert!(sum.containers_freed > 100 && sum.containers_compacted > 50, "{sum:?}");
    assert!(sum.bytes_reused > 1_000_000, "{sum:?}");
}
