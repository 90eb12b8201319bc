//! Each protection left out is noticed.

use super::*;
use crate::mutants::{Mutant, without};

fn dies(mutant: Mutant, run: fn()) {
    let survived = without(mutant, || std::panic::catch_unwind(run).is_ok());
    assert!(!survived, "{mutant:?} is not noticed");
}

#[test]
fn every_mutant_of_shipping_is_caught() {
    dies(Mutant::ManifestLast, kills::killed_at_every_request);
    dies(Mutant::LeftoverProof, faults::false_leftovers);
    dies(Mutant::WholeId, faults::similar_ids);
    dies(Mutant::LocalCheck, faults::damaged_local_files);
}
