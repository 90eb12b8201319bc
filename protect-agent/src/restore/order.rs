//! Where a restore may write: decided by the machine's own configuration, carried out by the child.

use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use keelhold_chunk::entry::is_sound_path;
use keelhold_chunk::{DecodeError, Reader, Writer};
use keelhold_tree::{TreeWriter, WriteOptions};
use keelhold_wire::limits::ROOT_LEN_MAX;
use keelhold_wire::{OnClash, StartRestore};
use thiserror::Error;

use super::RestoreError;
use crate::config::Config;

pub(super) const ENCODED_LEN_MAX: u32 = 16 << 10;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A directory below the restore root; no link inside the root is followed.
    Beneath { root: PathBuf, path: Vec<u8> },
    /// Where a source came from, allowed by the machine.
    Original { path: PathBuf },
}

/// A decision of the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OrderError {
    #[error("this machine does not allow restores to the original place")]
    OriginalNotAllowed,
    #[error("{} is not below {}, where this machine allows restores", target.display(), root.display())]
    Outside { target: PathBuf, root: PathBuf },
    #[error("{} is not a place a restore can go to", target.display())]
    Unsound { target: PathBuf },
    #[error("the order is malformed")]
    Malformed(#[from] DecodeError),
}

impl Order {
    /// What the machine's configuration says to a request of the server.
    pub fn decide(start: &StartRestore, config: &Config) -> Result<Self, OrderError> {
        let target = PathBuf::from(std::ffi::OsString::from_vec(start.target.clone()));
        if start.original {
            if !config.restore_original {
                return Err(OrderError::OriginalNotAllowed);
            }
            let inside = start.target.strip_prefix(b"/").map(trim);
            let sound = inside.is_some_and(is_sound_path);
            let place = Place::Original { path: target.clone() };
            return if sound { Ok(Self { place }) } else { Err(OrderError::Unsound { target }) };
        }
        let root = config.restore_root.clone();
        let path = if target.is_absolute() {
            match target.strip_prefix(&root) {
                Ok(path) => trim(path.as_os_str().as_bytes()).to_vec(),
                Err(_) => return Err(OrderError::Outside { target, root }),
            }
        } else {
            trim(&start.target).to_vec()
        };
        if !is_sound_path(&path) || path.is_empty() {
            return Err(OrderError::Unsound { target });
        }
        Ok(Self { place: Place::Beneath { root, path } })
    }

    pub(super) fn open(&self, on_clash: OnClash) -> Result<TreeWriter, RestoreError> {
        let on_clash = Some(match on_clash {
            OnClash::Skip => keelhold_tree::OnClash::Skip,
            OnClash::Copy => keelhold_tree::OnClash::Copy,
            OnClash::Overwrite => keelhold_tree::OnClash::Overwrite,
        });
        let options = WriteOptions { on_clash, ..WriteOptions::default() };
        match &self.place {
            Place::Original { path } => Ok(TreeWriter::create(path, options)?),
            Place::Beneath { root, path } => {
                let mut builder = fs::DirBuilder::new();
                builder.recursive(true).mode(0o700).create(root).map_err(RestoreError::Root)?;
                let root = fs::File::open(root).map_err(RestoreError::Root)?;
                Ok(TreeWriter::create_beneath(root, path, options)?)
            }
        }
    }

    /// Length and bytes, as the child reads them.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        match &self.place {
            Place::Beneath { root, path } => {
                writer.u8(0);
                writer.bytes(root.as_os_str().as_bytes());
                writer.bytes(path);
            }
            Place::Original { path } => {
                writer.u8(1);
                writer.bytes(path.as_os_str().as_bytes());
            }
        }
        let body = writer.finish();
        let mut bytes = (body.len() as u32).to_le_bytes().to_vec();
        bytes.extend_from_slice(&body);
        bytes
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, OrderError> {
        let mut reader = Reader::new(body);
        let path = |reader: &mut Reader<'_>| -> Result<PathBuf, DecodeError> {
            Ok(Path::new(std::ffi::OsStr::from_bytes(reader.bytes(ROOT_LEN_MAX)?)).to_owned())
        };
        let place = match reader.u8()? {
            0 => {
                let root = path(&mut reader)?;
                Place::Beneath { root, path: reader.bytes(ROOT_LEN_MAX)?.to_vec() }
            }
            1 => Place::Original { path: path(&mut reader)? },
            other => return Err(reader.undefined("place", u64::from(other)).into()),
        };
        reader.finish()?;
        Ok(Self { place })
    }
}

/// Without slashes at the end.
fn trim(path: &[u8]) -> &[u8] {
    let len = path.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
    &path[..len]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(target: &str, original: bool, allowed: bool) -> Result<Order, OrderError> {
        let config = Config {
            script_directory: "/".into(),
            snapshots: true,
            metered: None,
            restore_root: PathBuf::from("/srv/restore"),
            restore_original: allowed,
            reconnect_max: crate::backoff::LONGEST,
        };
        let target = target.as_bytes().to_vec();
        let on_clash = OnClash::Skip;
        let start = StartRestore { job: 1, target, original, on_clash, id_key: [0; 32] };
        Order::decide(&start, &config)
    }

    #[test]
    fn restores_stay_below_their_root() {
        let order = decide("/srv/restore/a/b/", false, false).unwrap();
        let place = Place::Beneath { root: PathBuf::from("/srv/restore"), path: b"a/b".to_vec() };
        assert_eq!(order, Order { place });
        assert_eq!(decide("a/b", false, false).unwrap(), order);
        for outside in ["/etc", "/srv/restored/x", "/srv"] {
            let refused = decide(outside, false, true).unwrap_err();
            assert!(matches!(refused, OrderError::Outside { .. }), "{outside}");
        }
        for unsound in ["../x", "a/../../x", "", "/srv/restore", "/srv/restore/../x", "a//b"] {
            let refused = decide(unsound, false, true).unwrap_err();
            assert!(matches!(refused, OrderError::Unsound { .. }), "{unsound}");
        }
    }

    #[test]
    fn the_original_place_needs_a_yes_of_the_machine() {
        assert_eq!(decide("/home", true, false), Err(OrderError::OriginalNotAllowed));
        assert!(decide("/home", true, true).is_ok());
        for unsound in ["home", "/home/../etc", "x"] {
            assert!(decide(unsound, true, true).is_err(), "{unsound}");
        }
    }

    #[test]
    fn orders_come_back_from_their_bytes() {
        for order in [decide("a", false, false).unwrap(), decide("/home/x", true, true).unwrap()] {
            let bytes = order.encode();
            assert_eq!(Order::decode(&bytes[4..]), Ok(order));
            assert!(Order::decode(&bytes[4..bytes.len() - 1]).is_err());
        }
        assert!(Order::decode(&[7]).is_err());
    }
}
