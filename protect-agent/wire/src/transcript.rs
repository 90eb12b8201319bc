//! A conversation as text: one message a line, for golden tests and for people who look for a fault.
//!
//! ```text
//! agent  Hello 1500000001000000…
//! server Welcome 0a000000…
//! ```
//!
//! A line begins with who speaks, then the name of the message and all its bytes in hexadecimal.
//! Empty lines and what follows `#` are for the reader.

use std::fmt::Write;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use thiserror::Error;

use crate::error::WireError;
use crate::header::{HEADER_LEN, Header};
use crate::limits::BODY_LEN_MAX;
use crate::message::{FromAgent, FromServer, Message};

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Agent(FromAgent),
    Server(FromServer),
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TranscriptError {
    #[error("line {line} does not have a speaker, a name and bytes")]
    Form { line: usize },
    #[error("line {line} is not hexadecimal")]
    Hex { line: usize },
    #[error("the message of line {line} is malformed")]
    Message {
        line: usize,
        #[source]
        error: WireError,
    },
    #[error("the bytes of line {line} do not end with the message")]
    Length { line: usize },
    #[error("line {line} says {said}, its bytes are {found}")]
    Name { line: usize, said: String, found: &'static str },
}

impl Said {
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Agent(message) => message.name(),
            Self::Server(message) => message.name(),
        }
    }

    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Agent(message) => message.to_bytes(),
            Self::Server(message) => message.to_bytes(),
        }
    }

    fn speaker(&self) -> &'static str {
        match self {
            Self::Agent(_) => "agent ",
            Self::Server(_) => "server",
        }
    }
}

/// The conversation as text.
#[must_use]
pub fn write(conversation: &[Said]) -> String {
    let mut text = String::new();
    for said in conversation {
        let bytes = HEXLOWER.encode(&said.to_bytes());
        // Writing to a string does not fail.
        let _ = writeln!(text, "{} {} {bytes}", said.speaker(), said.name());
    }
    text
}

/// Understands what [`write`] wrote.
pub fn read(text: &str) -> Result<Vec<Said>, TranscriptError> {
    let mut conversation = Vec::new();
    for (line, content) in text.lines().enumerate() {
        let line = line + 1;
        let content = content.split('#').next().unwrap_or_default();
        let mut words = content.split_whitespace();
        let Some(speaker) = words.next() else {
            continue;
        };
        let (Some(name), Some(hex), None) = (words.next(), words.next(), words.next()) else {
            return Err(TranscriptError::Form { line });
        };
        let bytes = HEXLOWER.decode(hex.as_bytes()).map_err(|_| TranscriptError::Hex { line })?;
        let said = match speaker {
            "agent" => decode(&bytes, line).map(Said::Agent)?,
            "server" => decode(&bytes, line).map(Said::Server)?,
            _ => return Err(TranscriptError::Form { line }),
        };
        if said.name() != name {
            let (said, found) = (name.to_owned(), said.name());
            return Err(TranscriptError::Name { line, said, found });
        }
        conversation.push(said);
    }
    Ok(conversation)
}

fn decode<M: Message>(bytes: &[u8], line: usize) -> Result<M, TranscriptError> {
    let failed = |error| TranscriptError::Message { line, error };
    let short = TranscriptError::Length { line };
    let (head, body) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(short.clone())?;
    let header = Header::open(*head, BODY_LEN_MAX).map_err(failed)?;
    if header.body_len as usize != body.len() {
        return Err(short);
    }
    header.check(body).map_err(failed)?;
    M::from_body(header.kind, &Bytes::copy_from_slice(body)).map_err(failed)
}
