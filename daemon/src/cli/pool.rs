//! `keelhold pool …`, `status` and `catalog rebuild`. Those that work on the disks themselves do so in
//! this process, and only while no daemon has them.

use super::Context;
use super::args::{Pool, PoolCreate, PoolDisks, PoolKey, PoolRotateKey};
use super::check;
use crate::api::address::Address;
use crate::api::types;
use crate::clock::{SharedClock, SystemClock};
use crate::failure::{Code, Exit, Failure};
use crate::key_file;
use crate::pool_failure::of_commit;
use crate::pool_open::{Bench, DiskSpec, FoundDisk, on_bench};
use crate::size_text::{count, parse_size, size, split_path_size};
use crate::state_dir::{DiskPath, DiskPaths, StateError, StateLock};
use keelhold_disk::pool::CreateOptions;
use keelhold_disk::seal::WrappingKey;
use keelhold_disk::units::PoolId;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;

/// Threads of a verb that works on disks itself.
pub const WORKERS: usize = 2;

pub async fn run(context: &Context, verb: Pool) -> Result<Exit, Failure> {
    match verb {
        Pool::Status => {
            let address = Address::new("/pool");
            let status: types::PoolStatus = context.client().await?.get(&address).await?;
            context.printer.show(&status, pool_lines)?;
            Ok(Exit::Ok)
        }
        Pool::Reclaim { wait, empty_trash, confirm } => {
            super::forget::reclaim(context, wait, empty_trash, confirm).await
        }
        Pool::Scrub { wait } => scrub(context, wait).await,
        Pool::Create(args) => create(context, &args),
        Pool::Import(args) => import(context, &args),
        Pool::Check(args) => check::run(context, &args),
        Pool::RotateKey(args) => rotate_key(context, &args),
        Pool::Inspect(args) => super::inspect::run(context, &args),
    }
}

/// How often a scrub is looked at that somebody waits for.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(500);

async fn scrub(context: &Context, wait: bool) -> Result<Exit, Failure> {
    let mut client = context.client().await?;
    let begun: types::ScrubStatus = client.post(&Address::new("/pool/scrub"), &()).await?;
    let until = begun.until_pass.unwrap_or(begun.pass);
    let mut now = begun;
    while wait && now.pass <= until && now.state == "running" {
        tokio::time::sleep(LOOK_EVERY).await;
        let status: types::PoolStatus = client.get(&Address::new("/pool")).await?;
        now = status.scrub;
    }
    context.printer.show(&now, scrub_lines)?;
    Ok(if wait && now.last_found > 0 { Exit::Partial } else { Exit::Ok })
}

fn scrub_lines(scrub: &types::ScrubStatus) -> Vec<String> {
    let last = scrub.last_at.as_deref().unwrap_or("never");
    let mut lines = vec![format!(
        "scrub: {}; last whole pass: {last}, damaged places: {}; this pass: {} read, {} damaged",
        scrub.state,
        scrub.last_found,
        size(scrub.bytes_read),
        scrub.found
    )];
    lines.extend(scrub.damage.iter().map(|place| format!("  {place}")));
    lines
}

pub fn of_state(error: &StateError) -> Failure {
    let code = match error {
        StateError::Held { .. } => Code::DaemonRunning,
        StateError::Unusable { .. } | StateError::Disks { .. } => Code::StateUnusable,
    };
    Failure::of(code, error)
}

fn lock(context: &Context) -> Result<StateLock, Failure> {
    context.state.create().map_err(|error| of_state(&error))?;
    context.state.lock().map_err(|error| of_state(&error))
}

fn remember(context: &Context, pool: PoolId, disks: &[FoundDisk]) -> Result<(), Failure> {
    let path = |disk: &FoundDisk| DiskPath { id: disk.id.to_string(), path: disk.path.clone() };
    let paths = DiskPaths { pool: pool.to_string(), disks: disks.iter().map(path).collect() };
    context.state.set_disks(&paths).map_err(|error| of_state(&error))
}

fn create(context: &Context, args: &PoolCreate) -> Result<Exit, Failure> {
    let wrong = |what: String| Failure::new(Code::BadRequest, what);
    let container = match &args.container {
        None => None,
        Some(text) => {
            let len = parse_size(text);
            Some(len.ok_or_else(|| wrong(format!("{text:?} is not a size with a unit")))?)
        }
    };
    let spec = |text: &String| {
        let (path, create_len) = split_path_size(text);
        DiskSpec { path: PathBuf::from(path), create_len: create_len.map(|len| len - len % 4096) }
    };
    let key = args.key_file.as_deref().map(key_file::read).transpose()?;
    let specs: Vec<DiskSpec> = args.disks.iter().map(spec).collect();
    let _lock = lock(context)?;
    if context.state.disks().map_err(|error| of_state(&error))?.is_some() {
        let place = context.state.path().display();
        return Err(Failure::new(Code::PoolExists, format!("{place} already has a pool")));
    }
    let clock: SharedClock = Arc::new(SystemClock);
    let options = CreateOptions {
        container_len: container,
        copies: Some(args.copies),
        ..CreateOptions::default()
    };
    let (pool, disks) =
        on_bench(WORKERS, key, async |bench: Bench| bench.create(&specs, options, &clock).await)?;
    remember(context, pool, &disks)?;
    show_disks(context, "pool made", pool, &disks)
}

