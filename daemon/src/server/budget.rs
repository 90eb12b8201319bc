//! What a job may have on its way inside the daemon. Every message carries a permit for its bytes
//! until it is dealt with; a message for which no permit is left is more than the window allows, and
//! that is the agent's fault: an agent that keeps to its windows never gets there.

use super::intake::Breach;
use keelhold_wire::FromAgent;
use keelhold_wire::limits::{
    BODY_LEN_MAX, FRAMES_WINDOW_LEN, ITEMS_WEIGHT_MAX, ITEMS_WINDOW_WEIGHT,
};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Other messages are small, except lists of skipped entries.
const OTHER_LEN: usize = 4 << 20;
/// Beside its body every message takes room of its own.
const OVERHEAD_LEN: u64 = 64;

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

/// One message may begin while the window has room left and go beyond it.
const ITEMS_LEN: usize = (ITEMS_WINDOW_WEIGHT + ITEMS_WEIGHT_MAX) as usize;
/// A frame has its overhead here, too, which the agent does not count.
const FRAMES_LEN: usize = FRAMES_WINDOW_LEN as usize * 2 + BODY_LEN_MAX;

impl Inlet {
    #[must_use]
    pub fn new() -> (Self, Arrivals) {
        let (queue, arrivals) = mpsc::unbounded_channel();
        let inlet = Self {
            items: Arc::new(Semaphore::new(ITEMS_LEN)),
            frames: Arc::new(Semaphore::new(FRAMES_LEN)),
            other: Arc::new(Semaphore::new(OTHER_LEN)),
            queue,
        };
        (inlet, arrivals)
    }

    /// Hands a message to the job. A job that is over drops it.
    pub fn take(&self, message: FromAgent, body_len: u64) -> Result<(), Breach> {
        let beside = |len: u64| len.saturating_add(OVERHEAD_LEN);
        let (what, window, limit, len) = match &message {
            FromAgent::Items(items) => ("items", &self.items, ITEMS_LEN, items.weight()),
            FromAgent::Frame(_) => ("frames", &self.frames, FRAMES_LEN, beside(body_len)),
            _ => ("messages", &self.other, OTHER_LEN, beside(body_len)),
        };
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
    use keelhold_wire::{Item, Items, Started};

    #[test]
    fn more_than_the_window_is_a_breach_and_room_comes_back() {
        let (inlet, mut arrivals) = Inlet::new();
        // What waits is counted, not what travelled: these are two bytes each.
        let item = Item::EntryMore { extents: Vec::new() };
        let items = || FromAgent::Items(Items { job: 1, seq: 1, items: vec![item.clone(); 4_096] });
        let mut taken = 0;
        while inlet.take(items(), 8 << 10).is_ok() {
            taken += 1;
        }
        assert!((20..=30).contains(&taken), "{taken}");
        // Another kind has its own room.
        inlet.take(FromAgent::Started(Started { job: 1 }), 8).unwrap();
        drop(arrivals.try_recv().unwrap());
        inlet.take(items(), 8 << 10).unwrap();
    }
}
