//! How often what was done.

use std::collections::BTreeMap;
use std::fmt;

#[derive(Debug, Default, Clone)]
pub struct Tally {
    pub operations: BTreeMap<&'static str, u64>,
    pub faults: BTreeMap<String, u64>,
    /// What became of operations and openings under faults.
    pub outcomes: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub fn count(&mut self, operation: &'static str) {
        *self.operations.entry(operation).or_default() += 1;
    }

    pub fn outcome(&mut self, outcome: &'static str) {
        *self.outcomes.entry(outcome).or_default() += 1;
    }

    pub fn fault(&mut self, fault: String, times: u64) {
        *self.faults.entry(fault).or_default() += times;
    }

    pub fn add(&mut self, other: &Self) {
        for (name, count) in &other.operations {
            *self.operations.entry(name).or_default() += count;
        }
        for (name, count) in &other.faults {
            *self.faults.entry(name.clone()).or_default() += count;
        }
        for (name, count) in &other.outcomes {
            *self.outcomes.entry(name).or_default() += count;
        }
    }

    pub fn operation_count(&self) -> u64 {
        self.operations.values().sum()
    }

    /// What was done more seldom than `least`, and what struck more seldom than `least_faults`.
    pub fn rare(&self, least: u64, least_faults: u64) -> Vec<String> {
        let operations = self.operations.iter().map(|(name, count)| (name.to_string(), *count));
        let faults = self.faults.iter().map(|(name, count)| (name.clone(), *count));
        let operations = operations.filter(|(_, count)| *count < least);
        let rare = operations.chain(faults.filter(|(_, count)| *count < least_faults));
        rare.map(|(name, count)| format!("{name} {count}")).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |f: &mut fmt::Formatter<'_>, name: &str, count: &u64| {
            writeln!(f, "    {name:<28} {count:>9}")
        };
        writeln!(f, "  operations ({} in sum)", self.operation_count())?;
        self.operations.iter().try_for_each(|(name, count)| row(f, name, count))?;
        writeln!(f, "  faults")?;
        self.faults.iter().try_for_each(|(name, count)| row(f, name, count))?;
        writeln!(f, "  outcomes")?;
        self.outcomes.iter().try_for_each(|(name, count)| row(f, name, count))
    }
}
