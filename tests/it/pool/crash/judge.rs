//! Whether what a crash left is what was promised: opened without help, every point announced there
//! and whole, no other than one that was asked for, and the next backup works.

use std::collections::BTreeMap;

use keelhold_disk::mutants::Mutants;
use keelhold_disk::sim::{CrashPlan, Image, Rng};
use keelhold_disk::units::{PointId, UnixNanos};
use keelhold_tests::rig::{Files, Machine, Rig, SimPool, read_point};

use super::ledger::{Fact, Ledger, last_record};
use crate::pool::content::change_tree;
use crate::pool::verdict::{Verdict, chain, ensure};

/// What was looked at.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub images: u64,
    pub torn: u64,
    pub crashed_again: u64,
    pub points_read: u64,
    /// Images in which one of the disks is gone as well.
    pub disks_lost: u64,
}

pub struct Judge<'a> {
    pub ledger: &'a Ledger,
    pub mutants: Mutants,
    pub tally: Tally,
}

/// One image and what had been answered when the power went.
pub struct Case<'a> {
    pub seed: u64,
    pub disks: &'a [Image],
    pub answered: usize,
}

impl Judge<'_> {
    /// Judges the image. With `again`, also what a second crash during recovery makes of it.
    pub fn judge(&mut self, case: &Case<'_>, again: bool) -> Verdict {
        let mut rig = Rig::over(case.seed, case.disks, self.mutants);
        rig.world.record();
        let opened = rig.open();
        if again && let Some(history) = rig.world.take_history() {
            let plan = CrashPlan { samples: 8, ..CrashPlan::new(case.seed) };
            let mut images = Vec::new();
            history.crashes(&plan, |image| images.push(image));
            let chosen = images.swap_remove(Rng::new(case.seed).index(images.len()));
            self.tally.crashed_again += 1;
            let case = Case { disks: &chosen.disks, ..*case };
            return self.judge(&case, false).map_err(|words| format!("crashed again: {words}"));
        }
        let pool = opened.map_err(|error| format!("does not open: {}", chain(&error)))?;
        self.tally.images += 1;
        self.check_points(&mut rig, &pool, case.answered)?;
        self.check_records(&pool, case.answered)?;
        self.check_series(&pool, case.answered)?;
        self.check_sessions(&mut rig, &pool, case.answered)?;
        self.next_backup(&mut rig, &pool, case.seed)
    }

    fn facts(&self, answered: usize) -> impl Iterator<Item = (&Fact, bool)> {
        let answered = &self.ledger.answered[..answered];
        let facts = self.ledger.tried.iter().enumerate();
        facts.map(move |(at, fact)| (fact, answered.contains(&at)))
    }

    fn check_points(&mut self, rig: &mut Rig, pool: &SimPool, answered: usize) -> Verdict {
        let mut found: BTreeMap<i64, PointId> = BTreeMap::new();
        for point in pool.points() {
            let twice = found.insert(point.at.0, point.id);
            ensure!(twice.is_none(), "point {} is there twice", point.at.0);
        }
        let facts: Vec<(Fact, bool)> =
            self.facts(answered).map(|(fact, answered)| (fact.clone(), answered)).collect();
        let mut newest: BTreeMap<_, i64> = BTreeMap::new();
        for (fact, answered) in &facts {
            let Fact::Point { at, source, files, working } = fact else {
                continue;
            };
            let promoted = facts.iter().find_map(|(other, answered)| match other {
                Fact::Promoted { at: of } if of == at => Some(*answered),
                _ => None,
            });
            let id = match (working, promoted) {
                (false, _) | (true, Some(true)) => found.remove(at),
                (true, tried) => {
                    let state = pool.working_state(source).filter(|state| state.at.0 == *at);
                    state
                        .map(|state| state.id)
                        .or_else(|| found.remove(at).filter(|_| tried.is_some()))
                }
            };
            let superseded = *working
                && promoted != Some(true)
                && facts.iter().any(|(other, _)| {
                    matches!(other, Fact::Point { at: later, source: of, .. }
                        if of == source && later > at)
                });
            let forgotten = facts
                .iter()
                .any(|(other, _)| matches!(other, Fact::Forgotten { at: of } if of == at));
            ensure!(
                id.is_some() || !answered || superseded || forgotten,
                "point {at} was announced and is gone"
            );
            let Some(id) = id else { continue };
            newest.insert(*source, *at);
            let read = rig.run(read_point(pool, &id));
            let read = read.map_err(|error| format!("point {at}: {}", chain(&error)))?;
            let differs: Vec<&String> =
                files.keys().filter(|path| read.get(*path) != files.get(*path)).collect();
            ensure!(
                read == *files,
                "point {at} holds other bytes than were backed up: {} files of {}, other are \
                 {differs:?}",
                read.len(),
                files.len()
            );
            self.tally.points_read += 1;
        }
        ensure!(found.is_empty(), "points nobody asked for: {:?}", found.keys());
        for (source, at) in newest {
            let record = pool.record(&last_record(source)).map(|record| record.bytes.to_vec());
            let forgets = facts.iter().any(|(fact, _)| matches!(fact, Fact::Forgotten { .. }));
            ensure!(
                forgets || record == Some(at.to_le_bytes().to_vec()),
                "the record of point {at} did not come with it: {record:?}"
            );
        }
        Ok(())
    }

    fn check_records(&self, pool: &SimPool, answered: usize) -> Verdict {
        let mut allowed: BTreeMap<&str, Vec<Option<&[u8]>>> = BTreeMap::new();
        for (fact, answered) in self.facts(answered) {
            let Fact::Record { name, value } = fact else {
                continue;
            };
            let values = allowed.entry(name).or_insert_with(|| vec![None]);
            if answered {
                values.clear();
            }
            values.push(Some(value));
        }
        for (name, values) in allowed {
            let found = pool.record(name).map(|record| record.bytes);
            ensure!(values.contains(&found.as_deref()), "record {name} holds {found:?}");
        }
        Ok(())
    }

    fn check_series(&self, pool: &SimPool, answered: usize) -> Verdict {
        let mut series: BTreeMap<&str, (Vec<&[u8]>, usize)> = BTreeMap::new();
        for (fact, answered) in self.facts(answered) {
            let Fact::Entry { series: name, bytes } = fact else {
                continue;
            };
            let (entries, kept) = series.entry(name).or_default();
            entries.push(bytes);
            if answered {
                *kept = entries.len();
            }
        }
        for (name, (entries, kept)) in series {
            let found = pool.series(name, 0, usize::MAX);
            ensure!(found.len() >= kept, "series {name} lost what was announced");
            let same = found.iter().zip(&entries).all(|((_, found), entry)| found == entry);
            ensure!(same && found.len() <= entries.len(), "series {name} holds other entries");
        }
        Ok(())
    }

    /// What a session journaled need not be sent again, unless something ended it.
    fn check_sessions(&self, rig: &mut Rig, pool: &SimPool, answered: usize) -> Verdict {
        let mut open: BTreeMap<_, (&Machine, &Vec<_>)> = BTreeMap::new();
        for (fact, answered) in self.facts(answered) {
            match fact {
                Fact::Step { machine, chunks } if answered => {
                    open.insert(machine.source, (machine, chunks));
                }
                Fact::Ended { source } => drop(open.remove(source)),
                Fact::Point { at, source, .. } => {
                    let there = pool.points().iter().any(|point| point.at.0 == *at);
                    if there || pool.working_state(source).is_some_and(|state| state.at.0 == *at) {
                        open.remove(source);
                    }
                }
                _ => {}
            }
        }
        for (machine, chunks) in open.into_values() {
            let parked = pool.sessions().iter().any(|session| session.source == machine.source);
            ensure!(parked, "a parked session is gone");
            let have = rig.run(async {
                let session = machine.begin(pool, UnixNanos(1 << 40)).await?;
                pool.offer(session, chunks).await
            });
            let have = have.map_err(|error| chain(&error))?;
            ensure!(have.iter().all(|have| *have), "a parked session forgot what it was sent");
        }
        Ok(())
    }

    fn next_backup(&self, rig: &mut Rig, pool: &SimPool, seed: u64) -> Verdict {
        let content = |at: i64| {
            self.ledger.tried.iter().find_map(|fact| match fact {
                Fact::Point { at: other, files, .. } if *other == at => Some(files.clone()),
                _ => None,
            })
        };
        let mut machine = Machine::new(1);
        let mut files = Files::new();
        if let Some(id) = pool.newest_point(&machine.source)
            && let Some(point) = pool.point(&id)
        {
            files = content(point.at.0).unwrap_or_default();
            machine.basis = Some((id, files.clone()));
        }
        change_tree(&mut files, &mut Rng::new(seed), 3000);
        let now = UnixNanos(1 << 41);
        let point = rig.run(machine.backup(pool, &files, now));
        let point = point.map_err(|error| format!("the next backup: {}", chain(&error)))?;
        let read = rig.run(read_point(pool, &point.id));
        ensure!(read.is_ok_and(|read| read == files), "the next backup does not come back");
        if seed.is_multiple_of(4) {
            let report = rig.run(pool.verify(|_, _| {}));
            ensure!(report.findings.is_empty(), "verify finds {:?}", report.findings);
        }
        Ok(())
    }
}
