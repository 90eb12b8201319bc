//! Work done in place, after a seeded number of turns: as if other threads had been slow.

use std::task::Poll;

use super::world::SimWorld;
use crate::work::Work;

#[derive(Clone, Debug)]
pub struct SimWork {
    world: SimWorld,
}

impl SimWork {
    #[must_use]
    pub fn new(world: &SimWorld) -> Self {
        Self { world: world.clone() }
    }
}

impl Work for SimWork {
    async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let mut turns = self.world.choose(4);
        std::future::poll_fn(|cx| {
            if turns == 0 {
                return Poll::Ready(());
            }
            turns -= 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        job()
    }
}
