//! Space: what the forecast names comes back, and a full pool can always be emptied.

use futures_util::future::join;
use keelhold_disk::mutants::Mutants;
use keelhold_disk::pool::{PoolStatus, ReclaimOptions};
use keelhold_disk::units::{PointId, UnixNanos};
use keelhold_disk::{CommitError, IngestError};
use keelhold_tests::rig::{
    CONTAINER_LEN, Files, Machine, Rig, Shape, SimPool, campaign, read_point,
};

use crate::pool::content::{noise, text};
use crate::pool::verdict::{Verdict, chain, ensure};

const CYCLES: u64 = 100;

/// Shares of all chunks, live, dead and left behind, are the stored bytes of all frames.
fn shares_add_up(status: &PoolStatus) {
    assert_eq!(status.bytes_live + status.bytes_dead, status.bytes_frames, "{status:?}");
}

/// A history whose forgotten chunks lie beside kept ones.
fn mixed(rig: &mut Rig, pool: &SimPool) -> (Vec<PointId>, Files) {
    let (mut one, mut two) = (Machine::new(1), Machine::new(2));
    let (mut kept, mut forgotten) = (Files::new(), Vec::new());
    for n in 0..120u64 {
        let now = UnixNanos(1 + n as i64);
        kept.insert(format!("kept/{n}"), noise(n, 3000 + 40 * n as usize));
        rig.run(one.backup(pool, &kept, now)).unwrap();
        let len = 3000 + 37 * n as usize;
        let own = if n % 3 == 0 { text(n, 3 * len) } else { noise(900 + n, len) };
        let gone = Files::from([(format!("gone/{n}"), own)]);
        let point = rig.run(two.backup(pool, &gone, now)).unwrap();
        forgotten.push(point.id);
        // Some stretches are all of one kind: whole containers die.
        if n % 20 == 0 {
            let big = Files::from([("big".to_owned(), noise(5000 + n, 90_000))]);
            forgotten.push(rig.run(Machine::new(3).backup(pool, &big, now)).unwrap().id);
        }
    }
    (forgotten, kept)
}

#[test]
fn what_the_forecast_names_comes_back() {
    for least_dead in [10, 25, 45] {
        let shape = Shape { disk_len: 16 << 20, ..Shape::toy(1) };
        let mut rig = Rig::shaped(5, shape, Mutants::default());
        let pool = rig.create().unwrap();
        let (forgotten, kept) = mixed(&mut rig, &pool);
        let now = UnixNanos(1000);
        // Containers still open are not touched: everything is sealed by a new opening.
        rig.run(pool.clone().close(now)).unwrap();
        rig.end();
        let pool = rig.open().unwrap();
        shares_add_up(&pool.status());
        let forecast = pool.forecast(&forgotten, least_dead);
        let before = pool.status();
        rig.run(pool.forget(&forgotten, now, now)).unwrap();
        let options = ReclaimOptions { least_dead, confirmed: false };
        let report = rig.run(pool.reclaim(options, now)).unwrap();
        let after = pool.status();
        shares_add_up(&after);
        let freed = before.bytes_frames - after.bytes_frames;
        println!("least dead {least_dead} %: forecast {forecast:?}, freed {freed}, {report:?}");
        assert_eq!(report.freed_len, freed);
        let off = freed.abs_diff(forecast.freed_len);
        assert!(off * 100 <= forecast.freed_len * 3, "{off} bytes beside the forecast");
        assert!(after.bytes_free > before.bytes_free, "no slot came back");
        let newest = pool.newest_point(&Machine::new(1).source).unwrap();
        assert_eq!(rig.run(read_point(&pool, &newest)).unwrap(), kept);
        // A second pass finds nothing to do.
        let again = rig.run(pool.reclaim(options, now)).unwrap();
        assert_eq!((again.freed_len, again.moved_len), (0, 0), "{again:?}");
        rig.run(pool.audit_sets()).unwrap();
    }
}

/// Whoever holds places finds there what was there, however often slots are given away.
pub fn held(mutants: Mutants) -> Verdict {
    let mut rig = Rig::shaped(8, Shape { disk_len: 16 << 20, ..Shape::toy(1) }, mutants);
    let pool = rig.create().map_err(|error| chain(&error))?;
    let (forgotten, _) = mixed(&mut rig, &pool);
    let (now, later) = (UnixNanos(1000), UnixNanos(1001));
    let held = pool.hold();
    rig.run(pool.forget(&forgotten, now, now)).map_err(|error| chain(&error))?;
    let options = ReclaimOptions::default();
    let report = rig.run(pool.reclaim(options, now)).map_err(|error| chain(&error))?;
    ensure!(report.containers_freed > 0, "nothing was freed");
    let leaving = pool.status().containers_leaving;
    ensure!(leaving >= report.containers_freed, "{leaving} of the freed wait for their reader");
    drop(held);
    for _ in 0..2 {
        rig.run(pool.checkpoint(later)).map_err(|error| chain(&error))?;
    }
    ensure!(pool.status().containers_leaving == 0, "nobody reads, and slots are kept");
    Ok(())
}

