//! Protection groups: texts that somebody put into force, and which sources each protects.
//!
//! The text is the truth, kept as a record of the pool; what it means is read from it each time. A
//! source is in at most one group: that which names it, else that which has a rule for its machine,
//! else that which has a rule for every machine.

mod apply;
mod cover;
mod describe;
mod preview;
mod rename;

use crate::daemon::Daemon;
use crate::failure::{Code, Failure};
use crate::pool_failure::{of_closed, of_store};
use crate::record::{GROUPS, GroupRecord, SourceRecord, group_key};
use crate::source::Names;
use crate::store::Store;
use keelhold_policy::goal::{self, ANY_MACHINE, Cover, DEFAULT_GROUP, Group, Terms};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A group in force.
#[derive(Debug, Clone)]
pub struct Stated {
    pub record: GroupRecord,
    pub group: Group,
}

/// All groups, by name.
#[derive(Debug, Clone, Default)]
pub struct Groups(BTreeMap<String, Stated>);

fn refused(origin: &str, refusals: &[goal::Refusal]) -> Failure {
    let lines: Vec<String> = refusals.iter().map(|each| format!("{origin}, {each}")).collect();
    Failure::new(Code::GroupInvalid, lines.join("\n"))
}

impl Groups {
    pub async fn load(store: &Store) -> Result<Self, Failure> {
        let records: Vec<GroupRecord> =
            store.records("group/").await.map_err(|error| of_store(&error))?;
        let mut groups = Self::default();
        for record in records {
            // It was sound when it was applied: a machine that is gone since is no fault of the text.
            match goal::parse(&record.text, &Terms::default()) {
                Ok(group) => groups.put(Stated { record, group }),
                // The others go on; of its sources nothing goes by itself.
                Err(why) => {
                    let why = refused(&format!("group {}", record.name), &why).message;
                    tracing::error!(why, "a group cannot be read and is not in force");
                }
            }
        }
        Ok(groups)
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Stated> {
        self.0.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Stated> {
        self.0.values()
    }

    fn put(&mut self, stated: Stated) {
        self.0.insert(stated.record.name.clone(), stated);
    }

    /// The group that protects a source.
    #[must_use]
    pub fn of_source(&self, source: &SourceRecord, names: &Names) -> Option<&Stated> {
        let machine = names.machines.get(&source.machine)?;
        let rank = |stated: &&Stated| {
            let members = stated.group.members.iter();
            let ranks = members.filter_map(|member| match &member.cover {
                Cover::Source(name) if member.machine == machine.name && *name == source.name => {
                    Some(3)
                }
                Cover::FileSystems { .. } if member.machine == machine.name => Some(2),
                Cover::FileSystems { .. } if member.machine == ANY_MACHINE => Some(1),
                Cover::Source(_) | Cover::FileSystems { .. } => None,
            });
            ranks.max().unwrap_or(0)
        };
        self.0.values().filter(|stated| rank(stated) > 0).max_by_key(rank)
    }

    /// The protected sources of each group, by name.
    #[must_use]
    pub fn sources<'a>(&'a self, names: &'a Names) -> BTreeMap<&'a str, Vec<&'a SourceRecord>> {
        let mut of_groups: BTreeMap<&str, Vec<&SourceRecord>> = BTreeMap::new();
        for source in names.sources.values().filter(|source| !source.removed) {
            if let Some(stated) = self.of_source(source, names) {
                of_groups.entry(&stated.record.name).or_default().push(source);
            }
        }
        for sources in of_groups.values_mut() {
            sources.sort_by_cached_key(|source| names.source(&source.id));
        }
        of_groups
    }
}

/// The group that is there from the first start on.
pub async fn make_default(store: &Store) -> Result<(), Failure> {
    let read = |pool: crate::pool_thread::LivePool| async move { pool.series(GROUPS, 0, 1) };
    let ever = store.pool.call(read).await.map_err(of_closed)?;
    if !ever.is_empty() {
        return Ok(());
    }
    let record = GroupRecord {
        name: String::from("default"),
        version: 1,
        text: DEFAULT_GROUP.to_owned(),
        applied_at: store.clock.now().0,
        applied_by: String::from("keelhold"),
    };
    keep(store, &[record]).await
}

/// Puts records of groups into force, together; the series has them first.
async fn keep(store: &Store, records: &[GroupRecord]) -> Result<(), Failure> {
    let kept = async {
        let mut change = store.change().await;
        for record in records {
            let entry = serde_json::to_vec(record).unwrap_or_default();
            store.append(GROUPS, entry).await?;
            let key = group_key(&record.name);
            match record.text.is_empty() {
                true => change.remove(key),
                false => change.put(key, record)?,
            }
        }
        change.commit().await
    };
    kept.await.map_err(|error: crate::store::StoreError| of_store(&error))
}

impl Daemon {
    /// The groups in force.
    pub async fn groups(&self) -> Result<Arc<Groups>, Failure> {
        let mut known = self.groups_known.lock().await;
        if let Some(groups) = &*known {
            return Ok(Arc::clone(groups));
        }
        let groups = Arc::new(Groups::load(&self.store).await?);
        *known = Some(Arc::clone(&groups));
        Ok(groups)
    }

    async fn groups_changed(&self) {
        *self.groups_known.lock().await = None;
        self.schedule.wake();
    }
}
