//! Settings of the daemon: a TOML file, read once, checked as a whole, never changed while it runs.
//! Every key is optional; a key nobody knows is an error, so that a misspelt one is noticed.

use crate::settings::{Settings, TRASH_DAYS};
use jiff::tz::TimeZone;
use keelhold_disk::pool::INDEX_BUDGET;
use keelhold_policy::retain::Minimum;
use serde::Deserialize;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Where agents connect when nothing else is said.
pub const AGENTS_DEFAULT: &str = "0.0.0.0:7447";

#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("configuration file {} cannot be read", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("configuration file {} is not valid", path.display())]
    Parse { path: PathBuf, source: Box<toml::de::Error> },
    #[error("{what} is not a valid address: {value}")]
    Address { what: &'static str, value: String },
    #[error("there is no time zone {name:?}")]
    Zone { name: String },
    #[error("{what} must be from {least} to {most}, not {value}")]
    Range { what: &'static str, value: u64, least: u64, most: u64 },
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigToml {
    #[serde(default)]
    agents: AgentsToml,
    #[serde(default)]
    pool: PoolToml,
    #[serde(default)]
    points: PointsToml,
    #[serde(default)]
    groups: GroupsToml,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupsToml {
    /// Zone of groups that name none; by default this computer's.
    zone: Option<String>,
    /// Backups of all groups at once.
    jobs: Option<u64>,
    /// Whether a first start makes a group for everything that no other group names.
    default_group: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PointsToml {
    /// Days in which forgetting a point can be undone.
    trash_days: Option<u64>,
    /// Whether policies are held to a minimum of 7 days, 4 weeks, 3 months, 1 year.
    minimum: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AgentsToml {
    /// ADDR:PORT to listen on.
    listen: Option<String>,
    /// HOST or HOST:PORT that agents should dial, where it is not the listening address.
    advertise: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PoolToml {
    /// Threads that hash, compress, seal and verify.
    workers: Option<u64>,
    /// Chunks up to which the index is in memory, some 30 bytes for each. Above, some 3 bytes for each
    /// are, and ids are looked up on the disks.
    index_budget: Option<u64>,
    /// Where the key of an encrypted pool is; else the credential `pool-key` is asked for.
    key_file: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub agents: SocketAddr,
    pub advertise: Option<String>,
    pub workers: usize,
    pub index_budget: u64,
    pub key_file: Option<PathBuf>,
    pub settings: Settings,
}

impl GroupsToml {
    fn check(self) -> Result<Settings, ConfigError> {
        let mut settings = Settings::default();
        if let Some(name) = self.zone {
            settings.zone = TimeZone::get(&name).map_err(|_| ConfigError::Zone { name })?;
        }
        if let Some(jobs) = self.jobs {
            let (what, least, most) = ("groups.jobs", 1, 64);
            if !(least..=most).contains(&jobs) {
                return Err(ConfigError::Range { what, value: jobs, least, most });
            }
            settings.job_slots = usize::try_from(jobs).unwrap_or(settings.job_slots);
        }
        settings.default_group = self.default_group.unwrap_or(true);
        Ok(settings)
    }
}

impl Config {
    /// `file` was named by somebody and must exist; `default_file` may.
    pub fn load(
        file: Option<&Path>,
        default_file: &Path,
        agents: Option<&str>,
    ) -> Result<Self, ConfigError> {
        let path = file.unwrap_or(default_file);
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if file.is_none() && error.kind() == io::ErrorKind::NotFound => {
                String::new()
            }
            Err(source) => {
                return Err(ConfigError::Read { path: path.to_owned(), source });
            }
        };
        let parsed: ConfigToml = toml::from_str(&text).map_err(|source| ConfigError::Parse {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        Self::check(parsed, agents)
    }

    fn check(toml: ConfigToml, agents: Option<&str>) -> Result<Self, ConfigError> {
        let listen = agents.or(toml.agents.listen.as_deref()).unwrap_or(AGENTS_DEFAULT);
        let agents = listen.parse().map_err(|_| ConfigError::Address {
            what: "the agents' address",
            value: listen.to_owned(),
        })?;
        let workers = toml.pool.workers.unwrap_or(2);
        if !(1..=64).contains(&workers) {
            let what = "pool.workers";
            return Err(ConfigError::Range { what, value: workers, least: 1, most: 64 });
        }
        let workers = usize::try_from(workers).unwrap_or(2);
        let index_budget = toml.pool.index_budget.unwrap_or(INDEX_BUDGET);
        let key_file = toml.pool.key_file;
        let days = toml.points.trash_days.unwrap_or(u64::from(TRASH_DAYS));
        if !(1..=180).contains(&days) {
            let what = "points.trash_days";
            return Err(ConfigError::Range { what, value: days, least: 1, most: 180 });
        }
        let settings = Settings {
            trash_days: u16::try_from(days).unwrap_or(TRASH_DAYS),
            minimum: toml.points.minimum.unwrap_or(false).then_some(Minimum::USUAL),
            ..toml.groups.check()?
        };
        let advertise = toml.agents.advertise;
        Ok(Self { agents, advertise, workers, index_budget, key_file, settings })
    }

    /// The URL agents are told, given the address that was really bound.
    #[must_use]
    pub fn url(&self, bound: SocketAddr) -> String {
        let host = match &self.advertise {
            Some(host)
                if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) =>
            {
                return format!("keelhold://{host}");
            }
            Some(host) => host.clone(),
            None if bound.ip().is_unspecified() => host_name(),
            None if bound.is_ipv6() => format!("[{}]", bound.ip()),
            None => bound.ip().to_string(),
        };
        format!("keelhold://{host}:{}", bound.port())
    }
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { String::from("localhost") } else { name.trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, agents: Option<&str>) -> Result<Config, String> {
        let toml = toml::from_str(text).map_err(|error: toml::de::Error| error.to_string())?;
        Config::check(toml, agents).map_err(|error| error.to_string())
    }

    #[test]
    fn unknown_keys_and_wrong_values_are_refused() {
        assert!(parse("[agents]\nlisten = \"127.0.0.1:1\"", None).is_ok());
        for text in [
            "[agents]\nlissten = \"x\"",
            "[agent]",
            "[agents]\nlisten = \"x\"",
            "[pool]\nworkers = 0",
            "[pool]\nindex_budget = -1",
            "[points]\ntrash_days = 0",
            "[pool]\nworkers = \"two\"",
        ] {
            assert!(parse(text, None).is_err(), "{text}");
        }
    }

    #[test]
    fn the_index_has_a_budget() {
        let budget = |text| parse(text, None).unwrap().index_budget;
        assert_eq!(budget("[pool]\nindex_budget = 100000"), 100_000);
        assert_eq!(budget(""), INDEX_BUDGET);
    }

    #[test]
    fn the_flag_beats_the_file() {
        let config = parse("[agents]\nlisten = \"127.0.0.1:1\"", Some("127.0.0.1:2")).unwrap();
        assert_eq!(config.agents.port(), 2);
        assert_eq!(config.url(config.agents), "keelhold://127.0.0.1:2");
    }

    #[test]
    fn what_agents_dial_can_be_set() {
        let mut config = parse("[agents]\nadvertise = \"backup.example\"", None).unwrap();
        let bound = "0.0.0.0:7447".parse().unwrap();
        assert_eq!(config.url(bound), "keelhold://backup.example:7447");
        config.advertise = Some("backup.example:99".into());
        assert_eq!(config.url(bound), "keelhold://backup.example:99");
    }
}
