//! The scheduler's history as records of the pool: one for the clock, one for each source.

use crate::failure::Failure;
use crate::pool_failure::of_store;
use crate::record::{SCHEDULE, schedule_key};
use crate::store::{Store, StoreError};
use keelhold_policy::schedule::{Clock, History, Now, Record};
use std::collections::BTreeMap;

/// What the pool knows of the history; a new one where it knows nothing.
pub async fn load(store: &Store, now: Now) -> Result<History, Failure> {
    let loaded = async {
        let clock: Option<Clock> = store.record(SCHEDULE).await?;
        let prefix = schedule_key("");
        let records: Vec<(String, Record)> = store.named_records(&prefix).await?;
        Ok::<_, StoreError>((clock, prefix, records))
    };
    let (clock, prefix, records) = loaded.await.map_err(|error| of_store(&error))?;
    let mut history = History::new(now);
    if let Some(clock) = clock {
        history.clock = clock;
    }
    history.sources = records
        .into_iter()
        .filter_map(|(name, record)| Some((name.strip_prefix(&prefix)?.to_owned(), record)))
        .collect();
    Ok(history)
}

/// Writes what changed. The clock goes with it, or alone where that is asked for.
pub async fn save(
    store: &Store,
    before: &BTreeMap<String, Record>,
    history: &History,
    with_clock: bool,
) -> Result<(), Failure> {
    let saved = async {
        let mut change = store.change().await;
        let mut changed = with_clock;
        for (source, record) in &history.sources {
            if before.get(source) != Some(record) {
                change.put(schedule_key(source), record)?;
                changed = true;
            }
        }
        for source in before.keys().filter(|source| !history.sources.contains_key(*source)) {
            change.remove(schedule_key(source));
            changed = true;
        }
        if changed {
            change.put(SCHEDULE.to_owned(), &history.clock)?;
            change.commit().await?;
        }
        Ok::<_, StoreError>(())
    };
    saved.await.map_err(|error| of_store(&error))
}
