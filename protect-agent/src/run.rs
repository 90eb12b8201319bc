//! The agent at work: dials the server, dials again, and answers people on this machine.

use std::ffi::OsString;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use keelhold_wire::{ServerAddress, Welcome};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Duration, timeout};

use crate::backoff::Backoff;
use crate::backup::{Context, DataReads};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, ConfigError};
use crate::failure::{Code, Failure, chain};
use crate::identity::{Identity, IdentityError};
use crate::link::{self, Asked, LinkError, Surroundings};
use crate::local::{self, LocalError};
use crate::notes::Notes;
use crate::script::{self, Scripts};
use crate::snapshot::Snapshots;
use crate::state_dir::{StateDir, StateError};
use crate::status::SharedStatus;
use crate::tls::{self, TlsError};

/// How often the certificate's age is looked at: a connection may last longer than it does.
const RENEWAL_CHECK: Duration = Duration::from_secs(3_600);
const CONNECT_WAIT: Duration = Duration::from_secs(20);
/// Wishes of people on this machine that may wait.
const WISH_COUNT: usize = 64;

/// How an agent is started.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    pub state: PathBuf,
    /// Command that makes an executable run one restore (its first word), reading and writing
    /// messages on its standard input and output: see [`crate::restore::serve`].
    pub restore_command: Vec<OsString>,
}

impl AgentConfig {
    /// For an executable that runs [`crate::restore::serve`] when its first argument is `verb`.
    pub fn new(state: PathBuf, verb: &str) -> Self {
        // `/proc/self/exe` would do as well, but shows in a process list as just that.
        let program = std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into());
        Self { state, restore_command: vec![program.into_os_string(), OsString::from(verb)] }
    }
}

#[derive(Debug, Error)]
pub enum RunError {
    #[error("the state directory cannot be used")]
    State(#[from] StateError),
    #[error("the configuration is not valid")]
    Config(#[from] ConfigError),
    #[error("the identity of this machine cannot be used")]
    Identity(#[from] IdentityError),
    #[error("the local socket cannot be opened")]
    Local(#[from] LocalError),
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        let code = match error {
            RunError::State(StateError::InUse { .. }) => Code::AlreadyRunning,
            RunError::State(_) | RunError::Local(_) => Code::StateUnusable,
            RunError::Config(_) => Code::ConfigInvalid,
            RunError::Identity(IdentityError::NotEnrolled) => Code::NotEnrolled,
            RunError::Identity(_) => Code::StateUnusable,
        };
        Self::of(code, &error)
    }
}

#[derive(Debug, Error)]
enum DialError {
    #[error("{server} cannot be reached")]
    Unreachable { server: ServerAddress, source: std::io::Error },
    #[error("{server} did not answer in time")]
    Silent { server: ServerAddress },
    #[error("no secure connection could be made")]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// Runs until `stop` is ready. Running jobs end with the connection; the server begins them again
/// when the agent is back.
pub async fn run(config: AgentConfig, stop: impl Future<Output = ()>) -> Result<(), RunError> {
    let state = StateDir::open(&config.state)?;
    let _lock = state.lock()?;
    let machine = Config::load(&state)?;
    let identity = Identity::load(&state)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let status = SharedStatus::new(&identity.machine_name, &identity.server.to_string());
    let context = Context {
        sources: state.sources(),
        keep_out: vec![state.path().to_owned()],
        clock: clock.clone(),
        reads: DataReads::by_ring(),
        snapshots: Snapshots::new(machine.snapshots, Notes::new(&state.path().join("snapshots"))),
        scripts: Scripts {
            directory: machine.script_directory.clone(),
            notes: Notes::new(&state.path().join("owed")),
        },
    };
    put_right(&context).await;
    let surroundings = Surroundings {
        context,
        config: machine,
        status: status.clone(),
        restore_command: config.restore_command,
    };
    let (wishes, asked) = mpsc::channel(WISH_COUNT);
    let local = local::listen(&state, status, wishes)?;
    let agent = Agent { state, identity, surroundings: Arc::new(surroundings), clock };
    tokio::select! {
        () = agent.keep_connected(asked) => {}
        () = local.serve() => {}
        () = stop => {}
    }
    Ok(())
}

/// What an agent that was killed left undone: scripts first, an application may be waiting.
async fn put_right(context: &Context) {
    let (scripts, snapshots) = (context.scripts.clone(), context.snapshots.clone());
    let work = move || {
        script::recover(&scripts);
        snapshots.sweep();
    };
    // A panic in it is the log's; the agent goes on.
    let _ = tokio::task::spawn_blocking(work).await;
}

struct Agent {
    state: StateDir,
    identity: Identity,
    surroundings: Arc<Surroundings>,
    clock: Arc<dyn Clock>,
}

impl Agent {
    async fn keep_connected(mut self, mut asked: mpsc::Receiver<Asked>) {
        let mut backoff = Backoff::new(self.surroundings.config.reconnect_max);
        loop {
            let ended = self.connection(&mut asked, &mut backoff).await;
            let reason = ended.err().map(|error| chain(&error));
            let wait = backoff.failed(self.clock.as_ref());
            tracing::info!(reason, wait_ms = wait.as_millis() as u64, "not connected");
            self.surroundings.status.disconnected(reason);
            self.wait(wait, &mut asked).await;
        }
    }

    /// Whoever asks meanwhile hears that there is no connection, by their question being dropped.
    async fn wait(&self, wait: Duration, asked: &mut mpsc::Receiver<Asked>) {
        let until = tokio::time::Instant::now() + wait;
        while let Ok(Some(_)) = tokio::time::timeout_at(until, asked.recv()).await {}
        tokio::time::sleep_until(until).await;
    }

    async fn connection(
        &mut self,
        asked: &mut mpsc::Receiver<Asked>,
        backoff: &mut Backoff,
    ) -> Result<(), DialError> {
        let stream = timeout(CONNECT_WAIT, dial(&self.identity))
            .await
            .map_err(|_| DialError::Silent { server: self.identity.server.clone() })??;
        let (renewed, mut certificates) = mpsc::unbounded_channel();
        let (due, mut renewals) = mpsc::channel(1);
        let mut check = tokio::time::interval(RENEWAL_CHECK);
        let status = &self.surroundings.status;
        let greeted = |welcome: &Welcome| {
            backoff.succeeded();
            status.connected();
            let server_version = &welcome.server_version;
            tracing::info!(server_version, machine = welcome.machine_name, "connected");
        };
        let talk =
            link::converse(stream, &self.surroundings, asked, &mut renewals, renewed, greeted);
        tokio::pin!(talk);
        loop {
            tokio::select! {
                ended = &mut talk => return Ok(ended?),
                _ = check.tick() => {
                    if let Some(request) = self.identity.renewal(self.clock.now().secs) {
                        // One that waits already is as good.
                        let _ = due.try_send(request);
                    }
                }
                Some(certificate) = certificates.recv() => {
                    match self.identity.renewed(certificate, &self.state) {
                        Ok(()) => tracing::info!("certificate renewed"),
                        Err(error) => {
                            tracing::warn!(error = chain(&error), "certificate not kept");
                        }
                    }
                }
            }
        }
    }
}

async fn dial(
    identity: &Identity,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, DialError> {
    let server = &identity.server;
    let unreachable = |source| DialError::Unreachable { server: server.clone(), source };
    let stream =
        TcpStream::connect((server.host.as_str(), server.port)).await.map_err(unreachable)?;
    // Messages are whole when they are written: waiting for more only delays them.
    stream.set_nodelay(true).map_err(unreachable)?;
    Ok(tls::connect(tls::machine_config(identity)?, stream).await?)
}
