//! A shipment: what the vault lacks of some points is sent, and a manifest says that it is there.
//!
//! The numbers of a point that no index names are looked up by id: bytes that are in the vault under
//! another number, or were left by a shipment that was interrupted, only get an entry. The rest is packed
//! and sent, several objects at a time; then the index, the records, and the manifest last. A shipment of
//! more than 131,072 chunks writes a manifest after every so many, with the points that are complete by
//! then, so that neither memory nor what an interruption can cost grows with it.
//!
//! While one object is put together and the frames behind it are read, two are sealed and `streams` are
//! sent. In memory are at most `streams` + 3 objects, 24 MiB of pages and frames that were just read, and
//! the entries of one manifest (some 40 MiB).

mod close;
mod count;
mod error;
pub(crate) mod index;
mod lanes;
mod leftovers;
mod places;
mod records;
mod send;
mod types;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeSet;

use roaring::RoaringTreemap;

use crate::chain::Opened;
use crate::format::ObjectKind;
use crate::ids::{Entry, Ids, IdsError};
use crate::pack::Packer;
use crate::random::Random;
use crate::store::Store;
use crate::units::{PointId, PoolId};
use crate::work::Work;

use count::Counted;
pub use error::{LeftOut, ShipError, SourceError};
use lanes::{Lanes, Way};
pub(crate) use leftovers::Leftovers;
pub use records::wants_all_records;
pub(crate) use types::seconds;
pub use types::{
    Locks, OBJECT_LEN_DEFAULT, Order, Progress, ROUND_CHUNKS_DEFAULT, STREAMS_DEFAULT, ShipPoint,
    Shipped, Source,
};

/// Sends what the vault lacks of the order's points and writes the manifest that names it. When this
/// returns, the manifest was read back: the points count as shipped.
///
/// Local files of the index that turn out to be damaged on the way are made again, and the shipment
/// starts over with what has arrived; once: what is damaged again is the disk.
///
/// After an error, after [`ShipError::Stopped`], or when the future is dropped, nothing is named that is
/// not there, and what has arrived is taken over by the next shipment. [`ChainError::Overtaken`]: the
/// vault is to be opened anew before that.
///
/// [`ChainError::Overtaken`]: crate::chain::ChainError::Overtaken
#[expect(clippy::too_many_arguments, reason = "what is used is lent for the length of the call")]
pub async fn ship<S: Store, W: Work>(
    store: &S,
    opened: &Opened,
    ids: &mut Ids,
    source: &impl Source,
    order: &Order,
    work: &W,
    random: &mut (impl Random + Send),
    watch: &(dyn Fn(Progress) + Sync),
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Shipped, ShipError> {
    let store = Counted::new(store);
    let mut shipped = Shipped::nothing(opened);
    let mut is_first = true;
    loop {
        let way = Way { store: &store, work, locks: &order.locks, master: &opened.master };
        let call = Call { order, source, random: &mut *random, watch, stop };
        match attempt(way, call, ids, &mut shipped).await {
            Err(ShipError::Ids(IdsError::Damaged { .. })) if is_first => ids.sift(),
            Err(error) => return Err(error),
            Ok(()) => break,
        }
        is_first = false;
    }
    (shipped.requests, shipped.bytes) = (store.requests(), store.bytes());
    Ok(shipped)
}

/// What the caller of a shipment lends.
struct Call<'a, O, R> {
    order: &'a Order,
    source: &'a O,
    random: &'a mut R,
    watch: &'a (dyn Fn(Progress) + Sync),
    stop: &'a (dyn Fn() -> bool + Sync),
}

