//! Writes a tree back on this machine, in a process of its own: what the server sends is parsed and
//! written by a process that does nothing else, and whose end is the end of the restore.
//!
//! The agent decides where ([`Order`]); the child gets the decision and the server's messages on its
//! standard input, and answers on its standard output. In a restore, items are entries with their
//! attributes; a file with more pieces than one item holds goes on in `EntryMore` until its length is
//! reached.

mod arrive;
mod file;
mod order;
mod work;

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use keelhold_wire::{
    FromAgent, FromServer, JobRefusal, Message, ReceiveError, Receiver, Sender, StartRestore,
};
use thiserror::Error;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use crate::failure::{Code, Failure};

pub use order::{Order, OrderError, Place};

#[derive(Debug, Error)]
pub enum RestoreError {
    #[error("the messages of the restore could not be received")]
    Receive(#[from] ReceiveError),
    #[error("the answers could not be sent")]
    Send(#[source] io::Error),
    #[error("standard input and output are no pipes to an agent")]
    Pipe(#[source] io::Error),
    #[error("the order is not understood")]
    Order(#[from] OrderError),
    #[error("the messages ended before the restore did")]
    Torn,
    #[error("the restore was cancelled")]
    Cancelled,
    #[error("message {name} does not belong to a restore")]
    Misplaced { name: &'static str },
    #[error("an item does not belong to a restore")]
    Item,
    #[error("the attributes of {path:?} are malformed")]
    Attributes { path: String, source: keelhold_chunk::DecodeError },
    #[error("a frame holds reference {reference}, which was not asked for")]
    NotWanted { reference: u64 },
    #[error("a frame cannot be unpacked")]
    Unpack,
    #[error("a chunk is not what its name says")]
    WrongChunk,
    #[error("{found} entries came, {expected} were announced")]
    Count { found: u64, expected: u64 },
    #[error("nothing can be written there")]
    Target(#[from] keelhold_tree::WriteError),
    #[error("the restore directory cannot be used")]
    Root(#[source] io::Error),
    #[error("a thread could not be started")]
    Thread(#[source] io::Error),
}

impl RestoreError {
    fn code(&self) -> Code {
        match self {
            Self::Cancelled => Code::Cancelled,
            Self::Target(_) | Self::Root(_) | Self::Thread(_) => Code::RestoreFailed,
            Self::Send(_) | Self::Torn => Code::Disconnected,
            _ => Code::ProtocolBroken,
        }
    }
}

impl From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Self {
        Self::of(error.code(), &error)
    }
}

/// The child's whole life: one order, one restore. A restore that fails says so to the server; an
/// error here means that not even that could be said.
pub async fn serve() -> Result<(), RestoreError> {
    allow_many_files();
    let mut input =
        pipe::Receiver::from_owned_fd(owned(io::stdin())?).map_err(RestoreError::Pipe)?;
    let output = pipe::Sender::from_owned_fd(owned(io::stdout())?).map_err(RestoreError::Pipe)?;
    let order = receive_order(&mut input).await?;
    let mut receiver = Receiver::new(input);
    let mut sender = Sender::new(output);
    let Some(FromServer::StartRestore(start)) = receiver.receive().await? else {
        return Err(RestoreError::Torn);
    };
    let job = start.job;
    if let Err(error) = restore(&order, start, &mut receiver, &mut sender).await {
        let refusal = JobRefusal { job, refusal: Failure::from(error).into() };
        send(&mut sender, &FromAgent::Aborted(refusal)).await?;
    }
    Ok(())
}

fn owned(stream: impl AsFd) -> Result<OwnedFd, RestoreError> {
    stream.as_fd().try_clone_to_owned().map_err(RestoreError::Pipe)
}

/// Files that are compared with what is to come stay open until it has come.
fn allow_many_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // With fewer, more files are written whole.
    let _ = setrlimit(Resource::Nofile, limit);
}

async fn restore<R, W>(
    order: &Order,
    start: StartRestore,
    receiver: &mut Receiver<R>,
    sender: &mut Sender<W>,
) -> Result<(), RestoreError>
where
    R: tokio::io::AsyncRead + Unpin,
    W: tokio::io::AsyncWrite + Unpin,
{
    let writer = order.open(start.on_clash)?;
    arrive::Arrivals::new(&start, writer)?.run(receiver, sender).await
}

async fn send<W: tokio::io::AsyncWrite + Unpin>(
    sender: &mut Sender<W>,
    message: &impl Message,
) -> Result<(), RestoreError> {
    sender.send(message).await.map_err(RestoreError::Send)?;
    sender.flush().await.map_err(RestoreError::Send)
}

async fn receive_order<R: tokio::io::AsyncRead + Unpin>(
    input: &mut R,
) -> Result<Order, RestoreError> {
    let torn = |error| RestoreError::Receive(ReceiveError::Read(error));
    let len = input.read_u32_le().await.map_err(torn)?;
    let mut bytes = Vec::new();
    let mut limited = input.take(u64::from(len.min(order::ENCODED_LEN_MAX)));
    limited.read_to_end(&mut bytes).await.map_err(torn)?;
    Ok(Order::decode(&bytes)?)
}

#[cfg(test)]
mod tests;
