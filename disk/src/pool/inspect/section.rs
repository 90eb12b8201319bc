//! What an inspection says, for whoever prints it: structures with their facts, and what is wrong with
//! them.

use crate::format::Place;

/// A structure, or a group of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Section {
    pub what: String,
    pub place: Option<Place>,
    pub len: Option<u64>,
    pub facts: Vec<(String, Fact)>,
    /// Why it is not believed. Empty: nothing is wrong with it.
    pub faults: Vec<String>,
    pub parts: Vec<Section>,
}

/// One thing that is known about a structure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    Number(u64),
    /// Nanoseconds since 1970.
    Time(i64),
    Bytes(Vec<u8>),
    Text(String),
    Flag(bool),
}

impl Section {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), ..Self::default() }
    }

    pub(super) fn at(mut self, place: Place, len: u64) -> Self {
        (self.place, self.len) = (Some(place), Some(len));
        self
    }

    pub(super) fn fact(mut self, name: impl Into<String>, fact: impl Into<Fact>) -> Self {
        self.facts.push((name.into(), fact.into()));
        self
    }

    pub(super) fn time(self, name: &str, nanos: i64) -> Self {
        self.fact(name, Fact::Time(nanos))
    }

    pub(super) fn fault(mut self, fault: impl Into<String>) -> Self {
        self.faults.push(fault.into());
        self
    }

    pub(super) fn part(mut self, part: Self) -> Self {
        self.parts.push(part);
        self
    }

    /// Whether nothing is wrong with it or with any part of it.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty() && self.parts.iter().all(Self::is_sound)
    }
}

impl From<u64> for Fact {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Fact {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<usize> for Fact {
    fn from(number: usize) -> Self {
        Self::Number(number as u64)
    }
}

impl From<bool> for Fact {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<&str> for Fact {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Fact {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl<const N: usize> From<[u8; N]> for Fact {
    fn from(bytes: [u8; N]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

/// An error with everything behind it.
pub(super) fn words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let clause = cause.to_string();
        if !words.ends_with(&clause) {
            words = format!("{words}: {clause}");
        }
        source = cause.source();
    }
    words
}
