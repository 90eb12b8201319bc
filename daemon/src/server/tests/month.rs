//! Fifty machines and a month, in virtual time: real sessions, real pool, real schedule.

use super::time::Hand;
use super::*;
use crate::api::types::{GroupText, GroupTexts, JobKind};
use crate::audit::Actor;
use crate::clock::Clock as _;
use crate::job::{FinishedJob, Notice};
use crate::machine::connected::{Command, Place};
use crate::record::FINISHED_JOBS;
use std::collections::BTreeMap;

const HOUR: i64 = 3_600 * 1_000_000_000;
const DAYS: i64 = 30;
const MACHINES: u8 = 50;
/// Of them these are synchronised every six hours.
const SYNCED: std::ops::Range<u8> = 1..11;

const SYNCED_GROUP: &str = r#"name = "synced"
zone = "UTC"
MEMBERS
[short_term]
points = ["daily 12:00"]
sync = "6h"
[short_term.keep]
daily = { for = "7 days" }
"#;
const OTHERS: &str = r#"name = "default"
zone = "UTC"
[[member]]
machine = "*"
every = "file-systems"
[short_term]
points = ["daily 12:00"]
[short_term.keep]
daily = { for = "30 days" }
"#;

fn id_of(number: u8) -> String {
    crate::id_text::encode(&[number; 16])
}

fn name_of(number: u8) -> String {
    format!("machine-{number}/tree")
}

/// One machine: there, or away.
struct Agent {
    number: u8,
    place: Option<Place>,
    /// Hours until it comes or goes.
    left: i64,
}

struct Fleet {
    house: House,
    clock: Arc<Hand>,
    agents: Vec<Agent>,
    notices: mpsc::UnboundedReceiver<Notice>,
    random: u64,
    sessions: u64,
}

/// The agent's side of a session: two entries, the second another one each time.
async fn answer(mut messages: Messages, inlet: Inlet, job: JobId, salt: u64) {
    while let Some(message) = messages.recv().await {
        let FromServer::StartBackup(_) = message else { continue };
        let content = Content::Inline(salt.to_le_bytes().to_vec());
        let items = vec![root(), file(b"a", 8, content)];
        let said = [
            FromAgent::Started(Started { job }),
            FromAgent::Items(Items { job, seq: 1, items }),
            FromAgent::Finish(Finish {
                job,
                stats: BackupStats::default(),
                reached: Default::default(),
            }),
        ];
        for message in said {
            let len = message.to_bytes().len() as u64;
            inlet.take(message, len).unwrap();
        }
    }
}

impl Fleet {
    async fn new(name: &str) -> Self {
        let clock = Hand::new();
        let house = house_by(name, clock.clone()).await;
        let (tell, notices) = mpsc::unbounded_channel();
        house.daemon.jobs.tell_ends(tell);
        let mut change = house.daemon.store.change().await;
        for number in 1..=MACHINES {
            let id = id_of(number);
            let machine = MachineRecord {
                id: id.clone(),
                name: format!("machine-{number}"),
                state: MachineState::Active,
                key: None,
                denied_keys: Vec::new(),
                version: None,
                last_seen: None,
                quota_bytes: None,
            };
            change.put(machine_key(&id), &machine).unwrap();
            change.put(source_key(&id), &source(number)).unwrap();
        }
        change.commit().await.unwrap();
        let agent = |number| Agent { number, place: None, left: 0 };
        let agents = (1..=MACHINES).map(agent).collect();
        Self { house, clock, agents, notices, random: 7, sessions: 0 }
    }

