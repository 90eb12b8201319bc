//! Where a block device is mounted. Only for the message: what refuses it is `O_EXCL`.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

pub(super) fn mounted_at(device: u64) -> Option<PathBuf> {
    let table = fs::read("/proc/self/mountinfo").ok()?;
    find(&table, rustix::fs::major(device), rustix::fs::minor(device))
}

/// A line is: mount id, parent id, major:minor, root, mount point, ...
fn find(table: &[u8], major: u32, minor: u32) -> Option<PathBuf> {
    let wanted = format!("{major}:{minor}");
    table.split(|byte| *byte == b'\n').find_map(|line| {
        let mut words = line.split(|byte| *byte == b' ');
        let device = words.nth(2)?;
        let point = words.nth(1)?;
        (device == wanted.as_bytes()).then(|| PathBuf::from(OsString::from_vec(unescape(point))))
    })
}

/// Blanks and the like are written as `\040`.
fn unescape(word: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, tail)) = rest.split_first() {
        let digits = (*first == b'\\').then(|| tail.get(..3)).flatten();
        let code = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                plain.push(code);
                rest = &tail[3..];
            }
            None => {
                plain.push(*first);
                rest = tail;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_device_and_reads_odd_names() {
        let table = b"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
            30 22 8:17 / /mnt/two\\040words rw - xfs /dev/sdb1 rw\nbroken\n";
        assert_eq!(find(table, 8, 1), Some(PathBuf::from("/")));
        assert_eq!(find(table, 8, 17), Some(PathBuf::from("/mnt/two words")));
        assert_eq!(find(table, 8, 2), None);
    }
}
