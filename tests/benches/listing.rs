//! What listing and planning cost a daemon with ten thousand points of one source and two thousand
//! sources in one group.
//!
//! The points are made by the engine, without an agent; then the daemon as shipped is asked by the
//! command line as shipped. Processor time is the daemon's, from /proc, a median over rounds of ten
//! requests.
//!
//! `cargo bench -p keelhold-tests --bench listing -- [POINTS [SOURCES]]`

use std::sync::Arc;
use std::time::{Duration, Instant};

use keelhold_chunk::{Attributes, Kind, Timestamp};
use keelhold_daemon::clock::{SharedClock, SystemClock};
use keelhold_daemon::point_facts::PointFacts;
use keelhold_daemon::pool_open::{PoolSizes, start};
use keelhold_daemon::pool_thread::{LivePool, PoolHandle};
use keelhold_daemon::record::{SourceRecord, source_key};
use keelhold_daemon::state_dir::StateDir;
use keelhold_daemon::store::Store;
use keelhold_disk::pool::{BeginSession, CommitPoint, INDEX_BUDGET, NewContent, NewItem};
use keelhold_disk::units::{DomainId, SourceId, UnixNanos};
use keelhold_tests::appliance::{Appliance, Scratch};

const ROUNDS: usize = 5;
const REQUESTS: u32 = 10;
const HOUR: i64 = 3_600 * 1_000_000_000;
/// A day in 2026.
const FIRST: i64 = 20_600 * 24 * HOUR;

const GROUP: &str = r#"name = "all"
zone = "Europe/Berlin"
[[member]]
machine = "*"
every = "file-systems"
[short_term]
points = ["daily 08:00 12:00 18:00"]
sync = "1h"
[short_term.keep]
daily = { for = "9000 days" }
"#;

fn main() {
    // `cargo bench` adds a flag of its own.
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let mut number = |default| args.next().map_or(default, |arg| arg.parse().expect("a number"));
    let (points, sources): (u64, u64) = (number(10_000), number(2_000));
    let scratch = Scratch::new("listing");
    let mut appliance = Appliance::new(&scratch);
    let disk = format!("{}:1GiB", appliance.pool.display());
    let _ = appliance.ask(&["pool", "create", "--disk", &disk]).ok();
    appliance.start_daemon();
    appliance.enrol("m", &appliance.agent_state.clone());
    let _ = appliance.ask(&["source", "add", "m", "t", "--tree", "/etc"]).ok();
    appliance.stop_daemon();
    fill(&appliance, points, sources);
    appliance.start_daemon();
    let file = scratch.path().join("all.toml");
    std::fs::write(&file, GROUP).expect("a file");
    let _ = appliance.ask(&["group", "apply", &file.display().to_string()]).ok();
    report(&appliance, "listing all points of a source", &["point", "list", "m/t"]);
    report(&appliance, "a page of fifty", &["point", "list", "m/t", "--count", "50"]);
    report(&appliance, "planning a day", &["schedule", "next", "--count", "10000"]);
}

fn fill(appliance: &Appliance, points: u64, sources: u64) {
    let disks = StateDir::new(appliance.state.clone()).disks().expect("a state").expect("disks");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let thread = runtime.block_on(async {
        let clock: SharedClock = Arc::new(SystemClock);
        let sizes = PoolSizes { workers: 1, index_budget: INDEX_BUDGET };
        let pool = start(disks, sizes, None, Arc::clone(&clock)).await.expect("a pool");
        let store = Store::new(pool.handle.clone(), clock);
        let known: Vec<SourceRecord> = store.records("source/").await.expect("records");
        let of = known.first().expect("the source that was added").clone();
        more_sources(&store, &of, sources).await;
        for number in 0..points {
            point(&pool.handle, &of, number).await;
        }
        pool.thread
    });
    thread.join().expect("the pool closes");
}

async fn more_sources(store: &Store, like: &SourceRecord, count: u64) {
    let mut change = store.change().await;
    for number in 1..count {
        let mut id = [0x77; 16];
        id[..8].copy_from_slice(&number.to_le_bytes());
        let id = keelhold_daemon::id_text::encode(&id);
        let name = format!("t{number}");
        let record = SourceRecord { id: id.clone(), name, ..like.clone() };
        change.put(source_key(&id), &record).expect("a record");
    }
    change.commit().await.expect("records");
}

async fn point(pool: &PoolHandle, of: &SourceRecord, number: u64) {
    let id = |text: &str| keelhold_daemon::id_text::decode(text).expect("an id");
    let (source, domain) = (SourceId(id(&of.id)), DomainId(id(&of.machine)));
    let at = UnixNanos(FIRST + i64::try_from(number).expect("a small number") * HOUR);
    let facts = PointFacts {
        job: number,
        root_hex: String::from("2f657463"),
        consistency: String::from("crash"),
        tags: vec![String::from("daily")],
        files: 1_000 + number,
        made_at: at.0,
        slot: Some(at.0),
        ..PointFacts::default()
    };
    let make = move |pool: LivePool| async move {
        let now = pool.witnessed();
        let basis = None;
        let begin = BeginSession { source, domain, basis, lease_until: at };
        let session = pool.begin(begin, now).await?;
        let mtime = Timestamp { secs: at.0, nanos: 0 };
        let attributes = Attributes {
            kind: Kind::Directory,
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime,
            link_group: None,
            xattrs: Vec::new(),
        };
        let attributes = attributes.to_bytes();
        let root = NewItem::Entry { path: Vec::new(), attributes, content: NewContent::None };
        pool.push(session, vec![root]).await?;
        let commit = CommitPoint { at, attributes: facts.to_bytes(), ..CommitPoint::default() };
        pool.commit(session, commit, now).await
    };
    pool.call(make).await.expect("the pool").expect("a point");
}

fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let behind = stat.rsplit(')').next().expect("a name in brackets");
    let ticks: u64 =
        behind.split(' ').skip(12).take(2).map(|field| field.parse::<u64>().expect("ticks")).sum();
    Duration::from_millis(10 * ticks)
}

fn report(appliance: &Appliance, what: &str, args: &[&str]) {
    let pid = appliance.pids().0.expect("a daemon");
    let (mut cpus, mut walls, mut len) = (Vec::new(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        let (before, began) = (cpu(pid), Instant::now());
        for _ in 0..REQUESTS {
            len = appliance.ask(args).ok().as_array().map_or(0, Vec::len);
        }
        walls.push(began.elapsed() / REQUESTS);
        cpus.push((cpu(pid) - before) / REQUESTS);
    }
    cpus.sort();
    walls.sort();
    let (cpu, wall) = (cpus[ROUNDS / 2].as_secs_f64() * 1e3, walls[ROUNDS / 2].as_secs_f64() * 1e3);
    println!("{what}: {len} lines, daemon {cpu:.1} ms of processor time, command {wall:.1} ms");
}
