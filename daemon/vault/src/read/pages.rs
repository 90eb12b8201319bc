//! A point in the vault as the tree code sees it: pages and spans, from near by where they are there.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use keelhold_chunk::{ChunkId, IdKey, Reader, SpanDigest};
use keelhold_disk::tree::{
    self, ContentStore, PageKind, PageRef, PageStore, PointReader, SpanPart, TreeRoot,
};
use keelhold_disk::units::ChunkNumber;

use roaring::RoaringTreemap;

use super::{Located, ReadError, VaultReader, name_of};
use crate::format::{Place, Point};
use crate::mutants::{Mutant, keeps};
use crate::store::Store;
use crate::units::{PointId, PoolId};

/// Somewhere near that may have chunks: the pool.
pub trait Local {
    /// Chunks under these numbers, each proved by its id; `None` where it has not.
    fn chunks_at(
        &self,
        pool: PoolId,
        first: u64,
        count: u16,
    ) -> impl Future<Output = Vec<Option<(ChunkId, Bytes)>>>;

    /// Ids of the chunks it has, without their bytes.
    fn ids_at(
        &self,
        pool: PoolId,
        first: u64,
        count: u16,
    ) -> impl Future<Output = Vec<Option<ChunkId>>>;
}

/// Nothing is near: everything comes from the vault.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoLocal;

impl Local for NoLocal {
    async fn chunks_at(&self, _: PoolId, _: u64, count: u16) -> Vec<Option<(ChunkId, Bytes)>> {
        vec![None; count.into()]
    }

    async fn ids_at(&self, _: PoolId, _: u64, count: u16) -> Vec<Option<ChunkId>> {
        vec![None; count.into()]
    }
}

type Coming = Pin<Box<dyn Future<Output = Vec<SpanPart>>>>;

/// Pages and content of the points of one pool.
pub struct VaultPages<S, L> {
    pub(super) vault: VaultReader<S>,
    pub(super) local: L,
    pub(super) pool: PoolId,
    id_key: IdKey,
    /// Of the root page: the manifest says where it is.
    root: Option<(u64, Place)>,
    /// What was fetched before it is asked for.
    pub(super) brought: RefCell<BTreeMap<u64, (ChunkId, Bytes)>>,
    coming: RefCell<Option<Coming>>,
}

impl<S, L> std::fmt::Debug for VaultPages<S, L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VaultPages({:?})", self.vault)
    }
}

/// Number of the root page of a tree, as a manifest has its root; none of an empty tree.
#[must_use]
pub fn root_number(root: &[u8]) -> Option<u64> {
    let root = TreeRoot::decode(&mut Reader::new(root)).ok()?;
    root.page.map(|page| page.number.0)
}

impl<S: Store> VaultReader<S> {
    pub(crate) fn point_row(&self, point: &PointId) -> Result<&Point, ReadError> {
        let points = &self.inner.view.points;
        let at = points.binary_search_by_key(point, |row| row.point);
        at.map(|at| &points[at]).map_err(|_| ReadError::NoPoint { point: *point })
    }

    /// A point, open for reading. Nothing is fetched yet. What is near is asked before the vault.
    /// All numbers a point needs, by walking its tree. Not for threads.
    pub async fn reach(&self, point: &PointId) -> Result<RoaringTreemap, ReadError>
    where
        S: 'static,
    {
        let row = self.point_row(point)?;
        let refs = self.point(point, NoLocal)?.walk_refs().await.map_err(|error| match error {
            tree::ReadError::Store(error) => error,
            tree::ReadError::Page { number, .. } => {
                ReadError::NoChunk { pool: row.pool, number: number.0 }
            }
        })?;
        let mut reach = refs.set().clone();
        reach.insert(row.recipe_number);
        Ok(reach)
    }

