//! What a source's group demands of a backup.

use super::throttle::Limits;
use crate::group::Stated;
use crate::settings::Settings;
use keelhold_policy::goal;
use keelhold_wire::{Consistency, Demands};

/// The first version of the wire with demands.
const WIRE_WITH_DEMANDS: u32 = 2;
/// A script may take so long where nobody says otherwise.
const SCRIPT_SECONDS: u32 = 600;

#[derive(Debug, Clone, Default)]
pub struct Terms {
    pub demands: Demands,
    pub limits: Option<Limits>,
}

fn consistency(least: goal::Consistency) -> Consistency {
    match least {
        goal::Consistency::None => Consistency::None,
        goal::Consistency::Crash => Consistency::Crash,
        goal::Consistency::FileSystem => Consistency::FileSystem,
        goal::Consistency::Application => Consistency::Application,
    }
}

fn demands(stated: &Stated) -> Demands {
    let scripts = &stated.group.scripts;
    let path = |path: &Option<String>| path.as_ref().map(|path| path.clone().into_bytes());
    let (pre, post) = (path(&scripts.pre), path(&scripts.post));
    let limit = scripts.time_limit.map(|limit| limit.duration().as_secs());
    let limit = limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(SCRIPT_SECONDS);
    Demands {
        consistency_min: consistency(stated.group.short_term.consistency),
        script_seconds: if pre.is_some() || post.is_some() { limit } else { 0 },
        pre,
        post,
    }
}

impl Terms {
    /// `wire`: the newest version the machine speaks.
    #[must_use]
    pub fn of(stated: Option<&Stated>, settings: &Settings, wire: u32) -> Self {
        let Some(stated) = stated else { return Self::default() };
        let demands = if wire >= WIRE_WITH_DEMANDS { demands(stated) } else { Demands::default() };
        Self { demands, limits: Limits::of(stated, settings) }
    }
}
