//! How fast an agent gets through a tree, with a server that takes everything and keeps nothing:
//! `session_speed TREE [STATE [calls]]`, with `calls` without io_uring. Two sessions, the second with
//! the first as its basis. Over a pipe in memory, without TLS: what is measured is walking, reading,
//! cutting, hashing and compressing.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use keelhold_agent::backoff::LONGEST;
use keelhold_agent::backup::{Context, DataReads};
use keelhold_agent::clock::SystemClock;
use keelhold_agent::config::Config;
use keelhold_agent::link::{Surroundings, converse};
use keelhold_agent::notes::Notes;
use keelhold_agent::script::Scripts;
use keelhold_agent::snapshot::Snapshots;
use keelhold_agent::status::SharedStatus;
use keelhold_chunk::cut::CutParams;
use keelhold_chunk::{ChunkId, Writer};
use keelhold_wire::header::HEADER_LEN;
use keelhold_wire::{
    BackupStats, Basis, Codec, Committed, Content, Credit, Extent, FromAgent, FromServer, Item,
    Mode, Receiver, Runs, Sender, Source, SourceKind, StartBackup, TreeSource, Want, Welcome,
};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let tree = PathBuf::from(arguments.next().unwrap_or_else(|| "/usr".into()));
    let state =
        arguments.next().map_or_else(|| std::env::temp_dir().join("session-speed"), PathBuf::from);
    let calls = arguments.next().is_some_and(|word| word == "calls");
    let reads = if calls { DataReads::by_calls() } else { DataReads::by_ring() };
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let first = session(&tree, &state, None, &reads).await?;
        session(&tree, &state, Some(first), &reads).await.map(drop)
    })
}

async fn session(
    tree: &Path,
    state: &Path,
    basis: Option<Basis>,
    reads: &DataReads,
) -> anyhow::Result<Basis> {
    let context = Context {
        sources: state.to_path_buf(),
        keep_out: Vec::new(),
        clock: Arc::new(SystemClock),
        reads: reads.clone(),
        snapshots: Snapshots::new(true, Notes::new(&state.join("snapshots"))),
        scripts: Scripts {
            directory: state.join("scripts"),
            notes: Notes::new(&state.join("owed")),
        },
    };
    let config = Config {
        restore_root: state.to_path_buf(),
        restore_original: false,
        reconnect_max: LONGEST,
        script_directory: state.join("scripts"),
        snapshots: true,
        metered: None,
    };
    let status = SharedStatus::new("bench", "keelhold://bench");
    let surroundings =
        Arc::new(Surroundings { context, config, status, restore_command: Vec::new() });
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let begun = Instant::now();
    let agent = tokio::spawn(async move {
        let (_asks, mut asked) = mpsc::channel(1);
        let (renewed, _) = mpsc::unbounded_channel();
        converse(ours, &surroundings, &mut asked, &mut mpsc::channel(1).1, renewed, |_| {}).await
    });
    let (stats, basis, received, frames) = serve(theirs, tree, basis).await?;
    agent.await??;
    let seconds = begun.elapsed().as_secs_f64();
    let memory = std::fs::read_to_string("/proc/self/status")?;
    let peak = memory.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "{seconds:.2} s: {} entries, {} files changed, {:.0} MiB of {:.0} MiB read, {:.1} MiB sent in {frames} frames; {peak}",
        stats.entries,
        stats.files_changed,
        mib(stats.bytes_read),
        mib(stats.bytes_source),
        mib(received),
    );
    Ok(basis)
}

async fn serve(
    stream: DuplexStream,
    tree: &Path,
    basis: Option<Basis>,
) -> anyhow::Result<(BackupStats, Basis, u64, u64)> {
    let (reader, writer) = tokio::io::split(stream);
    let (mut receiver, mut sender) = (Receiver::new(reader), Sender::new(writer));
    receiver.receive::<FromAgent>().await?;
    let welcome =
        Welcome { version: 1, server_version: String::new(), machine_name: String::new(), now: 0 };
    sender.send(&FromServer::Welcome(welcome)).await?;
    sender.send(&FromServer::StartBackup(start(tree, basis))).await?;
    let (mut seen, mut refs, mut seq) = (HashSet::<ChunkId>::new(), 0, 0);
    let (mut frame_bytes, mut frames) = (0, 0);
    let stats = loop {
        sender.flush().await?;
        let before = receiver.received();
        let Some(message) = receiver.receive::<FromAgent>().await? else {
            anyhow::bail!("the agent hung up");
        };
        match message {
            FromAgent::Items(items) => {
                seq = items.seq;
                let wanted = wanted(&items.items, &mut refs, &mut seen);
                sender.send(&FromServer::Want(Want { job: 1, upto: refs, wanted })).await?;
            }
            FromAgent::Frame(_) => {
                frame_bytes += receiver.received() - before - HEADER_LEN as u64;
                frames += 1;
            }
            FromAgent::Finish(finish) => break finish.stats,
            FromAgent::Declined(no) | FromAgent::Aborted(no) => {
                anyhow::bail!("{}", no.refusal.message);
            }
            _ => continue,
        }
        sender.send(&FromServer::Credit(Credit { job: 1, items_seq: seq, frame_bytes })).await?;
    };
    let basis = Basis { id: [1; 16], entries: stats.entries };
    let committed = Committed { job: 1, point: [1; 16], basis, partial: false };
    sender.send(&FromServer::Committed(committed)).await?;
    sender.close().await?;
    let received = receiver.received();
    while receiver.receive::<FromAgent>().await?.is_some() {}
    Ok((stats, basis, received, frames))
}

fn wanted(items: &[Item], refs: &mut u64, seen: &mut HashSet<ChunkId>) -> Runs {
    let mut wanted = Runs::new();
    for item in items {
        let (Item::EntryMore { extents } | Item::Entry { content: Content::Extents(extents), .. }) =
            item
        else {
            continue;
        };
        for extent in extents {
            let Extent::Chunk { id, .. } = extent else {
                continue;
            };
            if seen.insert(*id) {
                wanted.push(*refs);
            }
            *refs += 1;
        }
    }
    wanted
}

fn start(tree: &Path, basis: Option<Basis>) -> StartBackup {
    let mut cut = Writer::new();
    CutParams::with_seed([7; 32]).encode(&mut cut);
    let root = tree.as_os_str().as_encoded_bytes();
    StartBackup {
        job: 1,
        session: [1; 16],
        source: Source { name: "bench".to_owned(), kind: SourceKind::Tree(TreeSource::new(root)) },
        id_key: [3; 32],
        cut: cut.finish(),
        inline_max: 1024,
        frame_len: 256 << 10,
        codec: Codec::Zstd,
        mode: Mode::Backup,
        basis,
        read_again: Runs::new(),
        demands: Box::default(),
    }
}
