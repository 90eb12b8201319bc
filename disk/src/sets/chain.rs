//! The points of one source as a chain of steps between reach sets.
//!
//! Each link says what was born and what died since the link before it; behind the last one the
//! working state may stand. A link that leaves joins its two neighbours, so what it alone held is
//! found without looking at any other. Points in the trash keep their links, because what they reach
//! must stay, but are not *listed*: what deleting a point would free is asked of the listed ones.
//!
//! The steps are kept encoded: a history of ten thousand points is mostly steps nobody looks at.

#[cfg(test)]
mod tests;

use roaring::RoaringTreemap;

use super::{Lives, SetDelta, bitmap};
use crate::units::PointId;

/// A step in its written form. It was made here or checked when it was read.
#[derive(Debug, Clone, PartialEq)]
struct Packed(Box<[u8]>);

impl Packed {
    fn new(step: &SetDelta) -> Self {
        let mut writer = keelhold_chunk::Writer::new();
        step.encode(&mut writer);
        Self(writer.finish().into_boxed_slice())
    }

    fn step(&self) -> SetDelta {
        let mut reader = keelhold_chunk::Reader::new(&self.0);
        SetDelta { born: bitmap::decode_own(&mut reader), died: bitmap::decode_own(&mut reader) }
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Link {
    point: PointId,
    step: Packed,
    listed: bool,
}

/// See the module.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Chain {
    links: Vec<Link>,
    /// From the last link on.
    working: Option<Packed>,
    /// Reach set of the last link.
    last: RoaringTreemap,
    /// Over all links and the working state.
    lives: Lives,
    /// Over the listed links and the working state.
    listed: Lives,
}

/// What a change of the chain did to the numbers it is about.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Turnover {
    /// Numbers no link holds any more.
    pub unheld: RoaringTreemap,
    /// Numbers that the listed ones hold now and did not before, and the other way round.
    pub appeared: RoaringTreemap,
    pub vanished: RoaringTreemap,
}

impl Chain {
    /// Everything some link or the working state holds.
    #[must_use]
    pub fn held(&self) -> &RoaringTreemap {
        self.lives.set()
    }

    /// As [`held`](Self::held), without what only the trash holds.
    #[must_use]
    pub fn held_by_listed(&self) -> &RoaringTreemap {
        self.listed.set()
    }

    /// Reach set of the newest point, in the trash or not.
    #[must_use]
    pub fn last_reach(&self) -> &RoaringTreemap {
        &self.last
    }

    #[must_use]
    pub fn last_point(&self) -> Option<PointId> {
        self.links.last().map(|link| link.point)
    }

    #[must_use]
    pub fn last_listed(&self) -> Option<PointId> {
        self.links.iter().rfind(|link| link.listed).map(|link| link.point)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.links.is_empty() && self.working.is_none()
    }

    /// Points in order, each with its written step.
    pub fn steps(&self) -> impl Iterator<Item = (PointId, &[u8])> {
        self.links.iter().map(|link| (link.point, &*link.step.0))
    }

    #[must_use]
    pub fn step_bytes(&self, point: &PointId) -> Option<&[u8]> {
        self.links.iter().find(|link| link.point == *point).map(|link| &*link.step.0)
    }

    #[must_use]
    pub fn working_bytes(&self) -> Option<&[u8]> {
        self.working.as_ref().map(|step| &*step.0)
    }

    /// A point behind all others, `step` away from the last one. The working state ends.
    pub fn push(&mut self, point: PointId, step: &SetDelta, listed: bool) -> Turnover {
        let mut turnover = Turnover::default();
        self.lives.begin(&step.born);
        if listed {
            let from_listed = SetDelta::compose(&self.hidden_tail(), step);
            turnover.appeared = self.listed.begin(&from_listed.born);
        }
        self.end_working(&mut turnover);
        self.last -= &step.died;
        self.last |= &step.born;
        self.links.push(Link { point, step: Packed::new(step), listed });
        turnover
    }

