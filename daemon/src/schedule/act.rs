//! Doing what was decided.

use super::wall_nanos;
use crate::api::types::Outcome;
use crate::clock::rfc3339;
use crate::daemon::Daemon;
use crate::failure::{Code, Failure};
use crate::group::Groups;
use crate::id_text;
use crate::job::{JobId, Order};
use crate::machine::connected::Command;
use crate::point_facts::PointFacts;
use crate::pool_failure::{of_closed, of_forget};
use crate::source::Names;
use jiff::{SignedDuration, Timestamp};
use keelhold_disk::pool::PointInfo;
use keelhold_disk::units::SourceId;
use keelhold_policy::goal::Sync;
use keelhold_policy::schedule::{
    Decision, Jump, Kind, Missed, Now, Outcome as Ended, Overdue, Promise, Start, Wait, WaitReason,
};

pub(super) fn told_of_jump(jump: Jump) {
    let (hours, to) = (jump.by.as_hours(), jump.to.to_string());
    tracing::warn!(hours, to, "the clock of this computer jumped; nothing runs twice by it");
}

pub(super) async fn act(
    daemon: &Daemon,
    names: &Names,
    groups: &Groups,
    decision: Decision,
    now: Now,
) {
    if let Some(jump) = decision.jump {
        told_of_jump(jump);
    }
    for start in decision.start {
        if let Err(failure) = begin(daemon, names, groups, &start, now).await {
            let (source, error) = (names.source(&start.source), failure.message);
            tracing::warn!(source, error, "what is due could not be started");
            let mut state = daemon.schedule.state();
            if let Some(history) = &mut state.history {
                history.finished(&start.source, &start.kind, Ended::Failed, now);
            }
        }
    }
    for park in decision.park {
        if let Some(job) = daemon.jobs.of_source(&park.source) {
            daemon.jobs.log(job, "its window is closing: it goes on in the next one");
            daemon.jobs.pause(job);
        }
    }
    for wait in &decision.wait {
        promote_instead(daemon, names, groups, wait, now).await;
    }
    for missed in &decision.missed {
        tell_missed(daemon, names, missed).await;
    }
    for overdue in &decision.overdue {
        tell_overdue(daemon, names, overdue).await;
    }
    release_orphans(daemon, names, groups);
}

/// Jobs that wait for a schedule that does not know their source any more.
fn release_orphans(daemon: &Daemon, names: &Names, groups: &Groups) {
    for (job, source) in daemon.jobs.held() {
        let source = names.sources.get(&source);
        if source.is_none_or(|source| groups.of_source(source, names).is_none()) {
            hand_over(daemon, job);
        }
    }
}

fn hand_over(daemon: &Daemon, job: JobId) {
    daemon.jobs.release(job);
    if let Some(machine) = daemon.jobs.machine(job) {
        daemon.connected.command(&machine, Command::Run(job));
    }
}

async fn begin(
    daemon: &Daemon,
    names: &Names,
    groups: &Groups,
    start: &Start,
    now: Now,
) -> Result<(), Failure> {
    let slot = start.slot.map(|slot| wall_nanos(slot).0);
    let order = match start.kind {
        Kind::Sync => Order { slot, ..Order::SYNC },
        Kind::Point => Order { slot, ..Order::default() },
        Kind::Online { ref vault } => {
            crate::vault::want(daemon, vault, &start.source);
            return Ok(());
        }
        // Nobody plans these here.
        Kind::OnDemand => return Ok(()),
    };
    let gone = || Failure::new(Code::SourceUnknown, "the source is gone");
    let source = names.sources.get(&start.source).ok_or_else(gone)?;
    let every = groups.of_source(source, names).map(|stated| stated.group.short_term.sync);
    let is_fresh = |state: &PointInfo| {
        let Some(Sync::Every(length)) = every else { return false };
        let age = wall_nanos(now.wall).0.saturating_sub(state.at.0);
        SignedDuration::from_nanos(age) <= length.duration()
    };
    // A point between two synchronisations is the newest of them, and asks nothing of the machine.
    if start.kind == Kind::Point && start.covers_sync.is_none() && !start.resumes {
        let state = working_state(daemon, &start.source).await?;
        if state.as_ref().is_some_and(is_fresh) {
            promote(daemon, names, &start.source, order).await?;
            let mut state = daemon.schedule.state();
            if let Some(history) = &mut state.history {
                history.finished(&start.source, &start.kind, Ended::Good, now);
            }
            return Ok(());
        }
    }
    let name = names.source(&start.source);
    let accepted =
        daemon.jobs.accept_backup(&source.machine, &source.id, name, order, || Ok(())).await?;
    let stands_for = (start.source.clone(), start.kind.clone());
    daemon.schedule.state().jobs.entry(accepted.job).or_default().push(stands_for);
    daemon.jobs.release(accepted.job);
    if !daemon.connected.command(&source.machine, Command::Run(accepted.job)) {
        // It went away this moment: the slot waits for it, and the job keeps nobody's place.
        daemon.jobs.park(accepted.job);
    }
    Ok(())
}

