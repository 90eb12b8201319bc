//! What the algebra of points costs at size: exclusive bytes of all points of many sources, and a
//! commit and a forget in a long history of one large source.
//!
//! `cargo run --release -p keelhold-disk --features sim --example sets_scale`

use std::time::Instant;

use keelhold_disk::sets::{Chain, SetDelta};
use keelhold_disk::sim::Rng;
use keelhold_disk::units::PointId;
use roaring::RoaringTreemap;

fn point(source: u64, number: u64) -> PointId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&source.to_le_bytes());
    id[8..].copy_from_slice(&number.to_le_bytes());
    PointId(id)
}

/// A source of `chunks` chunks and its chain: at each point so many are new and as many others gone,
/// one in ten of the new ones being some that went before.
fn history(dice: &mut Rng, chunks: u64, points: u64, changed: u64, next: &mut u64) -> Chain {
    let mut chain = Chain::default();
    let mut live: Vec<u64> = (*next..*next + chunks).collect();
    *next += chunks;
    let mut gone: Vec<u64> = Vec::new();
    let first = SetDelta { born: live.iter().copied().collect(), died: RoaringTreemap::new() };
    chain.push(point(*next, 0), &first, true);
    for number in 1..points {
        let mut step = SetDelta::default();
        for _ in 0..changed {
            let at = dice.index(live.len());
            let returns = dice.below(10) == 0 && !gone.is_empty();
            let new = match returns {
                true => gone.swap_remove(dice.index(gone.len())),
                false => {
                    *next += 1;
                    *next - 1
                }
            };
            let old = std::mem::replace(&mut live[at], new);
            gone.push(old);
            if !step.born.remove(old) {
                step.died.insert(old);
            }
            if !step.died.remove(new) {
                step.born.insert(new);
            }
        }
        chain.push(point(*next, number), &step, true);
    }
    chain
}

fn many_sources() {
    let (mut dice, mut next) = (Rng::new(1), 1);
    let chains: Vec<Chain> =
        (0..200).map(|_| history(&mut dice, 80_000, 100, 800, &mut next)).collect();
    let memory: usize = chains.iter().map(Chain::byte_len).sum();
    let began = Instant::now();
    let (mut points, mut own) = (0u64, 0u64);
    for chain in &chains {
        chain.own(|_, numbers| {
            points += 1;
            own += numbers.len();
        });
    }
    println!(
        "200 sources x 100 points, 1 % change, {next} chunks ever: {points} points, {own} chunks that one of them alone needs, in {:.3} s; all sets {:.1} MiB",
        began.elapsed().as_secs_f64(),
        memory as f64 / f64::from(1 << 20)
    );
}

fn one_large_source() {
    let (mut dice, mut next) = (Rng::new(2), 1);
    let mut chain = history(&mut dice, 8_000_000, 2_000, 8_000, &mut next);
    let mut took = Vec::new();
    for number in 0..5u64 {
        let mut step = SetDelta::default();
        step.born.insert_range(next..next + 8_000);
        next += 8_000;
        let reach = chain.last_reach();
        step.died = (0..8_000u64).filter_map(|_| reach.select(dice.below(7_000_000))).collect();
        let began = Instant::now();
        chain.push(point(1, 1_000_000 + number), &step, true);
        let commit = began.elapsed();
        let (point, written) = {
            let mut steps = chain.steps();
            let (point, _) = steps.nth(1_000).expect("there are so many");
            (point, chain.steps().last().map_or(0, |(_, bytes)| bytes.len()))
        };
        let began = Instant::now();
        let (turnover, _) = chain.remove(&point).expect("it is there");
        took.push((commit, began.elapsed(), written, turnover.unheld.len()));
    }
    for (commit, forget, written, freed) in took {
        println!(
            "8 M chunks, 2,000 points, 0.1 % changed: commit {:.1} ms, forget {:.1} ms ({freed} chunks unheld), {written} bytes of set for 16,000 changes",
            commit.as_secs_f64() * 1e3,
            forget.as_secs_f64() * 1e3
        );
    }
}

fn main() {
    many_sources();
    one_large_source();
}
