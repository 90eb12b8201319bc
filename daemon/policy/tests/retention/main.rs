//! Retention held to the decided cases by name, and to a slow calculation of its own.

mod chains;
mod counts;
mod dice;
mod groups;
mod mutants;
mod oracle;
mod probe;
mod random;
mod vectors;
