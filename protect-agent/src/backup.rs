//! One backup session, from the walk to the point.
//!
//! ```text
//!   walk ──> plan ──┬─ unchanged: a run of ordinals ───────────┐
//!  (threads)        ├─ small: a group of entries ─> readers ───┼──> stream ──> connection
//!                   └─ large: pieces, in order ──> its thread ─┘      │  ^
//!                                                                     │  └── wants, credits
//!                                              compressors <── frames ┘
//! ```
//!
//! `plan` decides in path order and takes every permit in that order, so whatever the stream waits
//! for next has all it needs: no bound can lock the parts against each other. Memory is the sum of
//! the constants in [`bounds`], whatever the tree. The stream alone talks to the server, and it is
//! the only part that knows about windows.

mod around;
mod bounds;
mod budget;
mod compress;
mod large;
mod links;
mod offer;
mod pack;
mod pieces;
mod plan;
mod queue;
mod read;
mod reading;
mod remember;
mod ring;
mod run;
mod skips;
mod stream;
mod view;
mod window;

pub use pieces::DataReads;
pub(crate) use queue::Queue;
pub use run::{BackupEnd, BackupError, Context, run};
