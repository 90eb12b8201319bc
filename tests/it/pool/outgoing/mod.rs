//! What leaves the pool: the chunks a point needs, as frames that prove themselves.

mod adopted;
mod costs;
mod damage;
mod shapes;

use std::collections::BTreeMap;

use futures_util::future::join;
use keelhold_chunk::ChunkId;
use keelhold_disk::mutants::Mutants;
use keelhold_disk::pool::{
    ChunkOut, CommitPoint, FrameOut, IncomingFrame, ReclaimOptions, VerifiedFrame,
};
use keelhold_disk::sim::Rng;
use keelhold_disk::units::{ChunkNumber, ChunkRef, PointId, UnixNanos};
use keelhold_disk::{IngestError, ReadError};
use keelhold_tests::rig::{Files, Machine, Rig, SimPool, campaign, chunks_of};
use roaring::RoaringTreemap;

pub use damage::flipped_and_shipped;

use super::content::{change_tree, some_tree};
use super::verdict::{Verdict, chain, ensure};

const ALL: ReclaimOptions = ReclaimOptions { least_dead: 5, confirmed: false };

/// The sets say of every point what a walk of its tree says.
pub fn reaches_agree(rig: &mut Rig, pool: &SimPool) -> Verdict {
    for point in pool.points() {
        let told = rig.run(pool.reach(&point.id)).map_err(|error| chain(&error))?;
        let walked = rig.run(pool.walk_reach(&point.id)).map_err(|error| chain(&error))?;
        ensure!(told == walked, "point {}: {told:?} told, {walked:?} walked", point.id);
    }
    Ok(())
}

pub fn ascending(numbers: &RoaringTreemap) -> Vec<ChunkNumber> {
    numbers.iter().map(ChunkNumber).collect()
}

/// Opens a frame that left a pool, as somebody else would who has the id key.
async fn opened(pool: &SimPool, frame: &FrameOut) -> Result<VerifiedFrame, IngestError> {
    let chunks =
        frame.chunks.iter().map(|ChunkOut { id, len, .. }| ChunkRef { id: *id, len: *len });
    let frame = IncomingFrame {
        codec: frame.codec,
        plain_len: frame.plain_len,
        stored: frame.packed.clone(),
        chunks: chunks.collect(),
    };
    pool.verify_frame(frame).await
}

/// Everything that leaves when `numbers` are asked for, call after call.
#[derive(Debug, Default)]
struct Shipped {
    frames: Vec<FrameOut>,
    unread: BTreeMap<ChunkNumber, ReadError>,
    calls: usize,
}

impl Shipped {
    fn chunks(&self) -> BTreeMap<ChunkNumber, ChunkId> {
        let chunks = self.frames.iter().flat_map(|frame| &frame.chunks);
        chunks.map(|chunk| (chunk.number, chunk.id)).collect()
    }
}

async fn ship(pool: &SimPool, numbers: &RoaringTreemap) -> Verdict<Shipped> {
    let (mut shipped, mut left) = (Shipped::default(), ascending(numbers));
    while !left.is_empty() {
        let out = pool.frames_out(&left).await;
        ensure!(out.left.len() < left.len(), "a call took nothing");
        left = out.left;
        shipped.calls += 1;
        for frame in &out.frames {
            let first = frame.chunks.first().map(|chunk| chunk.number);
            let open = opened(pool, frame).await;
            open.map_err(|error| format!("frame of {first:?}: {}", chain(&error)))?;
        }
        shipped.frames.extend(out.frames);
        shipped.unread.extend(out.unread.into_iter().map(|of| (of.number, of.error)));
    }
    let mut came = RoaringTreemap::new();
    for number in shipped.frames.iter().flat_map(|frame| &frame.chunks).map(|chunk| chunk.number) {
        ensure!(came.insert(number.0), "chunk {number} came twice");
    }
    for number in shipped.unread.keys() {
        ensure!(came.insert(number.0), "chunk {number} came and did not");
    }
    ensure!(came == *numbers, "{came:?} came, {numbers:?} were asked for");
    Ok(shipped)
}

/// Some of them: single ones, runs, most, or all.
fn some_of(numbers: &RoaringTreemap, rng: &mut Rng) -> RoaringTreemap {
    let (kept, len) = (1 + rng.below(10), 1 + rng.below(40));
    numbers.iter().filter(|number| (number / len * 7919) % 10 < kept).collect()
}

/// A pool that several machines use, with a past.
struct Past {
    rig: Rig,
    pool: SimPool,
    rng: Rng,
    machines: [Machine; 3],
    trees: [Files; 3],
    points: BTreeMap<PointId, Files>,
    rounds: i64,
}