    /// The working state is now `step` away from the last point.
    pub fn set_working(&mut self, step: &SetDelta) -> Turnover {
        let mut turnover = Turnover::default();
        self.lives.begin(&step.born);
        let from_listed = SetDelta::compose(&self.hidden_tail(), step);
        turnover.appeared = self.listed.begin(&from_listed.born);
        self.end_working(&mut turnover);
        self.working = Some(Packed::new(step));
        turnover
    }

    /// The working state becomes the last point. Nothing appears or vanishes: it held what it holds.
    /// False if there is none.
    pub fn promote(&mut self, point: PointId) -> bool {
        let Some(working) = self.working.take() else {
            return false;
        };
        let step = working.step();
        self.last -= &step.died;
        self.last |= &step.born;
        self.links.push(Link { point, step: working, listed: true });
        true
    }

    /// There is no working state any more.
    pub fn clear_working(&mut self) -> Turnover {
        let mut turnover = Turnover::default();
        self.end_working(&mut turnover);
        turnover
    }

    fn end_working(&mut self, turnover: &mut Turnover) {
        let Some(working) = self.working.take() else {
            return;
        };
        let step = working.step();
        turnover.unheld |= self.lives.end(&step.born);
        let from_listed = SetDelta::compose(&self.hidden_tail(), &step);
        turnover.vanish(self.listed.end(&from_listed.born));
    }

    /// The point goes to the trash.
    pub fn hide(&mut self, point: &PointId) -> Option<Turnover> {
        let at = self.links.iter().position(|link| link.point == *point && link.listed)?;
        let (into, after) = (self.step_into(at), self.step_after(at));
        self.links[at].listed = false;
        let vanished = self.listed.end(&lives_of_one(&into, after.as_ref()));
        Some(Turnover { vanished, ..Turnover::default() })
    }

    /// The point comes back out of the trash.
    pub fn show(&mut self, point: &PointId) -> Option<Turnover> {
        let at = self.links.iter().position(|link| link.point == *point && !link.listed)?;
        let (into, after) = (self.step_into(at), self.step_after(at));
        self.links[at].listed = true;
        let appeared = self.listed.begin(&lives_of_one(&into, after.as_ref()));
        Some(Turnover { appeared, ..Turnover::default() })
    }

    /// The point leaves for good; its neighbours are joined. Gives the point whose step is another
    /// now, too, unless that is the working state's.
    pub fn remove(&mut self, point: &PointId) -> Option<(Turnover, Option<PointId>)> {
        let at = self.links.iter().position(|link| link.point == *point)?;
        let mut turnover = match self.links[at].listed {
            true => self.hide(point)?,
            false => Turnover::default(),
        };
        let into = self.links.remove(at).step.step();
        let next = self.links.get(at).map(|link| &link.step).or(self.working.as_ref());
        let after = next.map(Packed::step);
        turnover.unheld = self.lives.end(&lives_of_one(&into, after.as_ref()));
        let joined = after.map(|after| Packed::new(&SetDelta::compose(&into, &after)));
        if at == self.links.len() {
            self.last -= &into.born;
            self.last |= &into.died;
            self.working = joined;
            return Some((turnover, None));
        }
        let next = &mut self.links[at];
        if let Some(joined) = joined {
            next.step = joined;
        }
        Some((turnover, Some(next.point)))
    }

    /// For each listed point what of this source it alone holds.
    pub fn own(&self, mut tell: impl FnMut(PointId, RoaringTreemap)) {
        let mut before: Option<(PointId, SetDelta)> = None;
        let mut hidden = SetDelta::default();
        let working = self.working.as_ref().map(|step| (None, step));
        let links = self.links.iter().map(|link| (Some(link), &link.step));
        for (link, step) in links.chain(working) {
            let step = SetDelta::compose(&hidden, &step.step());
            if link.is_some_and(|link| !link.listed) {
                hidden = step;
                continue;
            }
            hidden = SetDelta::default();
            if let Some((point, into)) = before.take() {
                let own = bitmap::common(&into.born, &step.died);
                tell(point, self.listed.single(own));
            }
            before = link.map(|link| (link.point, step));
        }
        if let Some((point, into)) = before {
            tell(point, self.listed.single(into.born));
        }
    }