    pub fn point<L: Local>(
        &self,
        point: &PointId,
        local: L,
    ) -> Result<PointReader<VaultPages<S, L>>, ReadError> {
        let row = self.point_row(point)?;
        let undecodable = |source| ReadError::Root { point: *point, source };
        let mut reader = Reader::new(&row.root);
        let root = TreeRoot::decode(&mut reader).map_err(undecodable)?;
        reader.finish().map_err(undecodable)?;
        let place = root.page.zip(row.root_page).map(|(page, place)| (page.number.0, place));
        let pages = VaultPages {
            vault: self.clone(),
            local,
            pool: row.pool,
            id_key: self.inner.id_key.clone().ok_or(ReadError::NoIdKey)?,
            root: place,
            brought: RefCell::default(),
            coming: RefCell::default(),
        };
        Ok(PointReader::new(pages, root))
    }
}

impl<S: Store, L: Local> VaultPages<S, L> {
    fn is_meant(&self, ids: &[ChunkId], digest: SpanDigest) -> bool {
        self.id_key.span_digest(ids) == digest || !keeps(Mutant::SpanDigests)
    }

    async fn page(&self, page: PageRef) -> Result<Bytes, ReadError> {
        let number = page.number.0;
        let near = self.local.chunks_at(self.pool, number, 1).await.pop().flatten();
        if let Some((id, bytes)) = near
            && self.is_meant(&[id], page.digest)
        {
            return Ok(bytes);
        }
        let (id, bytes, place) = match self.root {
            Some((root, place)) if root == number => {
                // No leaf says its id: it follows from the bytes, and the digest decides.
                let frame = self.vault.frame_of(&place).await?;
                let (start, end) = (place.start as usize, (place.start + place.len) as usize);
                let object = name_of(&place.object);
                let bytes = frame.get(start..end).map(Bytes::copy_from_slice);
                let bytes = bytes.ok_or(ReadError::OtherBytes { object, number })?;
                (self.id_key.id(&bytes), bytes, place)
            }
            _ => {
                let located = self.vault.locate(self.pool, &[number]).await?;
                let mut found = self.vault.contents(&located).await?;
                let missing = ReadError::NoChunk { pool: self.pool, number };
                let (id, bytes) = found.remove(&number).ok_or(missing)?;
                (id, bytes, located[0].place)
            }
        };
        if self.is_meant(&[id], page.digest) {
            Ok(bytes)
        } else {
            Err(ReadError::OtherChunks { object: name_of(&place.object), first: number })
        }
    }

    /// Ids and bytes of what can be had without a request; ids and places of the rest.
    async fn parts(&self, part: &SpanPart, asks_near: bool) -> Result<Vec<Part>, ReadError> {
        let count = usize::from(part.count);
        let mut parts: Vec<Option<Part>> = vec![None; count];
        if asks_near {
            let near = self.local.chunks_at(self.pool, part.first.0, part.count).await;
            for (part, near) in parts.iter_mut().zip(near) {
                *part = near.map(|(id, bytes)| Part::Here(id, bytes));
            }
        }
        let number = |at: usize| part.first.0 + at as u64;
        {
            let brought = self.brought.borrow();
            for (at, part) in parts.iter_mut().enumerate().filter(|(_, part)| part.is_none()) {
                *part = brought.get(&number(at)).map(|(id, bytes)| Part::Here(*id, bytes.clone()));
            }
        }
        let far: Vec<usize> = (0..count).filter(|at| parts[*at].is_none()).collect();
        let numbers: Vec<u64> = far.iter().map(|at| number(*at)).collect();
        let located = self.vault.locate(self.pool, &numbers).await?;
        for (at, located) in far.into_iter().zip(located) {
            parts[at] = Some(Part::There(located));
        }
        Ok(parts.into_iter().flatten().collect())
    }

