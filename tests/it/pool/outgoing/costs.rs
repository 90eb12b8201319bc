//! What it costs, counted at the device.

use keelhold_disk::mutants::Mutants;
use keelhold_disk::units::UnixNanos;
use keelhold_tests::rig::{Files, Machine, Rig, Shape};

use super::{ascending, ship};
use crate::pool::content::{noise, text};

/// Every frame and every directory of a fresh point is read once, whatever one call takes.
#[test]
fn a_fresh_point_leaves_in_one_read_for_each_frame_and_directory() {
    let shape = Shape { disk_len: 1 << 30, container_len: 8 << 20, ..Shape::toy(1) };
    let mut rig = Rig::shaped(2, shape, Mutants::default());
    let pool = rig.create().unwrap();
    let mut files: Files = (0..40).map(|n| (format!("a/{n}"), noise(n, 250_000))).collect();
    files.extend((0..40).map(|n| (format!("b/{n}"), text(n, 100_000))));
    let point = rig.run(Machine::new(1).backup(&pool, &files, UnixNanos(1))).unwrap().id;
    rig.run(pool.close(UnixNanos(2))).unwrap();
    rig.end();
    let pool = rig.look().unwrap();
    let claims = rig.run(pool.claims());
    let directories = claims.iter().filter(|claim| claim.what == "run directory").count();
    drop((pool, claims));
    rig.end();
    let pool = rig.look().unwrap();
    let reach = rig.run(pool.reach(&point)).unwrap();
    let reads = |rig: &Rig| rig.world.counters(rig.disks[0]).reads;
    let before = reads(&rig);
    rig.run(pool.ids_of(&ascending(&reach)));
    let shipped = rig.run(ship(&pool, &reach)).unwrap();
    let reads = reads(&rig) - before;
    let frames = shipped.frames.len();
    println!(
        "{} chunks in {frames} frames and at most {directories} runs: {reads} reads in {} calls",
        reach.len(),
        shipped.calls
    );
    assert!(shipped.unread.is_empty() && shipped.calls > 1);
    assert!(reads as usize <= frames + directories + 4);
}
