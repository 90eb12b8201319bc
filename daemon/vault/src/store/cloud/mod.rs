//! A bucket at S3 or a container at Azure as a vault.
//!
//! Objects are created and read through the crate `object_store`; [`wire`] signs, bounds and repeats
//! what it sends, [`requests`] has what the crate has no words for.
//!
//! **The first version of an object is the object.** Nothing is ever written twice under one name, so
//! where a store keeps versions, all later ones, and markers that hide the first, are somebody else's
//! doing. Listings are therefore made of versions; a name that is hidden is read by its first version;
//! [`Store::recall`] does so for one whose newest version turned out to be garbage.

mod credential;
mod open;
mod pages;
mod refusal;
mod requests;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Extensions, GetOptions, GetRange, ObjectStore, PutMode, PutOptions};

pub use credential::{Credential, CredentialError};
pub use open::OpenError;
pub use wire::Patience;

use super::{
    Created, Entry, LIST_MAX, Listing, Pace, Store, StoreError, StoreFault, Until, foldered,
    is_name, named,
};
use pages::{Mark, Row};
use refusal::Refusal;
use requests::{Of, Requests};
use wire::{Asked, Lock};

/// Names whose first versions are remembered.
const FIRSTS_MAX: usize = 65_536;
/// Pages that are read for one answer: a million versions, which somebody put there to hinder us.
const PAGES_MAX: usize = 1000;
/// No object is longer; what is asked for beyond that is not there.
const ASKED_MAX: u64 = 128 << 20;

#[derive(Debug)]
pub struct CloudStore {
    objects: Arc<dyn ObjectStore>,
    requests: Requests,
    prefix: String,
    /// First versions of names that were listed, created or looked up.
    firsts: Mutex<HashMap<String, String>>,
    /// A version was seen: names may be hidden.
    is_versioned: AtomicBool,
    /// Listing versions was refused, or is unknown here.
    is_plain: AtomicBool,
}

/// What is under a name, made of its versions.
#[derive(Debug, Default)]
struct Found {
    /// None: only markers.
    first: Option<Row>,
    newest: Option<String>,
    all: Vec<Row>,
}

impl Found {
    /// Of rows of one key, newest first.
    fn of(rows: Vec<Row>) -> Self {
        let first = rows.iter().rfind(|row| !row.is_marker).cloned();
        let newest = rows.iter().find(|row| row.is_newest && !row.is_marker);
        Self { first, newest: newest.and_then(|row| row.version.clone()), all: rows }
    }
}

fn cut(mut listing: Listing, limit: usize) -> Listing {
    listing.has_more |= listing.entries.len() > limit;
    listing.entries.truncate(limit);
    listing
}

/// The refusal inside an error of the crate.
fn understood(error: &object_store::Error) -> Refusal {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(refusal) = error.downcast_ref::<Refusal>() {
            return refusal.clone();
        }
        next = error.source();
    }
    Refusal::silent(StoreFault::Unfit)
}

impl CloudStore {
    fn new(objects: Arc<dyn ObjectStore>, requests: Requests, prefix: String) -> Self {
        Self {
            objects,
            requests,
            prefix,
            firsts: Mutex::default(),
            is_versioned: AtomicBool::new(false),
            is_plain: AtomicBool::new(false),
        }
    }

    /// Sends no faster than this from now on; what was set first stays.
    #[must_use]
    pub fn with_pace(self, pace: Arc<dyn Pace>) -> Self {
        let _ = self.requests.wire.pace.set(pace);
        self
    }

    /// Requests sent so far, every attempt counted.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.requests.wire.sent.load(Ordering::Relaxed)
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn firsts(&self) -> MutexGuard<'_, HashMap<String, String>> {
        // Each operation is one step on the map.
        self.firsts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_first(&self, name: &str) -> Option<String> {
        self.firsts().get(name).cloned()
    }

    fn remember(&self, name: &str, version: &str) {
        self.is_versioned.store(true, Ordering::Relaxed);
        let mut firsts = self.firsts();
        if firsts.len() >= FIRSTS_MAX {
            firsts.clear();
        }
        firsts.insert(name.to_owned(), version.to_owned());
    }

