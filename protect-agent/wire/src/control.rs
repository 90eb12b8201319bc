//! What an agent asks on its own: work that is overdue, a backup somebody on the machine wants, a
//! new certificate.

use bytes::Bytes;
use keelhold_chunk::{DecodeError, Reader, Writer};

use crate::field::{Field, fields, put_text, take_text};
use crate::hello::Refusal;
use crate::limits::{CERTIFICATE_LEN_MAX, JOB_COUNT_MAX, NAME_LEN_MAX};

/// A wish. The server decides; `Answer` repeats the number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    pub ask: u64,
    pub wish: Wish,
}

fields!(Ask { ask, wish });

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Back up this source of the machine, or all of them.
    Backup { source: Option<String> },
    /// The machine was away or asleep: start what is overdue.
    Overdue,
}

impl Field for Wish {
    fn put(&self, writer: &mut Writer) {
        match self {
            Self::Backup { source: None } => writer.u8(0),
            Self::Backup { source: Some(name) } => {
                writer.u8(1);
                put_text(writer, name, NAME_LEN_MAX);
            }
            Self::Overdue => writer.u8(2),
        }
    }

    fn take(reader: &mut Reader<'_>, _body: &Bytes) -> Result<Self, DecodeError> {
        match reader.u8()? {
            0 => Ok(Self::Backup { source: None }),
            1 => Ok(Self::Backup { source: Some(take_text(reader, NAME_LEN_MAX)?) }),
            2 => Ok(Self::Overdue),
            other => Err(reader.undefined("wish", u64::from(other))),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub ask: u64,
    pub outcome: Outcome,
}

fields!(Answer { ask, outcome });

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// These jobs (their numbers of `StartBackup`) run or will run.
    Accepted {
        jobs: Vec<u64>,
    },
    Refused(Refusal),
}

impl Field for Outcome {
    fn put(&self, writer: &mut Writer) {
        match self {
            Self::Accepted { jobs } => {
                writer.u8(0);
                crate::field::put_list(writer, jobs);
            }
            Self::Refused(refusal) => {
                writer.u8(1);
                refusal.put(writer);
            }
        }
    }

    fn take(reader: &mut Reader<'_>, body: &Bytes) -> Result<Self, DecodeError> {
        match reader.u8()? {
            0 => Ok(Self::Accepted { jobs: crate::field::take_list(reader, body, ANSWER_JOBS)? }),
            1 => Ok(Self::Refused(Refusal::take(reader, body)?)),
            other => Err(reader.undefined("outcome", u64::from(other))),
        }
    }
}

/// A machine may have more sources than run at once: the rest is queued.
const ANSWER_JOBS: usize = JOB_COUNT_MAX * 64;

/// Asks for a new certificate over the connection the old one opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renew {
    /// PKCS #10 in DER.
    pub request: Vec<u8>,
}

fields!(Renew { request: bytes(CERTIFICATE_LEN_MAX) });

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewed {
    /// X.509 in DER.
    pub certificate: Vec<u8>,
}

fields!(Renewed { certificate: bytes(CERTIFICATE_LEN_MAX) });
