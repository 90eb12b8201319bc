//! What a backup is to reach beside its files, and what it reached: version 2.

use bytes::Bytes;
use keelhold_chunk::{DecodeError, Reader, Writer};

use crate::field::{Field, codes, fields, put_text, take_bytes, take_text};
use crate::limits::{
    LOG_LINE_COUNT_MAX, ROOT_LEN_MAX, SCRIPT_SECONDS_MAX, SHORTFALL_COUNT_MAX, TEXT_LEN_MAX,
};

/// Whether the files of a point belong to one moment, and to which kind of moment. In this order:
/// each is worth more than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Consistency {
    /// Read from the live tree: each file is whole, two files may be of different moments.
    #[default]
    None,
    /// One moment, as after a power cut.
    Crash,
    /// One moment at which what stood in buffers of programs was written, as a script says.
    FileSystem,
    /// One moment at which the application had made its files ready, as a script says.
    Application,
}

codes!(Consistency, "consistency" { None = 0, Crash = 1, FileSystem = 2, Application = 3 });

impl Consistency {
    /// The word of listings, JSON and scripts.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Crash => "crash",
            Self::FileSystem => "file-system",
            Self::Application => "application",
        }
    }

    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        let all = [Self::None, Self::Crash, Self::FileSystem, Self::Application];
        all.into_iter().find(|level| level.word() == word)
    }
}

/// What `StartBackup` asks for beside the files. The default is what version 1 asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Demands {
    /// A point that reaches less is made and is partial.
    pub consistency_min: Consistency,
    /// Runs before anything is read. Absolute, and allowed by the machine.
    pub pre: Option<Vec<u8>>,
    /// Runs once `pre` was begun, whatever happens.
    pub post: Option<Vec<u8>>,
    /// For each of them; 0 exactly if there is none.
    pub script_seconds: u32,
}

impl Field for Demands {
    fn put(&self, writer: &mut Writer) {
        self.consistency_min.put(writer);
        for path in [&self.pre, &self.post] {
            writer.u8(u8::from(path.is_some()));
            path.iter().for_each(|path| writer.bytes(path));
        }
        self.script_seconds.put(writer);
    }

    fn take(reader: &mut Reader<'_>, body: &Bytes) -> Result<Self, DecodeError> {
        let consistency_min = Consistency::take(reader, body)?;
        let mut path = || -> Result<Option<Vec<u8>>, DecodeError> {
            let there = bool::take(reader, body)?;
            there.then(|| take_bytes(reader, ROOT_LEN_MAX)).transpose()
        };
        let (pre, post) = (path()?, path()?);
        let script_seconds = u32::take(reader, body)?;
        let any = pre.is_some() || post.is_some();
        if any != (script_seconds > 0) || script_seconds > SCRIPT_SECONDS_MAX {
            return Err(reader.undefined("script limit", u64::from(script_seconds)));
        }
        Ok(Self { consistency_min, pre, post, script_seconds })
    }
}

/// What a backup reached, in `Finish`. The default is what version 1 can say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reached {
    pub consistency: Consistency,
    /// What the result lacks though every file may be there; any makes it partial.
    pub shortfalls: Vec<String>,
}

impl Field for Reached {
    fn put(&self, writer: &mut Writer) {
        self.consistency.put(writer);
        put_texts(writer, &self.shortfalls);
    }

    fn take(reader: &mut Reader<'_>, body: &Bytes) -> Result<Self, DecodeError> {
        let consistency = Consistency::take(reader, body)?;
        Ok(Self { consistency, shortfalls: take_texts(reader, SHORTFALL_COUNT_MAX)? })
    }
}

/// Lines for the job's log, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    pub job: u64,
    pub lines: Vec<String>,
}

impl Field for Log {
    fn put(&self, writer: &mut Writer) {
        self.job.put(writer);
        put_texts(writer, &self.lines);
    }

    fn take(reader: &mut Reader<'_>, body: &Bytes) -> Result<Self, DecodeError> {
        let job = u64::take(reader, body)?;
        Ok(Self { job, lines: take_texts(reader, LOG_LINE_COUNT_MAX)? })
    }
}

/// How the machine stands, said after the greeting and when something of it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Condition {
    pub power: Power,
    /// Of the fullest battery, in percent.
    pub charge: Option<u32>,
    pub link: LinkCost,
    /// Seconds the machine slept since it was started.
    pub slept_seconds: u64,
}

fields!(Condition { power, charge, link, slept_seconds });

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Power {
    /// On the mains, or a machine that says nothing about it.
    #[default]
    Mains,
    Battery,
}

codes!(Power, "power" { Mains = 0, Battery = 1 });

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LinkCost {
    #[default]
    Unknown,
    Free,
    Metered,
}

codes!(LinkCost, "link" { Unknown = 0, Free = 1, Metered = 2 });

fn put_texts(writer: &mut Writer, texts: &[String]) {
    writer.varint(texts.len() as u64);
    texts.iter().for_each(|text| put_text(writer, text, TEXT_LEN_MAX));
}

fn take_texts(reader: &mut Reader<'_>, limit: usize) -> Result<Vec<String>, DecodeError> {
    let count = reader.count(limit)?;
    let mut texts = Vec::new();
    for _ in 0..count {
        texts.push(take_text(reader, TEXT_LEN_MAX)?);
    }
    Ok(texts)
}

/// Writes what a later version added at the end of a message; nothing where it says what an older
/// version means anyway.
pub(crate) fn put_addition<T: Field + Default + PartialEq>(writer: &mut Writer, value: &T) {
    if *value != T::default() {
        value.put(writer);
    }
}

pub(crate) fn take_addition<T: Field + Default + PartialEq>(
    reader: &mut Reader<'_>,
    body: &Bytes,
) -> Result<T, DecodeError> {
    if reader.is_at_end() {
        return Ok(T::default());
    }
    let value = T::take(reader, body)?;
    // Said in one way only: by leaving it out.
    if value == T::default() { Err(reader.undefined("addition", 0)) } else { Ok(value) }
}
