//! The tree a session describes: ids become numbers, and the builder makes pages of it.

use std::rc::Rc;

use futures_util::lock::Mutex;

use super::Live;
use crate::device::Device;
use crate::error::{CommitError, IngestError};
use crate::pool::store::{PageError, SessionPages};
use crate::pool::{Inner, Pool};
use crate::sets::RefChange;
use crate::tree::{self, BuildError, Item, ResolvedExtent, TreeBuilder, TreeRoot};
use crate::units::{ChunkNumber, ChunkRef, SessionId};
use crate::work::Work;

/// The next piece of the new tree, as the machine names things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewItem {
    /// `count` entries of the basis from ordinal `first` on, unchanged.
    Same {
        first: u64,
        count: u64,
    },
    Entry {
        path: Vec<u8>,
        attributes: Vec<u8>,
        content: NewContent,
    },
    /// Extents of an entry that comes later with [`NewContent::Streamed`]: for files whose list of
    /// chunks does not fit a message.
    More {
        extents: Vec<NewExtent>,
    },
    /// What was sent as [`NewItem::More`] belongs to nothing: the file vanished while it was read.
    Abandon,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewContent {
    None,
    Inline(Vec<u8>),
    /// The content of that basis entry.
    Basis {
        ordinal: u64,
    },
    Extents(Vec<NewExtent>),
    Streamed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewExtent {
    Chunk(ChunkRef),
    Hole(u64),
}

/// The builder of one session's tree; calls take turns.
pub(in crate::pool) type Tree<D, W> = Rc<Mutex<Building<D, W>>>;

pub(in crate::pool) struct Building<D: Device, W: Work> {
    /// Gone once the tree is finished.
    builder: Option<TreeBuilder<SessionPages<D, W>>>,
    streaming: bool,
}

impl<D: Device, W: Work> Pool<D, W> {
    /// Describes the tree further. Every chunk must have been offered and had, or sent, in this
    /// session.
    pub async fn push(&self, session: SessionId, items: Vec<NewItem>) -> Result<(), IngestError> {
        let live = self.inner.live(session)?;
        let tree = self.inner.tree(session)?;
        let mut building = tree.lock().await;
        for item in items {
            self.inner.push_item(&live, &mut building, item).await?;
        }
        Ok(())
    }
}

impl<D: Device, W: Work> Inner<D, W> {
    pub(super) fn begin_tree(&self, live: &Rc<Live>) {
        let pages = SessionPages { inner: self.this.clone(), live: Rc::clone(live) };
        let basis = live.basis.as_ref().map(|(_, root)| *root);
        let builder = TreeBuilder::new(pages, self.fixed.id_key.clone(), basis);
        let building = Building { builder: Some(builder), streaming: false };
        self.trees.borrow_mut().insert(live.id, Rc::new(Mutex::new(building)));
    }

    fn tree(&self, session: SessionId) -> Result<Tree<D, W>, IngestError> {
        let tree = self.trees.borrow().get(&session).cloned();
        tree.ok_or(CommitError::NoSession { session }.into())
    }

    pub(super) async fn finish_tree(
        &self,
        live: &Live,
    ) -> Result<(TreeRoot, RefChange), IngestError> {
        let tree = self.tree(live.id)?;
        let builder = tree.lock().await.builder.take();
        let builder = builder.ok_or(CommitError::NoSession { session: live.id })?;
        builder.finish().await.map_err(tree_error)
    }

    async fn push_item(
        &self,
        live: &Live,
        building: &mut Building<D, W>,
        item: NewItem,
    ) -> Result<(), IngestError> {
        let Building { builder, streaming } = building;
        let Some(builder) = builder else {
            return Err(CommitError::NoSession { session: live.id }.into());
        };
        let item = match item {
            NewItem::Same { first, count } => Item::Same { first, count },
            NewItem::More { extents } => {
                if !*streaming {
                    builder.begin_content().map_err(tree_error)?;
                    *streaming = true;
                }
                let extents = self.resolve_all(live, &extents).await?;
                return builder.extend_content(&extents).await.map_err(tree_error);
            }
            NewItem::Abandon => {
                if std::mem::take(streaming) {
                    builder.abandon_content();
                }
                return Ok(());
            }
            NewItem::Entry { path, attributes, content } => {
                let content = match content {
                    NewContent::None => tree::NewContent::None,
                    NewContent::Inline(bytes) => tree::NewContent::Inline(bytes),
                    NewContent::Basis { ordinal } => tree::NewContent::Basis { ordinal },
                    NewContent::Extents(extents) => {
                        tree::NewContent::Extents(self.resolve_all(live, &extents).await?)
                    }
                    NewContent::Streamed => {
                        *streaming = false;
                        tree::NewContent::Streamed
                    }
                };
                Item::Entry { path, attributes, content }
            }
        };
        builder.push(item).await.map_err(tree_error)
    }

    async fn resolve_all(
        &self,
        live: &Live,
        extents: &[NewExtent],
    ) -> Result<Vec<ResolvedExtent>, IngestError> {
        let mut resolved = Vec::with_capacity(extents.len());
        for extent in extents {
            resolved.push(match extent {
                NewExtent::Hole(len) => ResolvedExtent::Hole(*len),
                NewExtent::Chunk(chunk) => {
                    let number = self.resolve(live, chunk).await?;
                    ResolvedExtent::Chunk { number, id: chunk.id, len: chunk.len }
                }
            });
        }
        Ok(resolved)
    }

    /// The number of a chunk this session may use.
    async fn resolve(&self, live: &Live, chunk: &ChunkRef) -> Result<ChunkNumber, IngestError> {
        let ChunkRef { id, len: claimed } = *chunk;
        let known = live.parts.borrow().known(&id);
        let known = match known {
            Some(known) => Some(known),
            None => self
                .find(&id)
                .await
                .filter(|(number, _)| live.parts.borrow().mine.contains(number.0)),
        };
        match known {
            None => Err(IngestError::UnknownChunk { id }),
            Some((_, found)) if found != claimed => {
                Err(IngestError::WrongLen { id, claimed, found })
            }
            Some((number, _)) => {
                live.parts.borrow_mut().tell(number);
                Ok(number)
            }
        }
    }
}

fn tree_error(error: BuildError<PageError>) -> IngestError {
    match error {
        BuildError::Store(PageError::Commit(error)) => error.into(),
        BuildError::Store(PageError::Read(error)) => error.into(),
        error => IngestError::Tree(Box::new(error)),
    }
}
