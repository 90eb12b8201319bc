//! Writing again what lives in objects of a vault that are mostly dead, once a week behind a shipment.
//!
//! What each point needs is kept beside the ids: a point that only the vault has would have to be walked
//! there again and again.

use super::failure::{of_read, of_repack};
use super::local::{Random, Vault};
use super::outgoing::Blocking;
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::id_text;
use crate::pool_failure::of_closed;
use crate::pool_thread::{LivePool, PoolClosed};
use keelhold_vault::chain::{Opened, Terms};
use keelhold_vault::format::Point;
use keelhold_vault::ids::Ids;
use keelhold_vault::read::VaultReader;
use keelhold_vault::repack::{BAR_PER_MILLE, BYTES_DEFAULT, Live, Order, Repacked, repack};
use keelhold_vault::ship::{Locks, OBJECT_LEN_DEFAULT};
use roaring::RoaringTreemap;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::oneshot;

const DAY: i64 = 86_400 * 1_000_000_000;
const EVERY: i64 = 7 * DAY;

/// One run if a week is over since the last one, or a day since one that had not done everything.
pub(super) async fn repack_if_due(
    daemon: &Daemon,
    vault: &Arc<Vault>,
    opened: &Opened,
    ids: &mut Ids,
    (locks, terms): (Locks, Terms),
) -> Result<Option<Repacked>, Failure> {
    let now = daemon.store.clock.now().0;
    let due = vault.state().seen.repack_at.unwrap_or(0);
    if now < due || opened.view.points.is_empty() {
        return Ok(None);
    }
    let live = live(daemon, vault, opened).await?;
    let id_key = daemon.store.pool.call(|pool: LivePool| async move { pool.id_key() }).await;
    let order = Order {
        bar_per_mille: BAR_PER_MILLE,
        bytes: BYTES_DEFAULT,
        object_len: OBJECT_LEN_DEFAULT,
        locks,
        now,
        witnessed: daemon.store.pool.now().0,
        creates_only: terms.creates_only,
    };
    let (place, id_key) = (vault.place()?, id_key.map_err(of_closed)?);
    let done = repack(&*place, opened, ids, &live, &id_key, &order, &Blocking, &mut Random).await;
    let done = done.map_err(|error| of_repack(&error))?;
    let pause = if done.sent_bytes > BYTES_DEFAULT / 2 { DAY } else { EVERY };
    vault.state().seen.repack_at = Some(now.saturating_add(pause));
    Ok(Some(done))
}

async fn live(daemon: &Daemon, vault: &Arc<Vault>, opened: &Opened) -> Result<Live, Failure> {
    let mut live = Live::default();
    for point in &opened.view.points {
        live.add(point.point, point.pool, &reach(daemon, vault, opened, point).await?);
    }
    forget_others(vault, opened);
    Ok(live)
}

fn file(vault: &Vault, point: &Point) -> PathBuf {
    vault.dir().join("reach").join(id_text::encode(&point.point.0))
}

/// What a point needs: as it was kept, or as the pool says, or as the vault itself does.
async fn reach(
    daemon: &Daemon,
    vault: &Arc<Vault>,
    opened: &Opened,
    point: &Point,
) -> Result<RoaringTreemap, Failure> {
    let path = file(vault, point);
    if let Some(kept) = std::fs::read(&path).ok().and_then(|bytes| parse(&bytes)) {
        return Ok(kept);
    }
    let (id, of) = (point.point, point.pool);
    let ask = move |pool: LivePool| async move {
        let is_its = pool.id() == of && pool.has_point(&id);
        if is_its { pool.reach(&id).await.ok() } else { None }
    };
    let found = match daemon.store.pool.call(ask).await.map_err(of_closed)? {
        Some(mut found) => {
            found.insert(point.recipe_number);
            found
        }
        None => walk(daemon, vault, opened, point).await?,
    };
    let mut bytes = Vec::new();
    // Not kept, it is asked for again.
    if found.serialize_into(&mut bytes).is_ok() {
        bytes.extend(blake3::hash(&bytes).as_bytes());
        let _ = std::fs::create_dir_all(vault.dir().join("reach"));
        let _ = std::fs::write(path, bytes);
    }
    Ok(found)
}

fn parse(bytes: &[u8]) -> Option<RoaringTreemap> {
    let (set, check) = bytes.split_last_chunk::<32>()?;
    let is_whole = blake3::hash(set).as_bytes() == check;
    if is_whole { RoaringTreemap::deserialize_from(set).ok() } else { None }
}

async fn walk(
    daemon: &Daemon,
    vault: &Arc<Vault>,
    opened: &Opened,
    point: &Point,
) -> Result<RoaringTreemap, Failure> {
    let id_key = daemon.store.pool.call(|pool: LivePool| async move { pool.id_key() }).await;
    let (place, master) = (vault.place()?, Arc::clone(&vault.master));
    let id_key = Some(id_key.map_err(of_closed)?);
    let reader = VaultReader::new(place, master, Arc::clone(&opened.view), id_key);
    let (answer, answered) = oneshot::channel();
    let point = point.point;
    daemon.vaults.thread().run(move || async move {
        let _ = answer.send(reader.reach(&point).await);
    })?;
    let walked = answered.await.map_err(|_| of_closed(PoolClosed))?;
    walked.map_err(|error| of_read(&error))
}

fn forget_others(vault: &Vault, opened: &Opened) {
    let held: BTreeSet<String> =
        opened.view.points.iter().map(|point| id_text::encode(&point.point.0)).collect();
    let Ok(kept) = std::fs::read_dir(vault.dir().join("reach")) else { return };
    for entry in kept.flatten() {
        if !entry.file_name().to_str().is_some_and(|name| held.contains(name)) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
