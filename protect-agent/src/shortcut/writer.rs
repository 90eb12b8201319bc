//! Writes the entries of the next basis while a session goes on.
//!
//! Most sessions change little, and many nothing. So the writer is told either "the same as these
//! entries of the old file" or a new record, and writes nothing until the first difference.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};

use keelhold_chunk::Writer;

use super::Record;
use super::format::{BLOCK_LEN_TARGET, MAGIC, block_header, put_entry};
use super::reader::Entries;
use super::store::ShortcutError;

/// Begins as "the same as the old file so far" and becomes a new file at the first difference.
#[derive(Debug)]
pub struct ShortcutWriter {
    old: Option<Entries>,
    old_count: u64,
    /// How many entries of the old file were read by `old`.
    old_read: u64,
    /// Entries at the start of the old file that are repeated and not yet written.
    same: u64,
    make: Option<File>,
    new: Option<Blocks<BufWriter<File>>>,
    count: u64,
}

/// What has become of the entries file.
#[derive(Debug)]
pub enum Fresh {
    /// All entries of the old file and no others: it stays.
    Same,
    /// A file with so many entries, written and flushed to the system, not yet to the disk.
    New { count: u64, file: File },
}

impl ShortcutWriter {
    /// `file` is empty and becomes the new one if one is needed; `old` is read a second time here.
    pub fn new(old: Option<(File, u64)>, file: File) -> Self {
        let old_count = old.as_ref().map_or(0, |(_, count)| *count);
        Self {
            old: old.map(|(old, _)| Entries::new(BufReader::with_capacity(128 << 10, old))),
            old_count,
            old_read: 0,
            same: 0,
            make: Some(file),
            new: None,
            count: 0,
        }
    }

    /// These entries of the old file follow unchanged. They were read from it already, so damage
    /// cannot be met here unless the file changed meanwhile.
    pub fn same(&mut self, first: u64, count: u64) -> Result<(), ShortcutError> {
        self.count += count;
        if self.new.is_none() && first == self.same {
            self.same += count;
            return Ok(());
        }
        self.begin()?;
        self.copy(first, count)
    }

    pub fn put(&mut self, path: &[u8], record: &Record) -> Result<(), ShortcutError> {
        self.count += 1;
        self.begin()?;
        match &mut self.new {
            Some(new) => new.put(path, record).map_err(ShortcutError::Write),
            None => Err(ShortcutError::Changed),
        }
    }

    pub fn finish(mut self) -> Result<Fresh, ShortcutError> {
        let count = self.count;
        if self.old.is_none() || self.same != self.old_count {
            self.begin()?;
        }
        match self.new.take() {
            None => Ok(Fresh::Same),
            Some(new) => {
                let buffered = new.finish().map_err(ShortcutError::Write)?;
                let file = buffered
                    .into_inner()
                    .map_err(|error| ShortcutError::Write(error.into_error()))?;
                Ok(Fresh::New { count, file })
            }
        }
    }

    fn begin(&mut self) -> Result<(), ShortcutError> {
        let Some(mut file) = self.make.take() else {
            return Ok(());
        };
        file.seek(SeekFrom::Start(0)).map_err(ShortcutError::Write)?;
        let file = BufWriter::with_capacity(256 << 10, file);
        self.new = Some(Blocks::new(file).map_err(ShortcutError::Write)?);
        let same = std::mem::take(&mut self.same);
        self.copy(0, same)
    }

    fn copy(&mut self, first: u64, count: u64) -> Result<(), ShortcutError> {
        if count == 0 {
            return Ok(());
        }
        let (Some(old), Some(new)) = (&mut self.old, &mut self.new) else {
            return Err(ShortcutError::Changed);
        };
        while self.old_read < first + count {
            let entry = old.next_entry()?.ok_or(ShortcutError::Changed)?;
            self.old_read = entry.ordinal + 1;
            if entry.ordinal >= first {
                new.put(entry.path, &entry.record).map_err(ShortcutError::Write)?;
            }
        }
        Ok(())
    }
}

/// Blocks of entries into a stream.
#[derive(Debug)]
pub(crate) struct Blocks<W> {
    sink: W,
    payload: Writer,
    count: u32,
    last: Vec<u8>,
}

impl<W: Write> Blocks<W> {
    pub(crate) fn new(mut sink: W) -> std::io::Result<Self> {
        sink.write_all(MAGIC)?;
        Ok(Self { sink, payload: Writer::new(), count: 0, last: Vec::new() })
    }

    pub(crate) fn put(&mut self, path: &[u8], record: &Record) -> std::io::Result<()> {
        put_entry(&mut self.payload, &self.last, path, record);
        self.last.clear();
        self.last.extend_from_slice(path);
        self.count += 1;
        if self.payload.len() >= BLOCK_LEN_TARGET { self.close() } else { Ok(()) }
    }

    fn close(&mut self) -> std::io::Result<()> {
        let payload = std::mem::take(&mut self.payload).finish();
        let count = std::mem::take(&mut self.count);
        if count > 0 {
            self.sink.write_all(&block_header(&payload, count))?;
            self.sink.write_all(&payload)?;
        }
        self.last.clear();
        Ok(())
    }

    pub(crate) fn finish(mut self) -> std::io::Result<W> {
        self.close()?;
        self.sink.flush()?;
        Ok(self.sink)
    }
}

/// Lets tests read back what they wrote.
impl<R: Read> Entries<R> {
    #[cfg(test)]
    pub(crate) fn collect_all(mut self) -> Result<Vec<(Vec<u8>, Record)>, super::Damage> {
        let mut all = Vec::new();
        while let Some(entry) = self.next_entry()? {
            all.push((entry.path.to_vec(), entry.record));
        }
        Ok(all)
    }
}
