//! The pin of a CA: SHA-256 of its public key, so that it survives a renewed certificate.

use std::fmt;

use thiserror::Error;
use x509_parser::prelude::{FromDer, X509Certificate};

/// SHA-256 of the SubjectPublicKeyInfo of a certificate, as in RFC 7469.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CaPin([u8; 32]);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the bytes are not one X.509 certificate")]
pub struct NotACertificate;

impl CaPin {
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The pin of the key in a certificate.
    pub fn of_certificate(der: &[u8]) -> Result<Self, NotACertificate> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| NotACertificate)?;
        if !rest.is_empty() {
            return Err(NotACertificate);
        }
        let key = certificate.tbs_certificate.subject_pki.raw;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key);
        <[u8; 32]>::try_from(digest.as_ref()).map(Self).map_err(|_| NotACertificate)
    }
}

impl fmt::Debug for CaPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(6).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
