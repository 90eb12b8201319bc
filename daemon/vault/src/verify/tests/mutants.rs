//! Each protection left out is noticed.

use crate::mutants::{Mutant, without};

#[test]
fn every_mutant_of_reading_is_caught() {
    let dies = |mutant: Mutant, run: fn()| {
        let survived = without(mutant, || std::panic::catch_unwind(run).is_ok());
        assert!(!survived, "{mutant:?} is not noticed");
    };
    dies(Mutant::ChunkIds, super::an_index_that_misleads_is_noticed);
    dies(Mutant::SpanDigests, super::an_index_that_misleads_is_noticed);
    dies(Mutant::LeafEntries, super::verifying_holds_the_index_against_the_objects);
    dies(Mutant::FrameIndex, crate::format::frames_stay_where_they_are);
    dies(Mutant::FirstVersion, crate::read::tests::thief::what_lies_on_top_hides_nothing);
}
