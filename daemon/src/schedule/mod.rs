//! The daemon's side of the schedule: what [`keelhold_policy::schedule`] decides is written down, then
//! done; how jobs end is told to it.

mod act;
mod goals;
mod keep;
mod next;

use crate::daemon::Daemon;
use crate::failure::{Failure, chain};
use crate::id_text;
use crate::job::{JobId, Notice, Order};
use crate::point_facts::PointFacts;
use crate::raised::raised;
use crate::retention::point::{now_of, timestamp};
use jiff::{SignedDuration, Timestamp};
use keelhold_disk::units::UnixNanos;
use keelhold_policy::schedule::State::Parked;
use keelhold_policy::schedule::{
    Facts, History, Kind, Machines, Now, Outcome, Record, Wait, decide,
};
use keelhold_wire::{LinkCost, Power};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};

/// The clock's own record is written at least so often: what is witnessed is measured from there.
const CLOCK_EVERY: SignedDuration = SignedDuration::from_hours(1);
/// Points whose time is over are looked for at least so often.
const SWEEP_EVERY: SignedDuration = SignedDuration::from_hours(1);
/// And at most so often, however many points come: each look is at all of them.
const SWEEP_REST: SignedDuration = SignedDuration::from_mins(1);
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(30);

/// Shipments that are over: of which source, whereto, and how.
pub type Shipped = (String, Kind, Outcome);

type StandFor = HashMap<JobId, Vec<(String, Kind)>>;

#[derive(Debug, Default)]
struct State {
    history: Option<History>,
    /// What is due and does not start.
    waits: Vec<Wait>,
    /// Jobs that stand for something of the schedule, and for what: a job that was there before may
    /// have been joined.
    jobs: StandFor,
    /// Not told to the history yet.
    shipped: Vec<Shipped>,
    /// What the pool has of the history.
    saved: BTreeMap<String, Record>,
    clock_kept: Option<SignedDuration>,
    swept: Option<SignedDuration>,
    /// Points came or went since.
    points_changed: bool,
    /// When the next point's time is over.
    next_expiry: Option<Timestamp>,
}

/// Where the schedule stands.
#[derive(Debug, Default)]
pub struct Schedule {
    wake: Notify,
    /// One step at a time.
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

impl Schedule {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something changed that may be worth a look.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// A point came or went: when the next one's time is over is to be found out anew.
    pub fn points_changed(&self) {
        self.state().points_changed = true;
        self.wake();
    }

    /// A shipment of these sources is over.
    pub fn shipped(&self, ended: impl IntoIterator<Item = Shipped>) {
        self.state().shipped.extend(ended);
        self.wake();
    }

    /// What a daemon remembers that was just started: nothing.
    #[cfg(test)]
    pub fn forget_all(&self) {
        *self.state() = State::default();
    }

    /// Up to where the slots of a source are accounted for.
    #[must_use]
    pub fn accounted(&self, source: &str) -> Option<Timestamp> {
        self.state().history.as_ref()?.accounted(source, &Kind::Point)
    }

