//! First contact: dials the server, proves that it is the one the token pins, and only then shows the
//! token's secret.

use std::io;
use std::path::Path;
use std::time::Duration;

use keelhold_wire::address::AddressError;
use keelhold_wire::limits::{ENROLL_BODY_LEN_MAX, GREETING_SECONDS};
use keelhold_wire::token::TokenError;
use keelhold_wire::{
    CaPin, Enroll, FromNewcomer, ReceiveError, Receiver, Refusal, Sender, ServerAddress,
    ToNewcomer, Token,
};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::failure::{Code, Failure};
use crate::host;
use crate::identity::{Candidate, Identity, IdentityError};
use crate::state_dir::{StateDir, StateError};
use crate::tls::{self, TlsError};

#[derive(Debug, Error)]
pub enum EnrollError {
    #[error("the address is not one of a server")]
    Address(#[from] AddressError),
    #[error("the token cannot be read")]
    Token(#[from] TokenError),
    #[error("the state directory cannot be used")]
    State(#[from] StateError),
    #[error("{server} cannot be reached")]
    Unreachable { server: ServerAddress, source: io::Error },
    #[error("{server} did not answer in time")]
    Silent { server: ServerAddress },
    #[error("no secure connection could be made")]
    Tls(#[from] TlsError),
    #[error("the request could not be sent")]
    Send(#[source] io::Error),
    #[error("the answer could not be received")]
    Receive(#[from] ReceiveError),
    #[error("the server closed the connection without an answer")]
    NoAnswer,
    #[error("{}", .0.message)]
    Refused(Refusal),
    #[error("the server sent another authority than the one it is known by")]
    OtherAuthority,
    #[error("the identity cannot be kept")]
    Identity(#[from] IdentityError),
}

impl From<EnrollError> for Failure {
    fn from(error: EnrollError) -> Self {
        let code = match error {
            EnrollError::Refused(refusal) => return refusal.into(),
            EnrollError::Address(_) => Code::AddressInvalid,
            EnrollError::Token(_) => Code::TokenInvalid,
            EnrollError::State(_) | EnrollError::Identity(_) => Code::StateUnusable,
            EnrollError::Tls(ref tls) if tls.is_wrong_server() => Code::WrongServer,
            EnrollError::OtherAuthority => Code::WrongServer,
            EnrollError::Unreachable { .. } | EnrollError::Silent { .. } | EnrollError::Tls(_) => {
                Code::Unreachable
            }
            EnrollError::Send(_) | EnrollError::NoAnswer => Code::Unreachable,
            EnrollError::Receive(_) => Code::ProtocolBroken,
        };
        Self::of(code, &error)
    }
}

/// Makes a key, trades the token for a certificate and keeps both. Returns what the server calls this
/// machine. An identity that was here before is replaced only when the new one is complete.
pub async fn enroll(state: &Path, url: &str, token: &str) -> Result<String, EnrollError> {
    let server: ServerAddress = url.parse()?;
    let token: Token = token.parse()?;
    let state = StateDir::open(state)?;
    let limit = Duration::from_secs(2 * GREETING_SECONDS);
    let silent = EnrollError::Silent { server: server.clone() };
    let conversation = async {
        let stream = TcpStream::connect((server.host.as_str(), server.port)).await;
        let stream =
            stream.map_err(|source| EnrollError::Unreachable { server: server.clone(), source })?;
        let stream = tls::connect(tls::newcomer_config(token.pin)?, stream).await?;
        converse(stream, server.clone(), &token).await
    };
    let identity = tokio::time::timeout(limit, conversation).await.map_err(|_| silent)??;
    identity.save(&state)?;
    Ok(identity.machine_name)
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    server: ServerAddress,
    token: &Token,
) -> Result<Identity, EnrollError> {
    let candidate = Candidate::make()?;
    let (reader, writer) = tokio::io::split(stream);
    let mut sender = Sender::new(writer);
    let request = FromNewcomer::Enroll(Enroll {
        secret: token.secret,
        request: candidate.request.clone(),
        hostname: host::name(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
    });
    sender.send(&request).await.map_err(EnrollError::Send)?;
    sender.flush().await.map_err(EnrollError::Send)?;
    let mut receiver = Receiver::with_limit(reader, ENROLL_BODY_LEN_MAX);
    match receiver.receive::<ToNewcomer>().await? {
        None => Err(EnrollError::NoAnswer),
        Some(ToNewcomer::Refuse(refusal)) => Err(EnrollError::Refused(refusal)),
        Some(ToNewcomer::Enrolled(enrolled)) => {
            if CaPin::of_certificate(&enrolled.ca) != Ok(token.pin) {
                return Err(EnrollError::OtherAuthority);
            }
            let (certificate, ca) = (enrolled.certificate, enrolled.ca);
            Ok(candidate.accepted(server, enrolled.machine_name, certificate, ca))
        }
    }
}

#[cfg(test)]
mod tests;
