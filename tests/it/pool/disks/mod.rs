//! Several disks: two copies, disks that fail, stay away, come back, join and leave.

pub mod copies;
pub mod halves;
pub mod members;
pub mod schedules;

use keelhold_disk::mutants::Mutants;
use keelhold_disk::sim::Image;
use keelhold_disk::units::{PointId, UnixNanos};
use keelhold_tests::rig::{Files, Machine, Rig, Shape, SimPool, read_point};

use super::content::noise;
use super::verdict::{Verdict, chain, ensure};

/// A pool and what it should hold.
pub struct Fleet {
    pub rig: Rig,
    pub pool: SimPool,
    pub points: Vec<(PointId, Files)>,
    pub machine: Machine,
    next: u64,
}

pub fn shape(disks: usize, copies: u16) -> Shape {
    Shape { copies, disk_len: 4 << 20, ..Shape::toy(disks) }
}

impl Fleet {
    pub fn new(seed: u64, disks: usize, copies: u16, mutants: Mutants) -> Verdict<Self> {
        let mut rig = Rig::shaped(seed, shape(disks, copies), mutants);
        let pool = rig.create().map_err(|error| chain(&error))?;
        Ok(Self { rig, pool, points: Vec::new(), machine: Machine::new(1), next: seed << 20 })
    }

    /// A pool over disks as somebody left them, with what is known to be in it.
    pub fn over(
        seed: u64,
        images: &[Image],
        points: &[(PointId, Files)],
        mutants: Mutants,
    ) -> Verdict<Self> {
        let mut rig = Rig::over(seed, images, mutants);
        let pool = rig.open().map_err(|error| chain(&error))?;
        let points = points.to_vec();
        Ok(Self { rig, pool, points, machine: Machine::new(1), next: seed << 20 | 1 << 40 })
    }

    /// Backs up a tree that differs in some files from the last one.
    pub fn backup(&mut self, files: usize) -> Verdict {
        let (machine, tree, now) = self.next_backup(files);
        let mut machine = machine;
        let point = self.rig.run(machine.backup(&self.pool, &tree, now));
        let point = point.map_err(|error| format!("backup: {}", chain(&error)))?;
        self.points.push((point.id, tree));
        self.machine = machine;
        Ok(())
    }

    pub fn next_backup(&mut self, files: usize) -> (Machine, Files, UnixNanos) {
        let mut tree = self.points.last().map(|(_, tree)| tree.clone()).unwrap_or_default();
        for _ in 0..files {
            self.next += 1;
            tree.insert(format!("d{}/f{}", self.next % 3, self.next % 40), noise(self.next, 6000));
        }
        let mut machine = self.machine.clone();
        machine.basis = self.points.last().cloned();
        (machine, tree, UnixNanos(self.next as i64))
    }

    /// Every point, every byte.
    pub fn read_all(&mut self) -> Verdict {
        for (id, files) in &self.points {
            let read = self.rig.run(read_point(&self.pool, id));
            let read = read.map_err(|error| format!("point {id}: {}", chain(&error)))?;
            ensure!(read == *files, "point {id} holds other bytes");
        }
        Ok(())
    }

    /// Ends the program and opens the pool on these disks.
    pub fn reopen_on(&mut self, disks: &[usize]) -> Verdict {
        self.rig.crash();
        self.rig.disks = disks.to_vec();
        let pool = self.rig.open();
        self.pool = pool.map_err(|error| format!("does not open: {}", chain(&error)))?;
        Ok(())
    }

    pub fn verify_is_clean(&mut self) -> Verdict {
        let report = self.rig.run(self.pool.verify(|_, _| {}));
        ensure!(report.findings.is_empty(), "verify finds {:?}", report.findings);
        Ok(())
    }

    /// Heals, and then nothing is left to heal.
    pub fn heal(&mut self) -> Verdict {
        let report = self.rig.run(self.pool.heal());
        let report = report.map_err(|error| format!("heal: {}", chain(&error)))?;
        ensure!(report.unhealed.is_empty(), "not healed: {:?}", report.unhealed);
        Ok(())
    }
}
