//! The agents' listener: accepts, shakes hands within limits, and hands over by what was proved.

use super::strangers::{Place, Strangers};
use super::tls::{Peer, peer, server_config};
use super::{connection, enrolment};
use crate::daemon::Daemon;
use crate::failure::{Code, Failure, chain};
use crate::machine;
use crate::raised::raised;
use keelhold_wire::limits::GREETING_SECONDS;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Binds the address, or says why not.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let why = chain(&error);
        Failure::new(Code::ListenFailed, format!("{address} cannot be listened on: {why}"))
    })
}

/// Serves agents until the daemon stops. Connections are tasks of their own; they hold `daemon`, and
/// the caller waits for them by its other handles.
pub async fn serve(
    daemon: Arc<Daemon>,
    listener: TcpListener,
    mut stopping: watch::Receiver<bool>,
) -> Result<(), Failure> {
    let config =
        server_config(&daemon.authority).map_err(|error| Failure::of(Code::Internal, &error))?;
    let acceptor = TlsAcceptor::from(config);
    let strangers = Strangers::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = raised(&mut stopping) => return Ok(()),
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, or the peer was gone before it was accepted.
                tracing::info!(error = chain(&error), "connection not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(place) = strangers.enter(address.ip()) else {
            tracing::info!(%address, "too many connections that have not shown who they are");
            continue;
        };
        let (daemon, acceptor, stopping) =
            (Arc::clone(&daemon), acceptor.clone(), stopping.clone());
        tokio::spawn(async move {
            let greeting = Duration::from_secs(GREETING_SECONDS);
            let handshake = tokio::time::timeout(greeting, shake_hands(&acceptor, stream)).await;
            match handshake {
                Ok(Ok(stream)) => greet(daemon, stream, address, place, stopping).await,
                Ok(Err(error)) => {
                    tracing::info!(%address, error = chain(&error), "handshake failed");
                }
                Err(_) => tracing::info!(%address, "handshake took too long"),
            }
        });
    }
}

async fn shake_hands(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
) -> std::io::Result<TlsStream<TcpStream>> {
    stream.set_nodelay(true)?;
    acceptor.accept(stream).await
}

async fn greet(
    daemon: Arc<Daemon>,
    stream: TlsStream<TcpStream>,
    address: SocketAddr,
    place: Place,
    stopping: watch::Receiver<bool>,
) {
    match peer(stream.get_ref().1) {
        Peer::Newcomer => {
            enrolment::serve(&daemon, stream, address).await;
            drop(place);
        }
        Peer::Stranger => tracing::info!(%address, "a peer without a certificate was refused"),
        Peer::Machine { key } => match machine::by_key(&daemon.store, &key).await {
            Ok(Some(machine)) => {
                connection::serve(daemon, stream, machine, place, stopping).await;
            }
            Ok(None) => {
                tracing::info!(%address, "a machine with a revoked or unknown key was refused");
                connection::refuse(
                    stream,
                    &Failure::new(
                        Code::CertificateRevoked,
                        "this machine's certificate is not accepted any more",
                    ),
                )
                .await;
            }
            Err(error) => tracing::warn!(error = chain(&error), "machines not readable"),
        },
    }
}