    fn draw(&mut self, below: i64) -> i64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        i64::try_from(self.random % below.unsigned_abs()).unwrap()
    }

    async fn apply_groups(&self) {
        let member =
            |number| format!("[[member]]\nmachine = \"machine-{number}\"\nsource = \"tree\"\n");
        let members: String = SYNCED.map(member).collect();
        let text = |text: String| GroupText { origin: String::from("test"), text };
        let groups = vec![text(SYNCED_GROUP.replace("MEMBERS", &members)), text(OTHERS.into())];
        let texts = GroupTexts { groups, confirmed: true };
        self.house.daemon.apply_groups(&Actor::keelhold(), &texts).await.unwrap();
    }

    /// An hour goes by: some machines come, some go. Every third is a laptop.
    fn come_and_go(&mut self) {
        for at in 0..self.agents.len() {
            self.agents[at].left -= 1;
            if self.agents[at].left > 0 {
                continue;
            }
            let number = self.agents[at].number;
            let there = self.agents[at].place.is_some();
            let left = match (number % 3, there) {
                (0, true) => 1 + self.draw(60),
                (0, false) => 1 + self.draw(12),
                (_, true) => 1 + self.draw(3),
                (_, false) => 200 + self.draw(400),
            };
            let connected = &self.house.daemon.connected;
            self.agents[at].left = left;
            self.agents[at].place = match self.agents[at].place.take() {
                Some(place) => {
                    connected.leave(&place);
                    None
                }
                None => Some(connected.enter(&id_of(number), "1", 1)),
            };
        }
    }

    async fn step(&mut self) {
        let mut notices = Vec::new();
        while let Ok(notice) = self.notices.try_recv() {
            notices.push(notice);
        }
        self.house.daemon.schedule_step(&notices).await.unwrap();
    }

    /// Everything that machines were told to do is done.
    async fn work(&mut self) -> bool {
        let mut jobs = Vec::new();
        for agent in &mut self.agents {
            let Some(place) = &mut agent.place else { continue };
            while let Ok(Command::Run(job)) = place.commands.try_recv() {
                jobs.push(job);
            }
            jobs.extend(self.house.daemon.jobs.waiting(place.machine()));
        }
        for job in &jobs {
            if !self.house.daemon.jobs.take(*job) {
                continue;
            }
            self.sessions += 1;
            let (inlet, arrivals) = Inlet::new();
            let (outbox, messages) = Outbox::new();
            let agent = tokio::spawn(answer(Messages(messages), inlet, *job, self.sessions));
            let stopping = self.house.stop.subscribe();
            super::super::connection::run_job(
                &self.house.daemon,
                *job,
                &outbox,
                arrivals,
                stopping,
            )
            .await;
            drop(outbox);
            agent.await.unwrap();
        }
        !jobs.is_empty()
    }

    async fn jobs(&self) -> Vec<FinishedJob> {
        let read = |pool: crate::pool_thread::LivePool| async move {
            pool.series(FINISHED_JOBS, 0, usize::MAX)
        };
        let entries = self.house.daemon.store.pool.call(read).await.unwrap();
        entries.iter().map(|(_, entry)| FinishedJob::from_entry(entry).unwrap()).collect()
    }
}

fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap() * 4096
}

/// Slots of points that were kept or told to be missed, and whether an overdue was told.
#[derive(Debug, Default)]
struct Accounted {
    points: i64,
    missed: i64,
    overdue: i64,
}

