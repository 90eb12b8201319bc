//! What is mounted, from `/proc/self/mountinfo`.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Of the file system, as the table has it; btrfs shows others in `stat`.
    pub device: u64,
    /// What of the file system is mounted: `/` is all of it.
    pub root: Vec<u8>,
    pub point: Vec<u8>,
    pub file_system: String,
    /// What was mounted, usually a device.
    pub source: Vec<u8>,
    pub read_only: bool,
}

/// The table as it is now, in the order in which things were mounted; empty where it cannot be read.
#[must_use]
pub fn read() -> Vec<Mount> {
    parse(&std::fs::read("/proc/self/mountinfo").unwrap_or_default())
}

/// Those mounted below `path`, which is absolute and holds no links; hidden ones included.
pub fn below<'a>(
    mounts: &'a [Mount],
    path: &'a Path,
) -> impl Iterator<Item = (&'a Mount, &'a [u8])> {
    mounts.iter().filter_map(move |mount| Some((mount, relative(path, &mount.point)?)))
}

fn relative<'a>(path: &Path, point: &'a [u8]) -> Option<&'a [u8]> {
    let path = path.as_os_str().as_bytes();
    let rest = match path {
        b"/" => point.strip_prefix(b"/")?,
        _ => point.strip_prefix(path)?.strip_prefix(b"/")?,
    };
    (!rest.is_empty()).then_some(rest)
}

/// proc(5): `36 35 98:0 /root /mount options [optional …] - type source super-options`.
#[must_use]
pub fn parse(table: &[u8]) -> Vec<Mount> {
    table.split(|byte| *byte == b'\n').filter_map(line).collect()
}

fn line(line: &[u8]) -> Option<Mount> {
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let dash = words.iter().position(|word| *word == b"-")?;
    let device = std::str::from_utf8(words.get(2)?).ok()?;
    let (major, minor) = device.split_once(':')?;
    let name = String::from_utf8_lossy(words.get(dash + 1)?).into_owned();
    Some(Mount {
        device: rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?),
        root: unescape(words.get(3)?),
        point: unescape(words.get(4)?),
        file_system: name,
        source: unescape(words.get(dash + 2)?),
        read_only: words.get(5)?.split(|byte| *byte == b',').any(|word| word == b"ro"),
    })
}

/// Blanks, line ends and backslashes are written as three octal digits.
fn unescape(word: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, behind)) = rest.split_first() {
        let digits =
            behind.get(..3).filter(|digits| digits.iter().all(|d| (b'0'..b'8').contains(d)));
        match digits {
            Some(digits) if *first == b'\\' => {
                let value =
                    digits.iter().fold(0u32, |value, digit| value * 8 + u32::from(digit - b'0'));
                plain.push(value as u8);
                rest = &behind[3..];
            }
            _ => {
                plain.push(*first);
                rest = behind;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_to_its_odd_names() {
        let table = b"22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
            23 22 0:50 /@home /srv/a\\040b ro shared:1 - btrfs /dev/vdb rw,subvol=/@home\nbad\n";
        let mounts = parse(table);
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[1].point, b"/srv/a b");
        assert_eq!((&mounts[1].root[..], mounts[1].read_only), (&b"/@home"[..], true));
        let names = |path: &str| -> Vec<Vec<u8>> {
            below(&mounts, Path::new(path)).map(|(_, rest)| rest.to_vec()).collect()
        };
        assert_eq!(names("/"), [b"srv/a b".to_vec()]);
        assert_eq!(names("/srv"), [b"a b".to_vec()]);
        assert!(names("/srv/a b").is_empty() && names("/sr").is_empty());
        assert!(!read().is_empty());
    }
}
