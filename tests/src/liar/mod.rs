//! A machine with a real certificate that says what it likes: the wire protocol by hand. What it
//! sends may find nobody listening any more, so sending never fails; what counts is how it ends.

mod papers;
mod says;

pub use papers::{Papers, request};
pub use says::{attributes, entry, file, noise, root};

use std::io;
use std::time::Duration;

use keelhold_wire::header::Header;
use keelhold_wire::{
    ALPN_AGENT, Enrolled, FromAgent, FromServer, Hello, Message, ReceiveError, Receiver,
    SERVER_NAME, StartBackup, Want,
};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Longer than every patience the daemon has with a machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// How it ended for the liar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// A refusal with its code.
    Refused(u32),
    /// The connection was ended without a word.
    Cut,
    /// A point was made of it.
    Committed,
}

/// What the daemon says to a newcomer.
#[derive(Debug)]
pub enum Welcomed {
    Enrolled(Enrolled),
    Not(Ending),
}

#[derive(Debug)]
pub struct Liar {
    runtime: Runtime,
    reader: Receiver<ReadHalf<TlsStream<TcpStream>>>,
    writer: WriteHalf<TlsStream<TcpStream>>,
    /// Of the job the daemon started last.
    pub start: Option<StartBackup>,
}

impl Liar {
    /// As far as the handshake goes on this side; TLS 1.3 tells a refused client only afterwards.
    pub fn dial(papers: &Papers, protocols: &[&[u8]]) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let config = papers.config(protocols);
        let stream = runtime.block_on(async {
            let stream = TcpStream::connect(&papers.address).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from(SERVER_NAME).expect("a name");
            TlsConnector::from(config).connect(name, stream).await
        })?;
        let (reader, writer) = tokio::io::split(stream);
        Ok(Self { runtime, reader: Receiver::new(reader), writer, start: None })
    }

    /// Connected, and welcome.
    #[must_use]
    pub fn greeted(papers: &Papers) -> Self {
        let mut liar = Self::dial(papers, &[ALPN_AGENT]).expect("the daemon shakes hands");
        liar.say(&Self::hello(1, 1));
        let answer = liar.hear();
        assert!(matches!(answer, Ok(Some(FromServer::Welcome(_)))), "{answer:?}");
        liar
    }

    #[must_use]
    pub fn hello(version_min: u32, version_max: u32) -> FromAgent {
        let (agent_version, hostname) = (String::from("0"), String::from("liar"));
        let boot_id = [7; 16];
        FromAgent::Hello(Hello { version_min, version_max, agent_version, hostname, boot_id })
    }

    /// Any bytes at all.
    pub fn raw(&mut self, bytes: &[u8]) {
        let _ = self.try_raw(bytes, PATIENCE);
    }

    /// False: they were not taken within this time, or nobody is there.
    pub fn try_raw(&mut self, bytes: &[u8], within: Duration) -> bool {
        let writer = &mut self.writer;
        let send = async {
            writer.write_all(bytes).await?;
            writer.flush().await
        };
        let sent = self.runtime.block_on(async { tokio::time::timeout(within, send).await });
        matches!(sent, Ok(Ok(())))
    }

    /// Says that nothing follows.
    pub fn close(&mut self) {
        let _ = self.runtime.block_on(self.writer.shutdown());
    }

    pub fn say(&mut self, message: &impl Message) {
        self.raw(&message.to_bytes());
    }

    /// A body under a right header, whatever the body is.
    pub fn body(&mut self, kind: u8, body: &[u8]) {
        self.raw(&[&Header::seal(kind, body)[..], body].concat());
    }

    /// The next message; `None` when the daemon ended the connection in an orderly way.
    pub fn hear<M: Message>(&mut self) -> Result<Option<M>, ReceiveError> {
        let reader = &mut self.reader;
        let next = async { tokio::time::timeout(PATIENCE, reader.receive()).await };
        self.runtime.block_on(next).expect("the daemon says something or ends the connection")
    }

    /// The next message that `pick` likes; panics when the connection ends before.
    pub fn wait<T>(&mut self, mut pick: impl FnMut(FromServer) -> Option<T>) -> T {
        loop {
            let message = self.hear().expect("the daemon keeps to the protocol");
            let message = message.expect("the daemon goes on talking");
            if let Some(found) = pick(message) {
                return found;
            }
        }
    }

    /// Waits until the daemon starts a job.
    pub fn wait_for_job(&mut self) {
        let start = self.wait(|message| match message {
            FromServer::StartBackup(start) => Some(start),
            _ => None,
        });
        self.start = Some(start);
    }

    pub fn want(&mut self) -> Want {
        self.wait(|message| match message {
            FromServer::Want(want) => Some(want),
            _ => None,
        })
    }

    /// How it ends, however long that takes.
    pub fn ending(&mut self) -> Ending {
        loop {
            match self.hear::<FromServer>() {
                Ok(Some(FromServer::Failed(failed))) => {
                    return Ending::Refused(failed.refusal.code);
                }
                Ok(Some(FromServer::Refuse(refusal))) => return Ending::Refused(refusal.code),
                Ok(Some(FromServer::Committed(_))) => return Ending::Committed,
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return Ending::Cut,
            }
        }
    }

    /// Asks to be enrolled with this.
    pub fn enrol(&mut self, secret: [u8; 16], request: Vec<u8>) -> Welcomed {
        let (hostname, agent_version) = (String::from("liar"), String::from("0"));
        let enroll = keelhold_wire::Enroll { secret, request, hostname, agent_version };
        self.say(&keelhold_wire::FromNewcomer::Enroll(enroll));
        match self.hear() {
            Ok(Some(keelhold_wire::ToNewcomer::Enrolled(enrolled))) => Welcomed::Enrolled(enrolled),
            Ok(Some(keelhold_wire::ToNewcomer::Refuse(refusal))) => {
                Welcomed::Not(Ending::Refused(refusal.code))
            }
            Ok(None) | Err(_) => Welcomed::Not(Ending::Cut),
        }
    }
}

/// A stranger's bytes, without TLS: sends them and waits until the daemon has had enough.
#[must_use]
pub fn stranger(address: &str, bytes: &[u8]) -> Ending {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut stream = TcpStream::connect(address).await.expect("the daemon listens");
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        assert!(end.is_ok(), "the daemon waits for ever");
        Ending::Cut
    })
}
