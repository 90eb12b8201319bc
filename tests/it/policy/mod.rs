//! Policy: calendars beside systemd's, and the scheduler beside a naive one that walks minute by
//! minute.

mod attack;
mod beside;
mod calendars;
mod mutants;
mod naive;
mod year;

/// What a check found: nothing, or words.
type Verdict<T = ()> = Result<T, String>;
