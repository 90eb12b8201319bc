//! A newcomer's connection: one question, one answer.

use crate::daemon::Daemon;
use crate::machine;
use keelhold_wire::limits::{ENROLL_BODY_LEN_MAX, GREETING_SECONDS};
use keelhold_wire::{Enrolled, FromNewcomer, Receiver, Sender, ToNewcomer};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

pub async fn serve(daemon: &Daemon, stream: TlsStream<TcpStream>, address: SocketAddr) {
    let (read, write) = tokio::io::split(stream);
    let mut receiver = Receiver::with_limit(read, ENROLL_BODY_LEN_MAX);
    let limit = Duration::from_secs(GREETING_SECONDS);
    let Ok(Ok(Some(FromNewcomer::Enroll(request)))) =
        tokio::time::timeout(limit, receiver.receive()).await
    else {
        tracing::info!(%address, "a newcomer did not ask to be enrolled");
        return;
    };
    let enrolled = machine::enrol(
        &daemon.store,
        &daemon.authority,
        &request.secret,
        &request.request,
        &request.agent_version,
    )
    .await;
    let answer = match enrolled {
        Ok(enrolment) => {
            let name = enrolment.machine.name.clone();
            tracing::info!(machine = name, again = enrolment.old_key.is_some(), "machine enrolled");
            // Whoever was connected under this name showed the old certificate.
            daemon.connected.cut(&enrolment.machine.id);
            ToNewcomer::Enrolled(Enrolled {
                certificate: enrolment.certificate.to_vec(),
                ca: daemon.authority.certificate().to_vec(),
                machine_name: name,
            })
        }
        Err(error) => {
            tracing::info!(%address, error = crate::failure::chain(&error), "enrolment refused");
            ToNewcomer::Refuse(error.failure().refusal())
        }
    };
    let mut sender = Sender::new(write);
    let send = async {
        sender.send(&answer).await?;
        sender.flush().await?;
        sender.close().await
    };
    if let Ok(Err(error)) = tokio::time::timeout(limit, send).await {
        tracing::info!(%address, error = crate::failure::chain(&error), "answer not delivered");
    }
}
