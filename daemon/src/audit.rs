//! Who did what, and when: entries of a series of the pool, for what takes something away or keeps
//! somebody from it. Refused actions are entries, too.

use crate::api::types::AuditEntry;
use crate::clock::rfc3339;
use crate::failure::{Failure, chain};
use crate::record::AUDIT;
use crate::store::Store;

/// Items of an action that its entry names.
const NAMED_MAX: usize = 1_000;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor(String);

impl Actor {
    /// The user behind the socket, as the kernel knows him.
    #[must_use]
    pub fn user(uid: Option<u32>) -> Self {
        Self(uid.map_or_else(|| String::from("unknown"), |uid| format!("uid {uid}")))
    }

    /// The daemon by itself.
    #[must_use]
    pub fn keelhold() -> Self {
        Self(String::from("keelhold"))
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl Store {
    /// Notes an action. The action is not undone if this fails: then the log of the daemon has it.
    pub async fn audit<T>(
        &self,
        actor: &Actor,
        action: &str,
        mut what: Vec<String>,
        outcome: &Result<T, Failure>,
    ) {
        what.truncate(NAMED_MAX);
        let failure = outcome.as_ref().err();
        let entry = AuditEntry {
            at: rfc3339(self.clock.now()),
            actor: actor.0.clone(),
            action: action.to_owned(),
            what,
            result: failure.map_or_else(|| String::from("ok"), |failure| failure.label.clone()),
            message: failure.map(|failure| failure.message.clone()),
        };
        let AuditEntry { actor, what, result, .. } = &entry;
        tracing::info!(actor, action, ?what, result, "action");
        let bytes = serde_json::to_vec(&entry).unwrap_or_default();
        if let Err(error) = self.append(AUDIT, bytes).await {
            tracing::warn!(action, error = chain(&error), "action not noted in the pool");
        }
    }

    /// All entries, oldest first.
    pub async fn audited(&self) -> Result<Vec<AuditEntry>, Failure> {
        let read =
            |pool: crate::pool_thread::LivePool| async move { pool.series(AUDIT, 0, usize::MAX) };
        let entries = self.pool.call(read).await.map_err(crate::pool_failure::of_closed)?;
        let parsed = entries.iter().map(|(_, entry)| serde_json::from_slice(entry));
        Ok(parsed.filter_map(Result::ok).collect())
    }
}
