//! How fast bytes may leave: asked for every piece of a body, not once for the whole.

use std::fmt::Debug;

use bytes::Bytes;
use futures_util::future::BoxFuture;

/// Longest piece that leaves at once.
const PIECE_LEN: usize = 64 << 10;

/// When bytes may leave. Shared by everything that is limited together.
pub trait Pace: Debug + Send + Sync {
    /// Waits until something may leave, and says how much: at least one byte, at most `most`.
    fn take(&self, most: u64) -> BoxFuture<'_, u64>;
}

/// Cuts off what may leave next; `None` when all has left.
pub(super) async fn next_piece(pace: &dyn Pace, rest: &mut Bytes) -> Option<Bytes> {
    let most = rest.len().min(PIECE_LEN);
    if most == 0 {
        return None;
    }
    let taken = usize::try_from(pace.take(most as u64).await).unwrap_or(most);
    Some(rest.split_to(taken.clamp(1, most)))
}
