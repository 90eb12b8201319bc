//! Whatever store a URL names, as one type.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::cloud::{CloudStore, Credential, OpenError, Patience};
use super::{
    Checked, Created, DirectoryStore, Listing, MemoryStore, Pace, Store, StoreError, Until,
};

/// What a vault lies in.
#[derive(Debug)]
pub enum AnyStore {
    Directory(DirectoryStore),
    Cloud(Checked<CloudStore>),
    /// Only tests make one.
    Memory(MemoryStore),
}

impl AnyStore {
    /// Opens `file:///DIR`, `s3://BUCKET/PREFIX` or `az://CONTAINER/PREFIX`. A directory must be there;
    /// a bucket is not asked for before the first request.
    pub fn open(
        url: &str,
        endpoint: Option<&str>,
        credential: Option<&Credential>,
    ) -> Result<Self, OpenError> {
        if let Some(path) = url.strip_prefix("file://") {
            if !path.starts_with('/') || endpoint.is_some() || credential.is_some() {
                return Err(OpenError::Url);
            }
            return Ok(Self::Directory(DirectoryStore::open(Path::new(path))?));
        }
        if !url.starts_with("s3://") && !url.starts_with("az://") {
            return Err(OpenError::Url);
        }
        // Appliances that fail together do not come back together.
        let seed = blake3::hash(format!("{url} {credential:?}").as_bytes());
        let patience = Patience { seed: seed.as_bytes()[0].into(), ..Patience::default() };
        let credential = credential.ok_or(OpenError::NoCredential)?;
        let store = CloudStore::open(url, endpoint, credential, patience)?;
        Ok(Self::Cloud(Checked::new(store)))
    }

    /// Sends no faster than this from now on.
    #[must_use]
    pub fn with_pace(self, pace: Arc<dyn Pace>) -> Self {
        match self {
            Self::Directory(store) => Self::Directory(store.with_pace(pace)),
            Self::Cloud(store) => Self::Cloud(Checked::new(store.into_inner().with_pace(pace))),
            Self::Memory(store) => Self::Memory(store),
        }
    }
}

/// Boxed here, so that what is behind it is compiled here and not by everybody who asks.
macro_rules! each {
    ($self:ident, $store:ident => $answer:expr) => {{
        let asked: BoxFuture<'_, _> = match $self {
            Self::Directory($store) => Box::pin(async move { $answer }),
            Self::Cloud($store) => Box::pin(async move { $answer }),
            Self::Memory($store) => Box::pin(async move { $answer }),
        };
        asked
    }};
}

impl Store for AnyStore {
    fn create(
        &self,
        name: &str,
        bytes: Bytes,
        until: Option<Until>,
    ) -> impl Future<Output = Result<Created, StoreError>> + Send {
        let name = name.to_owned();
        each!(self, store => store.create(&name, bytes, until).await)
    }

    fn read(
        &self,
        name: &str,
        range: Range<u64>,
    ) -> impl Future<Output = Result<Bytes, StoreError>> + Send {
        let name = name.to_owned();
        each!(self, store => store.read(&name, range).await)
    }

    fn head(&self, name: &str) -> impl Future<Output = Result<Option<u64>, StoreError>> + Send {
        let name = name.to_owned();
        each!(self, store => store.head(&name).await)
    }

    fn list(
        &self,
        folder: &str,
        after: &str,
        limit: usize,
    ) -> impl Future<Output = Result<Listing, StoreError>> + Send {
        let (folder, after) = (folder.to_owned(), after.to_owned());
        each!(self, store => store.list(&folder, &after, limit).await)
    }

    fn locked_until(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<Option<Until>, StoreError>> + Send {
        let name = name.to_owned();
        each!(self, store => store.locked_until(&name).await)
    }

    fn extend(
        &self,
        name: &str,
        until: Until,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        let name = name.to_owned();
        each!(self, store => store.extend(&name, until).await)
    }

    fn delete(&self, name: &str) -> impl Future<Output = Result<(), StoreError>> + Send {
        let name = name.to_owned();
        each!(self, store => store.delete(&name).await)
    }

    fn recall(&self, name: &str) -> impl Future<Output = Result<bool, StoreError>> + Send {
        let name = name.to_owned();
        each!(self, store => store.recall(&name).await)
    }
}
