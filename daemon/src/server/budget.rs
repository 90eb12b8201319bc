//! What a job may have on its way inside the daemon. Every message carries a permit for its bytes
//! until it is dealt with; a message for which no permit is left is more than the window allows, and
//! that is the agent's fault: an agent that keeps to its windows never gets there.

use super::intake::Breach;
use keelhold_wire::FromAgent;
use keelhold_wire::limits::{BODY_LEN_MAX, FRAMES_WINDOW_LEN, ITEMS_WINDOW_LEN};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Other messages are small, except lists of skipped entries.
const OTHER_LEN: usize = 4 << 20;
/// Beside its body every message takes room of its own.
const OVERHEAD_LEN: usize = 64;

/// A message with the room it takes.
#[derive(Debug)]
pub struct Arrived {
    pub message: FromAgent,
    /// Bytes of its body.
    pub body_len: u64,
    pub permit: OwnedSemaphorePermit,
}

/// The connection's end: takes messages in for one job.
#[derive(Debug)]
pub struct Inlet {
    items: Arc<Semaphore>,
    frames: Arc<Semaphore>,
    other: Arc<Semaphore>,
    queue: mpsc::UnboundedSender<Arrived>,
}

/// The job's end.
pub type Arrivals = mpsc::UnboundedReceiver<Arrived>;

fn window(len: u64) -> usize {
    // One message may begin while the window has room left and go beyond it, and every one has its
    // overhead here, which the agent does not count.
    usize::try_from(len).unwrap_or(usize::MAX / 4) * 2 + BODY_LEN_MAX
}

impl Inlet {
    #[must_use]
    pub fn new() -> (Self, Arrivals) {
        let (queue, arrivals) = mpsc::unbounded_channel();
        let inlet = Self {
            items: Arc::new(Semaphore::new(window(ITEMS_WINDOW_LEN))),
            frames: Arc::new(Semaphore::new(window(FRAMES_WINDOW_LEN))),
            other: Arc::new(Semaphore::new(OTHER_LEN)),
            queue,
        };
        (inlet, arrivals)
    }

    /// Hands a message to the job. A job that is over drops it.
    pub fn take(&self, message: FromAgent, body_len: u64) -> Result<(), Breach> {
        let (what, window, limit) = match &message {
            FromAgent::Items(_) => ("items", &self.items, window(ITEMS_WINDOW_LEN)),
            FromAgent::Frame(_) => ("frames", &self.frames, window(FRAMES_WINDOW_LEN)),
            _ => ("messages", &self.other, OTHER_LEN),
        };
        let len = usize::try_from(body_len).unwrap_or(usize::MAX).saturating_add(OVERHEAD_LEN);
        let room = u32::try_from(len).unwrap_or(u32::MAX);
        let permit = Arc::clone(window)
            .try_acquire_many_owned(room)
            .map_err(|_| Breach::Window { what, limit })?;
        let _ = self.queue.send(Arrived { message, body_len, permit });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keelhold_wire::{Items, Started};

    #[test]
    fn more_than_the_window_is_a_breach_and_room_comes_back() {
        let (inlet, mut arrivals) = Inlet::new();
        let items = || FromAgent::Items(Items { job: 1, seq: 1, items: Vec::new() });
        let mut taken = 0;
        while inlet.take(items(), 1 << 20).is_ok() {
            taken += 1;
        }
        assert!((8..=10).contains(&taken), "{taken}");
        // Another kind has its own room.
        inlet.take(FromAgent::Started(Started { job: 1 }), 8).unwrap();
        drop(arrivals.try_recv().unwrap());
        inlet.take(items(), 1 << 20).unwrap();
    }
}
