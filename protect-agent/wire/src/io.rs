//! Messages over a byte stream. The only part of this crate that knows tokio.

use std::io;

use bytes::{Buf, BytesMut};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::error::WireError;
use crate::header::{HEADER_LEN, Header};
use crate::limits::BODY_LEN_MAX;
use crate::message::Message;

#[derive(Debug, Error)]
pub enum ReceiveError {
    #[error("the connection could not be read")]
    Read(#[source] io::Error),
    #[error("the connection ended inside a message")]
    Torn,
    #[error("the peer broke the protocol")]
    Protocol(#[from] WireError),
}

/// Reads messages. `receive` may be dropped and called again: nothing that arrived is lost.
#[derive(Debug)]
pub struct Receiver<R> {
    stream: R,
    buffer: BytesMut,
    header: Option<Header>,
    body_len_max: usize,
    received: u64,
}

impl<R: AsyncRead + Unpin> Receiver<R> {
    pub fn new(stream: R) -> Self {
        Self::with_limit(stream, BODY_LEN_MAX)
    }

    /// A receiver that accepts only bodies up to `body_len_max`.
    pub fn with_limit(stream: R, body_len_max: usize) -> Self {
        Self { stream, buffer: BytesMut::new(), header: None, body_len_max, received: 0 }
    }

    /// Bytes of all messages returned so far, headers included.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The next message; `None` when the peer closed between two messages.
    pub async fn receive<M: Message>(&mut self) -> Result<Option<M>, ReceiveError> {
        loop {
            if let Some(message) = self.next_buffered()? {
                return Ok(Some(message));
            }
            let missing = self.header.map_or(HEADER_LEN, |header| header.body_len as usize);
            // Room is taken for bytes that a checked header announced, and never twice.
            self.buffer.reserve(missing.saturating_sub(self.buffer.len()).max(READ_LEN));
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) if self.buffer.is_empty() && self.header.is_none() => return Ok(None),
                Ok(0) => return Err(ReceiveError::Torn),
                Ok(_) => {}
                Err(error) => return Err(ReceiveError::Read(error)),
            }
        }
    }

    fn next_buffered<M: Message>(&mut self) -> Result<Option<M>, ReceiveError> {
        let header = match self.header {
            Some(header) => header,
            None => {
                let Some(head) = self.buffer.first_chunk::<HEADER_LEN>() else {
                    return Ok(None);
                };
                let header = Header::open(*head, self.body_len_max)?;
                self.buffer.advance(HEADER_LEN);
                *self.header.insert(header)
            }
        };
        let body_len = header.body_len as usize;
        if self.buffer.len() < body_len {
            return Ok(None);
        }
        let body = self.buffer.split_to(body_len).freeze();
        self.header = None;
        header.check(&body)?;
        self.received += (HEADER_LEN + body_len) as u64;
        Ok(Some(M::from_body(header.kind, &body)?))
    }
}

const READ_LEN: usize = 32 << 10;

/// Writes messages. Not to be dropped in the middle of `send`: a half-written message tears the
/// stream.
#[derive(Debug)]
pub struct Sender<W> {
    stream: W,
    sent: u64,
}

impl<W: AsyncWrite + Unpin> Sender<W> {
    pub fn new(stream: W) -> Self {
        Self { stream, sent: 0 }
    }

    /// Bytes of all messages sent so far, headers included.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Hands the message to the stream; `flush` makes it leave.
    pub async fn send<M: Message>(&mut self, message: &M) -> io::Result<()> {
        self.send_bytes(&message.to_bytes()).await
    }

    /// Sends what `Message::to_bytes` made, perhaps on another thread.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.sent += bytes.len() as u64;
        Ok(())
    }

    pub async fn flush(&mut self) -> io::Result<()> {
        self.stream.flush().await
    }

    /// Says that nothing follows, in an orderly way.
    pub async fn close(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }
}
