//! `keelhold pool …`, `status` and `catalog rebuild`. Those that work on the disks themselves do so in
//! this process, and only while no daemon has them.

mod disks;
mod scrub;
mod show;

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
use crate::size_text::{parse_size, split_path_size};
use crate::state_dir::{DiskPath, DiskPaths, StateError, StateLock};
use disks::Order;
use keelhold_disk::pool::CreateOptions;
use keelhold_disk::seal::WrappingKey;
use keelhold_disk::units::{DiskId, PoolId};
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
            context.printer.show(&status, show::pool_lines)?;
            Ok(Exit::Ok)
        }
        Pool::Reclaim { wait, empty_trash, confirm } => {
            super::forget::reclaim(context, wait, empty_trash, confirm).await
        }
        Pool::Scrub { wait } => scrub::run(context, wait).await,
        Pool::AddDisk { disk, background } => {
            let order =
                Order { change: types::DiskChange::AddDisk, leaves: None, joins: Some(&disk) };
            disks::change(context, &order, background).await
        }
        Pool::DrainDisk { disk, background } => {
            let order =
                Order { change: types::DiskChange::DrainDisk, leaves: Some(&disk), joins: None };
            disks::change(context, &order, background).await
        }
        Pool::ReplaceDisk { disk, new, background } => {
            let change = types::DiskChange::ReplaceDisk;
            let order = Order { change, leaves: Some(&disk), joins: Some(&new) };
            disks::change(context, &order, background).await
        }
        Pool::Create(args) => create(context, &args),
        Pool::Import(args) => import(context, &args),
        Pool::Check(args) => check::run(context, &args),
        Pool::RotateKey(args) => rotate_key(context, &args),
        Pool::Inspect(args) => super::inspect::run(context, &args),
    }
}

pub fn of_state(error: &StateError) -> Failure {
    let code = match error {
        StateError::Held { .. } => Code::DaemonRunning,
        StateError::Unusable { .. } | StateError::Disks { .. } | StateError::Adopted { .. } => {
            Code::StateUnusable
        }
    };
    Failure::of(code, error)
}

pub fn lock(context: &Context) -> Result<StateLock, Failure> {
    context.state.create().map_err(|error| of_state(&error))?;
    context.state.lock().map_err(|error| of_state(&error))
}

fn remember(context: &Context, pool: PoolId, disks: &[FoundDisk]) -> Result<(), Failure> {
    let path = |disk: &FoundDisk| DiskPath { id: disk.id.to_string(), path: disk.path.clone() };
    let disks = disks.iter().map(path).collect();
    let paths = DiskPaths { pool: pool.to_string(), disks, joining: None };
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
    let adopted = context.state.adopted().map_err(|error| of_state(&error))?;
    // A daemon over an adopted vault runs without a pool, and takes one up when it is made.
    let _lock = match &adopted {
        Some(_) => context.state.lock_making().map_err(|error| of_state(&error))?,
        None => lock(context)?,
    };
    if context.state.disks().map_err(|error| of_state(&error))?.is_some() {
        let place = context.state.path().display();
        return Err(Failure::new(Code::PoolExists, format!("{place} already has a pool")));
    }
    let clock: SharedClock = Arc::new(SystemClock);
    let keys = adopted.as_ref().and_then(crate::vault::Adopted::content_keys);
    let options = CreateOptions {
        container_len: container,
        copies: Some(args.copies),
        ..crate::pool_open::with_content_keys(keys)?
    };
    let (pool, disks) =
        on_bench(WORKERS, key, async |bench: Bench| bench.create(&specs, options, &clock).await)?;
    remember(context, pool, &disks)?;
    show_disks(context, "pool made", pool, &disks, &[])
}

fn import(context: &Context, args: &PoolDisks) -> Result<Exit, Failure> {
    let key = args.key.read()?;
    let _lock = lock(context)?;
    let identify = async |bench: Bench| bench.identify(&args.disks).await;
    let (pool, disks, missing) = on_bench(WORKERS, key, identify)?;
    let known = context.state.disks().map_err(|error| of_state(&error))?;
    let text = pool.to_string();
    if let Some(known) = known.filter(|known| known.pool != text) {
        let place = context.state.path().display();
        let what = format!("{place} belongs to pool {}, the disks to {text}", known.pool);
        return Err(Failure::new(Code::PoolExists, what));
    }
    remember(context, pool, &disks)?;
    show_disks(context, "pool taken over", pool, &disks, &missing)
}

fn show_disks(
    context: &Context,
    what: &str,
    pool: PoolId,
    disks: &[FoundDisk],
    missing: &[DiskId],
) -> Result<Exit, Failure> {
    let disk = |disk: &FoundDisk| json!({ "id": disk.id.to_string(), "path": disk.path });
    let pool = pool.to_string();
    let missing: Vec<String> = missing.iter().map(DiskId::to_string).collect();
    let disks_json: Vec<_> = disks.iter().map(disk).collect();
    let value = json!({ "pool": pool, "disks": disks_json, "missing": missing });
    context.printer.show(&value, |_| {
        let disk = |disk: &FoundDisk| format!("disk {} at {}", disk.id, disk.path.display());
        let head = format!("{what}: {pool}");
        let next = String::from("start the daemon with: keelhold serve");
        let gone = missing.iter().map(|id| {
            format!("disk {id} of the pool is missing: name it with --disk, too, if there is one")
        });
        std::iter::once(head).chain(disks.iter().map(disk)).chain(gone).chain([next]).collect()
    })?;
    Ok(if missing.is_empty() { Exit::Ok } else { Exit::Partial })
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
        let pool = bench.open(&paths, None).await?;
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