impl Past {
    fn begin(seed: u64) -> Self {
        let rng = Rng::new(seed);
        let mut rig = Rig::new(seed, 2, Mutants::default());
        let pool = rig.create().unwrap();
        let trees = [0, 1, 2].map(|n| some_tree(seed * 3 + n, 12, 6000));
        let (machines, points) = ([1, 2, 3].map(Machine::new), BTreeMap::new());
        Self { rig, pool, rng, machines, trees, points, rounds: 0 }
    }

    fn now(&mut self) -> UnixNanos {
        self.rounds += 10;
        UnixNanos(self.rounds)
    }

    fn backup(&mut self) {
        let (now, at) = (self.now(), self.rng.index(3));
        if self.rng.below(4) == 0 {
            self.trees[at] = self.trees[self.rng.index(3)].clone();
        }
        change_tree(&mut self.trees[at], &mut self.rng, 6000);
        let known = self.machines[at].basis.as_ref().is_some_and(|(id, _)| {
            let working = self.pool.working_state(&self.machines[at].source);
            self.pool.point(id).is_some() || working.is_some_and(|of| of.id == *id)
        });
        if !known {
            self.machines[at].basis = None;
        }
        let working = self.rng.below(6) == 0;
        let commit = CommitPoint { working, at: now, ..Default::default() };
        let (pool, tree) = (self.pool.clone(), self.trees[at].clone());
        let made = self.machines[at].backup_as(&pool, &tree, commit, now);
        let point = self.rig.run(made).unwrap();
        if !working {
            self.points.insert(point.id, tree);
        }
    }

    fn forget(&mut self) {
        let now = self.now();
        let gone: Vec<PointId> = self.points.keys().copied().collect();
        if gone.len() > 2 {
            let point = gone[self.rng.index(gone.len())];
            self.points.remove(&point);
            let until = UnixNanos(now.0 + self.rng.below(100) as i64);
            self.rig.run(self.pool.forget(&[point], until, now)).unwrap();
        }
    }

    fn step(&mut self) {
        match self.rng.below(10) {
            0..5 => self.backup(),
            5..8 => self.forget(),
            8 => {
                let now = self.now();
                self.rig.run(self.pool.reclaim(ALL, now)).unwrap();
            }
            _ => {
                self.rig.crash();
                self.pool = self.rig.open().unwrap();
            }
        }
    }
}

#[test]
fn the_sets_know_what_every_point_needs() {
    for seed in 0..campaign(9) {
        println!("seed {seed}");
        let mut past = Past::begin(seed);
        for round in 0..60 {
            past.step();
            if round % 5 == 0 {
                let pool = past.pool.clone();
                reaches_agree(&mut past.rig, &pool).unwrap();
            }
        }
        let now = past.now();
        past.rig.run(past.pool.clone().close(now)).unwrap();
        past.rig.end();
        let pool = past.rig.open().unwrap();
        reaches_agree(&mut past.rig, &pool).unwrap();
    }
}

/// Any chunks can be had at any time, also while compaction moves them away.
#[test]
fn exactly_what_is_asked_for_leaves_while_reclaim_runs() {
    let (mut chunks, mut moved, mut meetings) = (0, 0, 0);
    for seed in 0..campaign(12) {
        println!("seed {seed}");
        let mut past = Past::begin(seed);
        for round in 0..50 {
            past.step();
            if round % 5 != 4 || past.points.is_empty() {
                continue;
            }
            let (now, pool) = (past.now(), past.pool.clone());
            let at = past.rng.index(past.points.len());
            let (point, files) = past.points.iter().nth(at).unwrap();
            let (point, files) = (*point, files.clone());
            let reach = past.rig.run(pool.reach(&point)).unwrap();
            let asked = some_of(&reach, &mut past.rng);
            let delay = past.rig.world.sleep(past.rng.below(20_000_000));
            let beside = join(pool.reclaim(ALL, now), async {
                delay.await;
                (ship(&pool, &asked).await, ship(&pool, &reach).await)
            });
            let (reclaimed, (some, all)) = past.rig.run(beside);
            let (reclaimed, some, all) = (reclaimed.unwrap(), some.unwrap(), all.unwrap());
            assert!(some.unread.is_empty() && all.unread.is_empty(), "{some:?} {all:?}");
            let ids: std::collections::BTreeSet<ChunkId> = all.chunks().into_values().collect();
            let wanted = chunks_of(&pool, &files);
            assert!(wanted.iter().all(|chunk| ids.contains(&chunk.id)), "a chunk did not leave");
            let told = past.rig.run(pool.ids_of(&ascending(&reach)));
            assert_eq!(told.ids, all.chunks().into_iter().collect::<Vec<_>>());
            chunks += all.chunks().len() + some.chunks().len();
            moved += reclaimed.moved_len;
            meetings += 1;
        }
    }
    println!("{chunks} chunks left in {meetings} meetings; reclaim moved {moved} bytes beside");
    assert!(moved > 0 && chunks > 0);
}
