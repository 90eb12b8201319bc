//! `agent.toml`: what the machine itself decides. Absent is as good as empty.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;

use crate::backoff::LONGEST;
use crate::state_dir::{StateDir, StateError};

/// As written; unknown keys are mistakes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ConfigToml {
    restore: RestoreToml,
    server: ServerToml,
    scripts: ScriptsToml,
    snapshot: SnapshotToml,
    link: LinkToml,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RestoreToml {
    /// Restores write below this directory.
    root: Option<PathBuf>,
    /// Restores to the place a source came from are allowed too.
    original: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ServerToml {
    /// Longest wait before an appliance that could not be reached is dialled again.
    reconnect_max_ms: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ScriptsToml {
    /// The only place of scripts the server may name.
    directory: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SnapshotToml {
    /// Sources are read from snapshots where that can be done; true unless said otherwise.
    enabled: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LinkToml {
    /// Whether traffic costs; asked of the network's configuration if not said.
    metered: Option<bool>,
}

/// What the machine allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub restore_root: PathBuf,
    pub restore_original: bool,
    pub reconnect_max: Duration,
    pub script_directory: PathBuf,
    pub snapshots: bool,
    pub metered: Option<bool>,
}

#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("the configuration cannot be read")]
    Read(#[from] StateError),
    #[error("agent.toml is not valid")]
    Invalid(#[source] Box<toml::de::Error>),
    #[error("agent.toml is not text")]
    NotText,
    #[error("scripts.directory {} is not an absolute path", path.display())]
    ScriptDirectory { path: PathBuf },
    #[error("restore.root {} is not an absolute path", path.display())]
    Relative { path: PathBuf },
    #[error("server.reconnect_max_ms must be from 1 to 3600000, not {value}")]
    ReconnectMax { value: u64 },
}

impl Config {
    pub fn load(state: &StateDir) -> Result<Self, ConfigError> {
        let bytes = state.read("agent.toml")?.unwrap_or_default();
        let text = String::from_utf8(bytes).map_err(|_| ConfigError::NotText)?;
        let raw: ConfigToml =
            toml::from_str(&text).map_err(|error| ConfigError::Invalid(Box::new(error)))?;
        let restore_root = raw.restore.root.unwrap_or_else(|| state.restore_root());
        if !restore_root.is_absolute() && restore_root != state.restore_root() {
            return Err(ConfigError::Relative { path: restore_root });
        }
        let reconnect_max = match raw.server.reconnect_max_ms {
            None => LONGEST,
            Some(value @ 1..=3_600_000) => Duration::from_millis(value),
            Some(value) => return Err(ConfigError::ReconnectMax { value }),
        };
        let script_directory =
            raw.scripts.directory.unwrap_or_else(|| PathBuf::from(crate::script::DIRECTORY));
        if !script_directory.is_absolute() {
            return Err(ConfigError::ScriptDirectory { path: script_directory });
        }
        Ok(Self {
            restore_root,
            restore_original: raw.restore.original,
            reconnect_max,
            script_directory,
            snapshots: raw.snapshot.enabled.unwrap_or(true),
            metered: raw.link.metered,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        state.write("agent.toml", text.as_bytes()).unwrap();
        Config::load(&state)
    }

    #[test]
    fn nothing_said_allows_the_restore_directory_alone() {
        let config = load("").unwrap();
        assert!(config.restore_root.ends_with("restore") && !config.restore_original);
        let config = load("[restore]\nroot = \"/srv/back\"\noriginal = true\n").unwrap();
        assert_eq!(config.restore_root, PathBuf::from("/srv/back"));
        assert!(config.restore_original);
        assert_eq!(config.reconnect_max, LONGEST);
        assert_eq!(config.script_directory, PathBuf::from("/etc/keelhold/scripts"));
        assert!(config.snapshots && config.metered.is_none());
        let config = load("[server]\nreconnect_max_ms = 200\n").unwrap();
        assert_eq!(config.reconnect_max, Duration::from_millis(200));
    }

    #[test]
    fn mistakes_are_errors() {
        assert!(matches!(load("restor = 1"), Err(ConfigError::Invalid(_))));
        assert!(matches!(load("[restore]\nroots = \"/x\""), Err(ConfigError::Invalid(_))));
        assert!(matches!(load("[restore]\nroot = \"x\""), Err(ConfigError::Relative { .. })));
        let near = load("[scripts]\ndirectory = \"here\"");
        assert!(matches!(near, Err(ConfigError::ScriptDirectory { .. })));
        let never = load("[server]\nreconnect_max_ms = 0");
        assert!(matches!(never, Err(ConfigError::ReconnectMax { .. })));
    }
}
