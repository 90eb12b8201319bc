//! The way out of a connection that jobs share.

use tokio::sync::mpsc;

/// Messages that may wait for the connection; together with their length a bound on memory.
const WAITING_COUNT: usize = 16;

/// Hands whole messages to the connection's writer, in order.
#[derive(Debug, Clone)]
pub struct Outgoing {
    messages: mpsc::Sender<Vec<u8>>,
}

/// The connection has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

impl Outgoing {
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Vec<u8>>) {
        let (messages, writer) = mpsc::channel(WAITING_COUNT);
        (Self { messages }, writer)
    }

    /// Waits for room. `message` is what `Message::to_bytes` made.
    pub async fn send(&self, message: Vec<u8>) -> Result<(), Closed> {
        self.messages.send(message).await.map_err(|_| Closed)
    }
}
