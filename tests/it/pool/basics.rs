//! The road of a backup, without faults.

use keelhold_disk::mutants::Mutants;
use keelhold_tests::rig::{Files, Machine, Rig, read_point};

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn some_files(count: u64) -> Files {
    let len = |n: u64| (n * 977 % 9000) as usize;
    (0..count).map(|n| (format!("d{}/f{n:03}", n % 7), noise(n, len(n)))).collect()
}

#[test]
fn what_was_committed_is_read_back_also_after_closing_and_after_a_crash() {
    let mut rig = Rig::new(1, 1, Mutants::default());
    let pool = rig.create().unwrap();
    let mut machine = Machine::new(1);
    let mut files = some_files(40);
    let now = rig.now();
    let first = rig.run(machine.backup(&pool, &files, now)).unwrap();
    assert_eq!(rig.run(read_point(&pool, &first.id)).unwrap(), files);
    let before = files.clone();
    files.insert("d3/new".into(), noise(99, 5000));
    files.remove("d1/f001");
    let second = rig.run(machine.backup(&pool, &files, now)).unwrap();
    for round in 0..3 {
        drop(pool.clone());
        if round < 2 {
            rig.crash();
        }
        let pool = rig.open().unwrap();
        assert_eq!(pool.points().len(), 2);
        assert_eq!(rig.run(read_point(&pool, &first.id)).unwrap(), before);
        assert_eq!(rig.run(read_point(&pool, &second.id)).unwrap(), files);
        rig.run(pool.close(now)).unwrap();
    }
}

#[test]
fn an_unchanged_tree_adds_little_and_a_second_machine_shares() {
    let mut rig = Rig::new(2, 2, Mutants::default());
    let pool = rig.create().unwrap();
    let (mut one, mut two) = (Machine::new(1), Machine::new(2));
    let files = some_files(60);
    let now = rig.now();
    rig.run(one.backup(&pool, &files, now)).unwrap();
    let chunks = pool.status().chunks;
    rig.run(one.backup(&pool, &files, now)).unwrap();
    assert_eq!(pool.status().chunks, chunks + 1, "only the recipe is new");
    rig.run(two.backup(&pool, &files, now)).unwrap();
    assert_eq!(pool.status().chunks, chunks + 2, "data and pages are shared");
    let report = rig.run(pool.verify(|_, _| {}));
    assert!(report.findings.is_empty(), "{report:?}");
    assert_eq!(report.chunks, pool.status().chunks);
}