async fn working_state(daemon: &Daemon, source: &str) -> Result<Option<PointInfo>, Failure> {
    let Some(source) = id_text::decode(source).map(SourceId) else { return Ok(None) };
    let ask = move |pool: crate::pool_thread::LivePool| async move { pool.working_state(&source) };
    daemon.store.pool.call(ask).await.map_err(of_closed)
}

/// Makes the newest synchronisation a point.
async fn promote(
    daemon: &Daemon,
    names: &Names,
    source: &str,
    order: Order,
) -> Result<PointInfo, Failure> {
    let gone = || Failure::new(Code::SourceUnknown, "the source is gone");
    let record = names.sources.get(source).ok_or_else(gone)?;
    let state = working_state(daemon, source).await?.ok_or_else(gone)?;
    let given = daemon.given(record, order).await?;
    let facts = PointFacts {
        slot: order.slot,
        keep_until: given.keep_until,
        tags: given.tags,
        ..PointFacts::parse(&state.attributes)
    };
    let (id, now) = (state.source, daemon.store.pool.now());
    let make = move |pool: crate::pool_thread::LivePool| async move {
        pool.promote(id, facts.to_bytes(), now).await
    };
    let made = daemon.store.pool.call(make).await.map_err(of_closed)?;
    let point = made.map_err(|error| of_forget(&error))?;
    daemon.point_committed(&point).await;
    let (id, name) = (id_text::encode(&point.id.0), names.source(source));
    tracing::info!(
        source = name,
        point = id,
        at = rfc3339(point.at),
        "point made of the newest sync"
    );
    let outcome = if point.partial { Outcome::Partial } else { Outcome::Ok };
    if let Err(error) = daemon.jobs.promoted(name, order, id, outcome).await {
        super::log_chain("a point was made, and its job not noted", &error);
    }
    Ok(point)
}

/// A point whose machine cannot be asked is made from the newest synchronisation, if there is one.
async fn promote_instead(daemon: &Daemon, names: &Names, groups: &Groups, wait: &Wait, now: Now) {
    let away = matches!(
        wait.reason,
        WaitReason::MachineAway
            | WaitReason::MachineAsleep { .. }
            | WaitReason::OnBattery
            | WaitReason::Metered
    );
    let source = names.sources.get(&wait.source);
    let syncs = source.and_then(|source| groups.of_source(source, names));
    let syncs = syncs.is_some_and(|stated| stated.group.short_term.sync != Sync::BeforePoint);
    let (Some(slot), Kind::Point, true, true) = (wait.slot, &wait.kind, away, syncs) else {
        return;
    };
    if !matches!(working_state(daemon, &wait.source).await, Ok(Some(_))) {
        return;
    }
    let order = Order { slot: Some(wall_nanos(slot).0), ..Order::default() };
    match promote(daemon, names, &wait.source, order).await {
        Ok(_) => {
            let mut state = daemon.schedule.state();
            if let Some(history) = &mut state.history {
                history.made(&wait.source, Some(slot), now);
            }
        }
        Err(failure) => {
            let (source, error) = (names.source(&wait.source), failure.message);
            tracing::warn!(source, error, "the newest synchronisation did not become a point");
        }
    }
}

fn because(cause: Option<&WaitReason>) -> String {
    cause.map_or_else(|| String::from("nobody was there to start it"), ToString::to_string)
}

async fn tell_missed(daemon: &Daemon, names: &Names, missed: &Missed) {
    let source = names.source(&missed.source);
    let passed = missed.slots;
    let why = because(missed.cause.as_ref());
    let text = format!(
        "{} runs of {source} were not made, from {} to {}: {why}",
        passed.count, passed.first, passed.last
    );
    if missed.kind != Kind::Point {
        // The next synchronisation brings everything: nothing is lost by it.
        return tracing::info!(source, text, "synchronisations missed");
    }
    tell(daemon, source, &missed.kind, Some(passed.last), text).await;
}

async fn tell_overdue(daemon: &Daemon, names: &Names, overdue: &Overdue) {
    let source = names.source(&overdue.source);
    let why = because(overdue.cause.as_ref());
    let (slot, text) = match overdue.what {
        Promise::Deadline { last_good: Some(at), deadline } => (
            None,
            format!("the newest point of {source} is of {at}, older than {deadline:#}: {why}"),
        ),
        Promise::Deadline { last_good: None, deadline } => {
            (None, format!("{source} has had no point for {deadline:#}: {why}"))
        }
        Promise::StartWithin { slot, within } => (
            Some(slot),
            format!("{source} was due at {slot} and not started within {within:#}: {why}"),
        ),
    };
    tell(daemon, source, &overdue.kind, slot, text).await;
}

async fn tell(daemon: &Daemon, source: String, kind: &Kind, slot: Option<Timestamp>, text: String) {
    let slot = slot.map(|slot| wall_nanos(slot).0);
    let order = Order { slot, sync: *kind == Kind::Sync, ..Order::default() };
    let why = Failure::new(Code::BackupMissed, text);
    if let Err(error) = daemon.jobs.missed(source, order, why).await {
        super::log_chain("a missed backup was not noted", &error);
    }
}
