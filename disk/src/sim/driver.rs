//! The executor of the simulation: the same as in production, with a driver that moves virtual time
//! and an order that asks the seed.

use std::sync::Arc;

use super::world::SimWorld;
use crate::exec::{Driver, Executor, TaskOrder, Unpark};

/// An executor over `world`. Its tasks run in seeded order.
#[must_use]
pub fn sim_executor(world: &SimWorld) -> Executor<SimDriver> {
    Executor::new(SimDriver { world: world.clone() }, SeededOrder { world: world.clone() })
}

#[derive(Debug)]
pub struct SimDriver {
    world: SimWorld,
}

impl Driver for SimDriver {
    fn poll_io(&mut self) {
        // Some operations end while tasks are still busy, so that both meet in every order.
        if self.world.with(|state| state.rng.below(4)) == 0 {
            self.world.deliver_next();
        }
    }

    /// # Panics
    /// If nothing is in flight: in one thread nobody is left who could wake a task.
    fn park(&mut self) {
        assert!(
            self.world.deliver_next(),
            "deadlock: every task waits and no operation is in flight (seed {})",
            self.world.seed()
        );
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        Arc::new(Nobody)
    }
}

/// There is no other thread that a wake-up could come from.
struct Nobody;

impl Unpark for Nobody {
    fn unpark(&self) {}
}

#[derive(Debug)]
struct SeededOrder {
    world: SimWorld,
}

impl TaskOrder for SeededOrder {
    fn choose(&mut self, ready: usize) -> usize {
        self.world.with(|state| {
            let chosen = state.rng.index(ready);
            state.trace.event(b't', &[ready as u64, chosen as u64]);
            chosen
        })
    }

    fn polls_per_turn(&mut self) -> usize {
        self.world.with(|state| 1 + state.rng.index(8))
    }
}