    /// Sources whose newest point is older than it may be.
    #[must_use]
    pub fn overdue(&self) -> Vec<String> {
        let state = self.state();
        let Some(history) = &state.history else { return Vec::new() };
        history.sources.keys().filter(|source| history.is_overdue(source)).cloned().collect()
    }
}

/// Both times as the scheduler has them.
#[must_use]
pub fn now(daemon: &Daemon) -> Now {
    let now = now_of(daemon.store.pool.time.look());
    Now { wall: now.wall, witnessed: SignedDuration::from_nanos(now.witnessed.0) }
}

fn kind_of(order: Order) -> Kind {
    match order {
        Order { slot: None, .. } => Kind::OnDemand,
        Order { sync: true, .. } => Kind::Sync,
        Order { .. } => Kind::Point,
    }
}

fn outcome_of(notice: &Notice) -> Outcome {
    use crate::api::types::Outcome as Ended;
    match notice.outcome {
        // A partial point is a point; what is missing in it is shown with it.
        Some(Ended::Ok | Ended::Partial) => Outcome::Good,
        Some(Ended::Failed | Ended::Missed) => Outcome::Failed,
        None => Outcome::Parked,
    }
}

/// A backup has ended, or was parked.
fn note(history: &mut History, jobs: &mut StandFor, notice: &Notice, now: Now) {
    let outcome = outcome_of(notice);
    let stood_for = jobs.remove(&notice.job).unwrap_or_default();
    for (source, kind) in &stood_for {
        // A synchronisation that was too far on to become the point: the point is still to be made.
        let too_late = *kind == Kind::Point && notice.order.sync && outcome == Outcome::Good;
        let outcome = if too_late { Outcome::Parked } else { outcome };
        history.finished(source, kind, outcome, now);
    }
    let by_hand = kind_of(notice.order) == Kind::OnDemand;
    let made_point = outcome == Outcome::Good && !notice.order.sync;
    if made_point && by_hand && !stood_for.iter().any(|(_, kind)| *kind == Kind::Point) {
        history.made(&notice.source, None, now);
    }
}

impl State {
    /// When points should be looked through next, if that is known.
    fn next_sweep(&self, now: Now) -> Option<Timestamp> {
        let rested = self.swept.map(|swept| swept + SWEEP_REST - now.witnessed);
        let rested = rested.unwrap_or(SignedDuration::ZERO).max(SignedDuration::ZERO);
        let changed = self.points_changed.then(|| now.wall + rested);
        [changed, self.next_expiry].into_iter().flatten().min()
    }
}

impl Daemon {
    fn machines_now(&self, groups: &keelhold_policy::schedule::Goals) -> Machines {
        let members = groups.groups.iter().flat_map(|group| &group.members);
        let facts = |machine: &str| {
            let condition = self.connected.condition(machine);
            Facts {
                connected: condition.is_some(),
                on_battery: condition.is_some_and(|of| of.power == Power::Battery),
                metered: condition.is_some_and(|of| of.link == LinkCost::Metered),
                asleep_since: None,
            }
        };
        members.map(|member| (member.machine.clone(), facts(&member.machine))).collect()
    }

    /// One step: what is due is started, what was missed is told. Gives when to look again.
    pub async fn schedule_step(&self, notices: &[Notice]) -> Result<Timestamp, Failure> {
        let _turn = self.schedule.turn.lock().await;
        let now = now(self);
        if self.schedule.state().history.is_none() {
            let mut history = keep::load(&self.store, now).await?;
            if let Some(jump) = history.daemon_started(now) {
                act::told_of_jump(jump);
            }
            let saved = history.sources.clone();
            self.settle_points(&mut history, now).await?;
            let mut state = self.schedule.state();
            (state.saved, state.history) = (saved, Some(history));
        }
        let (mut names, groups) = (self.names().await?, self.groups().await?);
        if self.join_file_systems(&groups, &names).await? {
            names = self.names().await?;
        }
        let goals = goals::goals(&groups, &names, &self.settings, &self.vaults.names(), now.wall);
        let machines = self.machines_now(&goals);
        // Decided on a copy: what is not written down is not done, and not remembered either.
        let (history, mut jobs, told, clock_kept, known) = {
            let mut state = self.schedule.state();
            let known = std::mem::take(&mut state.saved);
            let told = state.shipped.len();
            (state.history.clone(), state.jobs.clone(), told, state.clock_kept, known)
        };
        let Some(mut history) = history else { return Ok(now.wall) };
        notices.iter().for_each(|notice| note(&mut history, &mut jobs, notice, now));
        for (source, kind, outcome) in &self.schedule.state().shipped[..told] {
            history.finished(source, kind, *outcome, now);
        }
        history.keep_only(|source| names.sources.contains_key(source));
        let decision = decide(&goals, &mut history, &machines, now);
        let since = clock_kept.map(|kept| now.witnessed.saturating_sub(kept));
        let with_clock = decision.jump.is_some() || since.is_none_or(|since| since >= CLOCK_EVERY);
        if let Err(failure) = keep::save(&self.store, &known, &history, with_clock).await {
            self.schedule.state().saved = known;
            return Err(failure);
        }
        {
            let mut state = self.schedule.state();
            state.saved.clone_from(&history.sources);
            (state.history, state.jobs) = (Some(history), jobs);
            state.shipped.drain(..told);
            state.waits.clone_from(&decision.wait);
            if with_clock {
                state.clock_kept = Some(now.witnessed);
            }
        }
        let look_again = decision.look_again;
        act::act(self, &names, &groups, decision, now).await;
        if let Err(failure) = self.sweep_if_due(now).await {
            tracing::warn!(error = failure.message, "points were not looked through; later again");
        }
        let sweep = self.schedule.state().next_sweep(now);
        Ok(sweep.map_or(look_again, |at| look_again.min(at.max(now.wall))))
    }

