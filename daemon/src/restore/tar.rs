//! A point as a tar archive (POSIX pax): names of any bytes and length, owners, times to the
//! nanosecond, links, devices and extended attributes, as GNU tar and bsdtar read them back with
//! `--xattrs`. Holes are written as zeros; sockets have no form in tar and are left out.

use crate::failure::{Code, Failure};
use crate::point::{CONTENT_PIECE_LEN, Content, Loaded, OpenPoint, load_ordered, read_piece};
use axum::body::Bytes;
use keelhold_chunk::{Attributes, Kind, LinkGroup};
use keelhold_disk::pool::Piece;
use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use tar::{EntryType, Header};
use tokio::sync::mpsc;

const BLOCK: u64 = 512;
/// Digits of a size that fit the plain header.
const SIZE_MAX: u64 = 0o777_7777_7777;

type Out = mpsc::Sender<Result<Bytes, Failure>>;

/// Streams the archive of everything at `path` and below. A failure ends it before its end mark.
#[must_use]
pub fn stream(point: OpenPoint, path: Vec<u8>) -> mpsc::Receiver<Result<Bytes, Failure>> {
    let (out, archive) = mpsc::channel(4);
    tokio::spawn(async move {
        if let Err(failure) = write(&point, path, &out).await {
            let _ = out.send(Err(failure)).await;
        }
    });
    archive
}

async fn write(point: &OpenPoint, path: Vec<u8>, out: &Out) -> Result<(), Failure> {
    let mut groups = load_ordered(point.clone(), vec![path]);
    let mut links: HashMap<LinkGroup, Vec<u8>> = HashMap::new();
    while let Some(group) = groups.recv().await {
        let mut bytes = Vec::new();
        for loaded in group? {
            let link = link_target(&loaded, &mut links);
            let Some(head) = head(&loaded, link.as_deref())? else {
                continue;
            };
            bytes.extend_from_slice(&head);
            if link.is_some() {
                continue;
            }
            match &loaded.content {
                Content::Whole(pieces) => {
                    pieces.iter().for_each(|piece| append(&mut bytes, piece));
                    pad(&mut bytes, loaded.entry.size());
                }
                Content::Damaged(damage) => return Err(damaged(&loaded, &damage.reason)),
                Content::Large => {
                    send(out, &mut bytes).await?;
                    write_large(point, &loaded, out).await?;
                    pad(&mut bytes, loaded.entry.size());
                }
            }
        }
        send(out, &mut bytes).await?;
    }
    send(out, &mut vec![0; 1024]).await
}

async fn send(out: &Out, bytes: &mut Vec<u8>) -> Result<(), Failure> {
    let bytes = Bytes::from(std::mem::take(bytes));
    let gone = |_| Failure::new(Code::Cancelled, "nobody reads the archive any more");
    out.send(Ok(bytes)).await.map_err(gone)
}

fn damaged(loaded: &Loaded, reason: &str) -> Failure {
    let path = String::from_utf8_lossy(&loaded.entry.path);
    Failure::new(Code::PoolDamaged, format!("{path}: {reason}"))
}

async fn write_large(point: &OpenPoint, loaded: &Loaded, out: &Out) -> Result<(), Failure> {
    let mut offset = 0;
    while offset < loaded.entry.size() {
        let pieces = read_piece(point, &loaded.entry, offset, CONTENT_PIECE_LEN).await;
        let mut bytes = Vec::new();
        for piece in pieces.map_err(|damage| damaged(loaded, &damage.reason))? {
            append(&mut bytes, &piece);
        }
        send(out, &mut bytes).await?;
        offset += CONTENT_PIECE_LEN;
    }
    Ok(())
}

fn append(bytes: &mut Vec<u8>, piece: &Piece) {
    match piece {
        Piece::Data(data) => bytes.extend_from_slice(data),
        Piece::Hole(len) => {
            let len = usize::try_from(*len).unwrap_or(0);
            bytes.resize(bytes.len() + len, 0);
        }
    }
}

fn pad(bytes: &mut Vec<u8>, size: u64) {
    let rest = usize::try_from((BLOCK - size % BLOCK) % BLOCK).unwrap_or(0);
    bytes.resize(bytes.len() + rest, 0);
}

/// The name under which this inode is in the archive already.
fn link_target(loaded: &Loaded, links: &mut HashMap<LinkGroup, Vec<u8>>) -> Option<Vec<u8>> {
    match links.entry(loaded.entry.attributes.link_group?) {
        MapEntry::Occupied(first) => Some(first.get().clone()),
        MapEntry::Vacant(place) => {
            place.insert(loaded.entry.path.clone());
            None
        }
    }
}

