//! What is known about a file system: its type, whether it is the kernel's own, and how far its ctime
//! can be trusted.

use crate::mount_table::{self, Mount};
use keelhold_chunk::Timestamp;
use std::collections::HashMap;
use std::os::fd::AsFd;
use std::time::Duration;

/// File systems that show the kernel's state and hold no data of anybody's.
const KERNEL: &[&str] = &[
    "autofs",
    "binder",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "proc",
    "pstore",
    "resctrl",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "smackfs",
    "sysfs",
    "tracefs",
];

/// Recovery points shown as files: backing them up would feed a pool its own content.
const OWN_MOUNT: &str = "fuse.keelhold";

/// `statfs` magic numbers (linux/magic.h) of what a backup meets, for file systems the mount table
/// does not name by device number (btrfs subvolumes, overlays).
const MAGIC: &[(u64, &str)] = &[
    (0xef53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
    (0xf2f5_2010, "f2fs"),
    (0xca45_1a4e, "bcachefs"),
    (0x2fc1_2fc1, "zfs"),
    (0x0102_1994, "tmpfs"),
    (0x8584_58f6, "ramfs"),
    (0x794c_7630, "overlay"),
    (0x4d44, "vfat"),
    (0x2011_bab0, "exfat"),
    (0x6969, "nfs"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb2"),
    (0x6573_5546, "fuse"),
    (0x9660, "iso9660"),
    (0x7371_7368, "squashfs"),
    (0xe0f5_e1e2, "erofs"),
    (0x0187, "autofs"),
    (0x4249_4e4d, "binfmt_misc"),
    (0xcafe_4a11, "bpf"),
    (0x0027_e0eb, "cgroup"),
    (0x6367_7270, "cgroup2"),
    (0x6265_6570, "configfs"),
    (0x6462_6720, "debugfs"),
    (0x1cd1, "devpts"),
    (0xde5e_81e4, "efivarfs"),
    (0x9584_58f6, "hugetlbfs"),
    (0x1980_0202, "mqueue"),
    (0x6e73_6673, "nsfs"),
    (0x9fa0, "proc"),
    (0x6165_676c, "pstore"),
    (0x6759_6969, "rpc_pipefs"),
    (0x7363_6673, "securityfs"),
    (0xf97c_ff8c, "selinuxfs"),
    (0x4341_5d53, "smackfs"),
    (0x6265_6572, "sysfs"),
    (0x7472_6163, "tracefs"),
];

/// One file system, by the name `mount` would use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystem {
    pub name: String,
}

impl FileSystem {
    /// The file system an open file or directory stands on.
    pub fn of(fd: impl AsFd) -> std::io::Result<Self> {
        let device = rustix::fs::fstat(&fd)?.st_dev;
        Ok(Mounts::read().file_system(device, fd))
    }

    /// Shows the kernel's state, or recovery points: never part of a backup.
    #[must_use]
    pub fn is_kernel(&self) -> bool {
        is_kernel(&self.name)
    }

    /// How long after a change another one may leave the same ctime, on a file system where `ctime`
    /// was seen. Files younger than that cannot be told unchanged by their identity.
    ///
    /// The kernel stamps from a clock of one tick (at most 10 ms; from 6.13 on finer where somebody
    /// looked in between). A file system that keeps whole seconds shows zero nanoseconds, so only a
    /// stamp with nanoseconds proves the finer step: an ext4 with small inodes has none.
    #[must_use]
    pub fn ctime_step(&self, ctime: Timestamp) -> Duration {
        const FINE: &[&str] = &["ext4", "xfs", "btrfs", "f2fs", "bcachefs", "tmpfs", "overlay"];
        if ctime.nanos != 0 && FINE.contains(&self.name.as_str()) {
            Duration::from_millis(20)
        } else {
            Duration::from_secs(2)
        }
    }

    /// Whether a store through a shared mapping moves ctime at all. Where it does not, identities
    /// tell nothing and every file is read.
    #[must_use]
    pub fn mapped_stores_move_ctime(&self) -> bool {
        !matches!(self.name.as_str(), "tmpfs" | "ramfs" | "hugetlbfs")
    }
}

pub(crate) fn is_kernel(name: &str) -> bool {
    name == OWN_MOUNT || KERNEL.contains(&name)
}

/// The types of what is mounted, by device number.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    names: HashMap<u64, String>,
}

impl Mounts {
    /// Without a readable mount table only `statfs` is asked.
    pub(crate) fn read() -> Self {
        Self::of(mount_table::read())
    }

    fn of(mounts: Vec<Mount>) -> Self {
        let names = mounts.into_iter().map(|mount| (mount.device, mount.file_system)).collect();
        Self { names }
    }

    pub(crate) fn file_system(&self, device: u64, fd: impl AsFd) -> FileSystem {
        let name = match (self.names.get(&device), rustix::fs::fstatfs(fd)) {
            // One driver serves all three and the mount table repeats what the mount call said.
            (Some(name), _) if name == "ext2" || name == "ext3" => "ext4".to_owned(),
            (Some(name), _) => name.clone(),
            (None, Ok(statfs)) => {
                let magic = statfs.f_type as u64 & 0xffff_ffff;
                let known = MAGIC.iter().find(|(number, _)| *number == magic);
                known.map_or_else(|| format!("type {magic:#x}"), |(_, name)| (*name).to_owned())
            }
            (None, Err(_)) => "unknown type".to_owned(),
        };
        FileSystem { name }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_table_is_read() {
        let mounts = Mounts::of(mount_table::parse(
            b"22 1 254:0 / / rw - ext3 /dev/vda rw\n23 22 0:5 / /dev rw shared:1 - devtmpfs x rw\nbad\n",
        ));
        let root = std::fs::File::open("/").unwrap();
        let name = |major, minor| mounts.file_system(rustix::fs::makedev(major, minor), &root);
        assert_eq!(name(254, 0).name, "ext4");
        assert!(name(0, 5).is_kernel());
    }

    #[test]
    fn proc_is_the_kernels() {
        let proc = std::fs::File::open("/proc").unwrap();
        assert!(FileSystem::of(&proc).unwrap().is_kernel());
        // The same by its magic number, where the mount table says nothing.
        let by_magic = Mounts::default().file_system(0, &proc);
        assert_eq!(by_magic.name, "proc");
    }

    #[test]
    fn whole_seconds_prove_no_fine_clock() {
        let ext4 = FileSystem { name: "ext4".to_owned() };
        assert_eq!(ext4.ctime_step(Timestamp { secs: 1, nanos: 0 }), Duration::from_secs(2));
        assert!(ext4.ctime_step(Timestamp { secs: 1, nanos: 1 }) < Duration::from_secs(1));
        let other = FileSystem { name: "type 0x1".to_owned() };
        assert_eq!(other.ctime_step(Timestamp { secs: 1, nanos: 1 }), Duration::from_secs(2));
    }
}
