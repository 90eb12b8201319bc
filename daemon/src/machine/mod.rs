//! Protected machines: invited by a token, known by one key, revoked, renamed, removed. All of it is
//! in records; who is connected right now is in [`connected`].

pub mod connected;
mod enrol;

pub use enrol::{EnrolError, Enrolment, enrol, renew};

use crate::authority::Authority;
use crate::clock::rfc3339;
use crate::failure::{Code, Failure};
use crate::id_text;
use crate::record::{
    GroupRecord, MachineRecord, MachineState, NameError, SourceRecord, TokenRecord, check_name,
    group_key, machine_key, source_key, token_key,
};
use crate::store::{Change, Store, StoreError};
use data_encoding::HEXLOWER;
use keelhold_disk::units::UnixNanos;
use keelhold_wire::Token;
use thiserror::Error;

/// Longest life of a token.
const TTL_SECONDS_MAX: u64 = 7 * 86_400;
/// Tokens are kept this long after their end, so that a late use is told apart from a wrong one.
const KEPT_AFTER_END_SECONDS: i64 = 30 * 86_400;
const NANOS: i64 = 1_000_000_000;

#[derive(Debug, Error)]
pub enum MachineError {
    #[error("the name cannot be used")]
    Name(#[from] NameError),
    #[error("there is no machine {name}")]
    Unknown { name: String },
    #[error("there is a machine {name} already")]
    Taken { name: String },
    #[error("a token lives between a minute and a week, not {seconds} seconds")]
    Ttl { seconds: u64 },
    #[error("random bytes could not be had")]
    Random(#[source] getrandom::Error),
    #[error("the pool did not take or give a record")]
    Store(#[from] StoreError),
}

impl From<MachineError> for Failure {
    fn from(error: MachineError) -> Self {
        let code = match &error {
            MachineError::Name(_) => Code::NameInvalid,
            MachineError::Unknown { .. } => Code::MachineUnknown,
            MachineError::Taken { .. } => Code::NameTaken,
            MachineError::Ttl { .. } => Code::BadRequest,
            MachineError::Random(_) => Code::Internal,
            MachineError::Store(error) => return crate::pool_failure::of_store(error),
        };
        Self::of(code, &error)
    }
}

/// A token to hand over; the pool keeps only its hash.
#[derive(Debug)]
pub struct Invitation {
    pub token: Token,
    pub expires_at: UnixNanos,
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N], MachineError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(MachineError::Random)?;
    Ok(bytes)
}

pub(crate) fn token_hash(secret: &[u8]) -> String {
    HEXLOWER.encode(blake3::hash(secret).as_bytes())
}

/// All machines, removed ones too: their points still name them.
pub async fn all(store: &Store) -> Result<Vec<MachineRecord>, StoreError> {
    store.records("machine/").await
}

async fn find(store: &Store, name: &str) -> Result<Option<MachineRecord>, StoreError> {
    let mut all = all(store).await?.into_iter();
    Ok(all.find(|machine| machine.name == name && machine.state != MachineState::Removed))
}

pub async fn named(store: &Store, name: &str) -> Result<MachineRecord, MachineError> {
    let unknown = || MachineError::Unknown { name: name.to_owned() };
    find(store, name).await?.ok_or_else(unknown)
}

/// The machine that may connect with this key.
pub async fn by_key(store: &Store, key: &str) -> Result<Option<MachineRecord>, StoreError> {
    let mut all = all(store).await?.into_iter();
    Ok(all.find(|machine| {
        machine.state == MachineState::Active && machine.key.as_deref() == Some(key)
    }))
}

/// Makes a token for a new machine, or one that enrols a known machine again.
pub async fn invite(
    store: &Store,
    authority: &Authority,
    name: &str,
    ttl_seconds: u64,
) -> Result<Invitation, MachineError> {
    check_name(name)?;
    if !(60..=TTL_SECONDS_MAX).contains(&ttl_seconds) {
        return Err(MachineError::Ttl { seconds: ttl_seconds });
    }
    let now = store.clock.now();
    let mut change = store.change().await;
    let machine = match find(store, name).await? {
        Some(machine) => machine,
        None => {
            let machine = MachineRecord {
                id: id_text::encode(&random()?),
                name: name.to_owned(),
                state: MachineState::Invited,
                key: None,
                denied_keys: Vec::new(),
                version: None,
                last_seen: None,
                quota_bytes: None,
            };
            change.put(machine_key(&machine.id), &machine)?;
            machine
        }
    };
    drop_old_tokens(&mut change, now).await?;
    let token = Token { secret: random()?, pin: authority.pin() };
    let ttl = i64::try_from(ttl_seconds).unwrap_or(i64::MAX / NANOS);
    let expires_at = UnixNanos(now.0.saturating_add(ttl.saturating_mul(NANOS)));
    let record = TokenRecord { machine: machine.id, expires_at: expires_at.0, used: false };
    change.put(token_key(&token_hash(&token.secret)), &record)?;
    change.commit().await?;
    Ok(Invitation { token, expires_at })
}

async fn drop_old_tokens(change: &mut Change, now: UnixNanos) -> Result<(), StoreError> {
    let tokens: Vec<(String, TokenRecord)> = change.store().named_records("token/").await?;
    for (name, token) in tokens {
        if token.expires_at.saturating_add(KEPT_AFTER_END_SECONDS * NANOS) < now.0 {
            change.remove(name);
        }
    }
    Ok(())
}

fn deny_keys(machine: &mut MachineRecord) {
    machine.denied_keys.extend(machine.key.take());
}

/// The machine's key is never accepted again.
pub async fn revoke(store: &Store, name: &str) -> Result<MachineRecord, MachineError> {
    let mut change = store.change().await;
    let mut machine = named(store, name).await?;
    machine.state = MachineState::Revoked;
    deny_keys(&mut machine);
    change.put(machine_key(&machine.id), &machine)?;
    change.commit().await?;
    Ok(machine)
}

/// Groups that name it follow in the same breath.
pub async fn rename(
    store: &Store,
    old: &str,
    new: &str,
    groups: &[GroupRecord],
) -> Result<MachineRecord, MachineError> {
    check_name(new)?;
    let mut change = store.change().await;
    let mut machine = named(store, old).await?;
    if find(store, new).await?.is_some() {
        return Err(MachineError::Taken { name: new.to_owned() });
    }
    new.clone_into(&mut machine.name);
    change.put(machine_key(&machine.id), &machine)?;
    for group in groups {
        change.put(group_key(&group.name), group)?;
    }
    change.commit().await?;
    Ok(machine)
}

/// Limits what only this machine's points may take in the pool.
pub async fn set_quota(
    store: &Store,
    name: &str,
    bytes: Option<u64>,
) -> Result<MachineRecord, MachineError> {
    let mut change = store.change().await;
    let mut machine = named(store, name).await?;
    machine.quota_bytes = bytes;
    change.put(machine_key(&machine.id), &machine)?;
    change.commit().await?;
    Ok(machine)
}

/// Removes a machine and its sources. Their records stay, as removed: points name them.
pub async fn remove(store: &Store, name: &str) -> Result<MachineRecord, MachineError> {
    let mut change = store.change().await;
    let mut machine = named(store, name).await?;
    machine.state = MachineState::Removed;
    deny_keys(&mut machine);
    change.put(machine_key(&machine.id), &machine)?;
    let sources: Vec<SourceRecord> = store.records("source/").await?;
    for mut source in sources {
        if source.machine == machine.id && !source.removed {
            source.removed = true;
            change.put(source_key(&source.id), &source)?;
        }
    }
    change.commit().await?;
    Ok(machine)
}

/// Notes that the machine was here.
pub async fn seen(store: &Store, id: &str, version: &str) -> Result<(), StoreError> {
    let mut change = store.change().await;
    let Some(mut machine) = store.record::<MachineRecord>(&machine_key(id)).await? else {
        return Ok(());
    };
    machine.last_seen = Some(rfc3339(store.clock.now()));
    machine.version = Some(version.to_owned());
    change.put(machine_key(id), &machine)?;
    change.commit().await
}
