//! A full pool refuses new data with a clear error, keeps what it has, and can still be worked on.

use keelhold_disk::mutants::Mutants;
use keelhold_disk::pool::RecordChange;
use keelhold_disk::units::UnixNanos;
use keelhold_disk::{CommitError, IngestError};
use keelhold_tests::rig::{Files, Machine, Rig, Shape, read_point};

use super::content::noise;

#[test]
fn a_full_pool_refuses_data_and_nothing_else() {
    for seed in 0..3 {
        let shape = Shape { disk_len: 3 << 20, ..Shape::toy(1 + seed as usize % 2) };
        let mut rig = Rig::shaped(seed, shape, Mutants::default());
        let mut pool = rig.create().unwrap();
        let mut machine = Machine::new(1);
        let (mut files, mut points, mut refused) = (Files::new(), Vec::new(), 0);
        for round in 0..400i64 {
            files.insert(format!("f{round}"), noise(seed + round as u64, 30_000));
            match rig.run(machine.backup(&pool, &files, UnixNanos(round + 1))) {
                Ok(point) => points.push((point.id, files.clone())),
                Err(IngestError::Commit(CommitError::Full { .. })) => {
                    refused += 1;
                    files.remove(&format!("f{round}"));
                    let now = UnixNanos(round + 1);
                    let sessions = pool.sessions();
                    sessions.iter().for_each(|s| rig.run(pool.cancel(s.id, now)).unwrap());
                    let bytes = Some(vec![round as u8; 200]);
                    let change = RecordChange { name: "r".into(), expected: None, bytes };
                    rig.run(pool.write_records(vec![change], now)).unwrap();
                    rig.run(pool.checkpoint(now)).unwrap();
                    if refused % 5 == 0 {
                        rig.crash();
                        pool = rig.open().unwrap();
                    }
                }
                Err(error) => panic!("seed {seed}, round {round}: {error:?}"),
            }
            if refused > 40 {
                break;
            }
        }
        assert!(refused > 40 && points.len() > 10, "{refused} refused, {} kept", points.len());
        for (id, files) in &points {
            assert_eq!(rig.run(read_point(&pool, id)).unwrap(), *files);
        }
        let report = rig.run(pool.verify(|_, _| {}));
        assert!(report.findings.is_empty(), "{:?}", report.findings);
        println!("full pool: {refused} backups refused, {} points whole", points.len());
    }
}
