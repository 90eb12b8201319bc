//! Entries one after another, the next page on its way while this one is used.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;

use futures_util::future::{LocalBoxFuture, MaybeDone, maybe_done};
use std::future::{Future, poll_fn};
use std::task::Poll;

use super::locate::Leaf;
use crate::tree::error::ReadError;
use crate::tree::leaf::Entry;
use crate::tree::load::Loader;
use crate::tree::{PageStore, TreeRoot};

type Coming<'a, E> = MaybeDone<LocalBoxFuture<'a, Result<Option<Leaf>, ReadError<E>>>>;

/// A walk over a tree. After an error it stays where it was: the next call tries again.
pub struct Scan<'a, S: PageStore> {
    loader: &'a Loader<S>,
    root: &'a TreeRoot,
    /// Ordinal of the next entry.
    next: u64,
    leaf: Option<(u64, Rc<Vec<Entry>>)>,
    ahead: Option<Coming<'a, S::Error>>,
}

impl<S: PageStore> fmt::Debug for Scan<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan").field("root", self.root).field("next", &self.next).finish()
    }
}

impl<'a, S: PageStore> Scan<'a, S> {
    pub(super) fn new(loader: &'a Loader<S>, root: &'a TreeRoot, from: u64) -> Self {
        Self { loader, root, next: from, leaf: None, ahead: None }
    }

    /// The next entry and its ordinal; nothing at the end.
    pub async fn next(&mut self) -> Result<Option<(u64, Entry)>, ReadError<S::Error>> {
        loop {
            if let Some((start, entries)) = &self.leaf {
                let index = (self.next - start) as usize;
                if let Some(entry) = entries.get(index) {
                    let ordinal = self.next;
                    self.next += 1;
                    return Ok(Some((ordinal, entry.clone())));
                }
                self.leaf = None;
            }
            let mut coming = self.ahead.take().unwrap_or_else(|| self.load(self.next));
            (&mut coming).await;
            match Pin::new(&mut coming).take_output() {
                Some(Ok(Some((start, entries)))) => {
                    self.look_ahead(start + entries.len() as u64).await;
                    self.leaf = Some((start, entries));
                }
                Some(Err(error)) => return Err(error),
                Some(Ok(None)) | None => return Ok(None),
            }
        }
    }

    fn load(&self, ordinal: u64) -> Coming<'a, S::Error> {
        let (loader, root) = (self.loader, self.root);
        maybe_done(Box::pin(loader.leaf_of(root, ordinal)))
    }

    /// Asks for the next page and goes on without it. It makes progress whenever the task is polled
    /// again in here, and the store's device works meanwhile.
    async fn look_ahead(&mut self, ordinal: u64) {
        if ordinal >= self.root.entry_count {
            return;
        }
        let mut coming = self.load(ordinal);
        poll_fn(|cx| {
            let _ = Pin::new(&mut coming).poll(cx);
            Poll::Ready(())
        })
        .await;
        self.ahead = Some(coming);
    }
}
