//! Seeded histories of one source against plain sets.

use std::collections::BTreeSet;

use roaring::RoaringTreemap;

use super::{Chain, Turnover};
use crate::sets::SetDelta;
use crate::sets::model::Dice;
use crate::units::PointId;

/// The plainest history: every point with its whole set.
#[derive(Default)]
struct Plain {
    points: Vec<(PointId, RoaringTreemap, bool)>,
    working: Option<RoaringTreemap>,
}

impl Plain {
    fn union(&self, listed_only: bool) -> RoaringTreemap {
        let mut union = self.working.clone().unwrap_or_default();
        for (_, set, listed) in &self.points {
            if *listed || !listed_only {
                union |= set;
            }
        }
        union
    }

    fn last(&self) -> RoaringTreemap {
        self.points.last().map(|(_, set, _)| set.clone()).unwrap_or_default()
    }

    /// What only this listed point holds.
    fn own(&self, at: usize) -> RoaringTreemap {
        let mut own = self.points[at].1.clone();
        for (other, (_, set, listed)) in self.points.iter().enumerate() {
            if other != at && *listed {
                own -= set;
            }
        }
        own - self.working.clone().unwrap_or_default()
    }
}

struct History {
    dice: Dice,
    chain: Chain,
    plain: Plain,
    next: u8,
}

impl History {
    /// Numbers go and come back, now and then many.
    fn next_set(&mut self) -> RoaringTreemap {
        let mut set: BTreeSet<u64> = self.plain.last().iter().collect();
        for _ in 0..1 + self.dice.below(12) {
            let number = self.dice.below(60);
            if !set.remove(&number) {
                set.insert(number);
            }
        }
        set.into_iter().collect()
    }

    fn step(&mut self) -> Turnover {
        let some = self.dice.below(self.plain.points.len().max(1) as u64) as usize;
        let point = self.plain.points.get(some).map(|(point, _, _)| *point);
        match (self.dice.below(10), point) {
            (0..3, _) | (_, None) => {
                let set = self.next_set();
                let step = SetDelta::between(&self.plain.last(), &set);
                let point = PointId([self.next; 16]);
                self.next += 1;
                self.plain.points.push((point, set, true));
                self.plain.working = None;
                self.chain.push(point, &step, true)
            }
            (3, _) => {
                let set = self.next_set();
                let step = SetDelta::between(&self.plain.last(), &set);
                self.plain.working = Some(set);
                self.chain.set_working(&step)
            }
            (4, _) => {
                self.plain.working = None;
                self.chain.clear_working()
            }
            (5..7, Some(point)) => {
                let listed = std::mem::replace(&mut self.plain.points[some].2, false);
                let turnover = self.chain.hide(&point);
                assert_eq!(turnover.is_some(), listed);
                turnover.unwrap_or_default()
            }
            (7, Some(point)) => {
                let listed = std::mem::replace(&mut self.plain.points[some].2, true);
                let turnover = self.chain.show(&point);
                assert_eq!(turnover.is_some(), !listed);
                turnover.unwrap_or_default()
            }
            (_, Some(point)) => {
                self.plain.points.remove(some);
                let (turnover, changed) = self.chain.remove(&point).expect("it is there");
                let next = self.plain.points.get(some).map(|(point, _, _)| *point);
                assert_eq!(changed, next);
                turnover
            }
        }
    }

    fn check(&mut self) {
        let Self { chain, plain, .. } = self;
        assert_eq!(*chain.held(), plain.union(false));
        assert_eq!(*chain.held_by_listed(), plain.union(true));
        assert_eq!(*chain.last_reach(), plain.last());
        let mut own = Vec::new();
        chain.own(|point, set| own.push((point, set)));
        let listed = plain.points.iter().enumerate().filter(|(_, (_, _, listed))| *listed);
        let expected: Vec<_> = listed.map(|(at, (point, _, _))| (*point, plain.own(at))).collect();
        assert_eq!(own, expected);
        let numbers: RoaringTreemap = (0..5).map(|_| self.dice.below(60)).collect();
        let touched = self.plain.points.iter().filter(|(_, set, _)| !set.is_disjoint(&numbers));
        let touched: Vec<PointId> = touched.map(|(point, _, _)| *point).collect();
        assert_eq!(self.chain.touched(&numbers), touched);
    }

    /// A chain read back is the same chain.
    fn reload(&self) {
        let mut again = Chain::default();
        for (point, bytes) in self.chain.steps() {
            let mut reader = keelhold_chunk::Reader::new(bytes);
            let step = SetDelta::decode(&mut reader).expect("written by a chain");
            let listed = self.plain.points.iter().any(|(of, _, listed)| *of == point && *listed);
            again.push(point, &step, listed);
        }
        if let Some(bytes) = self.chain.working_bytes() {
            let mut reader = keelhold_chunk::Reader::new(bytes);
            again.set_working(&SetDelta::decode(&mut reader).expect("written by a chain"));
        }
        assert_eq!(again, self.chain);
    }
}

#[test]
fn a_chain_does_what_whole_sets_do() {
    for seed in 0..300 {
        println!("seed {seed}");
        let (chain, plain) = (Chain::default(), Plain::default());
        let mut history = History { dice: Dice(seed), chain, plain, next: 0 };
        for _ in 0..80 {
            let (held, listed) = (history.plain.union(false), history.plain.union(true));
            let turnover = history.step();
            let (now, listed_now) = (history.plain.union(false), history.plain.union(true));
            assert_eq!(turnover.unheld, held - now);
            assert_eq!(turnover.vanished, &listed - &listed_now);
            assert_eq!(turnover.appeared, listed_now - listed);
            history.check();
        }
        history.reload();
    }
}
