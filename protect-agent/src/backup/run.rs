//! Puts the parts of a session together, and takes them apart again on every way out.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keelhold_chunk::cut::{ContentCutter, CutParams, Cutter};
use keelhold_chunk::{IdKey, Reader, Timestamp};
use keelhold_tree::btrfs::is_subvolume;
use keelhold_tree::{Rules, Walk, WalkOptions};
use keelhold_wire::{
    BackupStats, Committed, Finish, FromAgent, FromServer, Message, Reached, Refusal, SourceKind,
    StartBackup, Started, TreeSource, Version,
};
use thiserror::Error;
use tokio::sync::mpsc;

use super::around::Around;
use super::bounds::{AHEAD_LEN, LARGE_COUNT, READER_COUNT, STEP_COUNT};
use super::budget::Budget;
use super::compress::{self, Pressing};
use super::pieces::DataReads;
use super::plan::{Budgets, Plan, Step, Task};
use super::queue::Queue;
use super::reading::Settings;
use super::remember::Memory;
use super::stream::Stream;
use super::view::View;
use super::window::WindowError;
use crate::clock::Clock;
use crate::failure::chain;
use crate::outgoing::Outgoing;
use crate::script::{NotAllowed, Scripts};
use crate::shortcut::{OpenShortcut, ShortcutStore, Synced};
use crate::snapshot::{NoSnapshot, PLACE, Snapshots, SourceSnapshot};