/// The headers of an entry, or nothing for what tar has no form for.
fn head(loaded: &Loaded, link: Option<&[u8]>) -> Result<Option<Vec<u8>>, Failure> {
    let attributes = &loaded.entry.attributes;
    let Some(kind) = entry_type(attributes, link.is_some()) else {
        return Ok(None);
    };
    let size = if link.is_some() { 0 } else { attributes.size() };
    let mut records = Vec::new();
    let mut name = match loaded.entry.path.as_slice() {
        b"" => b".".to_vec(),
        path => path.to_vec(),
    };
    if attributes.is_directory() {
        name.push(b'/');
    }
    pax(&mut records, "path", &name);
    let target = match (&attributes.kind, link) {
        (_, Some(link)) => Some(link),
        (Kind::Symlink { target }, None) => Some(target.as_slice()),
        _ => None,
    };
    if let Some(target) = target {
        pax(&mut records, "linkpath", target);
    }
    let mtime = attributes.mtime;
    pax(&mut records, "mtime", &decimal_time(mtime.secs, mtime.nanos));
    for (key, value) in [("uid", attributes.uid), ("gid", attributes.gid)] {
        pax(&mut records, key, value.to_string().as_bytes());
    }
    if size > SIZE_MAX {
        pax(&mut records, "size", size.to_string().as_bytes());
    }
    for xattr in &attributes.xattrs {
        if let Ok(name) = std::str::from_utf8(&xattr.name) {
            pax(&mut records, &format!("SCHILY.xattr.{name}"), &xattr.value);
        }
    }
    let mut bytes = Vec::new();
    put_header(&mut bytes, EntryType::XHeader, records.len() as u64, attributes, b"pax")?;
    bytes.extend_from_slice(&records);
    pad(&mut bytes, records.len() as u64);
    put_header(&mut bytes, kind, size, attributes, &name)?;
    Ok(Some(bytes))
}

fn entry_type(attributes: &Attributes, is_link: bool) -> Option<EntryType> {
    if is_link {
        return Some(EntryType::Link);
    }
    Some(match attributes.kind {
        Kind::File { .. } => EntryType::Regular,
        Kind::Directory => EntryType::Directory,
        Kind::Symlink { .. } => EntryType::Symlink,
        Kind::Fifo => EntryType::Fifo,
        Kind::CharDevice { .. } => EntryType::Char,
        Kind::BlockDevice { .. } => EntryType::Block,
        Kind::Socket => return None,
    })
}

fn put_header(
    bytes: &mut Vec<u8>,
    kind: EntryType,
    size: u64,
    attributes: &Attributes,
    name: &[u8],
) -> Result<(), Failure> {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    // What does not fit here is in the pax records, which count before this.
    header.set_size(size.min(SIZE_MAX));
    header.set_mode(u32::from(attributes.mode));
    header.set_uid(u64::from(attributes.uid).min(0o777_7777));
    header.set_gid(u64::from(attributes.gid).min(0o777_7777));
    header.set_mtime(u64::try_from(attributes.mtime.secs).unwrap_or(0).min(SIZE_MAX));
    if let Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } = attributes.kind
    {
        let failed = |error: std::io::Error| Failure::of(Code::Internal, &error);
        header.set_device_major(major).map_err(failed)?;
        header.set_device_minor(minor).map_err(failed)?;
    }
    let short = &name[..name.len().min(100)];
    header.as_old_mut().name[..short.len()].copy_from_slice(short);
    header.set_cksum();
    bytes.extend_from_slice(header.as_bytes());
    Ok(())
}

/// One pax record: its own length in decimal, the key, the value.
fn pax(records: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut len = rest;
    // The length counts its own digits.
    while rest + len.to_string().len() != len {
        len = rest + len.to_string().len();
    }
    records.extend_from_slice(format!("{len} {key}=").as_bytes());
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// Seconds with nine decimals; before 1970 the fraction counts downwards too.
fn decimal_time(secs: i64, nanos: u32) -> Vec<u8> {
    if secs >= 0 || nanos == 0 {
        return format!("{secs}.{nanos:09}").into_bytes();
    }
    let (whole, rest) = (secs + 1, 1_000_000_000 - nanos);
    format!("-{}.{rest:09}", whole.unsigned_abs()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_count_themselves() {
        for value_len in [0, 1, 85, 86, 87, 88, 980, 985, 990] {
            let mut records = Vec::new();
            pax(&mut records, "path", &vec![b'x'; value_len]);
            let text = String::from_utf8(records.clone()).unwrap();
            let (len, _) = text.split_once(' ').unwrap();
            assert_eq!(len.parse::<usize>().unwrap(), records.len(), "{value_len}");
        }
    }

    #[test]
    fn times_before_1970() {
        assert_eq!(decimal_time(5, 30), b"5.000000030");
        assert_eq!(decimal_time(-1, 750_000_000), b"-0.250000000");
        assert_eq!(decimal_time(-5, 0), b"-5.000000000");
    }
}
