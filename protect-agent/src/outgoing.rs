//! The way out of a connection that jobs share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use keelhold_wire::Version;
use tokio::sync::mpsc;

/// Messages that may wait for the connection; together with their length a bound on memory.
const WAITING_COUNT: usize = 16;

/// Hands whole messages to the connection's writer, in order.
#[derive(Debug, Clone)]
pub struct Outgoing {
    messages: mpsc::Sender<Vec<u8>>,
    version: Arc<AtomicU16>,
}

/// The connection has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

impl Outgoing {
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Vec<u8>>) {
        let (messages, writer) = mpsc::channel(WAITING_COUNT);
        let version = Arc::new(AtomicU16::new(Version::OLDEST.number()));
        (Self { messages, version }, writer)
    }

    /// The greeting has chosen.
    pub fn agreed(&self, version: Version) {
        self.version.store(version.number(), Ordering::Relaxed);
    }

    /// Whether the server understands what `version` added.
    #[must_use]
    pub fn speaks(&self, version: Version) -> bool {
        self.version.load(Ordering::Relaxed) >= version.number()
    }

    /// Waits for room. `message` is what `Message::to_bytes` made.
    pub async fn send(&self, message: Vec<u8>) -> Result<(), Closed> {
        self.messages.send(message).await.map_err(|_| Closed)
    }
}
