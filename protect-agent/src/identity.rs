//! Who this machine is to its server: a key made here that never leaves, the certificate the server
//! gave for it, and the authority the server is known by.

use std::fmt;

use keelhold_wire::address::AddressError;
use keelhold_wire::{CaPin, ServerAddress};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::state_dir::{StateDir, StateError};

const KEY: &str = "key.der";
const CERTIFICATE: &str = "certificate.der";
const AUTHORITY: &str = "authority.der";
const SERVER: &str = "server.json";

#[derive(Clone)]
pub struct Identity {
    pub server: ServerAddress,
    pub machine_name: String,
    pub certificate: CertificateDer<'static>,
    pub authority: CertificateDer<'static>,
    key: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct ServerFile {
    server: String,
    machine_name: String,
}

#[derive(Debug, Error)]
pub enum IdentityError {
    #[error("this machine is not enrolled")]
    NotEnrolled,
    #[error("the identity of this machine cannot be kept")]
    State(#[from] StateError),
    #[error("server.json is not valid")]
    ServerFile(#[source] serde_json::Error),
    #[error("server.json names no server")]
    Address(#[from] AddressError),
    #[error("the new certificate is not for this machine's key")]
    OtherKey,
    #[error("a key could not be made")]
    Key(#[source] rcgen::Error),
}

/// A key and the request for its certificate.
pub struct Candidate {
    key: Vec<u8>,
    pub request: Vec<u8>,
}

impl Candidate {
    pub fn make() -> Result<Self, IdentityError> {
        Self::request_for(KeyPair::generate().map_err(IdentityError::Key)?)
    }

    fn request_for(key: KeyPair) -> Result<Self, IdentityError> {
        // The server decides what stands in the certificate; the request carries the key.
        let params = CertificateParams::default();
        let request = params.serialize_request(&key).map_err(IdentityError::Key)?;
        Ok(Self { key: key.serialize_der(), request: request.der().to_vec() })
    }

    #[must_use]
    pub fn accepted(
        self,
        server: ServerAddress,
        machine_name: String,
        certificate: Vec<u8>,
        authority: Vec<u8>,
    ) -> Identity {
        let (certificate, authority) = (certificate.into(), authority.into());
        Identity { server, machine_name, certificate, authority, key: self.key }
    }
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate").finish_non_exhaustive()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("server", &self.server)
            .field("machine_name", &self.machine_name)
            .finish_non_exhaustive()
    }
}

impl Identity {
    pub fn load(state: &StateDir) -> Result<Self, IdentityError> {
        let file = |name| state.read(name)?.ok_or(IdentityError::NotEnrolled);
        let server: ServerFile =
            serde_json::from_slice(&file(SERVER)?).map_err(IdentityError::ServerFile)?;
        Ok(Self {
            server: server.server.parse()?,
            machine_name: server.machine_name,
            certificate: file(CERTIFICATE)?.into(),
            authority: file(AUTHORITY)?.into(),
            key: file(KEY)?,
        })
    }

    /// `server.json` is written last: without it the machine counts as not enrolled.
    pub fn save(&self, state: &StateDir) -> Result<(), IdentityError> {
        state.write(KEY, &self.key)?;
        state.write(AUTHORITY, &self.authority)?;
        state.write(CERTIFICATE, &self.certificate)?;
        let (server, machine_name) = (self.server.to_string(), self.machine_name.clone());
        let file = serde_json::to_vec(&ServerFile { server, machine_name });
        Ok(state.write(SERVER, &file.map_err(IdentityError::ServerFile)?)?)
    }

    #[must_use]
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.clone()))
    }

    /// A request for the same key, once two thirds of the certificate's life are over.
    pub fn renewal(&self, now_secs: i64) -> Option<Vec<u8>> {
        let (_, certificate) = X509Certificate::from_der(&self.certificate).ok()?;
        let validity = certificate.validity();
        let (from, until) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        if now_secs < from + (until - from) / 3 * 2 {
            return None;
        }
        let key = KeyPair::try_from(self.key.as_slice()).ok()?;
        Some(Candidate::request_for(key).ok()?.request)
    }

    /// Takes the certificate the server sent for the same key.
    pub fn renewed(&mut self, certificate: Vec<u8>, state: &StateDir) -> Result<(), IdentityError> {
        // With any other the server would be out of reach for good.
        let key = |der: &[u8]| CaPin::of_certificate(der).ok();
        if key(&certificate).is_none() || key(&certificate) != key(&self.certificate) {
            return Err(IdentityError::OtherKey);
        }
        state.write(CERTIFICATE, &certificate)?;
        self.certificate = certificate.into();
        Ok(())
    }
}
