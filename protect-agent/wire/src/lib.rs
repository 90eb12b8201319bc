//! The protocol between agent and daemon. `PROTOCOL.md` beside this crate is its description for
//! people; the versions and their changes are in [`version`].
//!
//! ```text
//!   agent                                server
//!     | -- Hello ------------------------> |
//!     | <------------- Welcome | Refuse -- |
//!     | <-------------------- StartBackup- |   any number of jobs, each on its own
//!     | -- Started | Declined -----------> |
//!     | -- Items (entries are offers) ---> |   held back by Credit
//!     | <-------------------------- Want - |
//!     | -- Frame (what was wanted) ------> |   held back by Credit
//!     | -- Skipped, Progress ------------> |
//!     | -- Finish -----------------------> |
//!     | <------------ Committed | Failed - |
//! ```
//!
//! A restore is the same stream with the roles exchanged. A job ends with its connection; what the
//! pool has of it is kept by the session, so a repeated job costs a walk and not the transfer.
//!
//! Encodings are written by hand with the primitives of `keelhold_chunk::codec` and are canonical.
//! Decoders never panic and never take more memory than a small multiple of what arrived.

#![cfg_attr(not(test), deny(clippy::indexing_slicing))]
#![forbid(unsafe_code)]

pub mod address;
pub mod backup;
pub mod control;
pub mod demands;
pub mod enroll;
pub mod error;
mod field;
pub mod header;
pub mod hello;
pub mod io;
pub mod items;
pub mod limits;
pub mod message;
pub mod mounts;
pub mod pin;
pub mod refs;
pub mod restore;
pub mod token;
pub mod transcript;
pub mod version;

pub use address::ServerAddress;
pub use backup::{
    BackupStats, Basis, Cancel, Committed, Finish, JobRefusal, Mode, Progress, SkipReason, Skipped,
    SkippedEntry, Source, SourceKind, StartBackup, Started, TreeSource,
};
pub use control::{Answer, Ask, Outcome, Renew, Renewed, Wish};
pub use demands::{Condition, Consistency, Demands, LinkCost, Log, Power, Reached};
pub use enroll::{Enroll, Enrolled};
pub use error::WireError;
pub use hello::{Hello, Ping, Pong, Refusal, Welcome};
pub use io::{ReceiveError, Receiver, Sender};
pub use items::{Content, Extent, Item, Items};
pub use message::{FromAgent, FromNewcomer, FromServer, Message, ToNewcomer};
pub use mounts::{FileSystems, MountedFileSystem};
pub use pin::CaPin;
pub use refs::{Codec, Credit, Frame, Run, Runs, Want};
pub use restore::{ItemsEnd, OnClash, RestoreStats, Restored, StartRestore};
pub use token::Token;
pub use version::{ALPN_AGENT, ALPN_ENROLL, SERVER_NAME, Version};

#[cfg(test)]
mod tests;
