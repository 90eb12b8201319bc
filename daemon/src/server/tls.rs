//! TLS of the agents' listener: version 1.3 only, our own authority on both sides.
//!
//! One address serves two protocols, told apart by ALPN. A machine that has only a token shows no
//! certificate, so certificates are optional in the handshake; whoever then wants to speak as a
//! machine without one is refused before its first message is read.

use crate::authority::{Authority, AuthorityError, fingerprint};
use keelhold_wire::{ALPN_AGENT, ALPN_ENROLL};
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use std::sync::Arc;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum TlsError {
    #[error("the daemon's certificate could not be made")]
    Certificate(#[from] AuthorityError),
    #[error("the certificate authority is not usable for TLS")]
    Authority(#[source] rustls::Error),
    #[error("the verifier of machines could not be made")]
    Verifier(#[source] VerifierBuilderError),
    #[error("TLS could not be set up")]
    Setup(#[source] rustls::Error),
}

/// What the handshake told about the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// Holds the key with this fingerprint, under a certificate of our authority.
    Machine { key: String },
    /// Has a token at best.
    Newcomer,
    /// Speaks neither of our protocols, or the machines' one without a certificate.
    Stranger,
}

pub fn server_config(authority: &Authority) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate().clone()).map_err(TlsError::Authority)?;
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .map_err(TlsError::Verifier)?;
    let (certificate, key) = authority.server()?;
    let chain = vec![certificate, authority.certificate().clone()];
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Setup)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(TlsError::Setup)?;
    config.alpn_protocols = vec![ALPN_AGENT.to_vec(), ALPN_ENROLL.to_vec()];
    // A resumed handshake would carry a certificate past the point where it was revoked.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

#[must_use]
pub fn peer(connection: &ServerConnection) -> Peer {
    let key = connection.peer_certificates().and_then(|chain| fingerprint(chain.first()?));
    match (connection.alpn_protocol(), key) {
        (Some(protocol), Some(key)) if protocol == ALPN_AGENT => Peer::Machine { key },
        (Some(protocol), _) if protocol == ALPN_ENROLL => Peer::Newcomer,
        _ => Peer::Stranger,
    }
}