#[derive(Debug, Error)]
pub enum BackupError {
    #[error("the connection was lost")]
    ConnectionLost,
    #[error("the server cancelled the job")]
    Cancelled,
    #[error("the server ended the job: {}", .0.message)]
    Refused(Refusal),
    #[error("the server broke the protocol")]
    Window(#[from] WindowError),
    #[error("message {name} does not belong to a backup")]
    Misplaced { name: &'static str },
    #[error("the tree cannot be walked")]
    Walk(#[from] keelhold_tree::WalkError),
    #[error("the root of the tree cannot be asked about")]
    Root(#[source] std::io::Error),
    #[error("an exclusion is not understood")]
    Rule(#[from] keelhold_tree::RuleError),
    #[error("the cut parameters are not understood")]
    CutParams(#[from] keelhold_chunk::DecodeError),
    #[error("the cut parameters cannot be used")]
    Cutter(#[from] keelhold_chunk::cut::CutParamsError),
    #[error("the file system cannot be flushed: {errno}")]
    Sync { errno: keelhold_tree::Errno },
    #[error("the server names a script that may not run here")]
    Script(#[from] NotAllowed),
    #[error("the pre script {ended}; nothing was read")]
    Pre { ended: String },
    #[error("that a post script is owed cannot be noted, so no script was begun")]
    Noted(#[source] std::io::Error),
    #[error("a thread could not be started")]
    Thread(#[source] std::io::Error),
    #[error("a thread of the session ended before its work was done")]
    ReaderDied,
}

impl BackupError {
    /// Found before `Started` was sent.
    #[must_use]
    pub fn is_before_start(&self) -> bool {
        matches!(
            self,
            Self::Walk(_)
                | Self::Root(_)
                | Self::Rule(_)
                | Self::CutParams(_)
                | Self::Cutter(_)
                | Self::Sync { .. }
                | Self::Script(_)
                | Self::Pre { .. }
                | Self::Noted(_)
        )
    }
}

/// What a session needs from the agent around it.
#[derive(Debug, Clone)]
pub struct Context {
    /// Where local state of sources is kept.
    pub sources: PathBuf,
    /// What is never read: the agent's own state.
    pub keep_out: Vec<PathBuf>,
    pub clock: Arc<dyn Clock>,
    /// How data of large files is read.
    pub reads: DataReads,
    pub snapshots: Snapshots,
    pub scripts: Scripts,
}

/// How a session ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupEnd {
    pub committed: Committed,
    pub stats: BackupStats,
}

/// Runs a job to its end. Messages of the job come by `incoming`, which ends with the connection.
pub async fn run(
    start: StartBackup,
    context: &Context,
    outgoing: Outgoing,
    incoming: mpsc::Receiver<FromServer>,
) -> Result<BackupEnd, BackupError> {
    let mut around = Around::new(&start, context, outgoing.clone())?;
    let ended = run_within(&mut around, start, context, outgoing, incoming).await;
    if let Err(error) = &ended {
        around.failed(error);
    }
    ended
}

async fn run_within(
    around: &mut Around,
    start: StartBackup,
    context: &Context,
    outgoing: Outgoing,
    mut incoming: mpsc::Receiver<FromServer>,
) -> Result<BackupEnd, BackupError> {
    let shortcut = open_shortcut(&start, context);
    let prepared = tokio::select! {
        prepared = prepare(start, context, around) => prepared?,
        ended = interrupted(&mut incoming) => return Err(ended),
    };
    let job = prepared.start.job;
    outgoing
        .send(FromAgent::Started(Started { job }).to_bytes())
        .await
        .map_err(|_| BackupError::ConnectionLost)?;
    let says_more = outgoing.speaks(Version::V2);
    let (mut stream, stop) = assemble(prepared, shortcut.as_ref(), (outgoing, incoming))?;
    stream.run().await?;
    let stats = stream.offers.stats;
    let fresh = match stream.memory.take() {
        Some(memory) => memory.finish().await,
        None => None,
    };
    // Nothing is read any more.
    drop(stop);
    let reached = around.end().await?;
    let reached = if says_more { reached } else { Reached::default() };
    stream.send(&FromAgent::Finish(Finish { job, stats, reached })).await?;
    let committed = committed(&mut stream.incoming).await?;
    if let (Some(shortcut), Some(fresh)) = (shortcut, fresh) {
        let basis = committed.basis.id;
        let commit = move || fresh.and_then(|fresh| shortcut.commit(fresh, basis));
        match tokio::task::spawn_blocking(commit).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => not_remembered(&error),
            Err(error) => not_remembered(&error),
        }
    }
    Ok(BackupEnd { committed, stats })
}

/// The job ends before the stream has begun.
async fn interrupted(incoming: &mut mpsc::Receiver<FromServer>) -> BackupError {
    match incoming.recv().await {
        None => BackupError::ConnectionLost,
        Some(FromServer::Cancel(_)) => BackupError::Cancelled,
        Some(FromServer::Failed(failed)) => BackupError::Refused(failed.refusal),
        Some(other) => BackupError::Misplaced { name: other.name() },
    }
}

/// Without local state the next session reads everything: slower, and as right.
fn not_remembered(error: &dyn std::error::Error) {
    tracing::warn!(error = chain(error), "local state is not kept");
}

fn open_shortcut(start: &StartBackup, context: &Context) -> Option<OpenShortcut> {
    let store = ShortcutStore::new(&context.sources, &start.source.name);
    let basis = start.basis.map(|basis| (basis.id, basis.entries));
    store.open(basis).map_err(|error| not_remembered(&error)).ok()
}

async fn committed(incoming: &mut mpsc::Receiver<FromServer>) -> Result<Committed, BackupError> {
    loop {
        match incoming.recv().await {
            None => return Err(BackupError::ConnectionLost),
            Some(FromServer::Committed(committed)) => return Ok(committed),
            Some(FromServer::Failed(failed)) => return Err(BackupError::Refused(failed.refusal)),
            Some(FromServer::Cancel(_)) => return Err(BackupError::Cancelled),
            Some(FromServer::Credit(_) | FromServer::Want(_)) => {}
            Some(other) => return Err(BackupError::Misplaced { name: other.name() }),
        }
    }
}

struct Prepared {
    settings: Arc<Settings>,
    walk: Walk,
    start: StartBackup,
}

/// Runs what is to run before, opens the tree or a snapshot of it and flushes its file system, off
/// the connection's threads.
async fn prepare(
    start: StartBackup,
    context: &Context,
    around: &mut Around,
) -> Result<Prepared, BackupError> {
    around.begin(context).await?;
    let context = context.clone();
    let opened = tokio::task::spawn_blocking(move || open(start, &context)).await;
    let (prepared, view) = opened.map_err(|_| BackupError::ReaderDied)??;
    around.viewed(view).await?;
    Ok(prepared)
}

/// Whether a snapshot is read, or why not.
type Viewed = Result<SourceSnapshot, NoSnapshot>;

fn open(start: StartBackup, context: &Context) -> Result<(Prepared, Viewed), BackupError> {
    let SourceKind::Tree(tree) = &start.source.kind;
    let mut reader = Reader::new(&start.cut);
    let params = CutParams::decode(&mut reader)?;
    reader.finish()?;
    let cutter = Cutter::Content(ContentCutter::new(&params)?);
    let root = Path::new(std::ffi::OsStr::from_bytes(&tree.root));
    let clock = context.clock.as_ref();
    let mut at = clock.now();
    // A snapshot made after the flush holds nothing that an equal identity could hide.
    let flush = |live: &OwnedFd| {
        at = clock.now();
        rustix::fs::syncfs(live).map_err(|errno| BackupError::Sync { errno: errno.into() })
    };
    let viewed = context.snapshots.take(root, tree.all_file_systems, flush)?;
    let (walk, synced, view) = match &viewed {
        Ok(snapshot) => {
            let walk = open_walk(tree, snapshot.root(), context, Some(snapshot))?;
            let file_system = walk.file_system().clone();
            let (read, live) = (snapshot.device(), snapshot.stands_for().device);
            (walk, Synced { device: read, file_system, at }, View { read, live })
        }
        Err(_) => {
            let walk = open_walk(tree, root, context, None)?;
            let device = std::fs::metadata(root).map_err(BackupError::Root)?.dev();
            let synced = sync(&walk, device, clock)?;
            (walk, synced, View::default())
        }
    };
    let settings = Settings {
        id_key: IdKey::new(start.id_key),
        cutter,
        inline_max: u64::from(start.inline_max),
        synced,
        reads: context.reads.clone(),
        view,
    };
    Ok((Prepared { settings: Arc::new(settings), walk, start }, viewed))
}

fn open_walk(
    tree: &TreeSource,
    root: &Path,
    context: &Context,
    snapshot: Option<&SourceSnapshot>,
) -> Result<Walk, BackupError> {
    // In a live tree the place shows only if the root is the top of a subvolume.
    let at_top = || {
        let top = std::fs::File::open(root).is_ok_and(|top| is_subvolume(top).unwrap_or(false));
        if top { vec![root.join(PLACE)] } else { Vec::new() }
    };
    let own_places = snapshot.map_or_else(at_top, |own| vec![own.live_place().to_owned()]);
    let options = WalkOptions {
        excludes: Rules::new(&tree.excludes)?,
        all_file_systems: tree.all_file_systems,
        cache_tags: tree.default_excludes && tree.honour_cachedir_tag,
        ignore_files: tree.default_excludes && tree.honour_ignore_file,
        no_dump: tree.default_excludes && tree.honour_nodump,
        keep_out: context.keep_out.clone(),
        own_places,
        stands_for: snapshot.map(|snapshot| snapshot.stands_for().clone()),
        ..WalkOptions::default()
    };
    Ok(Walk::new(root, options)?)
}

/// The walk has begun to look ahead by now, and that is as well: an entry is unchanged by what was
/// seen *after* the basis, and what is read now is read after the flush.
fn sync(walk: &Walk, device: u64, clock: &dyn Clock) -> Result<Synced, BackupError> {
    let at: Timestamp = clock.now();
    walk.sync().map_err(|errno| BackupError::Sync { errno })?;
    Ok(Synced { device, file_system: walk.file_system().clone(), at })
}

/// Ends the threads when the session ends, however it does.
struct Stop {
    readers: Arc<Queue<Task>>,
    compressors: Arc<Queue<Pressing>>,
    budgets: Budgets,
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.budgets.ahead.close();
        self.budgets.large.close();
        self.readers.close();
        self.compressors.close();
    }
}

/// Starts the threads of a session and the stream they feed.
fn assemble(
    prepared: Prepared,
    shortcut: Option<&OpenShortcut>,
    connection: (Outgoing, mpsc::Receiver<FromServer>),
) -> Result<(Stream, Stop), BackupError> {
    let Prepared { settings, walk, start } = prepared;
    let budgets = Budgets { ahead: Budget::new(AHEAD_LEN), large: Budget::new(LARGE_COUNT) };
    let readers = Queue::start("read", READER_COUNT, || {
        let settings = settings.clone();
        move |task: Task| task.work(&settings)
    })
    .map_err(BackupError::Thread)?;
    let (done, pressed) = mpsc::unbounded_channel();
    let compressors =
        compress::start(start.job, start.codec, &done).map_err(BackupError::Thread)?;
    let stop = Stop {
        readers: readers.clone(),
        compressors: compressors.clone(),
        budgets: budgets.clone(),
    };
    let memory = shortcut.and_then(|shortcut| {
        let writer = shortcut.writer().map_err(|error| not_remembered(&error)).ok()?;
        Memory::start(writer).map_err(|error| not_remembered(&error)).ok()
    });
    let (sender, steps) = mpsc::channel::<Step>(STEP_COUNT);
    let asked = (start.mode, start.read_again);
    let plan = Plan::new(settings, asked, readers, budgets, sender);
    let entries = shortcut.and_then(OpenShortcut::entries);
    std::thread::Builder::new()
        .name("plan".to_owned())
        .spawn(move || plan.run(walk, entries))
        .map_err(BackupError::Thread)?;
    let workers = (compressors, pressed);
    let frame_len = start.frame_len as usize;
    Ok((Stream::new(start.job, connection, steps, memory, workers, frame_len), stop))
}
