//! WHERE of `pool inspect`, as people type it.

use crate::failure::{Code, Failure};
use crate::id_text;
use data_encoding::HEXLOWER_PERMISSIVE;
use keelhold_chunk::ChunkId;
use keelhold_disk::format::Label;
use keelhold_disk::pool::Where;
use keelhold_disk::units::{ChunkNumber, PointId, SessionId, SourceId};
use std::path::PathBuf;

/// Forms with examples, for the help.
pub const FORMS: &str = "\
WHERE is one of
  (nothing)               each disk in short: labels, superblocks, zones, journal, tables
  label                   both labels of every disk, field by field
  superblock[:N]          the four superblocks, or copy N; which of them holds
  journal[:SEQUENCE]      journal entries of both copies, with their operations
  container:N             header, runs, footer and table row of container N
  run:CONTAINER:BLOCK     header, frames and chunks of a run, every frame proved
  chunk:NUMBER            where a chunk is, whether it is whole, which points need it
  chunk:ID                the same by its id, 64 hexadecimal characters
  point:ID  session:ID  source:ID
                          what the tables say, and for a point its recipe
  record:NAME             version, length and hash of a record, not what it holds
  offset:DISK:BYTES       what lies at a byte: every field, and which check fails. DISK is the
                          number, the path or the beginning of the id of a disk
  state                   the newest checkpoint: root, tables, index, each at every place
  [DISK:]BYTES            only which structures claim the byte

Examples
  keelhold pool inspect --disk /dev/sdb
  keelhold pool inspect --disk /dev/sdb --disk /dev/sdc superblock:2
  keelhold pool inspect --disk pool.img journal:41
  keelhold pool inspect --disk pool.img --key-file pool.key run:3:1
  keelhold pool inspect --disk pool.img --json chunk:8193
  keelhold pool inspect --disk pool.img offset:0:217868";

/// What was asked for; a disk is still in words, and a bare byte is asked of the pool alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    At(Where),
    Offset { disk: String, offset: u64 },
    Claims { disk: Option<String>, offset: u64 },
}

fn id(text: &str) -> Option<[u8; 16]> {
    id_text::decode(text).or_else(|| hex(text))
}

fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?.try_into().ok()
}

fn parse(text: &str) -> Option<Asked> {
    let (kind, rest) = match text.split_once(':') {
        Some((kind, rest)) => (kind, Some(rest)),
        None => (text, None),
    };
    let at = match (kind, rest) {
        ("label", None) => Where::Label,
        ("state", None) => Where::State,
        ("superblock", None) => Where::Superblock(None),
        ("superblock", Some(copy)) => {
            Where::Superblock(Some(copy.parse().ok().filter(|copy| *copy < 4)?))
        }
        ("journal", None) => Where::Journal(None),
        ("journal", Some(sequence)) => Where::Journal(Some(sequence.parse().ok()?)),
        ("container", Some(number)) => Where::Container(number.parse().ok()?),
        ("run", Some(rest)) => {
            let (container, block) = rest.split_once(':')?;
            Where::Run(container.parse().ok()?, block.parse().ok()?)
        }
        ("chunk", Some(id)) if id.len() == 2 * ChunkId::LEN => {
            Where::ChunkId(ChunkId::from_bytes(hex(id)?))
        }
        ("chunk", Some(number)) => Where::Chunk(ChunkNumber(number.parse().ok()?)),
        ("point", Some(text)) => Where::Point(PointId(id(text)?)),
        ("session", Some(text)) => Where::Session(SessionId(id(text)?)),
        ("source", Some(text)) => Where::Source(SourceId(id(text)?)),
        ("record", Some(name)) if !name.is_empty() => Where::Record(name.to_owned()),
        ("offset", Some(rest)) => {
            let (disk, offset) = rest.rsplit_once(':')?;
            return Some(Asked::Offset { disk: disk.to_owned(), offset: offset.parse().ok()? });
        }
        _ => {
            let (disk, offset) = match text.rsplit_once(':') {
                Some((disk, offset)) => (Some(disk.to_owned()), offset),
                None => (None, text),
            };
            // Ids of disks are hexadecimal: anything else is a form nobody knows.
            let is_id = |disk: &String| {
                !disk.is_empty() && disk.bytes().all(|byte| byte.is_ascii_hexdigit())
            };
            if !disk.as_ref().is_none_or(is_id) {
                return None;
            }
            return Some(Asked::Claims { disk, offset: offset.parse().ok()? });
        }
    };
    Some(Asked::At(at))
}

impl Asked {
    pub fn parse(text: &str) -> Result<Self, Failure> {
        parse(text).ok_or_else(|| {
            let what = format!("{text:?} is no place that can be inspected");
            Failure::new(Code::BadRequest, what)
                .hint("`keelhold pool inspect --help` shows all forms with examples")
        })
    }
}

/// The disk that is meant: by its number among those given, its path, or the beginning of its id.
pub fn disk(text: &str, paths: &[PathBuf], labels: &[Option<&Label>]) -> Result<usize, Failure> {
    let number = text.parse().ok().filter(|number| *number < paths.len());
    let by_path = || paths.iter().position(|path| path.as_os_str() == text);
    let by_id = || {
        let is_meant = |label: &Option<&Label>| {
            label.is_some_and(|label| label.disk.to_string().starts_with(text))
        };
        labels.iter().position(is_meant)
    };
    number.or_else(by_path).or_else(by_id).ok_or_else(|| {
        Failure::new(Code::BadRequest, format!("none of the disks is {text:?}"))
            .hint("name it by its number (0 is the first --disk), its path or its id")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_understood_and_no_other() {
        let at = |text: &str| match Asked::parse(text) {
            Ok(Asked::At(place)) => Some(place),
            _ => None,
        };
        assert_eq!(at("superblock:3"), Some(Where::Superblock(Some(3))));
        assert_eq!(at("journal"), Some(Where::Journal(None)));
        assert_eq!(at("run:7:12"), Some(Where::Run(7, 12)));
        assert_eq!(at("chunk:8193"), Some(Where::Chunk(ChunkNumber(8193))));
        let id = ChunkId::from_bytes([0xab; 32]);
        assert_eq!(at(&format!("chunk:{id}")), Some(Where::ChunkId(id)));
        let point = PointId([7; 16]);
        assert_eq!(at(&format!("point:{point}")), Some(Where::Point(point)));
        let text = id_text::encode(&point.0);
        assert_eq!(at(&format!("point:{text}")), Some(Where::Point(point)));
        assert_eq!(at("record:group/a:b"), Some(Where::Record("group/a:b".into())));
        let byte = Asked::Offset { disk: "/dev/disk/by-id/a:b".into(), offset: 4096 };
        assert_eq!(Asked::parse("offset:/dev/disk/by-id/a:b:4096"), Ok(byte));
        let claims = |disk: Option<&str>, offset| {
            Ok(Asked::Claims { disk: disk.map(str::to_owned), offset })
        };
        assert_eq!(Asked::parse("4096"), claims(None, 4096));
        assert_eq!(Asked::parse("d4ed:0"), claims(Some("d4ed"), 0));
        for wrong in [
            "",
            "d4ed",
            "superblock:4",
            "run:1",
            "run:1:70000",
            "chunk:x",
            "point:short",
            "record:",
            "offset:0",
            "offset:0:x",
            "container",
            "container:-1",
            "nonsense:7",
        ] {
            assert!(Asked::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
