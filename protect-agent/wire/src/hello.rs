//! The greeting, and what both sides say at any time.

use crate::field::fields;
use crate::limits::{NAME_LEN_MAX, TEXT_LEN_MAX};

/// First message of an agent. Its bytes never change, whatever the version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    pub version_min: u32,
    pub version_max: u32,
    pub agent_version: String,
    pub hostname: String,
    /// The kernel's boot id: a machine that came back after a crash is told from one that was away.
    pub boot_id: [u8; 16],
}

fields!(Hello {
    version_min,
    version_max,
    agent_version: text(NAME_LEN_MAX),
    hostname: text(NAME_LEN_MAX),
    boot_id,
});

/// The server's answer to a `Hello` it accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    pub version: u32,
    pub server_version: String,
    /// What the server calls this machine.
    pub machine_name: String,
    /// The server's clock, in nanoseconds since 1970. Nothing is decided by it on the machine.
    pub now: i64,
}

fields!(Welcome {
    version,
    server_version: text(NAME_LEN_MAX),
    machine_name: text(NAME_LEN_MAX),
    now,
});

/// What was refused, why, and what to do next: the body of every negative answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Shown as `KH-E####`.
    pub code: u32,
    pub message: String,
    pub hint: String,
}

fields!(Refusal { code, message: text(TEXT_LEN_MAX), hint: text(TEXT_LEN_MAX) });

impl Refusal {
    #[must_use]
    pub fn new(code: u32, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: hint.into() }
    }

    /// The code as people see it.
    #[must_use]
    pub fn label(&self) -> String {
        format!("KH-E{:04}", self.code)
    }
}

/// Asks whether the other side is there; `Pong` repeats the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ping {
    pub number: u64,
}

fields!(Ping { number });

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pong {
    pub number: u64,
}

fields!(Pong { number });
