//! Comparing pool and model, and finding out after an opening what became of unanswered attempts.

use keelhold_disk::units::{PointId, SourceId};
use keelhold_tests::rig::{Rig, SimPool, read_point};

use super::model::{Attempt, Model, Point};
use crate::pool::verdict::{Verdict, chain, ensure};

/// Decides each attempt by what the pool shows.
pub fn settle(pool: &SimPool, model: &mut Model, attempts: Vec<Attempt>) {
    for attempt in attempts {
        match &attempt {
            Attempt::Point { at, source, working, .. } => {
                let found = match working {
                    true => pool.working_state(source).filter(|state| state.at.0 == *at),
                    false => pool.points().into_iter().find(|point| point.at.0 == *at),
                };
                if let Some(point) = found {
                    model.happened(attempt, Some(point.id));
                }
            }
            Attempt::Promote { source } => {
                if pool.working_state(source).is_none() {
                    model.happened(attempt, None);
                }
            }
            Attempt::Record { name, value } => {
                let found = pool.record(name).map(|record| record.bytes.to_vec());
                let before = model.records.get(name).map(|(_, value)| value.clone());
                let changed = pool.record(name).map(|record| record.version)
                    != model.records.get(name).map(|(version, _)| *version);
                if found == *value && (found != before || changed) {
                    model.happened(attempt, None);
                }
            }
            Attempt::Entry { series, .. } => {
                let known = model.series.get(series).map_or(0, Vec::len);
                if pool.series(series, 0, usize::MAX).len() > known {
                    model.happened(attempt, None);
                }
            }
            Attempt::Trim { series, count } => {
                let known = model.series.get(series).map_or(0, Vec::len);
                if *count > 0 && pool.series(series, 0, usize::MAX).len() < known {
                    model.happened(attempt, None);
                }
            }
            Attempt::Park { .. } => {}
            Attempt::Forget { points, until } => {
                let at = points.first().and_then(|point| pool.point(point));
                if at.is_none_or(|at| at.trashed_until.is_some_and(|found| found.0 == *until)) {
                    model.happened(attempt, None);
                }
            }
            Attempt::Undo { point } => {
                if pool.point(point).is_some_and(|found| found.trashed_until.is_none()) {
                    model.happened(attempt, None);
                }
            }
            Attempt::Reclaim { .. } => {
                // Some of those that were due may be gone, one after another.
                let there: Vec<_> = pool.points().iter().map(|point| point.id).collect();
                let due = pool.witnessed().0;
                let gone = |id: &PointId| !there.contains(id);
                model.points.retain(|point| {
                    let was_due = model.trash.get(&point.id).is_some_and(|until| *until <= due);
                    !(was_due && gone(&point.id))
                });
                model.trash.retain(|point, until| *until > due || !gone(point));
            }
            Attempt::Cancel { source } => {
                if !pool.sessions().iter().any(|session| session.source == *source) {
                    model.happened(attempt, None);
                }
            }
        }
    }
}

/// Everything that can be compared without reading content.
pub fn compare(pool: &SimPool, model: &Model) -> Verdict {
    // Of two committed at once either may be the first.
    let mut found: Vec<_> = pool.points().iter().map(|point| (point.at.0, point.id)).collect();
    let mut expected: Vec<_> = model.points.iter().map(|point| (point.at, point.id)).collect();
    found.sort_unstable();
    expected.sort_unstable();
    ensure!(found == expected, "points are {found:?}, not {expected:?}");
    for point in pool.points() {
        let until = model.trash.get(&point.id).copied();
        let found = point.trashed_until.map(|until| until.0);
        ensure!(
            found == until,
            "point {} is in the trash until {found:?}, not {until:?}",
            point.at.0
        );
    }
    for (source, state) in &model.working {
        let found = pool.working_state(source).map(|found| found.id);
        ensure!(found == Some(state.id), "the working state of {source} is {found:?}");
    }
    let records = pool.records("");
    let found = records.iter().map(|(name, record)| (name, record.version, &record.bytes[..]));
    let expected =
        model.records.iter().map(|(name, (version, value))| (name, *version, &value[..]));
    ensure!(found.eq(expected), "records are {records:?}, not {:?}", model.records);
    for (name, entries) in &model.series {
        let found = pool.series(name, 0, usize::MAX);
        let first = model.trimmed.get(name).copied().unwrap_or_default();
        let expected = (first..).zip(entries).map(|(sequence, entry)| (sequence, &entry[..]));
        let same = expected.eq(found.iter().map(|(sequence, entry)| (*sequence, &entry[..])));
        ensure!(same, "series {name} has {} entries, not {}", found.len(), entries.len());
    }
    for source in model.parked.keys() {
        let parked = pool.sessions().iter().any(|session| session.source == *source);
        ensure!(parked, "the parked session of {source} is gone");
    }
    Ok(())
}

/// Reads a point whole and compares every byte.
pub fn read_back(rig: &mut Rig, pool: &SimPool, point: &Point) -> Verdict {
    let read = rig.run(read_point(pool, &point.id));
    let read = read.map_err(|error| format!("point {}: {}", point.at, chain(&error)))?;
    ensure!(read == point.files, "point {} holds other bytes", point.at);
    Ok(())
}

/// Newest points of all sources, and some old one.
pub fn read_some(rig: &mut Rig, pool: &SimPool, model: &Model, pick: usize) -> Verdict {
    let mut chosen: Vec<&Point> = model.working.values().collect();
    for number in 1..=3 {
        chosen.extend(model.newest(SourceId([number; 16])));
    }
    if !model.points.is_empty() {
        chosen.push(&model.points[pick % model.points.len()]);
    }
    chosen.into_iter().try_for_each(|point| read_back(rig, pool, point))
}
