//! Two times, and what a jump of the wall means for slots.
//!
//! The wall is what calendars are about, and anybody can set it. *Witnessed* time goes on by what
//! passed while a daemon ran, and by nothing else. Their distance is constant while a clock is left
//! alone. When it changes by more than [`THRESHOLD`], a new *reign* begins; when the clock comes back
//! to where an earlier reign would be by now, that reign goes on. What was handled is remembered by
//! reign, so a slot that was handled in 2036 by a clock that was wrong holds nothing up when the
//! clock is right again, and a clock that is put right repeats nothing.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::mutants::{Mutant, Mutants};

/// A distance that changes by less is the same reign: slots that were handled stay handled.
pub const THRESHOLD: SignedDuration = SignedDuration::from_hours(24);

/// More reigns than anybody's clock has; the one that was longest ago is forgotten.
const REIGNS_MAX: usize = 16;

/// Both times at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    pub wall: Timestamp,
    /// What passed while a daemon ran, since some beginning.
    pub witnessed: SignedDuration,
}

impl Now {
    fn ahead(self) -> SignedDuration {
        self.wall.as_duration().saturating_sub(self.witnessed)
    }
}

/// A moment that is remembered: its wall means something only together with its reign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    pub wall: Timestamp,
    pub witnessed: SignedDuration,
    pub reign: u32,
}

/// How a reign began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Cause {
    /// The clock jumped, or is the first.
    Jump,
    /// The wall went on while no daemon ran: it is believed.
    Downtime,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Reign {
    id: u32,
    /// The reign whose slots it goes on with. None: a clock from before everything known.
    parent: Option<u32>,
    cause: Cause,
    began: Now,
    ahead: SignedDuration,
    last_used: SignedDuration,
}

/// The clock of the appliance as the scheduler has seen it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    reigns: Vec<Reign>,
    current: u32,
    last: Now,
}

/// The wall went where it should not be. Alarms the admin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jump {
    /// Negative: backwards.
    pub by: SignedDuration,
    pub to: Timestamp,
}

impl Clock {
    #[must_use]
    pub fn new(now: Now) -> Self {
        let (ahead, last_used) = (now.ahead(), now.witnessed);
        let cause = Cause::Jump;
        let first = Reign { id: 0, parent: None, cause, began: now, ahead, last_used };
        Self { reigns: vec![first], current: 0, last: now }
    }

    /// The present. `started`: the first look of a daemon, before which the wall may have gone on
    /// by any length. A jump of more than a day is told.
    pub(crate) fn look(&mut self, now: Now, started: bool, mutants: Mutants) -> Option<Jump> {
        let by = now.ahead().saturating_sub(self.last.ahead());
        let is_downtime = started && by.is_positive();
        self.last = now;
        if let Some(place) = self.reigns.iter().position(|reign| reign.id == self.current) {
            let reign = &mut self.reigns[place];
            let away = now.ahead().saturating_sub(reign.ahead);
            if away.abs() <= THRESHOLD || !mutants.keeps(Mutant::Reigns) {
                reign.last_used = now.witnessed;
                // Downtime is no deviation: the next one is measured from here.
                if is_downtime {
                    reign.ahead = now.ahead();
                }
            } else {
                self.change(now, if is_downtime { Cause::Downtime } else { Cause::Jump });
            }
        }
        (by.abs() > THRESHOLD && !is_downtime).then_some(Jump { by, to: now.wall })
    }

    /// Go on with the reign the wall has come back to, or branch from the newest that is not ahead.
    fn change(&mut self, now: Now, cause: Cause) {
        let most = now.ahead().saturating_add(THRESHOLD);
        let behind = self.reigns.iter_mut().filter(|reign| reign.ahead <= most);
        let nearest = behind.max_by_key(|reign| (reign.ahead, reign.id));
        let parent = match nearest {
            Some(reign) if now.ahead().saturating_sub(reign.ahead) <= THRESHOLD => {
                reign.last_used = now.witnessed;
                self.current = reign.id;
                return;
            }
            Some(reign) => Some(reign.id),
            None => None,
        };
        let id = self.reigns.iter().map(|reign| reign.id).max().unwrap_or(0).wrapping_add(1);
        let (ahead, last_used) = (now.ahead(), now.witnessed);
        self.reigns.push(Reign { id, parent, cause, began: now, ahead, last_used });
        self.current = id;
        while self.reigns.len() > REIGNS_MAX {
            self.forget_one();
        }
    }

    fn forget_one(&mut self) {
        let others = self.reigns.iter().filter(|reign| reign.id != self.current);
        let Some(oldest) = others.min_by_key(|reign| reign.last_used).cloned() else { return };
        self.reigns.retain(|reign| reign.id != oldest.id);
        for reign in &mut self.reigns {
            if reign.parent == Some(oldest.id) {
                reign.parent = oldest.parent;
            }
        }
    }

    #[must_use]
    pub const fn last(&self) -> Now {
        self.last
    }

    pub(crate) const fn current(&self) -> u32 {
        self.current
    }

    pub(crate) fn knows(&self, id: u32) -> bool {
        self.reign(id).is_some()
    }

    fn reign(&self, id: u32) -> Option<&Reign> {
        self.reigns.iter().find(|reign| reign.id == id)
    }

    /// This reign and those it goes on with, newest first.
    pub(crate) fn lineage(&self) -> impl Iterator<Item = u32> + '_ {
        let first = self.reign(self.current);
        std::iter::successors(first, |reign| self.reign(reign.parent?)).map(|reign| reign.id)
    }

    /// When the oldest reign of the lineage began.
    pub(crate) fn root_began(&self) -> Now {
        let root = self.lineage().last().and_then(|id| self.reign(id));
        root.map_or(self.last, |reign| reign.began)
    }

    pub(crate) const fn moment(&self, now: Now) -> Moment {
        Moment { wall: now.wall, witnessed: now.witnessed, reign: self.current }
    }

    /// How long ago a moment is: by the wall as long as it is believed, otherwise by what was
    /// witnessed since, which is never too long.
    pub(crate) fn age(&self, of: Moment) -> SignedDuration {
        let witnessed = self.last.witnessed.saturating_sub(of.witnessed);
        let believed = self
            .lineage()
            .take_while(|id| {
                *id == of.reign || self.reign(*id).is_some_and(|r| r.cause == Cause::Downtime)
            })
            .any(|id| id == of.reign);
        if believed { witnessed.max(self.last.wall.duration_since(of.wall)) } else { witnessed }
    }
}
