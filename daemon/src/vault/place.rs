//! The store of a vault, as the daemon reaches it: what waits for a disk waits on threads for that.

use super::pace::VaultPace;
use bytes::Bytes;
use keelhold_vault::store::{
    AnyStore, Checked, Created, Credential, Listing, OpenError, Store, StoreError, StoreFault,
    Until,
};
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;

#[derive(Debug, Clone)]
pub struct Place {
    store: Arc<Checked<AnyStore>>,
}

impl Place {
    pub fn open(
        url: &str,
        endpoint: Option<&str>,
        credential: Option<&str>,
        pace: Option<&VaultPace>,
    ) -> Result<Self, OpenError> {
        let credential = credential.map(Credential::parse).transpose()?;
        let mut store = AnyStore::open(url, endpoint, credential.as_ref())?;
        if let Some(pace) = pace {
            store = store.with_pace(Arc::new(pace.clone()));
        }
        Ok(Self { store: Arc::new(Checked::new(store)) })
    }

    async fn wait<T, F>(
        &self,
        name: &str,
        ask: impl FnOnce(Arc<Checked<AnyStore>>, String) -> F + Send + 'static,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let asked = ask(Arc::clone(&self.store), name.to_owned());
        if !matches!(self.store.inner(), AnyStore::Directory(_)) {
            return asked.await;
        }
        let runtime = tokio::runtime::Handle::current();
        // Who does not wait any more lets go of it: nobody goes on at a slow pace for nothing.
        let (_waits, gone) = tokio::sync::oneshot::channel::<()>();
        let waited = tokio::task::spawn_blocking(move || {
            runtime.block_on(async {
                tokio::select! {
                    biased;
                    answer = asked => Some(answer),
                    _ = gone => None,
                }
            })
        });
        let broken = || StoreError {
            name: name.to_owned(),
            fault: StoreFault::Io { kind: std::io::ErrorKind::Other },
        };
        waited.await.ok().flatten().unwrap_or_else(|| Err(broken()))
    }
}

impl Store for Place {
    async fn create(
        &self,
        name: &str,
        bytes: Bytes,
        until: Option<Until>,
    ) -> Result<Created, StoreError> {
        self.wait(name, move |store, name| async move { store.create(&name, bytes, until).await })
            .await
    }

    async fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.wait(name, move |store, name| async move { store.read(&name, range).await }).await
    }

    async fn head(&self, name: &str) -> Result<Option<u64>, StoreError> {
        self.wait(name, |store, name| async move { store.head(&name).await }).await
    }

    async fn list(&self, folder: &str, after: &str, limit: usize) -> Result<Listing, StoreError> {
        let after = after.to_owned();
        self.wait(
            folder,
            move |store, folder| async move { store.list(&folder, &after, limit).await },
        )
        .await
    }

    async fn locked_until(&self, name: &str) -> Result<Option<Until>, StoreError> {
        self.wait(name, |store, name| async move { store.locked_until(&name).await }).await
    }

    async fn extend(&self, name: &str, until: Until) -> Result<(), StoreError> {
        self.wait(name, move |store, name| async move { store.extend(&name, until).await }).await
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.wait(name, |store, name| async move { store.delete(&name).await }).await
    }

    async fn recall(&self, name: &str) -> Result<bool, StoreError> {
        self.wait(name, |store, name| async move { store.recall(&name).await }).await
    }
}
