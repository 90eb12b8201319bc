//! The vault: what leaves the appliance, under which keys, and how it is found again. Every byte and
//! the order of writing are in `VAULT.md`.
//!
//! The crate reads no clock, starts no thread and draws no randomness: what it needs of these is given
//! to it.

#![forbid(unsafe_code)]