    /// Looks up what is under a name.
    async fn find(&self, name: &str) -> Result<Found, Refusal> {
        let key = self.key(name);
        let (mut rows, mut mark): (Vec<Row>, Option<Mark>) = (Vec::new(), None);
        // A server that says "more" for ever must not hold us for ever.
        for _ in 0..PAGES_MAX {
            let page = self.requests.page(Of::Versions, &key, "", mark.as_ref(), LIST_MAX).await?;
            let is_past = page.rows.iter().any(|row| row.key != key);
            rows.extend(page.rows.into_iter().filter(|row| row.key == key));
            match page.next {
                Some(next) if !is_past => mark = Some(next),
                _ => break,
            }
        }
        let found = Found::of(rows);
        if let Some(version) = found.first.as_ref().and_then(|row| row.version.as_ref()) {
            self.remember(name, version);
        }
        Ok(found)
    }

    /// The version that is the object; `None` where there are no versions.
    async fn first(&self, name: &str) -> Result<Option<String>, Refusal> {
        if let Some(version) = self.known_first(name) {
            return Ok(Some(version));
        }
        match self.find(name).await {
            Ok(Found { first: Some(row), .. }) => Ok(row.version),
            Ok(_) => Err(Refusal::silent(StoreFault::NotFound)),
            Err(refusal) if refusal.is_unknown_request() => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// Whether an object that was not found may only be hidden.
    fn may_be_hidden(&self, refusal: &Refusal) -> bool {
        let is_absent = refusal.fault == StoreFault::NotFound;
        refusal.is_marked_deleted || (is_absent && self.is_versioned.load(Ordering::Relaxed))
    }

    async fn get(
        &self,
        name: &str,
        range: &Range<u64>,
        version: Option<String>,
    ) -> Result<Result<Bytes, u64>, Refusal> {
        let end = range.end.min(range.start.saturating_add(ASKED_MAX));
        let mut extensions = Extensions::new();
        extensions.insert(Asked(end - range.start));
        let range_asked = Some(GetRange::Bounded(range.start..end));
        let options = GetOptions { range: range_asked, version, extensions, ..Default::default() };
        let path = Path::from(self.key(name));
        let answer = self.objects.get_opts(&path, options).await;
        let answer = answer.map_err(|error| understood(&error))?;
        let size = answer.meta.size;
        let bytes = answer.bytes().await.map_err(|error| understood(&error))?;
        Ok(if range.end > size { Err(size) } else { Ok(bytes) })
    }

    async fn len(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let (known, key) = (self.known_first(name), self.key(name));
        let absent = match self.requests.head(&key, known.as_deref()).await {
            Ok((len, _)) => return Ok(Some(len)),
            // Answers to HEAD have no words: a listing says what is wrong.
            Err(refusal) if refusal.code.is_empty() && matches!(refusal.status, 400..=403) => {
                self.requests.page(Of::Versions, &key, "", None, 1).await?;
                return Err(refusal);
            }
            Err(refusal) if refusal.status == 404 || refusal.is_marked_deleted => refusal,
            Err(refusal) => return Err(refusal),
        };
        if !self.may_be_hidden(&absent) {
            return Ok(None);
        }
        self.firsts().remove(name);
        Ok(self.find(name).await?.first.map(|row| row.len))
    }

    async fn read_now(&self, name: &str, range: Range<u64>) -> Result<Bytes, Refusal> {
        let (start, end) = (range.start, range.end);
        let beyond = |len| Refusal::silent(StoreFault::Range { start, end, len });
        if start >= end {
            // No server gives no bytes.
            let absent = || Refusal::silent(StoreFault::NotFound);
            let len = self.len(name).await?.ok_or_else(absent)?;
            return if start == end && end <= len { Ok(Bytes::new()) } else { Err(beyond(len)) };
        }
        let mut answer = self.get(name, &range, self.known_first(name)).await;
        if let Err(refusal) = &answer
            && self.may_be_hidden(refusal)
        {
            self.firsts().remove(name);
            let first = self.find(name).await?.first;
            let Some(row) = first else { return Err(Refusal::silent(StoreFault::NotFound)) };
            answer = self.get(name, &range, row.version).await;
        }
        match answer {
            Ok(bytes) => bytes.map_err(beyond),
            // Servers say it with a status, or, where the range begins at the end, with an answer that
            // cannot be.
            Err(refusal) if refusal.status == 416 || refusal.fault == StoreFault::Unfit => {
                let len = self.len(name).await?.filter(|len| *len < end);
                Err(len.map_or(refusal, beyond))
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// Names in order; where versions can be listed, with their first ones. Names that are none of ours
    /// are passed over: somebody else may keep something beside a vault.
    async fn list_of(
        &self,
        of: Of,
        folder: &str,
        after: &str,
        limit: usize,
    ) -> Result<Listing, Refusal> {
        let (prefix, from) = (self.key(folder), self.key(after));
        let from = if after.is_empty() { "" } else { from.as_str() };
        let (mut rows, mut mark): (Vec<Row>, Option<Mark>) = (Vec::new(), None);
        let mut listing = Listing::default();
        let wanted = (limit + 1).min(LIST_MAX);
        for _ in 0..PAGES_MAX {
            // Where one page was not enough, there are many versions or many foreign names.
            let asked = if mark.is_none() { wanted } else { LIST_MAX };
            let page = self.requests.page(of, &prefix, from, mark.as_ref(), asked).await?;
            rows.extend(page.rows);
            // More of the last key's versions may be on the next page.
            let kept = match (&page.next, rows.last()) {
                (Some(_), Some(last)) => rows.iter().filter(|row| row.key == last.key).count(),
                _ => 0,
            };
            let rest = rows.split_off(rows.len() - kept);
            for group in rows.chunk_by(|left, right| left.key == right.key) {
                self.take(group, from, &mut listing)?;
            }
            rows = rest;
            match page.next {
                Some(_) if listing.entries.len() + 1 >= wanted => {
                    listing.has_more = true;
                    return Ok(cut(listing, limit));
                }
                Some(next) => mark = Some(next),
                None => return Ok(cut(listing, limit)),
            }
        }
        Err(Refusal::silent(StoreFault::Listing { what: "more and more pages" }))
    }

    /// What the versions of one key say.
    fn take(&self, group: &[Row], from: &str, listing: &mut Listing) -> Result<(), Refusal> {
        let Some(row) = group.iter().rfind(|row| !row.is_marker) else { return Ok(()) };
        let name = row.key.strip_prefix(&self.prefix).ok_or_else(|| {
            Refusal::silent(StoreFault::Listing { what: "names that were not asked for" })
        })?;
        // Where a server starts earlier than it was asked to.
        if row.key.as_str() > from && is_name(name) {
            if let Some(version) = &row.version {
                self.remember(name, version);
            }
            listing.entries.push(Entry { name: name.to_owned(), len: row.len });
        }
        Ok(())
    }

    async fn list_now(&self, folder: &str, after: &str, limit: usize) -> Result<Listing, Refusal> {
        if !self.is_plain.load(Ordering::Relaxed) {
            match self.list_of(Of::Versions, folder, after, limit).await {
                Err(refusal) if refusal.is_unknown_request() => {}
                answer => return answer,
            }
        }
        let listing = self.list_of(Of::Names, folder, after, limit).await?;
        self.is_plain.store(true, Ordering::Relaxed);
        Ok(listing)
    }

    async fn create_now(
        &self,
        name: &str,
        bytes: Bytes,
        until: Option<Until>,
    ) -> Result<Created, Refusal> {
        let mut extensions = Extensions::new();
        if let Some(until) = until {
            extensions.insert(Lock(until));
        }
        let options = PutOptions { mode: PutMode::Create, extensions, ..Default::default() };
        let path = Path::from(self.key(name));
        match self.objects.put_opts(&path, bytes.into(), options).await {
            Ok(put) => {
                if let Some(version) = put.version.filter(|version| version != "null") {
                    self.remember(name, &version);
                }
                Ok(Created::Made)
            }
            Err(error) => {
                let refusal = understood(&error);
                if refusal.is_taken() { Ok(Created::Exists) } else { Err(refusal) }
            }
        }
    }

    async fn extend_now(&self, name: &str, until: Until) -> Result<(), Refusal> {
        let (key, first) = (self.key(name), self.first(name).await?);
        let Err(refusal) = self.requests.retain(&key, first.as_deref(), until).await else {
            return Ok(());
        };
        if refusal.is_passing() {
            return Err(refusal);
        }
        // Nobody shortens a lock, us included: then it is long enough.
        let (_, locked) = self.requests.head(&key, first.as_deref()).await?;
        if locked >= Some(until) { Ok(()) } else { Err(refusal) }
    }

    async fn delete_now(&self, name: &str) -> Result<(), Refusal> {
        let key = self.key(name);
        let rows = match self.find(name).await {
            Ok(found) => found.all,
            Err(refusal) if refusal.is_unknown_request() => {
                return self.requests.delete(&key, None).await;
            }
            Err(refusal) => return Err(refusal),
        };
        self.firsts().remove(name);
        // Where there is nothing, deleting would put a marker there.
        if rows.first().is_some_and(|row| row.version.is_none()) && rows.len() == 1 {
            return self.requests.delete(&key, None).await;
        }
        let mut refused = None;
        // Azure keeps what stands there now from being deleted by its version.
        if !self.requests.is_s3() && rows.iter().any(|row| row.is_newest) {
            refused = self.requests.delete(&key, None).await.err();
        }
        for row in &rows {
            if let Err(refusal) = self.requests.delete(&key, row.version.as_deref()).await {
                refused.get_or_insert(refusal);
            }
        }
        refused.map_or(Ok(()), Err)
    }

    async fn recall_now(&self, name: &str) -> Result<bool, Refusal> {
        let before = self.known_first(name);
        let found = match self.find(name).await {
            Err(refusal) if refusal.is_unknown_request() => return Ok(false),
            found => found?,
        };
        let Some(first) = found.first.and_then(|row| row.version) else { return Ok(false) };
        Ok(Some(first) != before.or(found.newest))
    }
}

impl Store for CloudStore {
    async fn create(
        &self,
        name: &str,
        bytes: Bytes,
        until: Option<Until>,
    ) -> Result<Created, StoreError> {
        named(name)?;
        let answer = self.create_now(name, bytes, until).await;
        answer.map_err(|refusal| StoreError::new(name, refusal.fault))
    }

    async fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        named(name)?;
        let answer = self.read_now(name, range).await;
        answer.map_err(|refusal| StoreError::new(name, refusal.fault))
    }

    async fn head(&self, name: &str) -> Result<Option<u64>, StoreError> {
        named(name)?;
        self.len(name).await.map_err(|refusal| StoreError::new(name, refusal.fault))
    }

    async fn list(&self, folder: &str, after: &str, limit: usize) -> Result<Listing, StoreError> {
        foldered(folder, limit)?;
        let answer = self.list_now(folder, after, limit).await;
        answer.map_err(|refusal| StoreError::new(folder, refusal.fault))
    }

    async fn locked_until(&self, name: &str) -> Result<Option<Until>, StoreError> {
        named(name)?;
        let failed = |refusal: Refusal| StoreError::new(name, refusal.fault);
        let first = self.first(name).await.map_err(failed)?;
        let answer = self.requests.head(&self.key(name), first.as_deref()).await;
        answer.map(|(_, until)| until).map_err(failed)
    }

    async fn extend(&self, name: &str, until: Until) -> Result<(), StoreError> {
        named(name)?;
        let answer = self.extend_now(name, until).await;
        answer.map_err(|refusal| StoreError::new(name, refusal.fault))
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        named(name)?;
        let answer = self.delete_now(name).await;
        answer.map_err(|refusal| StoreError::new(name, refusal.fault))
    }

    async fn recall(&self, name: &str) -> Result<bool, StoreError> {
        named(name)?;
        let answer = self.recall_now(name).await;
        answer.map_err(|refusal| StoreError::new(name, refusal.fault))
    }
}
