//! What the pool and the agent must agree on bit by bit.
//!
//! - [`id`]: a chunk is named by the keyed hash of its content, so nobody outside the appliance can
//!   tell from a name what a chunk holds, and nobody inside can offer other bytes under that name.
//! - [`cut`]: where a stream of bytes is cut into chunks. Cut points are format: another cutter
//!   stores everything a second time.
//! - [`entry`]: how one file or directory of a tree is written down. The agent makes these bytes,
//!   the pool keeps them in pages and never changes them.
//! - [`codec`]: the few primitives all of these encodings are made of.
//!
//! The crate is pure: no clock, no randomness, no I/O.

pub mod codec;
pub mod cut;
pub mod entry;
pub mod id;

pub use codec::{DecodeError, Reader, Writer};
pub use entry::{Attributes, Kind, LinkGroup, Timestamp, Xattr};
pub use id::{ChunkId, IdKey, SpanDigest};
