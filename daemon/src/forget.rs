//! Forgetting points, undoing it, and keeping somebody from it.

mod rules;
mod stop;

pub use rules::{Refused, last_good, may_go};

use crate::api::types::{
    ForgetForecast, ForgetRequest, Forgotten, ForgottenPoint, NewPin, RefusedPoint, Trash,
};
use crate::audit::Actor;
use crate::catalog::PointRow;
use crate::clock::{parse_time, rfc3339};
use crate::daemon::Daemon;
use crate::failure::{Code, Failure};
use crate::id_text;
use crate::point::Showing;
use crate::point_facts::{PinFacts, with_keep_until, with_pin};
use crate::pool_failure::{of_closed, of_commit, of_forget};
use crate::reclaim::LEAST_DEAD;
use crate::source::Names;
use keelhold_disk::pool::PointInfo;
use keelhold_disk::units::{PointId, SourceId, UnixNanos};
use std::collections::BTreeSet;

const SECOND: i64 = 1_000_000_000;
/// Why somebody pinned a point is a line, not a book.
const WHY_LEN_MAX: usize = 1_000;

pub(crate) fn named(point: &PointInfo, names: &Names) -> ForgottenPoint {
    ForgottenPoint {
        id: id_text::encode(&point.id.0),
        source: names.source(&id_text::encode(&point.source.0)),
        at: rfc3339(point.at),
    }
}

fn ids(points: &[PointInfo]) -> Vec<PointId> {
    points.iter().map(|point| point.id).collect()
}

fn texts(points: &[PointInfo]) -> Vec<String> {
    points.iter().map(|point| id_text::encode(&point.id.0)).collect()
}

impl Daemon {
    /// Why each of these points may not be forgotten; points that may be are left out.
    async fn refusals(
        &self,
        points: &[PointInfo],
        names: &Names,
        now: bool,
    ) -> Result<Vec<(PointInfo, Failure)>, Failure> {
        let all: Vec<PointRow> =
            self.points().await?.iter().map(|point| PointRow::new(0, point)).collect();
        let look = self.store.pool.time.look();
        let mut refusals = Vec::new();
        for point in points {
            let row = PointRow::new(0, point);
            let protected = names.sources.get(&row.source).is_some_and(|source| !source.removed);
            let refused = rules::refused(&row, point.working, &all, protected, now, look);
            if let Some(refused) = refused {
                refusals.push((point.clone(), refused.into_failure(&named(point, names))));
            }
        }
        Ok(refusals)
    }

    /// Moves points to the trash, all or none of them.
    pub async fn forget(
        &self,
        actor: &Actor,
        request: &ForgetRequest,
    ) -> Result<Forgotten, Failure> {
        let _turn = self.forgetting.lock().await;
        let (mut what, action) = (
            request.points.clone(),
            match request.now {
                true => "point forget --now",
                false => "point forget",
            },
        );
        let forgotten = async {
            let gone = |failure: Failure| match failure.code {
                Code::PointUnknown => Failure::new(Code::PointGone, failure.message),
                _ => failure,
            };
            let points = self.points_named(&request.points).await.map_err(gone)?;
            what = texts(&points);
            let names = self.names().await?;
            if let Some((_, failure)) =
                self.refusals(&points, &names, request.now).await?.into_iter().next()
            {
                return Err(failure);
            }
            let until = self.move_to_trash(&points, request.now).await?;
            let shown = self.store.pool.time.look().on_the_wall(until);
            Ok(Forgotten {
                points: points.iter().map(|point| named(point, &names)).collect(),
                trashed_until: (!request.now).then(|| rfc3339(shown)),
            })
        }
        .await;
        self.store.audit(actor, action, what, &forgotten).await;
        forgotten
    }

    /// The caller has the turn of forgetting, and has asked whether it may be.
    pub(crate) async fn move_to_trash(
        &self,
        points: &[PointInfo],
        at_once: bool,
    ) -> Result<UnixNanos, Failure> {
        self.close_point();
        let (ids, now) = (ids(points), self.store.pool.now());
        let days = i64::from(self.settings.trash_days);
        let window = if at_once { 0 } else { days * 86_400 * SECOND };
        let until = UnixNanos(now.0.saturating_add(window));
        let forget = move |pool: crate::pool_thread::LivePool| async move {
            pool.forget(&ids, until, now).await
        };
        let forgot = self.store.pool.call(forget).await.map_err(of_closed)?;
        forgot.map_err(|error| of_forget(&error))?;
        self.show_points().await;
        self.upkeep.wake();
        Ok(until)
    }