/// Ships from the newest manifest in `shipped` on, and adds what it did.
async fn attempt<'a, S, W, O, R>(
    way: Way<'a, Counted<'a, S>, W>,
    call: Call<'a, O, R>,
    ids: &'a mut Ids,
    shipped: &'a mut Shipped,
) -> Result<(), ShipError>
where
    S: Store,
    W: Work,
    O: Source,
    R: Random + Send,
{
    let (store, Call { order, source, random, watch, stop }) = (way.store, call);
    let opened = shipped.opened.clone();
    ids.bring_up(store, &opened.master, &opened.view).await?;
    let points = queue(&opened, order);
    let vault = opened.master.vault();
    let leftovers = match ids.leftovers_from(vault, opened.newest) {
        None => Leftovers::default(),
        Some(from) => {
            let classes: BTreeSet<_> = points.iter().map(|point| point.class).collect();
            Leftovers::look(store, &opened.master, from, &classes, &ids.objects()).await?
        }
    };
    let mut shipment = Shipment {
        way,
        lanes: Lanes::new(order.streams),
        order,
        source,
        ids,
        random,
        watch,
        stop,
        have: RoaringTreemap::new(),
        round: Round::default(),
        leftovers,
        packer: None,
        has_begun: false,
        progress: Progress { points_left: points.len(), ..Progress::default() },
        shipped,
    };
    shipment.have = shipment.ids.numbers(source.pool());
    let ended = shipment.run(points).await;
    if ended.is_err() {
        // What is on its way arrives, and need not be sent again.
        let _ = shipment.lanes.all().await;
    }
    ended
}

/// The points that are not there yet: what is needed longest first, so that what several classes need
/// lies with it; inside a class the oldest first, so that numbers ascend.
fn queue<'a>(opened: &Opened, order: &'a Order) -> Vec<&'a ShipPoint> {
    let there: BTreeSet<PointId> = opened.view.points.iter().map(|point| point.point).collect();
    let mut points: Vec<&ShipPoint> =
        order.points.iter().filter(|point| !there.contains(&point.point)).collect();
    points.sort_by_key(|point| (std::cmp::Reverse(point.class), point.committed_at, point.point));
    points.dedup_by_key(|point| point.point);
    points
}

/// What the next manifest will say and the newest does not.
#[derive(Debug, Default)]
struct Round<'a> {
    /// Chunks that are in the vault, acknowledged, and named by no index yet.
    entries: Vec<Entry>,
    /// Their numbers, and those of chunks that are being packed or on their way.
    numbers: RoaringTreemap,
    /// Points all of whose chunks are in `numbers` or in the vault.
    points: Vec<&'a ShipPoint>,
    /// Chunks that only got an entry: they lay in the vault already, or had been left behind.
    known: u64,
    taken_over: u64,
}

struct Shipment<'a, S, W, O, R> {
    way: Way<'a, Counted<'a, S>, W>,
    lanes: Lanes<'a>,
    order: &'a Order,
    source: &'a O,
    ids: &'a mut Ids,
    random: &'a mut R,
    watch: &'a (dyn Fn(Progress) + Sync),
    stop: &'a (dyn Fn() -> bool + Sync),
    /// Numbers of the pool that the newest manifest's index names.
    have: RoaringTreemap,
    round: Round<'a>,
    leftovers: Leftovers,
    packer: Option<Packer>,
    /// It was noted that a shipment is under way.
    has_begun: bool,
    progress: Progress,
    shipped: &'a mut Shipped,
}

impl<S, W, O, R> Shipment<'_, S, W, O, R>
where
    O: Source,
{
    fn pool(&self) -> PoolId {
        self.source.pool()
    }

    /// Takes note of what has arrived.
    fn note_arrived(&mut self) {
        let pool = self.pool();
        for arrived in self.lanes.arrived() {
            self.progress.objects += 1;
            self.progress.bytes += u64::from(arrived.object.len);
            self.progress.chunks += arrived.chunks.len() as u64;
            self.shipped.objects += 1;
            self.shipped.frame_bytes += arrived.frame_len;
            if arrived.object.kind == ObjectKind::Data {
                self.shipped.data_bytes += arrived.frame_len;
            }
            self.shipped.chunks += arrived.chunks.len() as u64;
            self.round.entries.extend(arrived.chunks.iter().map(|chunk| {
                let frame = arrived.places[usize::from(chunk.frame)];
                let (start, len) = (chunk.start, chunk.len);
                let place = crate::format::Place { object: arrived.object, frame, start, len };
                Entry { pool, number: chunk.number, id: chunk.id, kind: chunk.kind, place }
            }));
        }
        (self.watch)(self.progress);
    }
}
