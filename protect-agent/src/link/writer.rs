//! Writes what the jobs and the link have to say, in the order they said it.

use keelhold_wire::Sender;
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;

/// Ends when nobody can send any more, or when the connection takes no more.
pub(super) async fn write<W: AsyncWrite + Unpin>(stream: W, mut messages: mpsc::Receiver<Vec<u8>>) {
    let mut sender = Sender::new(stream);
    while let Some(message) = messages.recv().await {
        if sender.send_bytes(&message).await.is_err() {
            return;
        }
        // Small messages that come together leave together.
        while let Ok(message) = messages.try_recv() {
            if sender.send_bytes(&message).await.is_err() {
                return;
            }
        }
        if sender.flush().await.is_err() {
            return;
        }
    }
    // The other side sees an orderly end; if it is gone already there is nothing to tell.
    let _ = sender.close().await;
}