    /// Tells the reach set of each point in order, until `tell` says no.
    pub fn reaches(&self, mut tell: impl FnMut(PointId, &RoaringTreemap) -> bool) {
        let mut reach = RoaringTreemap::new();
        for link in &self.links {
            let step = link.step.step();
            reach -= &step.died;
            reach |= &step.born;
            if !tell(link.point, &reach) {
                return;
            }
        }
    }

    /// Reach set of one point, from whichever end of the chain is nearer.
    #[must_use]
    pub fn reach(&self, point: &PointId) -> Option<RoaringTreemap> {
        let at = self.links.iter().position(|link| link.point == *point)?;
        let behind = &self.links[at + 1..];
        if behind.len() <= at {
            let mut reach = self.last.clone();
            for link in behind.iter().rev() {
                let step = link.step.step();
                reach -= &step.born;
                reach |= &step.died;
            }
            return Some(reach);
        }
        let mut found = None;
        self.reaches(|of, reach| {
            found = (of == *point).then(|| reach.clone());
            found.is_none()
        });
        found
    }

    /// The points whose reach sets meet `numbers`.
    #[must_use]
    pub fn touched(&self, numbers: &RoaringTreemap) -> Vec<PointId> {
        let mut here = RoaringTreemap::new();
        let mut touched = Vec::new();
        for link in &self.links {
            let step = link.step.step();
            here -= &step.died;
            here |= bitmap::common(&step.born, numbers);
            if !here.is_empty() {
                touched.push(link.point);
            }
        }
        touched
    }

    /// Bytes in memory, about.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        let links: usize =
            self.links.iter().map(|link| size_of::<Link>() + link.step.0.len()).sum();
        links + self.last.serialized_size() + self.lives.byte_len() + self.listed.byte_len()
    }

    /// From the last listed link to the last of all.
    fn hidden_tail(&self) -> SetDelta {
        let listed = self.links.iter().rposition(|link| link.listed);
        let first = listed.map_or(0, |listed| listed + 1);
        self.joined(&self.links[first..])
    }

    /// From the listed link before `at` to `at`.
    fn step_into(&self, at: usize) -> SetDelta {
        let before = self.links[..at].iter().rposition(|link| link.listed);
        let first = before.map_or(0, |before| before + 1);
        self.joined(&self.links[first..=at])
    }

    /// From `at` to the listed link, or working state, behind it.
    fn step_after(&self, at: usize) -> Option<SetDelta> {
        let next = self.links[at + 1..].iter().position(|link| link.listed);
        match (next, &self.working) {
            (Some(next), _) => Some(self.joined(&self.links[at + 1..=at + 1 + next])),
            (None, Some(working)) => {
                Some(SetDelta::compose(&self.joined(&self.links[at + 1..]), &working.step()))
            }
            (None, None) => None,
        }
    }

    fn joined(&self, links: &[Link]) -> SetDelta {
        let mut joined = SetDelta::default();
        for link in links {
            joined = SetDelta::compose(&joined, &link.step.step());
        }
        joined
    }
}

impl Turnover {
    /// What vanishes here may just have appeared there.
    fn vanish(&mut self, numbers: RoaringTreemap) {
        self.vanished = &numbers - &self.appeared;
        self.appeared -= &numbers;
    }
}

/// The lives that exist because a point stands between its neighbours: what is only in it, and what
/// is missing in it alone and so lives once more behind it.
fn lives_of_one(into: &SetDelta, after: Option<&SetDelta>) -> RoaringTreemap {
    let Some(after) = after else {
        return into.born.clone();
    };
    bitmap::common(&into.born, &after.died) | bitmap::common(&into.died, &after.born)
}
