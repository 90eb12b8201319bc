//! Each protection left out is noticed.

use super::*;
use crate::mutants::{Mutant, without};

fn dies(mutant: Mutant, run: fn()) {
    let survived = without(mutant, || std::panic::catch_unwind(run).is_ok());
    assert!(!survived, "{mutant:?} is not noticed");
}

#[test]
fn every_mutant_of_deleting_is_caught() {
    dies(Mutant::PruneMargin, || history::histories(20));
    dies(Mutant::PruneOrphans, under_way);
    dies(Mutant::PruneLeaf, damaged_leaf);
}
