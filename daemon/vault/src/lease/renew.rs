//! Renewing, and what may be promised then.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, stream};

use super::{Book, LeaseError, Terms};
use crate::chain::Opened;
use crate::format::{Class, Lock, Name, ObjectRef};
use crate::ids::Ids;
use crate::mutants::{Mutant, keeps};
use crate::random::Random;
use crate::ship::{Locks, seconds};
use crate::store::{Store, StoreError, Until};

/// Of so many objects that were extended, one is asked for its lock.
const SAMPLE: usize = 64;
const SECOND: i64 = 1_000_000_000;

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Renewed {
    /// For the next shipment: locks of new objects, and what its manifest may promise.
    pub locks: Locks,
    pub needed: u64,
    pub extended: u64,
    /// Objects whose locks were not known here.
    pub asked: u64,
    /// Asked again after they were extended.
    pub sampled: u64,
}

/// An object that is needed, and until when it shall be locked if it is renewed.
struct Needed {
    name: String,
    class: Class,
    target: Until,
}

/// Extends what the newest manifest needs and has less than half of its lease left. `ids` has been
/// brought up to that manifest. When this returns, what the rows promise holds.
pub async fn renew(
    store: &impl Store,
    opened: &Opened,
    ids: &Ids,
    book: &mut Book,
    terms: &Terms,
    random: &mut (impl Random + Send),
) -> Result<Renewed, LeaseError> {
    let locks = Locks::leased(terms.now, terms.lease, &terms.expiry);
    let needed = needed(opened, ids, &locks);
    let mut renewed = Renewed { needed: needed.len() as u64, ..Renewed::default() };
    let names: BTreeSet<&str> = needed.iter().map(|needed| needed.name.as_str()).collect();
    book.keep_only(&names);
    let unknown = needed.iter().map(|needed| needed.name.clone());
    let unknown: Vec<String> = unknown.filter(|name| book.until(name).is_none()).collect();
    renewed.asked = unknown.len() as u64;
    let mut asked = Vec::with_capacity(unknown.len());
    for name in unknown {
        asked.push(async move { (store.locked_until(&name).await, name) });
    }
    let asked = stream::iter(asked).buffered(terms.streams.max(1));
    for (until, name) in asked.collect::<Vec<_>>().await {
        book.note(&name, until?.unwrap_or(Until(0)));
    }
    let is_due = |needed: &&Needed| {
        let until = book.until(&needed.name).unwrap_or(Until(0));
        // Of a lock to the expiry, too, only half is used up before it is renewed.
        let whole = needed.target.0.saturating_mul(SECOND).saturating_sub(terms.now);
        let half = terms.now.saturating_add(whole.min(terms.lease).max(0) / 2);
        until < seconds(half).unwrap_or(Until(0)) && until < needed.target
    };
    let due: Vec<&Needed> = needed.iter().filter(is_due).collect();
    renewed.extended = due.len() as u64;
    extend(store, book, terms, &due).await?;
    renewed.sampled = sample(store, &due, random).await?;
    let promised = promised(&locks, &needed, book, &due);
    renewed.locks = Locks { promised: Some(promised), ..locks };
    // What is not kept is asked again.
    let _ = book.save();
    Ok(renewed)
}

async fn extend(
    store: &impl Store,
    book: &mut Book,
    terms: &Terms,
    due: &[&Needed],
) -> Result<(), LeaseError> {
    let mut extending = Vec::with_capacity(due.len());
    for needed in due.iter().copied() {
        extending.push(async move { (needed, store.extend(&needed.name, needed.target).await) });
    }
    let extended = stream::iter(extending).buffered(terms.streams.max(1));
    let mut failed: Option<StoreError> = None;
    for (needed, done) in extended.collect::<Vec<_>>().await {
        match done {
            Ok(()) => book.note(&needed.name, needed.target),
            Err(error) => {
                // Done or not: the store knows.
                book.forget(&needed.name);
                failed = Some(error);
            }
        }
    }
    let failed = failed.filter(|_| keeps(Mutant::LeaseFirst));
    failed.map_or(Ok(()), |error| Err(error.into()))
}

/// Asks for some of the locks that were just extended.
async fn sample(
    store: &impl Store,
    due: &[&Needed],
    random: &mut (impl Random + Send),
) -> Result<u64, LeaseError> {
    if !keeps(Mutant::LeaseFirst) {
        return Ok(0);
    }
    let mut sampled = 0;
    for some in due.chunks(SAMPLE) {
        let [pick] = random.array();
        let needed = some[usize::from(pick) % some.len()];
        let until = store.locked_until(&needed.name).await?;
        if until.is_none_or(|until| until < needed.target) {
            return Err(LeaseError::Shorter { name: needed.name.clone() });
        }
        sampled += 1;
    }
    Ok(sampled)
}

/// The earliest end of a lock in each class. Index, records and manifests are needed by all of them.
fn promised(locks: &Locks, needed: &[Needed], book: &Book, due: &[&Needed]) -> Vec<Lock> {
    let mut ends: BTreeMap<Class, i64> =
        locks.rows.iter().map(|lock| (lock.class, lock.until)).collect();
    let is_due: BTreeSet<&str> = due.iter().map(|needed| needed.name.as_str()).collect();
    for one in needed {
        let mut until = book.until(&one.name).unwrap_or(Until(0));
        if is_due.contains(one.name.as_str()) && !keeps(Mutant::LeaseFirst) {
            until = one.target;
        }
        let until = until.0.saturating_mul(SECOND);
        let is_bare = !one.name.starts_with("d/") && !one.name.starts_with("p/");
        for (class, end) in &mut ends {
            if is_bare || *class == one.class {
                *end = until.min(*end);
            }
        }
    }
    ends.into_iter().map(|(class, until)| Lock { class, until }).collect()
}

/// Every object the newest manifest needs, itself and its base.
fn needed(opened: &Opened, ids: &Ids, locks: &Locks) -> Vec<Needed> {
    let view = &opened.view;
    let mut objects: BTreeSet<ObjectRef> = ids.object_refs();
    for point in &view.points {
        objects.insert(point.recipe.object);
        objects.extend(point.root_page.map(|place| place.object));
    }
    let longest = locks.longest().unwrap_or(Until(0));
    let of = |object: &ObjectRef| Needed {
        name: Name::of(object).to_string(),
        class: object.class,
        target: locks.of(object.class).unwrap_or(Until(0)),
    };
    let mut all: Vec<Needed> = objects.iter().map(of).collect();
    let bare = |name: String| Needed { name, class: Class::ZERO, target: longest };
    let own = view.indexes.iter().map(|index| index.object);
    let own = own.chain(view.records.iter().map(|record| record.object));
    all.extend(own.map(|object| bare(Name::of(&object).to_string())));
    let manifests = BTreeSet::from([opened.newest.number, opened.base.number]);
    all.extend(manifests.into_iter().map(|number| bare(Name::Manifest(number).to_string())));
    all
}
