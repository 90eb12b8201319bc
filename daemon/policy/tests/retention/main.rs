//! Retention held to the decided cases by name, and to a slow calculation of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod chains;
mod counts;
mod dice;
mod groups;
mod mutants;
mod oracle;
mod probe;
mod random;
mod vectors;
mod walk;
