//! What is mounted on a machine: version 2.

use bytes::Bytes;
use keelhold_chunk::{DecodeError, Reader, Writer};

use crate::field::{Field, put_list, put_text, take_bytes, take_list, take_text};
use crate::limits::{FILE_SYSTEM_COUNT_MAX, NAME_LEN_MAX, ROOT_LEN_MAX};

/// Every mounted file system of the machine that holds data, said after the greeting and when one
/// of them comes or goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileSystems {
    /// In the order of their mount points.
    pub list: Vec<MountedFileSystem>,
    /// Those beyond what a message names.
    pub unnamed: u64,
}

impl Field for FileSystems {
    fn put(&self, writer: &mut Writer) {
        put_list(writer, &self.list);
        self.unnamed.put(writer);
    }

    fn take(reader: &mut Reader<'_>, body: &Bytes) -> Result<Self, DecodeError> {
        let list = take_list(reader, body, FILE_SYSTEM_COUNT_MAX)?;
        Ok(Self { list, unnamed: u64::take(reader, body)? })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountedFileSystem {
    /// Where it is mounted, in the machine's own bytes.
    pub point: Vec<u8>,
    /// `ext4`, `btrfs` …
    pub kind: String,
    /// As the machine names its disks; where it says nothing, none.
    pub uuid: Option<String>,
    pub bytes: u64,
    pub bytes_used: u64,
}

impl Field for MountedFileSystem {
    fn put(&self, writer: &mut Writer) {
        writer.bytes(&self.point);
        put_text(writer, &self.kind, NAME_LEN_MAX);
        writer.u8(u8::from(self.uuid.is_some()));
        self.uuid.iter().for_each(|uuid| put_text(writer, uuid, NAME_LEN_MAX));
        self.bytes.put(writer);
        self.bytes_used.put(writer);
    }

    fn take(reader: &mut Reader<'_>, body: &Bytes) -> Result<Self, DecodeError> {
        let point = take_bytes(reader, ROOT_LEN_MAX)?;
        let kind = take_text(reader, NAME_LEN_MAX)?;
        let named = bool::take(reader, body)?;
        let uuid = named.then(|| take_text(reader, NAME_LEN_MAX)).transpose()?;
        let (bytes, bytes_used) = (u64::take(reader, body)?, u64::take(reader, body)?);
        Ok(Self { point, kind, uuid, bytes, bytes_used })
    }
}
