//! How one entry of a file tree is written down: everything but its path and its content.
//!
//! The bytes go from the agent through the wire into the pool's pages unchanged. Their layout is the
//! table "Attributes" of `disk/FORMAT.md`. What a Linux file system keeps and a restore can put back
//! is here; what it cannot put back (ctime, inode number as such, atime) is not.

use crate::codec::{DecodeError, Reader, Writer};

/// Longest path of an entry, from the source's root: far beyond `PATH_MAX`, which directory file
/// descriptors get around, and small enough that an entry always fits a message and a page.
pub const PATH_LEN_MAX: usize = 64 << 10;
/// Longest name of one path component that Linux file systems accept.
pub const NAME_LEN_MAX: usize = 255;
/// `XATTR_SIZE_MAX` of Linux.
pub const XATTR_VALUE_LEN_MAX: usize = 64 << 10;
/// All names and values of one entry: ext4 holds less, xfs and btrfs may hold several values.
pub const XATTRS_LEN_MAX: usize = 512 << 10;
/// Longest target of a symbolic link (`PATH_MAX` of Linux).
pub const TARGET_LEN_MAX: usize = 4096;
/// Longest encoded [`Attributes`].
pub const ATTRIBUTES_LEN_MAX: usize = XATTRS_LEN_MAX + TARGET_LEN_MAX + 256;

/// Mode bits an entry carries: permissions, setuid, setgid, sticky.
pub const MODE_MASK: u16 = 0o7777;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    pub kind: Kind,
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub mtime: Timestamp,
    /// Present on entries with more than one name: those with equal groups are one inode.
    pub link_group: Option<LinkGroup>,
    /// Sorted by name, each name once. POSIX ACLs and capabilities are here, as the kernel shows them.
    pub xattrs: Vec<Xattr>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `size` is the length of the content, holes included.
    File {
        size: u64,
    },
    Directory,
    Symlink {
        target: Vec<u8>,
    },
    Fifo,
    Socket,
    CharDevice {
        major: u32,
        minor: u32,
    },
    BlockDevice {
        major: u32,
        minor: u32,
    },
}

/// Identity of an inode on the machine, as of the backup. Only equality means anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkGroup {
    pub device: u64,
    pub inode: u64,
}

/// Seconds since 1970 (negative before) and nanoseconds within the second, below 10^9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    pub secs: i64,
    pub nanos: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Xattr {
    pub name: Vec<u8>,
    pub value: Vec<u8>,
}

const LINKED: u8 = 0x08;
const XATTRS: u8 = 0x10;
const KIND_MASK: u8 = 0x07;

impl Kind {
    fn code(&self) -> u8 {
        match self {
            Self::File { .. } => 0,
            Self::Directory => 1,
            Self::Symlink { .. } => 2,
            Self::Fifo => 3,
            Self::Socket => 4,
            Self::CharDevice { .. } => 5,
            Self::BlockDevice { .. } => 6,
        }
    }

    /// One word for people: listings and messages.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::Directory => "directory",
            Self::Symlink { .. } => "symlink",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
            Self::CharDevice { .. } => "char-device",
            Self::BlockDevice { .. } => "block-device",
        }
    }

    fn encode(&self, writer: &mut Writer) {
        match self {
            Self::File { size } => writer.varint(*size),
            Self::Symlink { target } => writer.bytes(target),
            Self::CharDevice { major, minor } | Self::BlockDevice { major, minor } => {
                writer.varint(u64::from(*major));
                writer.varint(u64::from(*minor));
            }
            Self::Directory | Self::Fifo | Self::Socket => {}
        }
    }

    fn decode(code: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match code {
            0 => Self::File { size: reader.varint()? },
            1 => Self::Directory,
            2 => Self::Symlink { target: reader.bytes(TARGET_LEN_MAX)?.to_vec() },
            3 => Self::Fifo,
            4 => Self::Socket,
            5 => Self::CharDevice { major: reader.varint_u32()?, minor: reader.varint_u32()? },
            6 => Self::BlockDevice { major: reader.varint_u32()?, minor: reader.varint_u32()? },
            code => return Err(reader.undefined("entry kind", u64::from(code))),
        })
    }
}

impl Attributes {
    /// Size of a file's content; 0 for everything else.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self.kind {
            Kind::File { size } => size,
            _ => 0,
        }
    }

    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }

    pub fn encode(&self, writer: &mut Writer) {
        let linked = if self.link_group.is_some() { LINKED } else { 0 };
        let xattrs = if self.xattrs.is_empty() { 0 } else { XATTRS };
        writer.u8(self.kind.code() | linked | xattrs);
        writer.varint(u64::from(self.mode & MODE_MASK));
        writer.varint(u64::from(self.uid));
        writer.varint(u64::from(self.gid));
        writer.signed(self.mtime.secs);
        writer.varint(u64::from(self.mtime.nanos));
        self.kind.encode(writer);
        if let Some(group) = self.link_group {
            writer.varint(group.device);
            writer.varint(group.inode);
        }
        if !self.xattrs.is_empty() {
            writer.varint(self.xattrs.len() as u64);
            for xattr in &self.xattrs {
                writer.bytes(&xattr.name);
                writer.bytes(&xattr.value);
            }
        }
    }

    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        self.encode(&mut writer);
        writer.finish()
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let tag = reader.u8()?;
        if tag & !(KIND_MASK | LINKED | XATTRS) != 0 {
            return Err(reader.undefined("entry tag", u64::from(tag)));
        }
        let mode = reader.varint()?;
        if mode > u64::from(MODE_MASK) {
            return Err(reader.undefined("mode", mode));
        }
        let uid = reader.varint_u32()?;
        let gid = reader.varint_u32()?;
        let mtime = Timestamp { secs: reader.signed()?, nanos: reader.varint_u32()? };
        if mtime.nanos >= 1_000_000_000 {
            return Err(reader.undefined("nanoseconds", u64::from(mtime.nanos)));
        }
        let kind = Kind::decode(tag & KIND_MASK, reader)?;
        let link_group = match tag & LINKED {
            0 => None,
            _ => Some(LinkGroup { device: reader.varint()?, inode: reader.varint()? }),
        };
        let xattrs = if tag & XATTRS == 0 { Vec::new() } else { decode_xattrs(reader)? };
        Ok(Self { kind, mode: mode as u16, uid, gid, mtime, link_group, xattrs })
    }

    /// Decodes exactly `bytes`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let attributes = Self::decode(&mut reader)?;
        reader.finish()?;
        Ok(attributes)
    }
}

