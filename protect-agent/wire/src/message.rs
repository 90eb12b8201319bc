//! All messages, one enum per direction: what a side may not send does not decode.

use bytes::Bytes;
use keelhold_chunk::{Reader, Writer};

use crate::backup::{
    Cancel, Committed, Finish, JobRefusal, Progress, Skipped, StartBackup, Started,
};
use crate::control::{Answer, Ask, Renew, Renewed};
use crate::demands::{Condition, Log};
use crate::enroll::{Enroll, Enrolled};
use crate::error::WireError;
use crate::field::Field;
use crate::header::Header;
use crate::hello::{Hello, Ping, Pong, Refusal, Welcome};
use crate::items::Items;
use crate::mounts::FileSystems;
use crate::refs::{Credit, Frame, Want};
use crate::restore::{ItemsEnd, Restored, StartRestore};

/// Items are encoded piece by piece by their sender.
pub(crate) const ITEMS_KIND: u8 = 0x20;

/// A set of messages that travel in one direction.
pub trait Message: Sized {
    fn kind(&self) -> u8;
    fn name(&self) -> &'static str;
    fn put_body(&self, writer: &mut Writer);
    /// `body` passed its checksum.
    fn from_body(kind: u8, body: &Bytes) -> Result<Self, WireError>;

    /// Header and body.
    fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::over(vec![0; crate::header::HEADER_LEN]);
        self.put_body(&mut writer);
        let mut bytes = writer.finish();
        if let Some((head, body)) = bytes.split_at_mut_checked(crate::header::HEADER_LEN) {
            head.copy_from_slice(&Header::seal(self.kind(), body));
        }
        bytes
    }
}

macro_rules! messages {
    ($(#[$doc:meta])* $set:ident { $($variant:ident($body:ty) = $kind:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $set { $( $variant($body), )* }

        impl Message for $set {
            fn kind(&self) -> u8 {
                match self { $( Self::$variant(_) => $kind, )* }
            }

            fn name(&self) -> &'static str {
                match self { $( Self::$variant(_) => stringify!($variant), )* }
            }

            fn put_body(&self, writer: &mut Writer) {
                match self { $( Self::$variant(body) => body.put(writer), )* }
            }

            fn from_body(kind: u8, body: &Bytes) -> Result<Self, WireError> {
                let malformed = |error| WireError::Body { kind, error };
                let mut reader = Reader::new(body);
                let message = match kind {
                    $( $kind => Self::$variant(
                        <$body as Field>::take(&mut reader, body).map_err(malformed)?
                    ), )*
                    _ => return Err(WireError::UnknownKind { kind }),
                };
                reader.finish().map_err(malformed)?;
                Ok(message)
            }
        }

        impl $set {
            /// Kind and name of every message of this direction, as in `PROTOCOL.md`.
            pub const KINDS: &[(u8, &str)] = &[ $( ($kind, stringify!($variant)), )* ];
        }
    };
}

messages! {
    /// From an enrolled agent to the server.
    FromAgent {
        Hello(Hello) = 0x01,
        Ping(Ping) = 0x04,
        Pong(Pong) = 0x05,
        Ask(Ask) = 0x06,
        Renew(Renew) = 0x08,
        Condition(Condition) = 0x0a,
        FileSystems(FileSystems) = 0x0b,
        Started(Started) = 0x11,
        Declined(JobRefusal) = 0x12,
        Finish(Finish) = 0x13,
        Aborted(JobRefusal) = 0x17,
        Skipped(Skipped) = 0x18,
        Progress(Progress) = 0x19,
        Log(Log) = 0x1a,
        Items(Items) = 0x20,
        Want(Want) = 0x21,
        Frame(Frame) = 0x22,
        Credit(Credit) = 0x23,
        Restored(Restored) = 0x32,
    }
}

messages! {
    /// From the server to an enrolled agent.
    FromServer {
        Welcome(Welcome) = 0x02,
        Refuse(Refusal) = 0x03,
        Ping(Ping) = 0x04,
        Pong(Pong) = 0x05,
        Answer(Answer) = 0x07,
        Renewed(Renewed) = 0x09,
        StartBackup(StartBackup) = 0x10,
        Committed(Committed) = 0x14,
        Failed(JobRefusal) = 0x15,
        Cancel(Cancel) = 0x16,
        Items(Items) = 0x20,
        Want(Want) = 0x21,
        Frame(Frame) = 0x22,
        Credit(Credit) = 0x23,
        StartRestore(StartRestore) = 0x30,
        ItemsEnd(ItemsEnd) = 0x31,
    }
}

messages! {
    /// From a machine that has only a token.
    FromNewcomer {
        Enroll(Enroll) = 0x40,
    }
}

messages! {
    /// The answers to it.
    ToNewcomer {
        Refuse(Refusal) = 0x03,
        Enrolled(Enrolled) = 0x41,
    }
}

impl FromAgent {
    /// The job a message belongs to.
    #[must_use]
    pub fn job(&self) -> Option<u64> {
        Some(match self {
            Self::Started(body) => body.job,
            Self::Declined(body) | Self::Aborted(body) => body.job,
            Self::Finish(body) => body.job,
            Self::Skipped(body) => body.job,
            Self::Progress(body) => body.job,
            Self::Log(body) => body.job,
            Self::Items(body) => body.job,
            Self::Want(body) => body.job,
            Self::Frame(body) => body.job,
            Self::Credit(body) => body.job,
            Self::Restored(body) => body.job,
            Self::Hello(_)
            | Self::Ping(_)
            | Self::Pong(_)
            | Self::Ask(_)
            | Self::Renew(_)
            | Self::Condition(_)
            | Self::FileSystems(_) => return None,
        })
    }
}

impl FromServer {
    /// The job a message belongs to.
    #[must_use]
    pub fn job(&self) -> Option<u64> {
        Some(match self {
            Self::StartBackup(body) => body.job,
            Self::Committed(body) => body.job,
            Self::Failed(body) => body.job,
            Self::Cancel(body) => body.job,
            Self::Items(body) => body.job,
            Self::Want(body) => body.job,
            Self::Frame(body) => body.job,
            Self::Credit(body) => body.job,
            Self::StartRestore(body) => body.job,
            Self::ItemsEnd(body) => body.job,
            Self::Welcome(_)
            | Self::Refuse(_)
            | Self::Ping(_)
            | Self::Pong(_)
            | Self::Answer(_)
            | Self::Renewed(_) => return None,
        })
    }
}
