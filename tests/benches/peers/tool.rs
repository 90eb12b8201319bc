//! What every tool under measurement can do.

use std::path::{Path, PathBuf};

/// Two machines with much the same files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    First,
    Second,
}

#[derive(Debug, Clone)]
pub struct Trees {
    pub first: PathBuf,
    pub second: PathBuf,
}

impl Trees {
    pub fn of(&self, machine: Machine) -> &Path {
        match machine {
            Machine::First => &self.first,
            Machine::Second => &self.second,
        }
    }
}

/// Largest resident memory in a step.
#[derive(Debug, Clone, Copy, Default)]
pub struct Peaks {
    pub agent: u64,
    pub daemon: u64,
}

pub trait Tool {
    fn name(&self) -> &'static str;
    /// Processes that live longer than a step and work for it.
    fn pids(&self) -> Vec<u32> {
        Vec::new()
    }
    fn forget_peaks(&self) {}
    fn peaks(&self) -> Option<Peaks> {
        None
    }
    /// Bytes that crossed the network so far, in both directions.
    fn wire_bytes(&self) -> Option<u64> {
        None
    }
    fn backup(&mut self, machine: Machine);
    /// Whether it takes part in the ten days.
    fn is_daily(&self) -> bool {
        true
    }
    /// The first machine's newest point, whole, to an empty place that it names.
    fn restore(&mut self) -> PathBuf;
    /// The same through whatever runs on the machine.
    fn restore_through_agent(&mut self) -> Option<PathBuf> {
        None
    }
    /// The content of one file of the first machine's newest point; the path is relative.
    fn one_file(&mut self, path: &Path) -> Vec<u8>;
    /// What has to be so for [`Tool::verify`], and is not measured.
    fn before_verify(&mut self) {}
    /// Everything that is stored is read and proved.
    fn verify(&mut self);
    fn after_verify(&mut self) {}
    /// Bytes that the repository or pool takes.
    fn stored(&self) -> u64;
    /// Of the daemon's memory, what grows with the chunks stored.
    fn index_bytes(&self) -> Option<u64> {
        None
    }
    /// What its owner should know at the end.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}
