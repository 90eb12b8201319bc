//! What one `statx` says about an entry.

use keelhold_chunk::{DecodeError, LinkGroup, Reader, Timestamp, Writer};
use rustix::fs::{AtFlags, FileType, Statx, StatxAttributes, StatxFlags, StatxTimestamp};
use std::os::fd::AsFd;

/// The kinds of [`keelhold_chunk::Kind`] without their facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    File,
    Directory,
    Symlink,
    Fifo,
    Socket,
    CharDevice,
    BlockDevice,
}

impl EntryKind {
    const ALL: [Self; 7] = [
        Self::File,
        Self::Directory,
        Self::Symlink,
        Self::Fifo,
        Self::Socket,
        Self::CharDevice,
        Self::BlockDevice,
    ];

    fn from_mode(mode: u32) -> Option<Self> {
        Some(match FileType::from_raw_mode(mode) {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Symlink,
            FileType::Fifo => Self::Fifo,
            FileType::Socket => Self::Socket,
            FileType::CharacterDevice => Self::CharDevice,
            FileType::BlockDevice => Self::BlockDevice,
            FileType::Unknown => return None,
        })
    }
}

/// What tells an unchanged entry: Linux moves ctime with every change of content, attributes,
/// extended attributes and link count, and nobody can set it back. Equal identities mean an unchanged
/// entry only once ctime is older than the file system's clock step; see
/// [`crate::filesystem::FileSystem::ctime_step`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    pub kind: EntryKind,
    pub device: u64,
    pub inode: u64,
    pub size: u64,
    pub mtime: Timestamp,
    pub ctime: Timestamp,
}

impl Identity {
    /// Longest [`Identity::encode`]: a code, three varints and two times.
    pub const ENCODED_LEN_MAX: usize = 1 + 3 * 10 + 2 * (10 + 5);

    /// For the agent's local state.
    pub fn encode(&self, writer: &mut Writer) {
        writer.u8(self.kind as u8);
        writer.varint(self.device);
        writer.varint(self.inode);
        writer.varint(self.size);
        for time in [self.mtime, self.ctime] {
            writer.signed(time.secs);
            writer.varint(u64::from(time.nanos));
        }
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let code = reader.u8()?;
        let Some(kind) = EntryKind::ALL.get(usize::from(code)).copied() else {
            return Err(reader.undefined("entry kind", u64::from(code)));
        };
        let device = reader.varint()?;
        let inode = reader.varint()?;
        let size = reader.varint()?;
        let mut time = || -> Result<Timestamp, DecodeError> {
            let secs = reader.signed()?;
            Ok(Timestamp { secs, nanos: reader.varint_u32()? })
        };
        Ok(Self { kind, device, inode, size, mtime: time()?, ctime: time()? })
    }
}

/// Everything `statx` tells that a backup keeps or decides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    pub identity: Identity,
    /// Permissions, setuid, setgid, sticky.
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub link_count: u32,
    /// Major and minor number of a device node.
    pub device_number: (u32, u32),
    /// `chattr +d`: the owner asks backups to leave this out.
    pub no_dump: bool,
    /// The root of a mount, where the kernel says so (Linux 5.8).
    pub mount_root: bool,
}

impl Stat {
    /// `fd` itself if `name` is empty, else what `name` in the directory `fd` is, links not followed.
    pub(crate) fn at(fd: impl AsFd, name: &[u8]) -> rustix::io::Result<Self> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH;
        let statx = rustix::fs::statx(fd, name, flags, StatxFlags::BASIC_STATS)?;
        // A type no backup knows: said as "not supported", with the path, by whoever asked.
        Self::from_statx(&statx).ok_or(rustix::io::Errno::OPNOTSUPP)
    }

    fn from_statx(statx: &Statx) -> Option<Self> {
        let kind = EntryKind::from_mode(u32::from(statx.stx_mode))?;
        let attributes = statx.stx_attributes & statx.stx_attributes_mask;
        Some(Self {
            identity: Identity {
                kind,
                device: rustix::fs::makedev(statx.stx_dev_major, statx.stx_dev_minor),
                inode: statx.stx_ino,
                size: statx.stx_size,
                mtime: timestamp(statx.stx_mtime),
                ctime: timestamp(statx.stx_ctime),
            },
            mode: statx.stx_mode & keelhold_chunk::entry::MODE_MASK,
            uid: statx.stx_uid,
            gid: statx.stx_gid,
            link_count: statx.stx_nlink,
            device_number: (statx.stx_rdev_major, statx.stx_rdev_minor),
            no_dump: attributes.contains(StatxAttributes::NODUMP),
            mount_root: attributes.contains(StatxAttributes::MOUNT_ROOT),
        })
    }

    #[must_use]
    pub fn kind(&self) -> EntryKind {
        self.identity.kind
    }

    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.identity.kind == EntryKind::Directory
    }

    /// Set on what has more than one name. Directories count their children there.
    #[must_use]
    pub fn link_group(&self) -> Option<LinkGroup> {
        let linked = self.link_count > 1 && !self.is_directory();
        linked.then_some(LinkGroup { device: self.identity.device, inode: self.identity.inode })
    }
}

fn timestamp(time: StatxTimestamp) -> Timestamp {
    Timestamp { secs: time.tv_sec, nanos: time.tv_nsec }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_come_back_and_fit_their_limit() {
        for kind in EntryKind::ALL {
            let time = Timestamp { secs: i64::MIN, nanos: 999_999_999 };
            let (device, inode, size) = (u64::MAX, u64::MAX, u64::MAX);
            let identity = Identity { kind, device, inode, size, mtime: time, ctime: time };
            let mut writer = Writer::new();
            identity.encode(&mut writer);
            let bytes = writer.finish();
            assert!(bytes.len() <= Identity::ENCODED_LEN_MAX);
            assert_eq!(Identity::decode(&mut Reader::new(&bytes)), Ok(identity));
        }
    }

    #[test]
    fn the_root_directory_is_one() {
        let stat = Stat::at(rustix::fs::CWD, b"/").unwrap();
        assert!(stat.is_directory() && stat.link_group().is_none());
    }
}
