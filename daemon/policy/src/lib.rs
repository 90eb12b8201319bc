//! Policy: what is backed up when, and what is kept how long.
//!
//! Everything here is a function of data and `now`. No clock is read, nothing is written, no thread
//! is started and nothing is drawn by chance; the zone database is the only thing looked up. So a
//! year of an appliance passes in a test in a moment.
//!
//! | module | what it knows |
//! |---|---|
//! | [`calendar`] | when something happens, on the wall clock of a zone |
//! | [`goal`] | protection groups: what is to be reached, as text and as a model |
//! | [`retain`] | which points are kept, why, and until when |
//! | [`schedule`] | what starts now, what waits, what was missed; what runs next |

pub mod calendar;
pub mod goal;
pub mod mutants;
pub mod retain;
pub mod schedule;
