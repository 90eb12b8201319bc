//! Each protection left out is noticed.

use super::*;
use crate::mutants::{Mutant, without};

fn dies(mutant: Mutant, run: fn()) {
    let survived = without(mutant, || std::panic::catch_unwind(run).is_ok());
    assert!(!survived, "{mutant:?} is not noticed");
}

#[test]
fn every_mutant_of_the_chain_is_caught() {
    dies(Mutant::Rollback, opens::a_vault_that_was_set_back_is_refused);
    dies(Mutant::ParentLink, opens::a_broken_lineage_is_told);
    dies(Mutant::BaseLink, opens::a_lost_or_altered_base_is_named);
    dies(Mutant::ReadBack, commits::a_number_that_was_not_given_is_not_taken);
    dies(Mutant::ClaimAlone, || writers::races(false).unwrap());
    dies(Mutant::GonePast, commits::a_number_that_became_free_again_is_not_taken);
    dies(Mutant::Overtaken, || writers::races(true).unwrap());
}