fn decode_xattrs(reader: &mut Reader<'_>) -> Result<Vec<Xattr>, DecodeError> {
    let count = reader.count(XATTRS_LEN_MAX / 2)?;
    if count == 0 {
        return Err(reader.undefined("xattr count", 0));
    }
    let mut xattrs: Vec<Xattr> = Vec::new();
    let start = reader.offset();
    for _ in 0..count {
        let name = reader.bytes(NAME_LEN_MAX)?.to_vec();
        let value = reader.bytes(XATTR_VALUE_LEN_MAX)?.to_vec();
        if xattrs.last().is_some_and(|last| last.name >= name) {
            return Err(reader.undefined("order of xattr names", xattrs.len() as u64));
        }
        let len = (reader.offset() - start) as u64;
        if len > XATTRS_LEN_MAX as u64 {
            let limit = XATTRS_LEN_MAX as u64;
            return Err(DecodeError::TooLong { offset: reader.offset(), len, limit });
        }
        xattrs.push(Xattr { name, value });
    }
    Ok(xattrs)
}

/// Order of entries in a tree: by path component, so that a directory comes right before what is in
/// it and a walk produces the order without holding the tree. Equal to byte order with `/` below
/// every other byte. Paths are relative to the root, without leading or doubled `/`; the root is "".
#[must_use]
pub fn path_order(left: &[u8], right: &[u8]) -> std::cmp::Ordering {
    let common = left.iter().zip(right).position(|(l, r)| l != r);
    let rank = |byte: u8| if byte == b'/' { 0 } else { u16::from(byte) + 1 };
    match common {
        Some(at) => rank(left[at]).cmp(&rank(right[at])),
        None => left.len().cmp(&right.len()),
    }
}

/// Whether `path` may stand in a tree: no empty, `.` or `..` component, no NUL, within the limits.
#[must_use]
pub fn is_sound_path(path: &[u8]) -> bool {
    if path.is_empty() {
        return true;
    }
    path.len() <= PATH_LEN_MAX
        && path.split(|byte| *byte == b'/').all(|name| {
            !name.is_empty()
                && name.len() <= NAME_LEN_MAX
                && name != b"."
                && name != b".."
                && !name.contains(&0)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cmp::Ordering;

    fn sample() -> Attributes {
        Attributes {
            kind: Kind::File { size: 1 << 40 },
            mode: 0o6755,
            uid: 1000,
            gid: u32::MAX - 1,
            mtime: Timestamp { secs: -2, nanos: 999_999_999 },
            link_group: Some(LinkGroup { device: 0xfd01, inode: 77 }),
            xattrs: vec![
                Xattr { name: b"security.capability".to_vec(), value: vec![1, 0, 0, 2] },
                Xattr { name: b"user.note".to_vec(), value: Vec::new() },
            ],
        }
    }

    #[test]
    fn every_kind_comes_back() {
        let kinds = [
            Kind::File { size: 0 },
            Kind::Directory,
            Kind::Symlink { target: b"../\xff".to_vec() },
            Kind::Fifo,
            Kind::Socket,
            Kind::CharDevice { major: 4095, minor: u32::MAX },
            Kind::BlockDevice { major: 8, minor: 0 },
        ];
        for kind in kinds {
            let entry = Attributes { kind, ..sample() };
            assert_eq!(Attributes::from_bytes(&entry.to_bytes()), Ok(entry));
        }
    }

    /// Whatever single byte changes, the result is an error or bytes that encode differently: two
    /// encodings never mean the same entry.
    #[test]
    fn encoding_is_canonical() {
        let bytes = sample().to_bytes();
        for at in 0..bytes.len() {
            for flip in 1..=255u8 {
                let mut other = bytes.clone();
                other[at] ^= flip;
                if let Ok(entry) = Attributes::from_bytes(&other) {
                    assert_eq!(entry.to_bytes(), other, "byte {at} ^ {flip}");
                }
            }
        }
    }

    #[test]
    fn a_directory_comes_right_before_its_content() {
        let mut paths: Vec<&[u8]> = vec![b"a0", b"a/b", b"a-b", b"a", b"", b"a/b/c", b"a/b-c"];
        paths.sort_by(|l, r| path_order(l, r));
        let expected: Vec<&[u8]> = vec![b"", b"a", b"a/b", b"a/b/c", b"a/b-c", b"a-b", b"a0"];
        assert_eq!(paths, expected);
        assert_eq!(path_order(b"x\xff", b"x/"), Ordering::Greater);
    }

    #[test]
    fn unsound_paths_are_known() {
        for path in [&b"/a"[..], b"a/", b"a//b", b"..", b"a/../b", b".", b"a\0b"] {
            assert!(!is_sound_path(path), "{path:?}");
        }
        assert!(is_sound_path(b"") && is_sound_path(b"...") && is_sound_path(b"a/\xff\n"));
    }
}
