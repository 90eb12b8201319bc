//! Messages on their way to an agent: a bounded queue and the task that writes it.

use keelhold_wire::limits::IDLE_SECONDS;
use keelhold_wire::{FromServer, Sender};
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;

/// Messages that wait for the network before their makers do.
const QUEUE_LEN: usize = 32;

/// The connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

#[derive(Debug, Clone)]
pub struct Outbox {
    queue: mpsc::Sender<FromServer>,
}

impl Outbox {
    /// An outbox and the queue for [`write_out`].
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<FromServer>) {
        let (queue, messages) = mpsc::channel(QUEUE_LEN);
        (Self { queue }, messages)
    }

    pub async fn send(&self, message: FromServer) -> Result<(), Gone> {
        self.queue.send(message).await.map_err(|_| Gone)
    }
}

/// A machine that takes nothing for so long has gone, or means no good.
async fn in_time<T>(write: impl Future<Output = std::io::Result<T>>) -> std::io::Result<T> {
    let limit = Duration::from_secs(IDLE_SECONDS);
    let late = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
    tokio::time::timeout(limit, write).await.map_err(late)?
}

/// Writes messages until nobody can send any more, then closes the stream in order.
pub async fn write_out<W: AsyncWrite + Unpin>(
    mut sender: Sender<W>,
    mut messages: mpsc::Receiver<FromServer>,
) -> std::io::Result<()> {
    while let Some(message) = messages.recv().await {
        in_time(sender.send(&message)).await?;
        while let Ok(message) = messages.try_recv() {
            in_time(sender.send(&message)).await?;
        }
        in_time(sender.flush()).await?;
    }
    in_time(sender.close()).await
}