    /// Points whose job ended unheard, as a daemon dies between the two: their slots are not run again.
    async fn settle_points(&self, history: &mut History, now: Now) -> Result<(), Failure> {
        let points = self.points().await?;
        let slot = |point: &keelhold_disk::pool::PointInfo| {
            let slot = PointFacts::parse(&point.attributes).slot?;
            Some((id_text::encode(&point.source.0), timestamp(UnixNanos(slot))))
        };
        let made: BTreeSet<(String, Timestamp)> = points.iter().filter_map(slot).collect();
        let is_unheard = |(source, slot): &(String, Timestamp)| {
            let Some(record) = history.sources.get(source) else { return false };
            let parked = record.track(&Kind::Point).is_some_and(
                |track| matches!(track.state, Parked { slot: Some(of), .. } if of == *slot),
            );
            let accounted = history.accounted(source, &Kind::Point);
            parked || accounted.is_some_and(|until| *slot > until && *slot <= now.wall)
        };
        let unheard: Vec<(String, Timestamp)> = made.into_iter().filter(is_unheard).collect();
        for (source, slot) in unheard {
            history.made(&source, Some(slot), now);
        }
        Ok(())
    }

    async fn sweep_if_due(&self, now: Now) -> Result<(), Failure> {
        let (hour_is_over, is_due) = {
            let state = self.schedule.state();
            let since = state.swept.map(|swept| now.witnessed.saturating_sub(swept));
            let hour_is_over = since.is_none_or(|since| since >= SWEEP_EVERY);
            (hour_is_over, state.next_sweep(now).is_some_and(|at| at <= now.wall))
        };
        if hour_is_over {
            self.jobs.trim().await.map_err(|error| crate::pool_failure::of_store(&error))?;
        }
        if hour_is_over || is_due {
            self.schedule.state().points_changed = false;
            let next = match self.sweep().await {
                Ok(next) => next,
                Err(failure) => {
                    self.schedule.state().points_changed = true;
                    return Err(failure);
                }
            };
            let mut state = self.schedule.state();
            state.swept = Some(now.witnessed);
            // What is over by the wall and is kept all the same has not been witnessed: it waits.
            state.next_expiry = next.filter(|at| *at > now.wall);
        }
        Ok(())
    }
}

/// Keeps the schedule until the daemon stops.
pub async fn run(daemon: Arc<Daemon>, mut stopping: watch::Receiver<bool>) {
    let (tell, mut told) = mpsc::unbounded_channel();
    daemon.jobs.tell_ends(tell);
    let mut notices: Vec<Notice> = Vec::new();
    loop {
        while let Ok(notice) = told.try_recv() {
            notices.push(notice);
        }
        let pause = match daemon.schedule_step(&notices).await {
            Ok(look_again) => {
                notices.clear();
                let ahead = look_again.duration_since(now(&daemon).wall);
                Duration::try_from(ahead).unwrap_or_default().max(Duration::from_millis(50))
            }
            Err(failure) => {
                tracing::warn!(error = failure.message, "a step of the schedule failed");
                PAUSE_AFTER_FAILURE
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = daemon.schedule.wake.notified() => {}
            notice = told.recv() => notices.extend(notice),
            () = raised(&mut stopping) => return,
        }
    }
}

fn wall_nanos(at: Timestamp) -> UnixNanos {
    crate::retention::point::nanos(at)
}

fn log_chain(what: &str, error: &(dyn std::error::Error + 'static)) {
    tracing::warn!(error = chain(error), "{what}");
}
