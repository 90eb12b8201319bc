//! What runs next, for people.

use super::{goals, now};
use crate::api::types::Planned;
use crate::clock::rfc3339;
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::retention::point::nanos;
use jiff::SignedDuration;
use keelhold_policy::schedule::{Kind, plan};

/// Looked ahead so far at most, and less if that is enough.
const DAYS: [i64; 4] = [1, 7, 35, 400];

fn word(kind: &Kind) -> String {
    match kind {
        Kind::OnDemand | Kind::Point => String::from("point"),
        Kind::Sync => String::from("sync"),
        Kind::Online { vault } => format!("ship to {vault}"),
    }
}

impl Daemon {
    /// What waits now, then the next starts.
    pub async fn schedule_next(&self, count: usize) -> Result<Vec<Planned>, Failure> {
        let (names, groups) = (self.names().await?, self.groups().await?);
        let now = now(self);
        let goals = goals::goals(&groups, &names, &self.settings, &self.vaults.names(), now.wall);
        let state = self.schedule.state();
        let waiting = state.waits.iter().map(|wait| Planned {
            at: rfc3339(nanos(wait.slot.unwrap_or(now.wall))),
            source: names.source(&wait.source),
            group: wait.group.clone(),
            what: word(&wait.kind),
            state: String::from("waiting"),
            why: Some(wait.reason.to_string()),
        });
        let mut listed: Vec<Planned> = waiting.take(count).collect();
        let Some(history) = &state.history else { return Ok(listed) };
        let wanted = count - listed.len();
        for days in DAYS {
            let until = now.wall.saturating_add(SignedDuration::from_hours(24 * days));
            let planned = plan(&goals, history, now.wall, until.unwrap_or(now.wall));
            if planned.len() < wanted && days != DAYS[DAYS.len() - 1] {
                continue;
            }
            listed.extend(planned.into_iter().take(wanted).map(|planned| Planned {
                at: rfc3339(nanos(planned.start)),
                source: names.source(&planned.source.name),
                group: planned.group.name.clone(),
                what: word(&planned.kind),
                state: String::from("planned"),
                why: planned.trouble.map(|trouble| trouble.to_string()),
            }));
            break;
        }
        Ok(listed)
    }
}
