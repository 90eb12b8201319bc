//! A file on its way back: made when its first bytes are there, finished with its last.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keelhold_chunk::{ChunkId, IdKey};
use keelhold_tree::{Created, FileWriter, OpenFile};

/// Chunks yet to come, and one more while the list of chunks is not complete.
#[derive(Debug)]
pub(super) struct Target {
    left: AtomicU64,
    state: Mutex<State>,
    /// What is there now, where only differences are to be written.
    existing: Option<OpenFile>,
}

#[derive(Debug)]
enum State {
    /// No descriptor is held: a hundred thousand files may wait for their chunks.
    Waiting(Box<keelhold_tree::Place>),
    Open(Arc<FileWriter>),
    /// Finished, or nothing is to be written to it.
    Done,
}

impl Target {
    pub(super) fn new(place: keelhold_tree::Place) -> Self {
        let existing = place.existing();
        let state = Mutex::new(State::Waiting(Box::new(place)));
        Self { left: AtomicU64::new(1), state, existing }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the disk holds this chunk already, at its place.
    pub(super) fn holds(&self, id_key: &IdKey, id: &ChunkId, offset: u64, len: u32) -> bool {
        let Some(existing) = &self.existing else {
            return false;
        };
        let mut buffer = vec![0; len as usize];
        let filled = existing.read_at(offset, &mut buffer);
        filled == Ok(buffer.len()) && id_key.id(&buffer) == *id
    }

    /// One more chunk will come.
    pub(super) fn expect(&self) {
        self.left.fetch_add(1, Ordering::Relaxed);
    }

    fn writer(&self) -> Option<Arc<FileWriter>> {
        let mut state = self.state();
        if let State::Waiting(_) = &*state
            && let State::Waiting(place) = std::mem::replace(&mut *state, State::Done)
        {
            let created = match &self.existing {
                Some(existing) => place.patch(existing),
                None => place.create(),
            };
            if let Created::Content(writer) = created {
                *state = State::Open(Arc::new(writer));
            }
        }
        match &*state {
            State::Open(writer) => Some(writer.clone()),
            State::Waiting(_) | State::Done => None,
        }
    }

    pub(super) fn write(&self, offset: u64, data: &[u8]) {
        if let Some(writer) = self.writer() {
            // The writer keeps the error for its report.
            let _ = writer.write_at(offset, data);
        }
        self.one_less();
    }

    /// Nothing is to be here. In a new file nothing is.
    pub(super) fn hole(&self, offset: u64, len: u64) {
        if self.existing.is_some()
            && let Some(writer) = self.writer()
        {
            let _ = writer.punch(offset, len);
        }
    }

    /// A chunk came, or the list of chunks is complete.
    pub(super) fn one_less(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        // Made now if nothing had to be written: an empty file, one hole, one that is right already.
        let writer = self.writer();
        let done = std::mem::replace(&mut *self.state(), State::Done);
        drop(done);
        if let Some(writer) = writer.and_then(Arc::into_inner) {
            // What it could not do stands in the report.
            let _ = writer.finish();
        }
    }
}