fn account(jobs: &[FinishedJob]) -> BTreeMap<String, Accounted> {
    let mut accounts: BTreeMap<String, Accounted> = BTreeMap::new();
    for FinishedJob { job, .. } in jobs.iter().filter(|each| each.job.kind == JobKind::Backup) {
        let account = accounts.entry(job.source.clone()).or_default();
        let text = job.error.as_ref().map_or("", |error| error.message.as_str());
        match job.result {
            Some(Outcome::Ok) => account.points += 1,
            Some(Outcome::Missed) if text.contains("runs of") => {
                account.missed += text.split(' ').next().unwrap().parse::<i64>().unwrap();
            }
            Some(Outcome::Missed) => account.overdue += 1,
            other => panic!("{other:?}: {text}"),
        }
    }
    accounts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_goal_of_fifty_machines_is_met_or_reported_for_a_month() {
    let mut fleet = Fleet::new("month").await;
    fleet.apply_groups().await;
    let mut early = 0;
    for hour in 0..24 * DAYS {
        fleet.come_and_go();
        fleet.step().await;
        while fleet.work().await {
            fleet.step().await;
        }
        fleet.clock.pass(HOUR);
        if hour == 24 * 10 {
            early = resident();
        }
    }
    let grown = resident().saturating_sub(early) >> 20;
    assert!(grown < 64, "memory grew by {grown} MiB in twenty days");
    let jobs = fleet.jobs().await;
    let accounts = account(&jobs);
    let (mut points, mut missed, mut overdue) = (0, 0, 0);
    for agent in &fleet.agents {
        let name = name_of(agent.number);
        let found = &accounts[&name];
        // The newest slot may still wait for a machine that is away.
        let open = DAYS - found.points - found.missed;
        let waits = agent.place.is_none() && open == 1;
        assert!(open == 0 || waits, "{name}: {found:?}, {open} slots unaccounted");
        let away = agent.number % 3 == 0;
        assert!(away || found.overdue == 0, "{name} was there and is called overdue: {found:?}");
        points += found.points;
        missed += found.missed;
        overdue += found.overdue;
    }
    println!(
        "{} sessions, {points} points, {missed} missed, {overdue} times overdue, {} jobs",
        fleet.sessions,
        jobs.len()
    );
    assert!(missed > 0 && overdue > 0, "laptops are away for days");
    // Nobody ever heard of these two: that is told, too.
    for name in ["machine-a/tree", "machine-b/tree"] {
        assert!(accounts[name].overdue > 0 && accounts[name].points == 0, "{name}");
    }
    check_retention(&fleet).await;
}

/// After seven days the points of the synchronised are gone, and nobody else's.
async fn check_retention(fleet: &Fleet) {
    let now = fleet.clock.now().0;
    let points = fleet.house.daemon.points().await.unwrap();
    let listed = points.iter().filter(|point| point.trashed_until.is_none());
    let mut newest: BTreeMap<u8, i64> = BTreeMap::new();
    for point in points.iter() {
        let of = newest.entry(point.source.0[0]).or_insert(i64::MIN);
        *of = (*of).max(point.at.0);
    }
    for point in listed {
        let number = point.source.0[0];
        let age_hours = (now - point.at.0) / HOUR;
        let is_last = newest[&number] == point.at.0;
        let most = if SYNCED.contains(&number) { 7 * 24 + 6 + 2 } else { 30 * 24 + 2 };
        assert!(age_hours <= most || is_last, "machine-{number}: a point is {age_hours} h old");
    }
    for point in points.iter().filter(|point| point.trashed_until.is_some()) {
        let number = point.source.0[0];
        let age_hours = (now - point.at.0) / HOUR;
        assert!(SYNCED.contains(&number) && age_hours >= 7 * 24, "machine-{number} lost a point");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_point_whose_end_nobody_heard_of_is_not_made_twice() {
    let mut fleet = Fleet::new("unheard").await;
    fleet.apply_groups().await;
    fleet.step().await;
    for agent in &mut fleet.agents {
        agent.place = Some(fleet.house.daemon.connected.enter(&id_of(agent.number), "1", 1));
    }
    // Noon comes, and every machine makes its point.
    fleet.clock.pass(13 * HOUR);
    let mut rounds = 0;
    loop {
        fleet.step().await;
        if !fleet.work().await {
            break;
        }
        rounds += 1;
        // A daemon dies behind every round: nobody tells the next one how jobs ended.
        while fleet.notices.try_recv().is_ok() {}
        fleet.house.daemon.schedule.forget_all();
    }
    let points = fleet.house.daemon.points().await.unwrap();
    let mut of_slots: BTreeMap<(u8, Option<i64>), u32> = BTreeMap::new();
    for point in &points {
        let slot = crate::point_facts::PointFacts::parse(&point.attributes).slot;
        *of_slots.entry((point.source.0[0], slot)).or_default() += 1;
    }
    assert!(rounds > 3, "as many at once as there are slots: {rounds}");
    assert_eq!(points.len(), usize::from(MACHINES), "{of_slots:?}");
    assert!(of_slots.values().all(|count| *count == 1), "{of_slots:?}");
}
