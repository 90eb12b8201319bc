//! Data sources: what is protected on which machine. A source that is removed keeps its record, and
//! one added again under the same name goes on with its history.

use crate::api::types::NewSource;
use crate::failure::{Code, Failure};
use crate::id_text;
use crate::machine::{self, MachineError};
use crate::record::{
    MachineRecord, MachineState, NOTE_PREFIX, SourceKind, SourceName, SourceRecord, Stopped,
    StoppedHow, check_name, source_key,
};
use crate::store::{Store, StoreError};
use data_encoding::HEXLOWER;
use keelhold_wire::limits::{EXCLUDE_COUNT_MAX, EXCLUDE_LEN_MAX, ROOT_LEN_MAX};
use keelhold_wire::{Source, TreeSource};
use std::collections::HashMap;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum SourceError {
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error("there is no source {name}")]
    Unknown { name: SourceName },
    #[error("there is a source {name} already")]
    Taken { name: SourceName },
    #[error("{path:?} is not an absolute path of at most {ROOT_LEN_MAX} bytes without `..`")]
    Root { path: String },
    #[error(
        "there are more than {EXCLUDE_COUNT_MAX} patterns, or one longer than {EXCLUDE_LEN_MAX}"
    )]
    Excludes,
    #[error("the pool did not take or give a record")]
    Store(#[from] StoreError),
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        let code = match error {
            SourceError::Machine(error) => return error.into(),
            SourceError::Store(error) => return crate::pool_failure::of_store(&error),
            SourceError::Unknown { .. } => Code::SourceUnknown,
            SourceError::Taken { .. } => Code::NameTaken,
            SourceError::Root { .. } | SourceError::Excludes => Code::SourceInvalid,
        };
        Self::of(code, &error)
    }
}

/// Names of everything, removed or not, by id.
#[derive(Debug, Default, Clone)]
pub struct Names {
    pub machines: HashMap<String, MachineRecord>,
    pub sources: HashMap<String, SourceRecord>,
    /// Notes of points, by the point's id.
    pub notes: HashMap<String, String>,
}

impl Names {
    pub async fn load(store: &Store) -> Result<Self, StoreError> {
        let machines = machine::all(store).await?;
        let sources: Vec<SourceRecord> = store.records("source/").await?;
        let notes: Vec<(String, String)> = store.named_records(NOTE_PREFIX).await?;
        Ok(Self {
            notes: notes
                .into_iter()
                .filter_map(|(name, note)| Some((name.strip_prefix(NOTE_PREFIX)?.to_owned(), note)))
                .collect(),
            machines: machines.into_iter().map(|each| (each.id.clone(), each)).collect(),
            sources: sources.into_iter().map(|each| (each.id.clone(), each)).collect(),
        })
    }

    /// MACHINE/NAME of a source. A source whose records are gone is shown by its id.
    #[must_use]
    pub fn source(&self, id: &str) -> String {
        let Some(source) = self.sources.get(id) else {
            return id.to_owned();
        };
        let machine = self.machines.get(&source.machine);
        let machine = machine.map_or(source.machine.as_str(), |machine| machine.name.as_str());
        format!("{machine}/{}", source.name)
    }

    /// The sources a name means: at most one that is protected, else removed ones.
    #[must_use]
    pub fn sources_named(&self, name: &SourceName) -> Vec<&SourceRecord> {
        let text = name.to_string();
        let mut found: Vec<&SourceRecord> =
            self.sources.values().filter(|source| self.source(&source.id) == text).collect();
        if found.iter().any(|source| !source.removed) {
            found.retain(|source| !source.removed);
        }
        found
    }
}

/// The protected source of this name, with its machine.
pub async fn named(
    store: &Store,
    name: &SourceName,
) -> Result<(MachineRecord, SourceRecord), SourceError> {
    let machine = machine::named(store, &name.machine).await?;
    let sources: Vec<SourceRecord> = store.records("source/").await?;
    let source = sources
        .into_iter()
        .find(|source| source.machine == machine.id && source.name == name.name && !source.removed);
    match source {
        Some(source) => Ok((machine, source)),
        None => Err(SourceError::Unknown { name: name.clone() }),
    }
}