    /// What forgetting points would do. Nothing is changed.
    pub async fn forecast(&self, points: &[String]) -> Result<ForgetForecast, Failure> {
        let points = self.points_named(points).await?;
        let names = self.names().await?;
        let refused = self.refusals(&points, &names, true).await?;
        let ids = ids(&points);
        let ask = move |pool: crate::pool_thread::LivePool| async move {
            (pool.forecast(&ids, LEAST_DEAD), pool.forecast(&[], LEAST_DEAD))
        };
        let (with, without) = self.store.pool.call(ask).await.map_err(of_closed)?;
        Ok(ForgetForecast {
            points: points.iter().map(|point| named(point, &names)).collect(),
            bytes_exclusive: with.exclusive_len,
            bytes_freed: with.freed_len,
            bytes_freed_anyway: without.freed_len,
            bytes_left: with.left_len,
            refused: refused
                .into_iter()
                .map(|(point, failure)| RefusedPoint {
                    point: id_text::encode(&point.id.0),
                    why: failure.to_wire(),
                })
                .collect(),
        })
    }

    /// Brings a point back out of the trash.
    pub async fn undo_forget(&self, actor: &Actor, text: &str) -> Result<PointInfo, Failure> {
        let _turn = self.forgetting.lock().await;
        let undone = async {
            let point = match self.points_named(&[text.to_owned()]).await {
                Ok(mut points) => points.remove(0),
                Err(failure) => return Err(self.or_dropped(text, failure).await),
            };
            self.keep_a_while(&point).await?;
            let (id, now) = (point.id, self.store.pool.now());
            let undo = move |pool: crate::pool_thread::LivePool| async move {
                pool.undo_forget(&id, now).await
            };
            let undone = self.store.pool.call(undo).await.map_err(of_closed)?;
            undone.map_err(|error| of_forget(&error))?;
            self.show_points().await;
            Ok(point)
        }
        .await;
        self.store.audit(actor, "point undo-forget", vec![text.to_owned()], &undone).await;
        self.reread(undone?.id).await
    }

    /// Whoever brings a point back wants it: the policy alone does not take it again at once. It stays as
    /// long as it could have stayed in the trash.
    async fn keep_a_while(&self, point: &PointInfo) -> Result<(), Failure> {
        let nanos = i64::from(self.settings.trash_days) * 86_400 * SECOND;
        let until = self.store.clock.now().0.saturating_add(nanos);
        let attributes = with_keep_until(&point.attributes, until);
        let (id, now) = (point.id, self.store.pool.now());
        let set = move |pool: crate::pool_thread::LivePool| async move {
            pool.set_attributes(&id, attributes, now).await
        };
        let set = self.store.pool.call(set).await.map_err(of_closed)?;
        set.map(drop).map_err(|error| of_commit(&error))
    }

    /// A point nobody knows may be one that was forgotten, and its time in the trash is over.
    async fn or_dropped(&self, text: &str, failure: Failure) -> Failure {
        let is_it = |what: &String| id_text::is_prefix(text) && what.starts_with(text);
        let audited = self.store.audited().await.unwrap_or_default();
        let forgotten = audited.iter().rev().find(|entry| {
            let takes = ["point forget", "pool reclaim", "source remove"];
            let took = takes.iter().any(|action| entry.action.starts_with(action));
            entry.result == "ok" && took && entry.what.iter().any(is_it)
        });
        match forgotten {
            Some(entry) if failure.code == Code::PointUnknown => {
                let (actor, at) = (&entry.actor, &entry.at);
                let text = format!("point {text} was forgotten by {actor} at {at} and is gone");
                Failure::new(Code::UndoTooLate, text)
            }
            _ => failure,
        }
    }

    /// Keeps a point until a day.
    pub async fn pin(&self, actor: &Actor, text: &str, pin: &NewPin) -> Result<PointInfo, Failure> {
        let look = self.store.pool.time.look();
        let wrong = |what: String| Failure::new(Code::BadRequest, what);
        let no_date =
            || wrong(format!("{:?} is no date", pin.until)).hint("write it like 2027-03-31");
        let until = parse_time(&pin.until).ok_or_else(no_date)?;
        if until <= look.wall {
            return Err(wrong(format!("{} is over", rfc3339(until))));
        }
        if pin.why.trim().is_empty() || pin.why.len() > WHY_LEN_MAX {
            return Err(wrong(format!("a pin needs a reason of 1 to {WHY_LEN_MAX} bytes")));
        }
        let facts = PinFacts {
            until: look.witnessed_at(until).0,
            why: pin.why.clone(),
            by: actor.name().to_owned(),
        };
        self.set_pin(actor, "point pin", text, Some(facts)).await
    }

