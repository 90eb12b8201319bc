//! Every protection of the policy left out in turn: some test must notice.

use keelhold_policy::mutants::{Mutant, Mutants};

use super::{Verdict, attack, beside, year};

fn check_of(mutant: Mutant) -> (&'static str, fn(Mutants) -> Verdict) {
    match mutant {
        Mutant::Collapse | Mutant::HandledSlots | Mutant::RepeatedHour => {
            ("weeks around the changes", |mutants| year::around_changes(8, mutants))
        }
        Mutant::Deadline => ("a source that never ran", year::never_ran),
        Mutant::Reigns => ("attacks of clocks", |mutants| {
            (0..10).try_for_each(|seed| attack::attack(seed, mutants).map(drop))
        }),
        Mutant::OneOfASource => ("one job at a time", |mutants| {
            (0..10).try_for_each(|seed| beside::one_at_a_time(seed, mutants).map(drop))
        }),
        other => unreachable!("{other:?} is not of the schedule"),
    }
}

#[test]
fn every_mutant_of_the_policy_is_caught() {
    let mut free = Vec::new();
    for mutant in Mutant::OF_SCHEDULE {
        let (name, check) = check_of(mutant);
        check(Mutants::default())
            .unwrap_or_else(|words| panic!("{name} without a mutant: {words}"));
        match check(Mutants::without(mutant)) {
            Err(words) => println!("{mutant:?}: caught by {name}: {words}"),
            Ok(()) => free.push(mutant),
        }
    }
    assert!(free.is_empty(), "nothing notices {free:?}");
}