pub async fn add(store: &Store, new: &NewSource) -> Result<SourceRecord, SourceError> {
    check_name(&new.name).map_err(MachineError::Name)?;
    let kind = kind(new)?;
    let mut change = store.change().await;
    let machine = machine::named(store, &new.machine).await?;
    if machine.state == MachineState::Removed {
        return Err(MachineError::Unknown { name: new.machine.clone() }.into());
    }
    let sources: Vec<SourceRecord> = store.records("source/").await?;
    let mut same =
        sources.into_iter().filter(|each| each.machine == machine.id && each.name == new.name);
    let source = match same.next() {
        Some(source) if !source.removed => {
            let name = SourceName { machine: machine.name, name: new.name.clone() };
            return Err(SourceError::Taken { name });
        }
        Some(source) => {
            let kept = source.stopped.as_ref().is_some_and(|of| of.how == StoppedHow::Keep);
            let now = store.pool.now().0;
            let kept_before = if kept { Some(now) } else { source.kept_before };
            SourceRecord { kind, removed: false, stopped: None, kept_before, ..source }
        }
        None => SourceRecord {
            id: id_text::encode(&machine::random()?),
            machine: machine.id,
            name: new.name.clone(),
            kind,
            removed: false,
            stopped: None,
            kept_before: None,
        },
    };
    change.put(source_key(&source.id), &source)?;
    change.commit().await?;
    Ok(source)
}

fn kind(new: &NewSource) -> Result<SourceKind, SourceError> {
    let bytes = match &new.tree_hex {
        Some(hex) => HEXLOWER.decode(hex.as_bytes()).ok(),
        None => Some(new.tree.clone().into_bytes()),
    };
    let sound = bytes.filter(|bytes| {
        let relative = bytes.strip_prefix(b"/").map(|path| path.strip_suffix(b"/").unwrap_or(path));
        bytes.len() <= ROOT_LEN_MAX && relative.is_some_and(keelhold_chunk::entry::is_sound_path)
    });
    let Some(root) = sound else {
        return Err(SourceError::Root { path: new.tree.clone() });
    };
    let too_long = |glob: &String| glob.len() > EXCLUDE_LEN_MAX;
    if new.exclude.len() > EXCLUDE_COUNT_MAX || new.exclude.iter().any(too_long) {
        return Err(SourceError::Excludes);
    }
    Ok(SourceKind::Tree {
        root_hex: HEXLOWER.encode(&root),
        exclude: new.exclude.clone(),
        all_file_systems: new.all_file_systems,
        default_excludes: new.default_excludes,
    })
}

pub async fn remove(
    store: &Store,
    name: &SourceName,
    stopped: Stopped,
) -> Result<SourceRecord, SourceError> {
    let mut change = store.change().await;
    let (_, mut source) = named(store, name).await?;
    source.removed = true;
    source.stopped = Some(stopped);
    change.put(source_key(&source.id), &source)?;
    change.commit().await?;
    Ok(source)
}

impl SourceRecord {
    /// The tree's root on the machine.
    #[must_use]
    pub fn root(&self) -> Vec<u8> {
        let SourceKind::Tree { root_hex, .. } = &self.kind;
        HEXLOWER.decode(root_hex.as_bytes()).unwrap_or_default()
    }

    /// What the agent is told.
    #[must_use]
    pub fn to_wire(&self) -> Source {
        let SourceKind::Tree { exclude, all_file_systems, default_excludes, .. } = &self.kind;
        let tree = TreeSource {
            root: self.root(),
            excludes: exclude.clone(),
            all_file_systems: *all_file_systems,
            default_excludes: true,
            honour_cachedir_tag: *default_excludes,
            honour_ignore_file: *default_excludes,
            honour_nodump: *default_excludes,
        };
        Source { name: self.name.clone(), kind: keelhold_wire::SourceKind::Tree(tree) }
    }
}
