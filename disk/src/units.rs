//! Identities and quantities of the pool. Each is its own type, so that a byte offset cannot stand
//! where a chunk number is meant.

use std::fmt;

/// Everything on a disk is aligned to this many bytes: a multiple of every logical block size in use.
pub const BLOCK: usize = 4096;
pub const BLOCK_U64: u64 = BLOCK as u64;

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

id_type!(
    /// A pool. Numbers and places mean something only together with it.
    PoolId
);
id_type!(
    /// One disk of a pool, written in its label; never a path.
    DiskId
);
id_type!(
    /// A recovery point: made once, the same after every rebuild and import.
    PointId
);
id_type!(
    /// A data source: one thing protected on one machine.
    SourceId
);
id_type!(
    /// A trust domain: data sources that may share frames and be told of each other's chunks.
    DomainId
);
id_type!(
    /// One agent's backup in progress, running or parked.
    SessionId
);

/// Name of a chunk inside one pool: given in order, never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkNumber(pub u64);

impl ChunkNumber {
    /// Numbers stay below this: the index keeps them in 40 bits (4 PiB ever written at 4 KiB a chunk).
    pub const LIMIT: u64 = 1 << 40;

    #[must_use]
    pub fn plus(self, count: u64) -> Self {
        Self(self.0 + count)
    }
}

impl fmt::Debug for ChunkNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl fmt::Display for ChunkNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Nanoseconds since 1970 as the caller's clock shows them. The engine reads no clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct UnixNanos(pub i64);

/// A chunk as somebody names it: identity and plain length.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ChunkRef {
    pub id: keelhold_chunk::ChunkId,
    pub len: u32,
}
