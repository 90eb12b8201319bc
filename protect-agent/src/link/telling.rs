//! What the server is told about the machine without having asked: after the greeting, and whenever it
//! has changed.

use keelhold_wire::{Condition, FileSystems, FromAgent, Message, Version};
use tokio::time::Duration;

use crate::outgoing::{Closed, Outgoing};
use crate::{condition, mounted};

/// How often the machine is looked at.
pub(super) const EVERY: Duration = Duration::from_secs(30);

/// What was told last.
#[derive(Debug)]
pub(super) struct Telling {
    metered: Option<bool>,
    condition: Option<Condition>,
    mounted: Option<FileSystems>,
}

impl Telling {
    pub(super) fn new(metered: Option<bool>) -> Self {
        Self { metered, condition: None, mounted: None }
    }

    pub(super) async fn tell(&mut self, outgoing: &Outgoing) -> Result<(), Closed> {
        if !outgoing.speaks(Version::V2) {
            return Ok(());
        }
        let metered = self.metered;
        // A file system that does not answer must not hold up the connection.
        let look = move || (condition::look(metered), mounted::look());
        let looked = tokio::time::timeout(EVERY / 3, tokio::task::spawn_blocking(look)).await;
        let Ok(Ok((condition, mounted))) = looked else {
            return Ok(());
        };
        if self.condition.replace(condition) != Some(condition) {
            outgoing.send(FromAgent::Condition(condition).to_bytes()).await?;
        }
        let changed = self.mounted.as_ref().is_none_or(|told| is_other(told, &mounted));
        if changed {
            outgoing.send(FromAgent::FileSystems(mounted.clone()).to_bytes()).await?;
            self.mounted = Some(mounted);
        }
        Ok(())
    }
}

/// Whether something came or went; how full a file system is moves all the time.
fn is_other(told: &FileSystems, now: &FileSystems) -> bool {
    let mut told = told.clone();
    for (old, new) in told.list.iter_mut().zip(&now.list) {
        old.bytes_used = new.bytes_used;
    }
    told != *now
}
