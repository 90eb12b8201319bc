//! What changed between two points: both are walked in order, side by side.
//!
//! Content counts as changed when the entries refer to different chunks. Two points of one source cut
//! alike, so equal bytes are equal references; points of different sources may store equal bytes
//! under different numbers, and then sizes and times decide.

use super::describe::path_difference;
use super::open::{OpenPoint, PoolEntry};
use crate::api::types::{Change, DiffLine};
use crate::failure::Failure;
use keelhold_chunk::entry::path_order;
use std::cmp::Ordering;
use std::collections::VecDeque;
use tokio::sync::mpsc;

const SCAN_COUNT: usize = 1024;

struct Walk {
    point: OpenPoint,
    from: u64,
    ahead: VecDeque<PoolEntry>,
}

impl Walk {
    fn new(point: OpenPoint) -> Self {
        Self { point, from: 0, ahead: VecDeque::new() }
    }

    async fn fill(&mut self) -> Result<(), Failure> {
        if self.ahead.is_empty() && self.from < self.point.entries() {
            let entries = self.point.scan(self.from, SCAN_COUNT).await?;
            self.from = entries.last().map_or(u64::MAX, |(ordinal, _)| ordinal + 1);
            self.ahead.extend(entries.into_iter().map(|(_, entry)| entry));
        }
        Ok(())
    }
}

/// Sends a line for everything that differs from `left` to `right`.
pub async fn diff(
    left: OpenPoint,
    right: OpenPoint,
    lines: &mpsc::Sender<Result<DiffLine, Failure>>,
) -> Result<(), Failure> {
    let (mut left, mut right) = (Walk::new(left), Walk::new(right));
    loop {
        left.fill().await?;
        right.fill().await?;
        let order = match (left.ahead.front(), right.ahead.front()) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(before), Some(after)) => path_order(&before.path, &after.path),
        };
        let before = order.is_le().then(|| left.ahead.pop_front()).flatten();
        let after = order.is_ge().then(|| right.ahead.pop_front()).flatten();
        let Some(line) = compare(before.as_ref(), after.as_ref()) else {
            continue;
        };
        if lines.send(Ok(line)).await.is_err() {
            return Ok(());
        }
    }
}

fn compare(before: Option<&PoolEntry>, after: Option<&PoolEntry>) -> Option<DiffLine> {
    let change = match (before, after) {
        (Some(before), Some(after)) => {
            let content =
                before.content != after.content || before.attributes.kind != after.attributes.kind;
            if content {
                Change::Content
            } else if before.attributes != after.attributes {
                Change::Attributes
            } else {
                return None;
            }
        }
        (None, Some(_)) => Change::Added,
        (Some(_), None) => Change::Removed,
        (None, None) => return None,
    };
    path_difference(change, before, after)
}