#[test]
fn a_slot_waits_for_its_last_reader() {
    held(Mutants::default()).unwrap_or_else(|words| panic!("{words}"));
}

#[test]
fn a_pool_is_filled_and_emptied_again_and_again() {
    let shape = Shape { disk_len: 3 << 20, ..Shape::toy(1) };
    let mut rig = Rig::shaped(3, shape, Mutants::default());
    let mut pool = rig.create().unwrap();
    for cycle in 0..campaign(CYCLES) {
        let mut machine = Machine::new(1);
        let (mut points, mut round) = (Vec::new(), 0u64);
        // Until it is full.
        loop {
            round += 1;
            let now = UnixNanos((cycle * 1000 + round) as i64);
            let seed = cycle * 1000 + round;
            let files = Files::from([("f".to_owned(), noise(seed, 40_000))]);
            match rig.run(machine.backup(&pool, &files, now)) {
                Ok(point) => points.push((point.id, files)),
                Err(IngestError::Commit(CommitError::Full { .. })) => break,
                Err(error) => panic!("cycle {cycle}, round {round}: {error:?}"),
            }
        }
        let now = UnixNanos((cycle * 1000 + 999) as i64);
        assert!(points.len() > 10, "cycle {cycle}: {} points", points.len());
        // Restores and verification work, and so does an opening.
        if cycle % 10 == 0 {
            let (id, files) = &points[points.len() / 2];
            assert_eq!(rig.run(read_point(&pool, id)).unwrap(), *files);
            assert!(rig.run(pool.verify(|_, _| {})).findings.is_empty());
            rig.crash();
            pool = rig.open().unwrap();
        }
        let ids: Vec<PointId> = points.iter().map(|(id, _)| *id).collect();
        rig.run(pool.forget(&ids, now, now)).unwrap();
        for session in pool.sessions() {
            rig.run(pool.cancel(session.id, now)).unwrap();
        }
        rig.run(pool.reclaim(ReclaimOptions { least_dead: 5, confirmed: false }, now)).unwrap();
        let status = pool.status();
        shares_add_up(&status);
        assert_eq!((status.points, status.bytes_live), (0, 0), "cycle {cycle}: {status:?}");
        // Every byte is accounted for, and nothing of the data is left.
        let in_use = status.containers_data + status.containers_state + status.containers_leaving;
        assert_eq!(status.bytes_free + in_use * CONTAINER_LEN, status.bytes_total);
        assert_eq!((status.containers_data, status.bytes_frames), (0, 0), "cycle {cycle}");
        // Sheets of the index fill some of their own.
        assert!(status.containers_state <= 18, "cycle {cycle}: {status:?}");
    }
    rig.run(pool.audit_sets()).unwrap();
    let status = pool.status();
    assert_eq!(status.chunks, 0, "{status:?}");
    println!("{} cycles, {} bytes free at the end", campaign(CYCLES), status.bytes_free);
}

/// What a reclaim says it freed is what it freed, whatever others write meanwhile.
#[test]
fn a_session_beside_it_does_not_change_what_reclaim_reports() {
    for key in [false, true] {
        let report = |beside: bool| {
            let shape = Shape { disk_len: 16 << 20, ..Shape::toy(1) };
            let mut rig = Rig::shaped(if key { 4 } else { 5 }, shape, Mutants::default());
            assert_eq!(rig.key.is_some(), key);
            let pool = rig.create().unwrap();
            let (forgotten, _) = mixed(&mut rig, &pool);
            let now = UnixNanos(1000);
            rig.run(pool.clone().close(now)).unwrap();
            rig.end();
            let pool = rig.open().unwrap();
            rig.run(pool.forget(&forgotten, now, now)).unwrap();
            let options = ReclaimOptions { least_dead: 25, confirmed: false };
            let before = pool.status().bytes_frames;
            let session = async {
                let files: Files =
                    (0..40).map(|n| (format!("new/{n}"), noise(7000 + n, 20_000))).collect();
                match beside {
                    true => Machine::new(9).backup(&pool, &files, now).await.map(drop),
                    false => Ok(()),
                }
            };
            let (report, made) = rig.run(join(pool.reclaim(options, now), session));
            made.unwrap();
            let report = report.unwrap();
            let written = pool.status().bytes_frames + report.freed_len - before;
            assert_eq!(written > 0, beside, "{written} bytes were written beside it");
            (report.freed_len, report.moved_len, report.containers_freed)
        };
        let (alone, beside) = (report(false), report(true));
        println!(
            "encrypted {key}: freed, moved and containers {alone:?}, beside a session {beside:?}"
        );
        assert_eq!(alone, beside);
        assert!(alone.0 > 0 && alone.1 > 0 && alone.2 > 0, "{alone:?}");
    }
}
