//! Whatever store a URL names, as one type.

use std::ops::Range;
use std::path::Path;

use bytes::Bytes;

use super::cloud::{CloudStore, Credential, OpenError, Patience};
use super::{Checked, Created, DirectoryStore, Listing, MemoryStore, Store, StoreError, Until};

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
        // Appliances that fail together do not come back together.
        let seed = blake3::hash(format!("{url} {credential:?}").as_bytes());
        let patience = Patience { seed: seed.as_bytes()[0].into(), ..Patience::default() };
        let credential = credential.ok_or(OpenError::NoCredential)?;
        let store = CloudStore::open(url, endpoint, credential, patience)?;
        Ok(Self::Cloud(Checked::new(store)))
    }
}

macro_rules! each {
    ($self:ident, $store:ident => $answer:expr) => {
        match $self {
            Self::Directory($store) => $answer,
            Self::Cloud($store) => $answer,
            Self::Memory($store) => $answer,
        }
    };
}

impl Store for AnyStore {
    async fn create(
        &self,
        name: &str,
        bytes: Bytes,
        until: Option<Until>,
    ) -> Result<Created, StoreError> {
        each!(self, store => store.create(name, bytes, until).await)
    }

    async fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        each!(self, store => store.read(name, range).await)
    }

    async fn head(&self, name: &str) -> Result<Option<u64>, StoreError> {
        each!(self, store => store.head(name).await)
    }

    async fn list(&self, folder: &str, after: &str, limit: usize) -> Result<Listing, StoreError> {
        each!(self, store => store.list(folder, after, limit).await)
    }

    async fn locked_until(&self, name: &str) -> Result<Option<Until>, StoreError> {
        each!(self, store => store.locked_until(name).await)
    }

    async fn extend(&self, name: &str, until: Until) -> Result<(), StoreError> {
        each!(self, store => store.extend(name, until).await)
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        each!(self, store => store.delete(name).await)
    }

    async fn recall(&self, name: &str) -> Result<bool, StoreError> {
        each!(self, store => store.recall(name).await)
    }
}
