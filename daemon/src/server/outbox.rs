//! Messages on their way to an agent: a bounded queue and the task that writes it.

use keelhold_wire::header::HEADER_LEN;
use keelhold_wire::{FromServer, Message as _, Sender};
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;

/// Messages that wait for the network before their makers do.
const QUEUE_LEN: usize = 32;

/// The connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

#[derive(Debug, Clone)]
pub struct Outbox {
    /// Whole messages, header included.
    queue: mpsc::Sender<Vec<u8>>,
}

impl Outbox {
    /// An outbox and the queue for [`write_out`].
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Vec<u8>>) {
        let (queue, messages) = mpsc::channel(QUEUE_LEN);
        (Self { queue }, messages)
    }

    /// Gives the length of the message's body, which is what windows count.
    pub async fn send(&self, message: FromServer) -> Result<u64, Gone> {
        let bytes = message.to_bytes();
        let body_len = (bytes.len() - HEADER_LEN) as u64;
        self.queue.send(bytes).await.map_err(|_| Gone)?;
        Ok(body_len)
    }
}

/// Writes messages until nobody can send any more, then closes the stream in order.
pub async fn write_out<W: AsyncWrite + Unpin>(
    mut sender: Sender<W>,
    mut messages: mpsc::Receiver<Vec<u8>>,
) -> std::io::Result<()> {
    while let Some(message) = messages.recv().await {
        sender.send_bytes(&message).await?;
        while let Ok(message) = messages.try_recv() {
            sender.send_bytes(&message).await?;
        }
        sender.flush().await?;
    }
    sender.close().await
}
