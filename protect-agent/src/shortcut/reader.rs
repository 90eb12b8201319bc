//! Reads the entries file from front to back, a block at a time.

use std::fs::File;
use std::io::{BufReader, Read};

use keelhold_chunk::Reader;

use super::Record;
use super::format::{BLOCK_HEADER_LEN, BLOCK_LEN_MAX, Damage, MAGIC, block_checksum, take_entry};

/// The entries of the basis in order. After damage there are no more.
#[derive(Debug)]
pub struct Entries<R = BufReader<File>> {
    source: R,
    block: Vec<u8>,
    /// Where the next entry of `block` begins, and how many are left in it.
    at: usize,
    left: u32,
    path: Vec<u8>,
    next_ordinal: u64,
    started: bool,
}

/// One entry; its path is borrowed until the next one is asked for.
#[derive(Debug)]
pub struct Entry<'a> {
    pub ordinal: u64,
    pub path: &'a [u8],
    pub record: Record,
}

impl<R: Read> Entries<R> {
    pub fn new(source: R) -> Self {
        Self {
            source,
            block: Vec::new(),
            at: 0,
            left: 0,
            path: Vec::new(),
            next_ordinal: 0,
            started: false,
        }
    }

    /// The next entry; `None` at the end.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'_>>, Damage> {
        while self.left == 0 {
            if !self.next_block()? {
                return Ok(None);
            }
        }
        let mut reader = Reader::new(&self.block[self.at..]);
        let record = take_entry(&mut reader, &mut self.path)?;
        self.at += reader.offset();
        self.left -= 1;
        if self.left == 0 && self.at != self.block.len() {
            return Err(Damage::Checksum);
        }
        let ordinal = self.next_ordinal;
        self.next_ordinal += 1;
        Ok(Some(Entry { ordinal, path: &self.path, record }))
    }

    fn next_block(&mut self) -> Result<bool, Damage> {
        if !self.started {
            let mut magic = [0; MAGIC.len()];
            self.source.read_exact(&mut magic).map_err(Damage::Read)?;
            if &magic != MAGIC {
                return Err(Damage::Magic);
            }
            self.started = true;
        }
        let mut header = [0; BLOCK_HEADER_LEN];
        if !read_or_end(&mut self.source, &mut header).map_err(Damage::Read)? {
            return Ok(false);
        }
        let mut fields = Reader::new(&header);
        let (len, count, crc) = (fields.u32()?, fields.u32()?, fields.u32()?);
        if len as usize > BLOCK_LEN_MAX {
            return Err(Damage::BlockLen { len });
        }
        self.block.resize(len as usize, 0);
        self.source.read_exact(&mut self.block).map_err(Damage::Read)?;
        if block_checksum(&header[..8], &self.block) != crc {
            return Err(Damage::Checksum);
        }
        (self.at, self.left) = (0, count);
        self.path.clear();
        Ok(true)
    }
}

/// False if the source ended before the first byte.
fn read_or_end(source: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<bool> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) if filled == 0 => return Ok(false),
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(len) => filled += len,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
