//! The file systems of this machine that hold data: for whoever protects "every mounted file system".

use std::collections::{BTreeMap, HashMap};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use keelhold_tree::filesystem::FileSystem;
use keelhold_tree::mount_table::{self, Mount};
use keelhold_wire::limits::{FILE_SYSTEM_COUNT_MAX, ROOT_LEN_MAX};
use keelhold_wire::{FileSystems, MountedFileSystem};

const BY_UUID: &str = "/dev/disk/by-uuid";

/// In memory, somebody else's machine, or the content of a file that is protected where it lies.
const NOT_THIS_MACHINES: &[&str] = &[
    "9p",
    "ceph",
    "cifs",
    "cramfs",
    "erofs",
    "glusterfs",
    "iso9660",
    "nfs",
    "nfs4",
    "overlay",
    "ramfs",
    "smb3",
    "squashfs",
    "tmpfs",
    "udf",
    "virtiofs",
];

/// All of them, each once.
#[must_use]
pub fn look() -> FileSystems {
    let uuids = uuids();
    let mounts = mount_table::read();
    let mut chosen = choose(&mounts);
    let unnamed = chosen.len().saturating_sub(FILE_SYSTEM_COUNT_MAX) as u64;
    chosen.truncate(FILE_SYSTEM_COUNT_MAX);
    let list = chosen.into_iter().filter_map(|mount| describe(mount, &uuids)).collect();
    FileSystems { list, unnamed }
}

/// One mount of each file system (of each subvolume, on btrfs): the widest, then the shortest path.
/// By mount points.
fn choose(mounts: &[Mount]) -> Vec<&Mount> {
    let mut best: BTreeMap<(u64, &[u8]), &Mount> = BTreeMap::new();
    for (at, mount) in mounts.iter().enumerate() {
        // What is mounted over cannot be reached.
        let covered = mounts[at + 1..].iter().any(|later| later.point == mount.point);
        if covered || !holds_data(mount) || mount.point.len() > ROOT_LEN_MAX {
            continue;
        }
        let part: &[u8] = if mount.file_system == "btrfs" { &mount.root } else { b"" };
        let key = (mount.device, part);
        let rank = |mount: &Mount| (mount.root.len(), mount.point.len());
        if best.get(&key).is_none_or(|known| rank(mount) < rank(known)) {
            best.insert(key, mount);
        }
    }
    let mut chosen: Vec<&Mount> = best.into_values().collect();
    chosen.sort_by(|left, right| left.point.cmp(&right.point));
    chosen
}

fn holds_data(mount: &Mount) -> bool {
    let name = mount.file_system.as_str();
    // In a container the root itself is an overlay.
    if name == "overlay" && mount.point == b"/" {
        return true;
    }
    let kernel = FileSystem { name: name.to_owned() }.is_kernel();
    !kernel && !name.starts_with("fuse.") && name != "fuse" && !NOT_THIS_MACHINES.contains(&name)
}

fn describe(mount: &Mount, uuids: &HashMap<PathBuf, String>) -> Option<MountedFileSystem> {
    let path = |bytes: &[u8]| PathBuf::from(std::ffi::OsStr::from_bytes(bytes));
    let stat = rustix::fs::statvfs(path(&mount.point)).ok()?;
    let device = std::fs::canonicalize(path(&mount.source)).ok();
    Some(MountedFileSystem {
        point: mount.point.clone(),
        kind: mount.file_system.clone(),
        uuid: device.and_then(|device| uuids.get(&device).cloned()),
        bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        bytes_used: stat.f_blocks.saturating_sub(stat.f_bfree).saturating_mul(stat.f_frsize),
    })
}

/// Devices and the uuids udev has given them names by.
fn uuids() -> HashMap<PathBuf, String> {
    let links = std::fs::read_dir(Path::new(BY_UUID)).into_iter().flatten().flatten();
    let named = links.filter_map(|link| {
        let uuid = link.file_name().into_string().ok()?;
        Some((std::fs::canonicalize(link.path()).ok()?, uuid))
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_system_that_holds_data_is_chosen_once() {
        let table = b"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n\
            2 1 0:5 / /proc rw - proc proc rw\n\
            3 1 0:6 / /run rw - tmpfs tmpfs rw\n\
            4 1 8:1 /var/lib/x /jail/x rw - ext4 /dev/sda1 rw\n\
            5 1 0:40 /@ /data rw - btrfs /dev/sdb rw\n\
            6 1 0:40 /@home /home rw - btrfs /dev/sdb rw\n\
            7 1 0:40 /@home /mnt/long/home rw - btrfs /dev/sdb rw\n\
            8 1 0:41 / /pts rw - fuse.keelhold keelhold rw\n\
            9 1 8:3 / /over rw - xfs /dev/sdc rw\n\
            10 1 8:4 / /over rw - ext4 /dev/sdd rw\n\
            11 1 0:50 / /srv/net rw - nfs4 nas:/x rw\n";
        let mounts = mount_table::parse(table);
        let points: Vec<&[u8]> =
            choose(&mounts).into_iter().map(|mount| &mount.point[..]).collect();
        let expected: [&[u8]; 4] = [b"/", b"/data", b"/home", b"/over"];
        assert_eq!(points, expected);
    }

    #[test]
    fn this_machine_has_a_root() {
        let found = look();
        assert!(found.list.iter().any(|system| system.point == b"/" && system.bytes > 0));
    }
}
