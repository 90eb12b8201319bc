//! Policy: what is backed up when, and what is kept how long.
//!
//! Everything here is a function of data and `now`. No clock is read, nothing is written, no thread
//! is started and nothing is drawn by chance; the zone database is the only thing looked up. So a
//! year of an appliance passes in a test in a moment.
//!
//! | module | what it knows |
//! |---|---|
//! | [`calendar`] | when something happens, on the wall clock of a zone |
//! | [`chain`] | how long backups of a database must stay for what depends on them |
//! | [`count`] | what other products would keep, and their rules in ours |
//! | [`goal`] | protection groups: what is to be reached, as text and as a model |
//! | [`retain`] | which points are kept, why, and until when |
//! | [`schedule`] | what starts now, what waits, what was missed; what runs next |
//! | [`trash`] | how long what was deleted can be brought back |

pub mod calendar;
pub mod chain;
pub mod count;
pub mod goal;
pub mod mutants;
pub mod retain;
pub mod schedule;
pub mod trash;
