//! What a session begins with on the pool's thread.

use crate::pool_thread::LivePool;
use crate::scrub::basis_of;
use keelhold_chunk::IdKey;
use keelhold_chunk::cut::CutParams;
use keelhold_disk::IngestError;
use keelhold_disk::pool::{BeginSession, PointInfo};
use keelhold_disk::units::{DomainId, SessionId, SourceId, UnixNanos};
use keelhold_wire::Runs;

/// Seven days of witnessed time: a laptop's holiday.
const LEASE_NANOS: i64 = 7 * 86_400 * 1_000_000_000;

pub struct Begun {
    pub session: SessionId,
    pub taken_up: bool,
    /// What the agent may describe its differences from.
    pub basis: Option<PointInfo>,
    pub newest_at: Option<UnixNanos>,
    /// Entries of the basis that are read again though they look unchanged.
    pub read_again: Runs,
    pub id_key: IdKey,
    pub cut: CutParams,
}

pub async fn begin_on(
    pool: LivePool,
    source: SourceId,
    domain: DomainId,
    now: UnixNanos,
) -> Result<Begun, IngestError> {
    let newest = pool.newest_point(&source).and_then(|point| pool.point(&point));
    // What was synchronised since is nearer to what the machine has now.
    let newest = pool.working_state(&source).or(newest);
    let newest_at = newest.as_ref().map(|newest| newest.at);
    let basis = match newest {
        Some(newest) => basis_of(&pool, newest).await,
        None => None,
    };
    let (basis, read_again) = basis.unzip();
    let lease_until = UnixNanos(now.0.saturating_add(LEASE_NANOS));
    let of_basis = basis.as_ref().map(|point| point.id);
    let request = BeginSession { source, domain, basis: of_basis, lease_until };
    let taken_up = pool.sessions().iter().any(|session| session.source == source);
    let session = pool.begin(request, now).await?;
    let (id_key, cut) = (pool.id_key(), pool.cut_params());
    let read_again = read_again.unwrap_or_default();
    Ok(Begun { session, taken_up, basis, newest_at, read_again, id_key, cut })
}
