//! A token for a certificate. The token is used up in the same breath in which the machine's new key
//! is accepted: there is no moment at which both or neither are so.

use super::{MachineError, token_hash};
use crate::authority::{Authority, AuthorityError};
use crate::clock::rfc3339;
use crate::failure::{Code, Failure};
use crate::record::{MachineRecord, MachineState, TokenRecord, machine_key, token_key};
use crate::store::{Store, StoreError};
use rustls::pki_types::CertificateDer;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum EnrolError {
    #[error("the token is not known here")]
    TokenUnknown,
    #[error("the token was used before")]
    TokenUsed,
    #[error("the token expired at {at}")]
    TokenExpired { at: String },
    #[error("the machine the token was made for has been removed")]
    MachineGone,
    #[error("this key was revoked before")]
    KeyDenied,
    #[error("a renewal is for the key the machine has")]
    OtherKey,
    #[error("the certificate request is not accepted")]
    Request(#[from] AuthorityError),
    #[error("the pool did not take or give a record")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Machine(#[from] MachineError),
}

impl EnrolError {
    #[must_use]
    pub fn failure(&self) -> Failure {
        let code = match self {
            Self::TokenUnknown | Self::MachineGone => Code::TokenUnknown,
            Self::TokenUsed => Code::TokenUsed,
            Self::TokenExpired { .. } => Code::TokenExpired,
            Self::KeyDenied => Code::CertificateRevoked,
            Self::OtherKey | Self::Request(_) => Code::EnrolmentInvalid,
            Self::Store(_) | Self::Machine(_) => Code::Internal,
        };
        Failure::of(code, self)
    }
}

/// What a machine gets for its token.
#[derive(Debug)]
pub struct Enrolment {
    pub machine: MachineRecord,
    pub certificate: CertificateDer<'static>,
    /// The key that was accepted until now.
    pub old_key: Option<String>,
}

pub async fn enrol(
    store: &Store,
    authority: &Authority,
    secret: &[u8],
    request: &[u8],
    version: &str,
) -> Result<Enrolment, EnrolError> {
    let mut change = store.change().await;
    let name = token_key(&token_hash(secret));
    let mut token: TokenRecord = store.record(&name).await?.ok_or(EnrolError::TokenUnknown)?;
    if token.used {
        return Err(EnrolError::TokenUsed);
    }
    if token.expires_at <= store.clock.now().0 {
        let at = rfc3339(keelhold_disk::units::UnixNanos(token.expires_at));
        return Err(EnrolError::TokenExpired { at });
    }
    let machine: Option<MachineRecord> = store.record(&machine_key(&token.machine)).await?;
    let mut machine = machine
        .filter(|machine| machine.state != MachineState::Removed)
        .ok_or(EnrolError::MachineGone)?;
    let issued = authority.issue(request, &machine.id, store.clock.as_ref())?;
    if machine.denied_keys.contains(&issued.key)
        || super::by_key(store, &issued.key).await?.is_some()
    {
        return Err(EnrolError::KeyDenied);
    }
    let old_key = machine.key.replace(issued.key);
    machine.denied_keys.extend(old_key.clone());
    machine.state = MachineState::Active;
    machine.version = Some(version.to_owned());
    token.used = true;
    change.put(name, &token)?;
    change.put(machine_key(&machine.id), &machine)?;
    change.commit().await?;
    Ok(Enrolment { machine, certificate: issued.certificate, old_key })
}

/// A new certificate for the key of a machine that shows its old one.
pub async fn renew(
    store: &Store,
    authority: &Authority,
    id: &str,
    request: &[u8],
) -> Result<CertificateDer<'static>, EnrolError> {
    let machine: Option<MachineRecord> = store.record(&machine_key(id)).await?;
    let machine = machine
        .filter(|machine| machine.state == MachineState::Active)
        .ok_or(EnrolError::MachineGone)?;
    let issued = authority.issue(request, &machine.id, store.clock.as_ref())?;
    if machine.key.as_deref() != Some(issued.key.as_str()) {
        return Err(EnrolError::OtherKey);
    }
    Ok(issued.certificate)
}
