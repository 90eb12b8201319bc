//! Why bytes from the peer were not accepted. Every variant ends the connection.

use keelhold_chunk::DecodeError;
use thiserror::Error;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WireError {
    #[error("message of kind {kind:#04x} claims {len} bytes, {limit} are allowed")]
    TooLong { kind: u8, len: u32, limit: usize },
    #[error("message of kind {kind:#04x} has reserved bits set")]
    Reserved { kind: u8 },
    #[error(
        "message of kind {kind:#04x} has checksum {found:#010x}, its header says {expected:#010x}"
    )]
    Checksum { kind: u8, expected: u32, found: u32 },
    #[error("kind {kind:#04x} is not a message this side may receive")]
    UnknownKind { kind: u8 },
    #[error("body of message {kind:#04x} is malformed")]
    Body {
        kind: u8,
        #[source]
        error: DecodeError,
    },
}
