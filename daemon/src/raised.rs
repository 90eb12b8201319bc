//! Signals that are given once: stop, end, cancel.

use tokio::sync::watch;

/// Waits until the signal is given, or until nobody can give it any more.
pub async fn raised(signal: &mut watch::Receiver<bool>) {
    // The guard of the value must not live on beyond this.
    let _ = signal.wait_for(|raised| *raised).await;
}
