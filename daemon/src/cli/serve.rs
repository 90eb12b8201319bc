//! `keelhold serve`: the daemon in the foreground.

use super::Context;
use super::args::Serve;
use super::pool::of_state;
use crate::clock::{SharedClock, SystemClock};
use crate::config::{Config, ConfigError};
use crate::disks::KnownDisks;
use crate::failure::{Code, Exit, Failure, chain};
use crate::pool_open::{PoolSizes, RunningPool};
use crate::settings::Settings;
use crate::state_dir::{DiskPaths, StateDir};
use crate::store::Store;
use crate::{api, daemon::Daemon, key_file, pool_open, server};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Sessions and answers get this long to come to an end; what does not is left as it was last
/// journaled, which loses nothing.
/// How soon a daemon without a pool takes up one that was made.
const LOOK_FOR_POOL: Duration = Duration::from_millis(500);
const STOP_WAIT: Duration = Duration::from_secs(20);

fn of_config(error: &ConfigError) -> Failure {
    Failure::of(Code::ConfigInvalid, error)
}

fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("KEELHOLD_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .try_init();
}

pub async fn serve(context: &Context, args: Serve) -> Result<Exit, Failure> {
    start_log();
    if args.exit_with_parent {
        crate::demo::agent::exit_with_parent();
    }
    let state = &context.state;
    state.create().map_err(|error| of_state(&error))?;
    let default_file = state.config();
    let config = Config::load(args.config.as_deref(), &default_file, args.agents.as_deref());
    let config = config.map_err(|error| of_config(&error))?;
    let _lock = state.lock().map_err(|error| of_state(&error))?;
    let mut terminate =
        signal(SignalKind::terminate()).map_err(|error| Failure::of(Code::Internal, &error))?;
    let end = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    let mut end = std::pin::pin!(end);
    // Without a pool of its own it serves what was adopted, and begins anew when there is one.
    while serve_pool(state, &config, &mut end).await? == Stopped::PoolMade {
        tracing::info!("there is a pool now");
    }
    Ok(Exit::Ok)
}

/// Why it stopped serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopped {
    Asked,
    PoolMade,
}

async fn open_pool(
    state: &StateDir,
    config: &Config,
    clock: &SharedClock,
) -> Result<(RunningPool, Option<DiskPaths>), Failure> {
    let adopted = state.adopted().map_err(|error| of_state(&error))?;
    match state.disks().map_err(|error| of_state(&error))? {
        Some(disks) => {
            let key = key_file::of_service(config.key_file.as_deref())?;
            let sizes = PoolSizes { workers: config.workers, index_budget: config.index_budget };
            let pool = pool_open::start(disks.clone(), sizes, key, Arc::clone(clock)).await?;
            if let Some(adopted) = adopted {
                adopted.bring_into(&Store::new(pool.handle.clone(), Arc::clone(clock))).await?;
                state.forget_adopted().map_err(|error| of_state(&error))?;
            }
            Ok((pool, Some(disks)))
        }
        None => {
            let place = state.path().display();
            let none = || Failure::new(Code::NoPool, format!("there is no pool in {place}"));
            let adopted = adopted.ok_or_else(none)?;
            let options = pool_open::with_content_keys(adopted.content_keys())?;
            let pool = pool_open::start_stand_in(options, Arc::clone(clock)).await?;
            adopted.bring_into(&Store::new(pool.handle.clone(), Arc::clone(clock))).await?;
            Ok((pool, None))
        }
    }
}

async fn pool_made(state: &StateDir) {
    while !matches!(state.disks(), Ok(Some(_))) {
        tokio::time::sleep(LOOK_FOR_POOL).await;
    }
}

async fn serve_pool(
    state: &StateDir,
    config: &Config,
    end: &mut std::pin::Pin<&mut impl Future<Output = ()>>,
) -> Result<Stopped, Failure> {
    let listener = server::listen::bind(config.agents).await?;
    let bound = listener.local_addr().map_err(|error| Failure::of(Code::ListenFailed, &error))?;
    let clock: SharedClock = Arc::new(SystemClock);
    let (pool, disks) = open_pool(state, config, &clock).await?;
    let has_pool = disks.is_some();
    let (stop, stopping) = watch::channel(false);
    let url = config.url(bound);
    let disks = KnownDisks::new(state.clone(), disks.unwrap_or_default());
    let settings = Settings { has_pool, ..config.settings.clone() };
    let daemon = Daemon::open(pool.handle, clock, disks, url, settings, stopping.clone()).await?;
    let daemon = Arc::new(daemon);
    daemon.resume_disks().await;
    let socket = api::bind(state)?;
    tracing::info!(agents = daemon.url, "ready");
    let api = tokio::spawn(api::serve(Arc::clone(&daemon), socket, stopping.clone()));
    let (for_upkeep, stops_upkeep) = (Arc::clone(&daemon), stopping.clone());
    let upkeep = tokio::spawn(async move { keep_up(for_upkeep, stops_upkeep).await });
    let agents = tokio::spawn(server::listen::serve(Arc::clone(&daemon), listener, stopping));
    let stopped = tokio::select! {
        () = end => Stopped::Asked,
        () = pool_made(state), if !has_pool => Stopped::PoolMade,
    };
    tracing::info!("stopping");
    stop.send_replace(true);
    stop_all(daemon, api, upkeep, agents, pool.thread).await;
    Ok(stopped)
}

/// What goes on by itself beside agents and answers.
async fn keep_up(daemon: Arc<Daemon>, stopping: watch::Receiver<bool>) {
    let vaults = crate::vault::run(Arc::clone(&daemon), stopping.clone());
    if !daemon.settings.has_pool {
        return vaults.await;
    }
    let _ = tokio::join!(
        vaults,
        crate::scrub::run(Arc::clone(&daemon), stopping.clone()),
        crate::heal::run(Arc::clone(&daemon), stopping.clone()),
        crate::schedule::run(Arc::clone(&daemon), stopping.clone()),
        crate::upkeep::run(daemon, stopping),
    );
}

async fn stop_all(
    daemon: Arc<Daemon>,
    api: tokio::task::JoinHandle<std::io::Result<()>>,
    upkeep: tokio::task::JoinHandle<()>,
    agents: tokio::task::JoinHandle<Result<(), Failure>>,
    thread: std::thread::JoinHandle<()>,
) {
    let stopped = async {
        let _ = agents.await;
        let _ = upkeep.await;
        // Connections hold the daemon until their sessions are parked.
        while Arc::strong_count(&daemon) > 2 && daemon.connected.count() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let _ = api.await;
    };
    if tokio::time::timeout(STOP_WAIT, stopped).await.is_err() {
        tracing::warn!("something did not come to an end in time");
    }
    daemon.settle_catalog().await;
    drop(daemon);
    // The pool checkpoints and closes when its last handle is gone; handles still out are of tasks
    // that did not end, and the process does not wait for those.
    let closed = tokio::task::spawn_blocking(move || thread.join());
    match tokio::time::timeout(STOP_WAIT, closed).await {
        Ok(Ok(Ok(()))) => tracing::info!("stopped"),
        Ok(_) => tracing::error!("the pool's thread failed"),
        Err(elapsed) => {
            let why = chain(&elapsed);
            tracing::warn!(why, "stopped without closing the pool; the next start recovers it");
        }
    }
}
