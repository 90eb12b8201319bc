//! Protections that can be left out, one at a time, in a build made for it: a test that does not notice
//! is no test. Without the feature `mutants` every question here is a constant.

/// A protection to leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// A vault that was set back is taken for what it is now.
    Rollback,
    /// Manifests between the newest and the one that was seen are not compared with who names them.
    ParentLink,
    /// A difference is applied to whatever has the number of its base.
    BaseLink,
    /// What was created counts without having been read.
    ReadBack,
    /// A number is taken whoever else wants it.
    ClaimAlone,
    /// What somebody else added meanwhile is passed over.
    Overtaken,
    /// A manifest counts although somebody went past its number while it was written.
    GonePast,
    /// The manifest does not wait for the objects it names.
    ManifestLast,
    /// What an interrupted shipment left is believed by its head.
    LeftoverProof,
    /// A chunk is in the vault if one is whose id begins alike.
    WholeId,
    /// A local index file is believed without its checksums.
    LocalCheck,
    /// Bytes are served under whatever id the index says.
    ChunkIds,
    /// Chunks are served whatever a page or span says they are.
    SpanDigests,
    /// A frame opens wherever in its object it lies.
    FrameIndex,
    /// What lies on top of an object is all that is read.
    FirstVersion,
    /// Verifying does not hold the index against the objects.
    LeafEntries,
    /// Only what the newest manifest and its base name is kept when objects are deleted.
    PruneMargin,
    /// What no manifest names is deleted, whether its shipment is over or not.
    PruneOrphans,
    /// A leaf that cannot be read names nothing.
    PruneLeaf,
    /// What the next manifest may promise is given before the locks are.
    LeaseFirst,
}

impl Mutant {
    pub const ALL: [Self; 20] = [
        Self::Rollback,
        Self::ParentLink,
        Self::BaseLink,
        Self::ReadBack,
        Self::ClaimAlone,
        Self::Overtaken,
        Self::GonePast,
        Self::ManifestLast,
        Self::LeftoverProof,
        Self::WholeId,
        Self::LocalCheck,
        Self::ChunkIds,
        Self::SpanDigests,
        Self::FrameIndex,
        Self::FirstVersion,
        Self::LeafEntries,
        Self::PruneMargin,
        Self::PruneOrphans,
        Self::PruneLeaf,
        Self::LeaseFirst,
    ];
}

#[cfg(feature = "mutants")]
thread_local! {
    static LEFT_OUT: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Runs something on this thread without one protection.
#[cfg(feature = "mutants")]
pub fn without<T>(mutant: Mutant, run: impl FnOnce() -> T) -> T {
    struct Back;
    impl Drop for Back {
        fn drop(&mut self) {
            LEFT_OUT.set(None);
        }
    }
    LEFT_OUT.set(Some(mutant));
    let _back = Back;
    run()
}

/// Whether the protection is in place.
#[cfg(feature = "mutants")]
pub(crate) fn keeps(mutant: Mutant) -> bool {
    LEFT_OUT.get() != Some(mutant)
}

#[cfg(not(feature = "mutants"))]
#[inline]
pub(crate) const fn keeps(_mutant: Mutant) -> bool {
    true
}