    async fn span_part(&self, part: &SpanPart, asks_near: bool) -> Result<Vec<Bytes>, ReadError> {
        let parts = self.parts(part, asks_near).await?;
        let ids: Vec<ChunkId> = parts.iter().map(Part::id).collect();
        let len: u64 = parts.iter().map(Part::len).sum();
        if !self.is_meant(&ids, part.digest) || len != part.len {
            let object = parts.iter().find_map(|part| match part {
                Part::There(located) => Some(name_of(&located.place.object)),
                Part::Here(..) => None,
            });
            let object = object.unwrap_or_else(|| "what is near".to_owned());
            return Err(ReadError::OtherChunks { object, first: part.first.0 });
        }
        let (mut start, mut wanted, mut cuts) = (0, Vec::new(), Vec::new());
        for found in parts {
            let end = start + found.len();
            if end > part.from && start < part.upto {
                let (from, upto) = (part.from.saturating_sub(start), part.upto.min(end) - start);
                cuts.push((from as usize, upto as usize));
                wanted.push(found);
            }
            start = end;
        }
        let far: Vec<Located> = wanted.iter().filter_map(Part::there).collect();
        let found = self.vault.contents(&far).await?;
        let mut pieces = Vec::with_capacity(wanted.len());
        for (part, (from, upto)) in wanted.into_iter().zip(cuts) {
            let bytes = match part {
                Part::Here(_, bytes) => bytes,
                Part::There(located) => {
                    let number = located.number;
                    let missing = ReadError::NoChunk { pool: self.pool, number };
                    found.get(&number).map(|(_, bytes)| bytes.clone()).ok_or(missing)?
                }
            };
            pieces.push(bytes.slice(from..upto));
        }
        Ok(pieces)
    }

    /// Fetches chunks for those who ask soon, in place of what was fetched before.
    pub(super) async fn fetch(&self, numbers: &[u64]) -> Result<(), ReadError> {
        let located = self.vault.locate(self.pool, numbers).await?;
        let found = self.vault.contents(&located).await?;
        *self.brought.borrow_mut() = found;
        Ok(())
    }
}

#[derive(Debug, Clone)]
enum Part {
    Here(ChunkId, Bytes),
    There(Located),
}

impl Part {
    fn id(&self) -> ChunkId {
        match self {
            Self::Here(id, _) => *id,
            Self::There(located) => located.id,
        }
    }

    fn len(&self) -> u64 {
        match self {
            Self::Here(_, bytes) => bytes.len() as u64,
            Self::There(located) => located.place.len.into(),
        }
    }

    fn there(&self) -> Option<Located> {
        match self {
            Self::Here(..) => None,
            Self::There(located) => Some(*located),
        }
    }
}

impl<S: Store, L: Local> PageStore for VaultPages<S, L> {
    type Error = ReadError;

    async fn get(&self, page: PageRef, _kind: PageKind) -> Result<Bytes, ReadError> {
        self.page(page).await
    }

    async fn put(&self, _kind: PageKind, _bytes: Vec<u8>) -> Result<PageRef, ReadError> {
        Err(ReadError::ReadOnly)
    }
}

impl<S: Store, L: Local> ContentStore for VaultPages<S, L> {
    async fn span(
        &self,
        first: ChunkNumber,
        count: u16,
        len: u64,
        digest: SpanDigest,
        from: u64,
        upto: u64,
    ) -> Result<Vec<Bytes>, ReadError> {
        let part = SpanPart { first, count, len, digest, from, upto };
        let coming = self.coming.borrow_mut().take();
        if let Some(coming) = coming {
            let mut parts = coming.await;
            parts.push(part);
            // Whoever reads what could not be fetched ahead meets the error then.
            let _ = self.bring_parts(&parts).await;
        }
        match self.span_part(&part, true).await {
            // What is near may be another thing under the same number.
            Err(ReadError::OtherChunks { .. }) => self.span_part(&part, false).await,
            found => found,
        }
    }

    fn ahead(&self, coming: impl Future<Output = Vec<SpanPart>> + 'static) {
        *self.coming.borrow_mut() = Some(Box::pin(coming));
    }
}
