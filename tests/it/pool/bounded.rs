//! An index that does not fit its memory: what the pool has it tells all the same, whatever happens
//! to the sheets on its disks, and few look-ups cost a read.

use futures_util::future::join;
use keelhold_disk::mutants::Mutants;
use keelhold_disk::pool::{INDEX_BUDGET, ReclaimOptions};
use keelhold_disk::sim::Rng;
use keelhold_disk::units::{ChunkRef, PointId, UnixNanos};
use keelhold_tests::rig::{Files, Machine, Rig, Shape, SimPool, campaign, chunks_of, read_point};

use super::content::noise;
use super::verdict::{Verdict, chain, ensure};

const ROUNDS: i64 = 40;

fn rig(seed: u64, mutants: Mutants) -> Rig {
    let mut rig = Rig::shaped(seed, Shape { disk_len: 24 << 20, ..Shape::toy(1) }, mutants);
    rig.index_budget = 0;
    rig
}

/// How many of these chunks a machine is asked for, though it had all of them stored.
async fn asked(pool: &SimPool, machine: &Machine, chunks: &[ChunkRef]) -> Verdict<usize> {
    let now = UnixNanos(5);
    let session = machine.begin(pool, now).await.map_err(|error| chain(&error))?;
    let have = pool.offer(session, chunks).await.map_err(|error| chain(&error))?;
    pool.cancel(session, now).await.map_err(|error| chain(&error))?;
    Ok(have.iter().filter(|have| !**have).count())
}

struct Life {
    rig: Rig,
    pool: SimPool,
    rng: Rng,
    machine: Machine,
    points: Vec<(PointId, Files)>,
    bounded: u64,
}

impl Life {
    fn begin(seed: u64, mutants: Mutants) -> Verdict<Self> {
        let mut rig = rig(seed, mutants);
        let pool = rig.create().map_err(|error| chain(&error))?;
        let (rng, machine) = (Rng::new(seed), Machine::new(1));
        Ok(Self { rig, pool, rng, machine, points: Vec::new(), bounded: 0 })
    }

    fn backup(&mut self, now: UnixNanos) -> Verdict {
        let mut files = self.points.last().map(|(_, files)| files.clone()).unwrap_or_default();
        let name = format!("f{}", self.rng.index(6));
        files.insert(name, noise(self.rng.next_u64(), 2000 + self.rng.index(60_000)));
        let point = self.rig.run(self.machine.backup(&self.pool, &files, now));
        self.points.push((point.map_err(|error| chain(&error))?.id, files));
        Ok(())
    }

    fn forget(&mut self, now: UnixNanos) -> Verdict {
        let count = self.points.len().saturating_sub(1 + self.rng.index(3));
        let gone: Vec<PointId> = self.points.drain(..count).map(|(id, _)| id).collect();
        let forgotten = self.rig.run(self.pool.forget(&gone, now, now));
        forgotten.map_err(|error| chain(&error))?;
        let options = ReclaimOptions { least_dead: 5, confirmed: false };
        let reclaimed = self.rig.run(self.pool.reclaim(options, now));
        reclaimed.map(drop).map_err(|error| chain(&error))
    }

    /// Ends somehow, and is opened with another budget.
    fn reopen(&mut self, now: UnixNanos) -> Verdict {
        if self.rng.index(2) == 0 {
            self.rig.crash();
        } else {
            let closed = self.rig.run(self.pool.clone().close(now));
            closed.map_err(|error| chain(&error))?;
            self.rig.end();
        }
        self.rig.index_budget = [0, 0, 300, INDEX_BUDGET][self.rng.index(4)];
        self.pool = self.rig.open().map_err(|error| chain(&error))?;
        Ok(())
    }

    fn check(&mut self, beside_checkpoint: bool) -> Verdict {
        let all = Files::from_iter(self.points.iter().flat_map(|(id, files)| {
            files.iter().map(move |(name, bytes)| (format!("{id}/{name}"), bytes.clone()))
        }));
        let chunks = chunks_of(&self.pool, &all);
        let asking = asked(&self.pool, &self.machine, &chunks);
        let count = if beside_checkpoint {
            let (made, count) = self.rig.run(join(self.pool.checkpoint(UnixNanos(6)), asking));
            made.map_err(|error| chain(&error))?;
            count?
        } else {
            self.rig.run(asking)?
        };
        ensure!(count == 0, "{count} of {} chunks are asked for again", chunks.len());
        self.bounded += u64::from(self.rig.index_budget < 500);
        Ok(())
    }

    fn end(mut self) -> Verdict {
        for (id, files) in &self.points {
            let read = self.rig.run(read_point(&self.pool, id)).map_err(|error| chain(&error))?;
            ensure!(read == *files, "other bytes");
        }
        self.rig.run(self.pool.audit_sets()).map_err(|error| chain(&error))
    }
}

