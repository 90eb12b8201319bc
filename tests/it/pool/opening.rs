//! What an opening reads after a crash: the state and the journal behind it, and not the disks.

use keelhold_disk::mutants::Mutants;
use keelhold_disk::pool::Claim;
use keelhold_disk::units::UnixNanos;
use keelhold_tests::rig::{Files, Machine, Rig, Shape, SimPool};

use super::content::noise;

const JOURNAL_LEN: u64 = 32 << 20;
/// A run's directory is read with so much of what follows.
const DIRECTORY_READ: u64 = 32 << 10;
/// Read behind the journal's end, in both zones: the longest entry, and a block.
const BEHIND: u64 = 2 * (JOURNAL_LEN / 8 + 3 * 4096);
/// Labels, superblocks, and heads that are read by themselves.
const FIXED: u64 = 256 << 10;

fn sum(claims: &[Claim], what: &str) -> u64 {
    claims.iter().filter(|claim| claim.what == what).map(|claim| claim.len).sum()
}

/// What the state and the journal take, each of them once.
struct Needed {
    state: u64,
    index: u64,
    journal: u64,
}

fn needed(rig: &mut Rig, pool: &SimPool) -> Needed {
    let state = rig.run(pool.state_runs());
    let claims = rig.run(pool.claims());
    // Each of these lies at two places.
    let index = sum(&state, "index") / 2;
    let others = ["checkpoint", "tables", "steps"].map(|what| sum(&state, what) / 2);
    let journal = sum(&claims, "journal entry") / 2;
    Needed { state: others.iter().sum(), index, journal }
}

#[test]
fn an_opening_reads_state_and_journal_and_not_the_ring() {
    for (data_len, commits) in [(8u64 << 20, 40u64), (48 << 20, 40), (48 << 20, 160)] {
        let shape = Shape {
            disk_len: 256 << 20,
            container_len: 1 << 20,
            journal_len: JOURNAL_LEN,
            ..Shape::toy(1)
        };
        let mut rig = Rig::shaped(2, shape, Mutants::default());
        let pool = rig.create().unwrap();
        let mut machine = Machine::new(1);
        let files: Files =
            (0..data_len >> 16).map(|n| (format!("d{}/f{n}", n % 64), noise(n, 1 << 16))).collect();
        rig.run(machine.backup(&pool, &files, UnixNanos(1))).unwrap();
        rig.run(pool.checkpoint(UnixNanos(2))).unwrap();
        let mut small = Machine::new(2);
        for n in 0..commits {
            let files = Files::from([("f".to_owned(), noise(1 << 20 | n, 4000))]);
            rig.run(small.backup(&pool, &files, UnixNanos(3 + n as i64))).unwrap();
        }
        let Needed { state, index, journal } = needed(&mut rig, &pool);
        // Killed: nothing is written on the way out.
        rig.crash();
        let before = rig.world.counters(rig.disks[0]).read_bytes;
        let pool = rig.look().unwrap();
        let looked = rig.world.counters(rig.disks[0]).read_bytes - before;
        assert_eq!(pool.points().len() as u64, commits + 1);
        drop(pool);
        rig.crash();
        let before = rig.world.counters(rig.disks[0]).read_bytes;
        rig.open().unwrap();
        let opened = rig.world.counters(rig.disks[0]).read_bytes - before;
        // Each commit here is a run or two; its directory tells the chunks, its recipe the references.
        let named = commits * 3 * DIRECTORY_READ;
        let most = index + state + 2 * journal + named + BEHIND + FIXED;
        println!(
            "{data_len} bytes, {commits} commits behind the checkpoint: index {index}, other state \
             {state}, journal {journal}; recovery read {looked} bytes, {most} allowed; with its \
             checkpoint {opened}"
        );
        assert!(looked <= most, "{looked} bytes read, {most} would do");
        assert!(opened <= looked + index + FIXED, "{opened} bytes read with the checkpoint");
        assert!(looked < JOURNAL_LEN, "as much as a zone of the journal was read");
    }
}
