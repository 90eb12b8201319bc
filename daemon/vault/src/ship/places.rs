//! Rows of points in the manifest: where recipe and root page lie.

use std::collections::HashMap;

use super::Shipment;
use super::error::{LeftOut, ShipError, SourceError};
use super::types::{ShipPoint, Source};
use crate::format::{Place, Point};
use crate::random::Random;
use crate::store::Store;
use crate::units::PoolId;
use crate::work::Work;

fn numbers(point: &ShipPoint) -> impl Iterator<Item = u64> {
    std::iter::once(point.recipe_number).chain(point.root_page)
}

impl<S, W, O, R> Shipment<'_, S, W, O, R>
where
    S: Store,
    W: Work,
    O: Source,
    R: Random + Send,
{
    /// The points of this round as the manifest has them. `round.entries` are sorted.
    pub(super) async fn rows(&mut self) -> Result<Vec<Point>, ShipError> {
        let points = std::mem::take(&mut self.round.points);
        let mut places = HashMap::new();
        let mut elsewhere = Vec::new();
        for number in points.iter().flat_map(|point| numbers(point)) {
            let entries = &self.round.entries;
            match entries.binary_search_by_key(&number, |entry| entry.number) {
                Ok(at) => drop(places.insert(number, entries[at].place)),
                Err(_) => elsewhere.push(number),
            }
        }
        elsewhere.sort_unstable();
        elsewhere.dedup();
        let lost = self.find_elsewhere(elsewhere, &mut places).await?;
        let mut rows = Vec::with_capacity(points.len());
        for point in points {
            match row(self.pool(), point, &places) {
                Ok(row) => rows.push(row),
                Err(_) if lost.is_some() => {
                    let reason = lost.clone().unwrap_or(LeftOut::Gone);
                    self.shipped.left_out.insert(point.point, reason);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(rows)
    }

    /// Places of chunks that older shipments sent: by their ids. Says if the pool does not know them.
    async fn find_elsewhere(
        &mut self,
        numbers: Vec<u64>,
        places: &mut HashMap<u64, Place>,
    ) -> Result<Option<LeftOut>, ShipError> {
        if numbers.is_empty() {
            return Ok(None);
        }
        let named = match self.source.ids(numbers).await {
            Ok(named) => named,
            Err(SourceError::Lost { first, count }) => {
                return Ok(Some(LeftOut::Lost { first, count }));
            }
            Err(SourceError::Gone) => return Ok(Some(LeftOut::Gone)),
            Err(error) => return Err(ShipError::Source(error)),
        };
        let ids: Vec<_> = named.iter().map(|(_, id)| *id).collect();
        let found = self.ids.find(&ids)?;
        for ((number, _), entry) in named.iter().zip(found) {
            places.extend(entry.map(|entry| (*number, entry.place)));
        }
        Ok(None)
    }
}

fn row(pool: PoolId, point: &ShipPoint, places: &HashMap<u64, Place>) -> Result<Point, ShipError> {
    let place = |number: u64| {
        let found = places.get(&number).copied();
        found.ok_or(ShipError::Unplaced { point: point.point, number })
    };
    Ok(Point {
        point: point.point,
        source: point.source,
        pool,
        is_partial: point.is_partial,
        class: point.class,
        at: point.at,
        committed_at: point.committed_at,
        recipe_number: point.recipe_number,
        recipe_digest: point.recipe_digest,
        bytes_source: point.bytes_source,
        entry_count: point.entry_count,
        root: point.root.clone(),
        attributes: point.attributes.clone(),
        recipe: place(point.recipe_number)?,
        root_page: point.root_page.map(place).transpose()?,
    })
}