fn import(context: &Context, args: &PoolDisks) -> Result<Exit, Failure> {
    let key = args.key.read()?;
    let _lock = lock(context)?;
    let identify = async |bench: Bench| bench.identify(&args.disks).await;
    let (pool, disks) = on_bench(WORKERS, key, identify)?;
    let known = context.state.disks().map_err(|error| of_state(&error))?;
    let text = pool.to_string();
    if let Some(known) = known.filter(|known| known.pool != text) {
        let place = context.state.path().display();
        let what = format!("{place} belongs to pool {}, the disks to {text}", known.pool);
        return Err(Failure::new(Code::PoolExists, what));
    }
    remember(context, pool, &disks)?;
    show_disks(context, "pool taken over", pool, &disks)
}

fn show_disks(
    context: &Context,
    what: &str,
    pool: PoolId,
    disks: &[FoundDisk],
) -> Result<Exit, Failure> {
    let disk = |disk: &FoundDisk| json!({ "id": disk.id.to_string(), "path": disk.path });
    let pool = pool.to_string();
    let value = json!({ "pool": pool, "disks": disks.iter().map(disk).collect::<Vec<_>>() });
    context.printer.show(&value, |_| {
        let disk = |disk: &FoundDisk| format!("disk {} at {}", disk.id, disk.path.display());
        let head = format!("{what}: {pool}");
        let next = String::from("start the daemon with: keelhold serve");
        std::iter::once(head).chain(disks.iter().map(disk)).chain([next]).collect()
    })?;
    Ok(Exit::Ok)
}

impl PoolKey {
    /// The key, if a file was named.
    pub fn read(&self) -> Result<Option<WrappingKey>, Failure> {
        Ok(self.key_file.as_deref().map(key_file::read).transpose()?)
    }
}

fn rotate_key(context: &Context, args: &PoolRotateKey) -> Result<Exit, Failure> {
    let old = key_file::read(&args.key_file)?;
    let new = key_file::read(&args.new_key_file)?;
    let _lock = lock(context)?;
    let paths = match args.disks.as_slice() {
        [] => {
            let disks = context.state.disks().map_err(|error| of_state(&error))?;
            let none = || Failure::new(Code::NoPool, "the state directory knows no disks");
            disks.ok_or_else(none)?.disks.into_iter().map(|disk| disk.path).collect()
        }
        named => named.to_vec(),
    };
    let (pool, number) = on_bench(WORKERS, Some(old), async |bench: Bench| {
        let pool = bench.open(&paths).await?;
        // No time passed that anybody witnessed.
        let rotated = pool.rotate_key(&new, pool.witnessed()).await;
        let number = rotated.map_err(|error| of_commit(&error))?;
        Ok((pool.id(), number))
    })?;
    let value = json!({ "pool": pool.to_string(), "key_number": number });
    context.printer.show(&value, |_| {
        vec![
            format!("pool {pool} is locked with key {} now", number.unwrap_or_default()),
            String::from(
                "the former key opens it no more; copies of its disks made before still do",
            ),
        ]
    })?;
    Ok(Exit::Ok)
}

fn pool_lines(status: &types::PoolStatus) -> Vec<String> {
    let mut lines = vec![
        format!("pool {}", status.id),
        format!(
            "{} of {} used, {} free ({} of it reserved)",
            size(status.bytes_used),
            size(status.bytes_total),
            size(status.bytes_free),
            size(status.bytes_reserved)
        ),
        format!(
            "{} points of {} in {} chunks; dedup {:.2}, compression {:.2}",
            status.points,
            size(status.bytes_logical),
            count(status.chunks),
            status.dedup_ratio,
            status.compression_ratio
        ),
        format!("index: {}", size(status.index_bytes)),
    ];
    lines.extend(scrub_lines(&status.scrub));
    lines.extend(reclaim_lines(&status.reclaim));
    lines.push(crate::api::full_line(&status.forecast));
    lines.extend(status.disks.iter().map(|disk| {
        let way = if disk.direct { "direct" } else { "cached" };
        let (id, path, state) = (&disk.id, &disk.path, &disk.state);
        format!("disk {id} at {path}: {state}, {}, {way}", size(disk.bytes_total))
    }));
    lines
}

fn reclaim_lines(reclaim: &types::ReclaimStatus) -> Vec<String> {
    let mut lines = vec![format!(
        "reclaim: {}; dead {}, expected to be {}, in the trash {}",
        reclaim.state,
        size(reclaim.bytes_dead),
        size(reclaim.bytes_expected),
        size(reclaim.bytes_trash)
    )];
    if let (Some(at), Some(last)) = (&reclaim.last_at, &reclaim.last) {
        let (freed, left) = (size(last.bytes_freed), size(last.bytes_left));
        lines.push(format!("  last at {at} ({}): {freed} freed, {left} left", last.why));
    }
    lines.extend(reclaim.next_at.iter().map(|at| format!("  next leaves the trash at {at}")));
    lines
}

pub async fn status(context: &Context) -> Result<Exit, Failure> {
    let address = Address::new("/status");
    let status: types::Status = context.client().await?.get(&address).await?;
    context.printer.show(&status, |status| {
        std::iter::once(&status.sentence).chain(&status.lines).cloned().collect()
    })?;
    Ok(if status.at_risk { Exit::Partial } else { Exit::Ok })
}

pub async fn rebuild_catalog(context: &Context) -> Result<Exit, Failure> {
    let address = Address::new("/catalog/rebuild");
    let status: types::CatalogStatus = context.client().await?.post(&address, &()).await?;
    context.printer.show(&status, |status| {
        vec![format!(
            "catalog made anew: {} points, {} sources, {} machines, {} jobs; {:.2} s",
            status.points, status.sources, status.machines, status.jobs, status.seconds
        )]
    })?;
    Ok(Exit::Ok)
}
