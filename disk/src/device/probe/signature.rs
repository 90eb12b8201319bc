//! What a disk holds before it is ours, so that nobody's data is overwritten by a slip of a path.
//!
//! Both ends of the disk are looked at. Only all zeroes count as empty; a well-known signature is
//! named, anything else is unknown content. Whether the content is a pool's label is asked by the
//! pool itself, before this.

use std::fmt;

use crate::buffer::AlignedBuf;
use crate::device::{Device, DeviceError};
use crate::units::{BLOCK, BLOCK_U64};

/// As much of each end is read: the last place a signature below is found at is in here.
const LOOK_LEN: u64 = 256 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// Zeroes at both ends.
    Empty,
    Known(Signature),
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    Ext,
    Xfs,
    Btrfs,
    Zfs,
    F2fs,
    Fat,
    Ntfs,
    Iso9660,
    Squashfs,
    Luks,
    Lvm2,
    MdRaid,
    Bcache,
    Ceph,
    Swap,
    Gpt,
    Mbr,
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ext => "an ext2, ext3 or ext4 file system",
            Self::Xfs => "an XFS file system",
            Self::Btrfs => "a btrfs file system",
            Self::Zfs => "a ZFS pool member",
            Self::F2fs => "an F2FS file system",
            Self::Fat => "a FAT file system",
            Self::Ntfs => "an NTFS file system",
            Self::Iso9660 => "an ISO 9660 image",
            Self::Squashfs => "a squashfs image",
            Self::Luks => "a LUKS volume",
            Self::Lvm2 => "an LVM physical volume",
            Self::MdRaid => "a member of a software RAID",
            Self::Bcache => "a bcache device",
            Self::Ceph => "a Ceph device",
            Self::Swap => "swap space",
            Self::Gpt => "a GPT partition table",
            Self::Mbr => "an MBR partition table",
        })
    }
}

/// Looks at both ends of a disk.
///
/// # Errors
/// If they cannot be read.
pub async fn contents<D: Device>(device: &D) -> Result<Contents, DeviceError> {
    let len = device.geometry().len;
    let look = LOOK_LEN.min(len);
    let head = read(device, 0, look).await?;
    let tail = read(device, len - look, look).await?;
    Ok(recognise(&head, &tail))
}

async fn read<D: Device>(device: &D, offset: u64, len: u64) -> Result<AlignedBuf, DeviceError> {
    let buf = AlignedBuf::zeroed(usize::try_from(len).unwrap_or(BLOCK));
    let (result, buf) = device.read(offset, buf).await;
    result.map(|()| buf)
}

/// The same from bytes: the first and the last of a disk.
#[must_use]
pub fn recognise(head: &[u8], tail: &[u8]) -> Contents {
    if let Some((_, signature)) = SIGNATURES.iter().find(|(found, _)| found(head, tail)) {
        return Contents::Known(*signature);
    }
    let empty = head.iter().chain(tail).all(|byte| *byte == 0);
    if empty { Contents::Empty } else { Contents::Unknown }
}

type Test = fn(head: &[u8], tail: &[u8]) -> bool;

/// File systems before partition tables: a boot sector of the former looks like one of the latter.
const SIGNATURES: [(Test, Signature); 17] = [
    (|head, _| at(head, 0, b"LUKS\xba\xbe"), Signature::Luks),
    (|head, _| (0..4).any(|sector| at(head, sector * 512, b"LABELONE")), Signature::Lvm2),
    (|head, _| at(head, 0, b"XFSB"), Signature::Xfs),
    (|head, _| at(head, 0x1_0040, b"_BHRfS_M"), Signature::Btrfs),
    (|head, tail| zfs(head) || zfs(tail), Signature::Zfs),
    (md_raid, Signature::MdRaid),
    (|head, _| at(head, 4096 + 24, BCACHE), Signature::Bcache),
    (|head, _| at(head, 0, b"bluestore block device"), Signature::Ceph),
    (|head, _| at(head, 4086, b"SWAPSPACE2") || at(head, 4086, b"SWAP-SPACE"), Signature::Swap),
    (|head, _| at(head, 1080, b"\x53\xef"), Signature::Ext),
    (|head, _| at(head, 1024, b"\x10\x20\xf5\xf2"), Signature::F2fs),
    (|head, _| at(head, 0x8001, b"CD001"), Signature::Iso9660),
    (|head, _| at(head, 0, b"hsqs"), Signature::Squashfs),
    (|head, _| at(head, 3, b"NTFS    "), Signature::Ntfs),
    (fat, Signature::Fat),
    (gpt, Signature::Gpt),
    (mbr, Signature::Mbr),
];

const BCACHE: &[u8] = b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81";
const MD_MAGIC: &[u8] = b"\xfc\x4e\x2b\xa9";

fn at(bytes: &[u8], offset: usize, magic: &[u8]) -> bool {
    bytes.get(offset..).is_some_and(|rest| rest.starts_with(magic))
}

/// The same from the end of the disk.
fn before_end(bytes: &[u8], distance: usize, magic: &[u8]) -> bool {
    bytes.len().checked_sub(distance).is_some_and(|offset| at(bytes, offset, magic))
}

/// A label is 256 KiB; its second half is a ring of roots, each beginning with a number that tells
/// the byte order of who wrote it.
fn zfs(label: &[u8]) -> bool {
    let (little, big) = (b"\x0c\xb1\xba\x00\0\0\0\0", b"\0\0\0\0\x00\xba\xb1\x0c");
    (128..256).any(|kib| at(label, kib << 10, little) || at(label, kib << 10, big))
}

/// Version 1.1 at the start, 1.2 after 4 KiB, 1.0 and 0.90 before the end.
fn md_raid(head: &[u8], tail: &[u8]) -> bool {
    at(head, 0, MD_MAGIC)
        || at(head, 4096, MD_MAGIC)
        || before_end(tail, 8192, MD_MAGIC)
        || before_end(tail, 12288, MD_MAGIC)
        || tail.len() >= 128 << 10
            && (64..=128).step_by(4).any(|kib| before_end(tail, kib << 10, MD_MAGIC))
}

fn fat(head: &[u8], _: &[u8]) -> bool {
    at(head, 510, b"\x55\xaa")
        && (at(head, 54, b"FAT") || at(head, 82, b"FAT32") || at(head, 3, b"EXFAT   "))
}

fn gpt(head: &[u8], tail: &[u8]) -> bool {
    let magic = b"EFI PART";
    at(head, 512, magic)
        || at(head, 4096, magic)
        || before_end(tail, 512, magic)
        || before_end(tail, BLOCK, magic)
}

/// Only with a partition in it: the mark alone stands in many a boot sector.
fn mbr(head: &[u8], _: &[u8]) -> bool {
    at(head, 510, b"\x55\xaa")
        && (0..4).any(|entry| head.get(446 + entry * 16 + 4).is_some_and(|kind| *kind != 0))
}

// What is looked for must lie in what is read.
const _: () = assert!(LOOK_LEN.is_multiple_of(BLOCK_U64) && LOOK_LEN >= 256 << 10);

#[cfg(test)]
mod tests;