/// Whatever was stored and is needed is not asked for again.
pub fn known(seed: u64, mutants: Mutants) -> Verdict {
    let mut life = Life::begin(seed, mutants)?;
    for round in 0..ROUNDS {
        let now = UnixNanos(10 + round);
        life.backup(now)?;
        life.check(round % 3 == 0)?;
        match life.rng.index(5) {
            0 => life.forget(now)?,
            1 => life.reopen(now)?,
            _ => {}
        }
        life.check(false).map_err(|words| format!("round {round}: {words}"))?;
    }
    ensure!(life.bounded > 20, "{} looks at a bounded index", life.bounded);
    life.end()
}

#[test]
fn what_is_stored_is_not_asked_for_again() {
    for seed in 0..campaign(30) {
        known(seed, Mutants::default()).unwrap_or_else(|words| panic!("seed {seed}: {words}"));
    }
}

fn reads(rig: &Rig) -> u64 {
    rig.world.counters(rig.disks[0]).reads
}

#[test]
fn few_look_ups_cost_a_read() {
    let shape = Shape { disk_len: 256 << 20, container_len: 4 << 20, ..Shape::toy(1) };
    let mut rig = Rig::shaped(1, shape, Mutants::default());
    rig.index_budget = 20_000;
    let pool = rig.create().unwrap();
    let mut machine = Machine::new(1);
    let files: Files = (0..40).map(|n| (format!("f{n:02}"), noise(n, 1 << 20))).collect();
    rig.run(machine.backup(&pool, &files, UnixNanos(1))).unwrap();
    rig.run(pool.close(UnixNanos(2))).unwrap();
    let chunks = rig.open().map(|pool| (pool.status(), chunks_of(&pool, &files))).unwrap();
    rig.end();
    let pool = rig.open().unwrap();
    let (status, chunks) = chunks;
    assert!(status.chunks > 25_000, "{status:?}");
    let per_chunk = status.index_bytes as f64 / status.chunks as f64;

    // Those of the stream, in its order.
    let before = reads(&rig);
    assert_eq!(rig.run(asked(&pool, &machine, &chunks)).unwrap(), 0);
    let neighbours = (reads(&rig) - before) as f64 / chunks.len() as f64;

    // Nobody has these.
    let strange = chunks_of(&pool, &Files::from([("x".to_owned(), noise(99, 16 << 20))]));
    let before = reads(&rig);
    assert_eq!(rig.run(asked(&pool, &machine, &strange)).unwrap(), strange.len());
    let absent = (reads(&rig) - before) as f64 / strange.len() as f64;

    // Single ones, far apart, in a pool that has read nothing yet.
    drop(pool);
    rig.end();
    let pool = rig.open().unwrap();
    let mut rng = Rng::new(5);
    let few: Vec<ChunkRef> = (0..20).map(|_| chunks[rng.index(chunks.len())]).collect();
    let before = reads(&rig);
    assert_eq!(rig.run(asked(&pool, &machine, &few)).unwrap(), 0);
    let single = (reads(&rig) - before) as f64 / few.len() as f64;
    println!(
        "{} chunks, {per_chunk:.2} bytes each; reads of a look-up: {neighbours:.3} in a stream, \
         {absent:.4} of what is absent, {single:.2} of a single one",
        status.chunks
    );
    assert!(absent < 0.02 && neighbours < 0.05 && single < 4.5);
    assert!(per_chunk < 12.0);
}

/// Sheets are lost on every disk: the next opening makes them again.
#[test]
fn lost_sheets_are_made_again() {
    for seed in 0..campaign(6) {
        for copies in [1..2, 0..2] {
            let mut life = Life::begin(seed, Mutants::default()).unwrap();
            for round in 0..12 {
                life.backup(UnixNanos(round)).unwrap();
            }
            life.rig.run(life.pool.checkpoint(UnixNanos(20))).unwrap();
            let runs = life.rig.run(life.pool.state_runs());
            let sheets: Vec<_> = runs.iter().filter(|claim| claim.what == "sheet").collect();
            assert!(sheets.len() >= 4, "{} runs", sheets.len());
            life.rig.crash();
            let mut images = life.rig.images();
            for claim in sheets.chunks(2).flat_map(|pair| &pair[copies.start..copies.end]) {
                images[0].write(claim.place.offset, &vec![0; claim.len as usize]);
            }
            let mutants = Mutants::default();
            life.rig = Rig::over(seed, &images, mutants);
            life.rig.index_budget = 0;
            life.pool = life.rig.open().unwrap();
            life.check(false).unwrap_or_else(|words| panic!("seed {seed}: {words}"));
            life.backup(UnixNanos(30)).unwrap();
            life.end().unwrap_or_else(|words| panic!("seed {seed}: {words}"));
        }
    }
}
