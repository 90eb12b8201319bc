//! Protections that can be switched off, one at a time, in a build made for it: a test that does not
//! notice is no test. Without the feature `mutants` every question here is a constant.

/// A protection to leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// The journal entry is written though what it names was not flushed.
    PayloadFlush,
    /// The caller is told before the journal entry was flushed.
    JournalFlush,
    /// Span digests are not compared.
    SpanDigest,
    /// Chunk bytes are not compared with their id.
    ChunkId,
    /// What an agent sends is believed without hashing it.
    IncomingId,
    /// "Have" is answered for chunks of any machine.
    ForeignHave,
    /// Numbers are used before their block is journaled.
    Lease,
    /// The superblock is moved before the checkpoint is flushed.
    CheckpointFlush,
    /// One superblock copy suffices for a new root.
    Quorum,
    /// A flush counts also for writes that had not ended when it began, and one under way counts
    /// as one that ended.
    FlushCover,
    /// A run of the state is believed without the checksum its reference names.
    StateCheck,
    /// A frame's stored bytes are not compared with their hash.
    FrameHash,
    /// Journal entries of an earlier opening of the pool count.
    JournalEpoch,
    /// A journal entry counts though it does not follow the one before it.
    JournalChain,
    /// Behind the last whole journal entry nothing is looked for.
    JournalHole,
    /// A block of numbers that was in use when the pool went down is used on.
    LeaseAfterCrash,
    /// What the newest root refers to may be overwritten.
    RootPinned,
    /// A chunk that was given up while it was looked for counts as there.
    FoundIsThere,
    /// What a session was told to exist may be reclaimed.
    SessionPins,
    /// What only the trash holds may be reclaimed.
    TrashPins,
    /// A container is freed though something in it is needed.
    FreeOnlyDead,
    /// Compaction moves what it has not proved.
    MovedIsProved,
    /// The slot of a freed container is taken again at once.
    FreedRests,
    /// A slot is given away while somebody reads in it.
    ReaderPins,
    /// A chunk that is lost counts as there.
    LostIsAsked,
    /// Every run is sealed under the same salt.
    RunSalt,
    /// The checksum of a run does not know the salt of its container.
    ContainerSalt,
    /// What is sealed is not bound to its place.
    SealPlace,
    /// What was on its way to a failed disk counts as stored.
    LostRuns,
    /// The journal goes on at one place when the other failed.
    JournalMove,
    /// Of several confirmed roots the first that is met counts: that of a stale disk may win.
    StaleDisk,
    /// Halves that were written apart from each other are opened together.
    SplitHalves,
    /// What is copied to another disk is not proved before.
    HealProof,
    /// Sheets of the index are believed to be complete when a pool is opened.
    SheetsHaveAll,
    /// Sheets that were joined keep the sieve of one of them.
    JoinedSieve,
    /// Memory forgets what a sheet will have before the root that names the sheet is durable.
    MemoryUntilRoot,
    /// What leaves the pool is not compared with the ids.
    ShippedIsProved,
}

impl Mutant {
    pub const ALL: [Self; 37] = [
        Self::PayloadFlush,
        Self::JournalFlush,
        Self::SpanDigest,
        Self::ChunkId,
        Self::IncomingId,
        Self::ForeignHave,
        Self::Lease,
        Self::CheckpointFlush,
        Self::Quorum,
        Self::FlushCover,
        Self::StateCheck,
        Self::FrameHash,
        Self::JournalEpoch,
        Self::JournalChain,
        Self::JournalHole,
        Self::LeaseAfterCrash,
        Self::RootPinned,
        Self::FoundIsThere,
        Self::SessionPins,
        Self::TrashPins,
        Self::FreeOnlyDead,
        Self::MovedIsProved,
        Self::FreedRests,
        Self::ReaderPins,
        Self::LostIsAsked,
        Self::RunSalt,
        Self::ContainerSalt,
        Self::SealPlace,
        Self::LostRuns,
        Self::JournalMove,
        Self::StaleDisk,
        Self::SplitHalves,
        Self::HealProof,
        Self::SheetsHaveAll,
        Self::JoinedSieve,
        Self::MemoryUntilRoot,
        Self::ShippedIsProved,
    ];
}

/// The protection left out in this pool, if any.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mutants {
    #[cfg(feature = "mutants")]
    left_out: Option<Mutant>,
}

impl Mutants {
    #[cfg(feature = "mutants")]
    #[must_use]
    pub fn without(mutant: Mutant) -> Self {
        Self { left_out: Some(mutant) }
    }

    /// Whether the protection is in place.
    #[cfg(feature = "mutants")]
    pub(crate) fn keeps(self, mutant: Mutant) -> bool {
        self.left_out != Some(mutant)
    }

    #[cfg(not(feature = "mutants"))]
    #[inline]
    pub(crate) const fn keeps(self, _mutant: Mutant) -> bool {
        true
    }
}
