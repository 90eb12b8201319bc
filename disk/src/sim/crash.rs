//! Every way in which a history may have been cut off.
//!
//! After each step that changes what may be found, every choice of the writes that no flush covered
//! is made in turn: all of them while they are few, a seeded sample otherwise. Each choice comes
//! whole, and again with writes torn at sectors. A choice that was possible before a step and is
//! still possible after it is not made twice, unless the step made something durable or the test
//! marked it: then more is asked of the same bytes.

use super::cache::DeviceMutant;
use super::history::{Event, History, Replay, Step};
use super::image::Image;
use super::persist::OpenWrite;
use super::rng::Rng;

/// How thoroughly to look.
#[derive(Clone, Copy, Debug)]
pub struct CrashPlan {
    pub seed: u64,
    /// Up to this many open writes every subset is tried.
    pub exhaustive_up_to: u32,
    /// With more of them, so many subsets.
    pub samples: u32,
    /// Torn images for each whole one.
    pub torn_per_subset: u32,
    /// What kind of disk it was.
    pub mutant: DeviceMutant,
}

impl CrashPlan {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            exhaustive_up_to: 6,
            samples: 64,
            torn_per_subset: 1,
            mutant: DeviceMutant::None,
        }
    }
}

/// The disks as they may be found after the power went.
#[derive(Clone, Debug)]
pub struct CrashImage {
    pub disks: Vec<Image>,
    /// The crash came after so many steps of the history.
    pub after: usize,
    /// The last mark before it.
    pub mark: Option<u64>,
    /// How many of the writes that no flush covered persisted at least in part.
    pub persisted: usize,
    pub open: usize,
    pub torn: bool,
}

impl History {
    /// Shows every image of `plan` to `visit`, in an order that only the plan and the history decide.
    pub fn crashes(&self, plan: &CrashPlan, mut visit: impl FnMut(CrashImage)) {
        let mut replay = Replay::new(self, plan.mutant);
        let mut rng = Rng::new(plan.seed);
        Moment::start(&replay).show(plan, &mut rng, &mut visit);
        for (at, step) in self.steps.iter().enumerate() {
            replay.apply(step, &mut rng);
            let newest = match step {
                Step::Mark { .. } => None,
                Step::Disk { event, disk } => match event {
                    Event::WriteBegun { id, .. } => Some((*disk, *id)),
                    Event::FlushEnded { .. }
                    | Event::FlushFailed { .. }
                    | Event::WriteLost { .. }
                    | Event::Altered { .. } => None,
                    // Neither changes what may be found.
                    Event::WriteEnded { .. } | Event::FlushBegun { .. } => continue,
                },
            };
            for cache in &mut replay.caches {
                cache.durable.freeze();
            }
            let moment = Moment { replay: &replay, after: at + 1, newest };
            moment.show(plan, &mut rng, &mut visit);
        }
    }
}

/// One moment at which the power may go.
struct Moment<'a> {
    replay: &'a Replay,
    after: usize,
    /// The write that began just now: choices without it were made before.
    newest: Option<(usize, u64)>,
}

impl<'a> Moment<'a> {
    fn start(replay: &'a Replay) -> Self {
        Self { replay, after: 0, newest: None }
    }

    fn show(&self, plan: &CrashPlan, rng: &mut Rng, visit: &mut impl FnMut(CrashImage)) {
        let open: Vec<(usize, &OpenWrite)> = self
            .replay
            .caches
            .iter()
            .enumerate()
            .flat_map(|(disk, cache)| cache.open.iter().map(move |write| (disk, write)))
            .collect();
        let newest = self.newest.and_then(|(disk, id)| {
            open.iter().position(|(other, write)| *other == disk && write.id == id)
        });
        let exhaustive = open.len() <= usize::try_from(plan.exhaustive_up_to.min(20)).unwrap_or(0);
        let count = if exhaustive { 1u64 << open.len() } else { u64::from(plan.samples) };
        for number in 0..count {
            let mut chosen: Vec<usize> = if exhaustive {
                (0..open.len()).filter(|bit| number >> bit & 1 == 1).collect()
            } else {
                (0..open.len()).filter(|_| rng.below(2) == 0).collect()
            };
            if let Some(newest) = newest
                && !chosen.contains(&newest)
            {
                if exhaustive {
                    continue;
                }
                chosen.push(newest);
            }
            visit(self.image(&open, &chosen, None));
            for _ in 0..plan.torn_per_subset {
                if !open.is_empty() {
                    visit(self.torn(&open, &chosen, rng));
                }
            }
        }
    }

    /// The choice in another order and with one or more of its writes torn. From the empty choice,
    /// a part of any one write.
    fn torn(&self, open: &[(usize, &OpenWrite)], chosen: &[usize], rng: &mut Rng) -> CrashImage {
        let mut chosen = chosen.to_vec();
        if chosen.is_empty() {
            chosen.push(rng.index(open.len()));
        }
        rng.shuffle(&mut chosen);
        self.image(open, &chosen, Some(rng))
    }

    fn image(
        &self,
        open: &[(usize, &OpenWrite)],
        chosen: &[usize],
        mut torn: Option<&mut Rng>,
    ) -> CrashImage {
        let mut disks: Vec<Image> =
            self.replay.caches.iter().map(|cache| cache.durable.clone()).collect();
        let victim = torn.as_deref_mut().map(|rng| rng.index(chosen.len()));
        for (place, which) in chosen.iter().enumerate() {
            let (disk, write) = open[*which];
            // One for certain, the others now and then.
            let tears =
                torn.as_deref_mut().is_some_and(|rng| victim == Some(place) || rng.below(4) == 0);
            match torn.as_deref_mut() {
                Some(rng) if tears => write.persist_torn(&mut disks[disk], rng),
                _ => write.persist_whole(&mut disks[disk]),
            }
        }
        CrashImage {
            disks,
            after: self.after,
            mark: self.replay.mark,
            persisted: chosen.len(),
            open: open.len(),
            torn: torn.is_some(),
        }
    }
}