    pub async fn unpin(&self, actor: &Actor, text: &str) -> Result<PointInfo, Failure> {
        self.set_pin(actor, "point unpin", text, None).await
    }

    async fn set_pin(
        &self,
        actor: &Actor,
        action: &str,
        text: &str,
        pin: Option<PinFacts>,
    ) -> Result<PointInfo, Failure> {
        let _turn = self.forgetting.lock().await;
        let changed = async {
            let point = self.points_named(&[text.to_owned()]).await?.remove(0);
            let name = named(&point, &self.names().await?);
            let row = PointRow::new(0, &point);
            if point.working {
                return Err(Refused::Working.into_failure(&name));
            }
            if pin.is_some() && point.trashed_until.is_some() {
                return Err(Refused::Trashed.into_failure(&name));
            }
            if pin.is_none() && row.facts.pin.is_none() {
                let text = format!("point {} of {} is not pinned", name.id, name.source);
                return Err(Failure::new(Code::PointNotPinned, text));
            }
            let attributes = with_pin(&point.attributes, pin.as_ref());
            let (id, now) = (point.id, self.store.pool.now());
            let set = move |pool: crate::pool_thread::LivePool| async move {
                pool.set_attributes(&id, attributes, now).await
            };
            let set = self.store.pool.call(set).await.map_err(of_closed)?;
            let set = set.map_err(|error| of_commit(&error))?;
            self.show_points().await;
            Ok(set)
        }
        .await;
        self.store.audit(actor, action, vec![text.to_owned()], &changed).await;
        changed
    }

    async fn reread(&self, id: PointId) -> Result<PointInfo, Failure> {
        let info = self.store.pool.call(move |pool| async move { pool.point(&id) }).await;
        let gone = || Failure::new(Code::PointUnknown, "the point is gone");
        info.map_err(of_closed)?.ok_or_else(gone)
    }

    /// What is in the trash, and what giving it up would free.
    pub async fn trash(&self) -> Result<Trash, Failure> {
        let names = self.names().await?;
        let ask =
            |pool: crate::pool_thread::LivePool| async move { (pool.points(), pool.trash_len()) };
        let (points, bytes) = self.store.pool.call(ask).await.map_err(of_closed)?;
        let trashed = points.iter().filter(|point| point.trashed_until.is_some());
        Ok(Trash { points: trashed.map(|point| named(point, &names)).collect(), bytes })
    }

    /// Ends the time in the trash of these points. Points that are not there any more are passed over.
    pub async fn empty_trash(&self, actor: &Actor, points: &[String]) -> Result<(), Failure> {
        let _turn = self.forgetting.lock().await;
        let emptied = async {
            let wanted = |point: &PointInfo| {
                let id = id_text::encode(&point.id.0);
                point.trashed_until.is_some() && points.contains(&id)
            };
            let mut trashed = self.points().await?;
            trashed.retain(wanted);
            match trashed.is_empty() {
                true => Ok(()),
                false => self.move_to_trash(&trashed, true).await.map(drop),
            }
        }
        .await;
        self.store.audit(actor, "pool reclaim --empty-trash", points.to_vec(), &emptied).await;
        emptied
    }
}

impl Daemon {
    /// What is known beside the rows when points are shown.
    pub async fn showing(&self, names: Names, rows: &[PointRow]) -> Result<Showing, Failure> {
        let mut elsewhere = self.elsewhere().await?;
        let is_here = |row: &&PointRow| elsewhere.in_pool.contains(&row.id);
        let here: Vec<PointRow> = rows.iter().filter(is_here).cloned().collect();
        let sources: BTreeSet<&String> = here.iter().map(|row| &row.source).collect();
        let last_good = sources.iter().filter_map(|source| last_good(&here, source));
        let last_good = last_good.map(|row| row.id.clone()).collect();
        let sources: Vec<SourceId> =
            sources.iter().filter_map(|id| id_text::decode(id).map(SourceId)).collect();
        let ask = move |pool: crate::pool_thread::LivePool| async move {
            let exclusive = sources.iter().flat_map(|source| pool.exclusive(source));
            exclusive.map(|(point, len)| (id_text::encode(&point.0), len)).collect()
        };
        let exclusive = self.store.pool.call(ask).await.map_err(of_closed)?;
        let mut verdicts = self.verdicts(&names, &here).await?;
        verdicts.extend(std::mem::take(&mut elsewhere.verdicts));
        let look = self.store.pool.time.look();
        Ok(Showing { names, look, exclusive, last_good, verdicts, elsewhere })
    }
}
