//! Sheets of a bounded index: reading a leaf, and finding them again when a pool is opened. How they
//! are made: [`save`].
//!
//! What a sheet says is only a hint: the number it leads to is looked up, and the full id compared.
//! So a leaf that cannot be read costs storing a chunk twice and nothing else, and what stands in a
//! sheet of a chunk that died leads nowhere.

mod save;

use std::rc::Rc;

use roaring::RoaringTreemap;

use super::layout::state_slot;
use super::read::Proof;
use super::{Inner, Work};
use crate::device::Device;
use crate::error::{OpenError, ReadError};
use crate::format::{BlobRef, Directory, RunRef, SlotRef, StateRoot};
use crate::index::Fingerprint;
use crate::index::levels::{Levels, Placed, Sizes};
use crate::index::sheet::{ROW_LEN, Row, Sheet, decode_rows};
use crate::mutants::Mutant;
use crate::units::ChunkNumber;

pub(super) use save::Saved;

/// A sheet that is not where it should be.
const UNKNOWN: ReadError = ReadError::NoChunk { number: ChunkNumber(0) };

impl<D: Device, W: Work> Inner<D, W> {
    pub(super) fn index_sizes(&self) -> Sizes {
        Sizes::new(self.index_budget, self.run_len_max())
    }

    /// Numbers that sheets have for a fingerprint.
    pub(super) async fn candidates_in_sheets(&self, fingerprint: Fingerprint) -> Vec<ChunkNumber> {
        loop {
            let leaves = match self.tables.borrow().index.levels() {
                Some(levels) => levels.leaves_with(fingerprint),
                None => return Vec::new(),
            };
            let (mut found, mut moved) = (Vec::new(), false);
            for (placed, leaf) in leaves {
                match self.read_leaf(&placed, leaf).await {
                    Ok(rows) => found.extend(
                        rows.into_iter().filter(|row| row.0 == fingerprint).map(|row| row.1),
                    ),
                    // It was joined with others while we read, and its place given away.
                    Err(_) if !self.is_listed(&placed) => moved = true,
                    Err(error) => tracing::warn!(%error, "a leaf of the index"),
                }
            }
            if !moved {
                return found;
            }
        }
    }

    fn is_listed(&self, placed: &Placed) -> bool {
        let tables = self.tables.borrow();
        let mut sheets = tables.index.levels().into_iter().flat_map(Levels::iter);
        sheets.any(|(_, other)| Rc::ptr_eq(&other.blob, &placed.blob))
    }

    /// One leaf, from whichever copy is whole.
    async fn read_leaf(&self, placed: &Placed, leaf: usize) -> Result<Vec<Row>, ReadError> {
        let mut first_error = None;
        for copy in 0..placed.blob.copies.len().min(2) {
            match self.read_leaf_of(placed, copy, leaf).await {
                Ok(rows) => return Ok(rows),
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        Err(first_error.unwrap_or(UNKNOWN))
    }

    async fn read_leaf_of(
        &self,
        placed: &Placed,
        copy: usize,
        leaf: usize,
    ) -> Result<Vec<Row>, ReadError> {
        let known = placed.heads.borrow()[copy].clone();
        let head = match known {
            Some(head) => head,
            None => {
                let head = Rc::new(self.head_of(&placed.blob, copy).await?);
                placed.heads.borrow_mut()[copy] = Some(Rc::clone(&head));
                head
            }
        };
        let run = placed.blob.copies[copy].first().ok_or(UNKNOWN)?;
        let slot = self.state_slot_of(run).ok_or(UNKNOWN)?;
        let key = (run.container, run.block);
        if leaf >= head.frames.len() {
            return Err(UNKNOWN);
        }
        let plain = self.read_frame_at(slot, key, &head, leaf as u16, Proof::Stored).await?;
        Ok(decode_rows(&plain).collect())
    }

    /// Where the leaves of a sheet are in one of its copies.
    async fn head_of(&self, blob: &BlobRef, copy: usize) -> Result<Directory, ReadError> {
        let run = blob.copies.get(copy).and_then(|runs| runs.first()).ok_or(UNKNOWN)?;
        let slot = self.state_slot_of(run).ok_or(UNKNOWN)?;
        let salt = self.salt(run.container).ok_or(UNKNOWN)?;
        self.read_state_directory(slot, run, &salt).await
    }

    fn state_slot_of(&self, run: &RunRef) -> Option<SlotRef> {
        state_slot(run.container).and(self.slots(run.container)).map(|slots| slots.first())
    }

    /// Rows of a leaf as they were when the sheet was written.
    async fn leaf_rows(&self, blob: &BlobRef) -> Result<usize, ReadError> {
        let mut head = self.head_of(blob, 0).await;
        if head.is_err() {
            head = self.head_of(blob, 1).await;
        }
        let first = head?.frames.first().map_or(0, |frame| frame.plain_len as usize);
        Ok((first / ROW_LEN).max(1))
    }

    /// All rows of a sheet, as they stand on the disk.
    async fn read_sheet(&self, placed: &Placed) -> Result<Vec<u8>, ReadError> {
        self.read_blob(&placed.blob).await
    }

    /// Finds the sheets of a bounded index whose slots were loaded. Where one is damaged at every
    /// place, or a chunk stands in none, there are none: the next checkpoint makes them again.
    pub(super) async fn load_sheets(&self, root: &StateRoot) -> Result<(), OpenError> {
        let live: RoaringTreemap =
            self.tables.borrow().index.iter().map(|(number, _)| number.0).collect();
        let (mut levels, mut seen) = (Levels::default(), RoaringTreemap::new());
        for (level, blob) in &root.sheets {
            let level = (*level as usize).min(Levels::MOST);
            let (bytes, leaf_rows) = match (self.read_blob(blob).await, self.leaf_rows(blob).await)
            {
                (Ok(bytes), Ok(leaf_rows)) => (bytes, leaf_rows),
                (Err(error), _) | (_, Err(error)) if error.is_corruption() => {
                    tracing::warn!(%error, "a sheet of the index");
                    return Ok(());
                }
                (Err(error), _) | (_, Err(error)) => return Err(OpenError::NoCheckpoint(error)),
            };
            let rows: Vec<Row> = decode_rows(&bytes).collect();
            if rows.is_empty() || !rows.is_sorted() {
                tracing::warn!("a sheet of the index is out of order");
                return Ok(());
            }
            seen.extend(rows.iter().map(|(_, number)| number.0));
            let sheet = Sheet::new(&rows, leaf_rows, Levels::is_sharp(level));
            levels.add(level, Placed::new(Rc::new(sheet), blob.clone()));
        }
        if !levels.is_in_order() {
            tracing::warn!("sheets of the index overlap: they are made again");
            return Ok(());
        }
        if !live.is_subset(&seen) && self.mutants.keeps(Mutant::SheetsHaveAll) {
            tracing::warn!("sheets of the index lack chunks: they are made again");
            return Ok(());
        }
        let mut tables = self.tables.borrow_mut();
        tables.index.put_in_sheets(levels, &seen, &RoaringTreemap::new());
        tables.sheets_are_whole = true;
        Ok(())
    }
}
