//! A bucket with versions and object locks: the rules of the provider, each with the page that states
//! it. Pages are those of the Amazon S3 User Guide ("guide") and of the API Reference ("API").

use std::collections::BTreeMap;

use bytes::Bytes;

/// What a credential may do; names are those of the provider's actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    PutObject,
    GetObject,
    GetObjectVersion,
    ListBucket,
    ListBucketVersions,
    PutObjectRetention,
    GetObjectRetention,
    DeleteObject,
    DeleteObjectVersion,
    BypassGovernanceRetention,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Governance,
    Compliance,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    pub mode: Mode,
    /// Seconds since 1970.
    pub until: i64,
}

#[derive(Debug, Clone)]
pub struct Version {
    pub id: String,
    /// None: a delete marker.
    pub bytes: Option<Bytes>,
    pub retention: Option<Retention>,
    pub made_at: i64,
}

/// A refusal: status, the provider's word, whether a delete marker is in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct No {
    pub status: u16,
    pub code: &'static str,
    pub message: &'static str,
    pub is_marker: bool,
}

const fn no(status: u16, code: &'static str, message: &'static str) -> No {
    No { status, code, message, is_marker: false }
}

pub const DENIED: No = no(403, "AccessDenied", "Access Denied");
const LOCKED: No =
    no(403, "AccessDenied", "Access Denied because object protected by object lock.");
const NO_KEY: No = no(404, "NoSuchKey", "The specified key does not exist.");
const NO_VERSION: No = no(404, "NoSuchVersion", "The specified version does not exist.");

/// In what a server may differ from the provider's pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Habit {
    #[default]
    Strict,
    /// `If-None-Match` is not looked at: what was there is overwritten (garage 2.5).
    IgnoresConditions,
    /// Between looking and writing there is time for others (s3s-fs 0.14): puts come in pairs here.
    NotAtomic,
    /// Locks are taken, shown, and not heeded.
    IgnoresLocks,
    /// Locks can be shortened.
    Shortens,
    /// There is no listing of versions.
    NoVersionLists,
}

#[derive(Debug, Default)]
pub struct Bucket {
    /// Oldest first.
    pub keys: BTreeMap<String, Vec<Version>>,
    pub is_versioned: bool,
    pub has_locks: bool,
    pub habit: Habit,
    made: u64,
}

fn is_live(retention: Option<Retention>, now: i64) -> Option<Retention> {
    retention.filter(|retention| retention.until > now)
}

impl Bucket {
    /// Guide, "Object Lock considerations": locks only in buckets with versions.
    pub fn new(is_versioned: bool, has_locks: bool, habit: Habit) -> Self {
        Self { is_versioned: is_versioned || has_locks, has_locks, habit, ..Self::default() }
    }

    pub fn newest(&self, key: &str) -> Option<&Version> {
        self.keys.get(key).and_then(|versions| versions.last())
    }

    /// Guide, "How to prevent object overwrites with conditional writes": `If-None-Match: *` succeeds if
    /// there is no current version, or if it is a delete marker; else 412.
    pub fn is_taken(&self, key: &str) -> bool {
        self.newest(key).is_some_and(|version| version.bytes.is_some())
    }

    /// API, PutObject; guide, "How S3 Object Lock works": a new version is made even where the one
    /// before it is locked.
    pub fn put(
        &mut self,
        key: &str,
        bytes: Bytes,
        retention: Option<Retention>,
        now: i64,
    ) -> Result<String, No> {
        if let Some(retention) = retention {
            // API, PutObject: the bucket must have Object Lock; the date must be in the future.
            if !self.has_locks {
                let message = "Bucket is missing Object Lock Configuration";
                return Err(no(400, "InvalidRequest", message));
            }
            if retention.until <= now {
                let message = "The retain until date must be in the future!";
                return Err(no(400, "InvalidArgument", message));
            }
        }
        let id = self.next_id();
        let version = Version { id: id.clone(), bytes: Some(bytes), retention, made_at: now };
        self.add(key, version);
        Ok(id)
    }

    fn next_id(&mut self) -> String {
        self.made += 1;
        if self.is_versioned {
            format!("v.{:08}_{}", self.made, self.made % 7)
        } else {
            "null".into()
        }
    }

    fn add(&mut self, key: &str, version: Version) {
        let versions = self.keys.entry(key.to_owned()).or_default();
        if !self.is_versioned {
            versions.clear();
        }
        versions.push(version);
    }

    /// API, GetObject: a delete marker as the newest version is 404 and says so; a marker asked for by
    /// its version is 405.
    pub fn get(&self, key: &str, version: Option<&str>) -> Result<&Version, No> {
        let versions = self.keys.get(key).ok_or(NO_KEY)?;
        let found = match version {
            None => versions.last().ok_or(NO_KEY)?,
            Some(id) => versions.iter().find(|version| version.id == id).ok_or(NO_VERSION)?,
        };
        match (&found.bytes, version) {
            (Some(_), _) => Ok(found),
            (None, None) => Err(No { is_marker: true, ..NO_KEY }),
            (None, Some(_)) => {
                let message = "The specified method is not allowed against this resource.";
                Err(No { is_marker: true, ..no(405, "MethodNotAllowed", message) })
            }
        }
    }

    /// API, DeleteObject: without a version a marker is put, whatever is locked; with one, that version
    /// is gone for good. Guide, "Retention modes": in compliance mode a locked version is deleted by
    /// nobody, in governance mode by who may bypass and says so.
    pub fn delete(
        &mut self,
        key: &str,
        version: Option<&str>,
        bypasses: bool,
        now: i64,
    ) -> Result<(), No> {
        let Some(id) = version else {
            if !self.is_versioned {
                self.keys.remove(key);
                return Ok(());
            }
            let id = self.next_id();
            self.add(key, Version { id, bytes: None, retention: None, made_at: now });
            return Ok(());
        };
        let habit = self.habit;
        let Some(versions) = self.keys.get_mut(key) else { return Ok(()) };
        let Some(place) = versions.iter().position(|version| version.id == id) else {
            return Ok(());
        };
        let held = is_live(versions[place].retention, now);
        let is_held = held.is_some_and(|held| held.mode == Mode::Compliance || !bypasses);
        if is_held && habit != Habit::IgnoresLocks {
            return Err(LOCKED);
        }
        versions.remove(place);
        if versions.is_empty() {
            self.keys.remove(key);
        }
        Ok(())
    }

    /// API, PutObjectRetention; guide, "Retention modes": in compliance mode the mode cannot be changed
    /// and the period cannot be shortened; longer it may become at any time.
    pub fn retain(
        &mut self,
        key: &str,
        version: Option<&str>,
        asked: Retention,
        bypasses: bool,
        now: i64,
    ) -> Result<(), No> {
        if !self.has_locks {
            let message = "Bucket is missing Object Lock Configuration";
            return Err(no(400, "InvalidRequest", message));
        }
        if asked.until <= now {
            let message = "The retain until date must be in the future!";
            return Err(no(400, "InvalidArgument", message));
        }
        let id = self.get(key, version)?.id.clone();
        let habit = self.habit;
        let versions = self.keys.get_mut(key).ok_or(NO_KEY)?;
        let found = versions.iter_mut().find(|version| version.id == id).ok_or(NO_VERSION)?;
        if let Some(held) = is_live(found.retention, now) {
            let is_weaker = asked.until < held.until || asked.mode != held.mode;
            let is_strict = held.mode == Mode::Compliance || !bypasses;
            if is_weaker && is_strict && habit != Habit::Shortens {
                return Err(LOCKED);
            }
        }
        found.retention = Some(asked);
        Ok(())
    }
}
