//! What every device must do, run over each implementation on the executor it is used with.

pub(super) mod files;
mod ring_life;
mod suite;

use crate::exec::{BellDriver, Executor, Fifo};
use crate::units::BLOCK_U64;
use crate::work::InPlace;
use files::TempFile;

use super::Device;
use super::latch::Latched;
use super::pread::PreadDevice;
use super::probe::{OpenedDisk, create_file};
use super::uring::Ring;

const LEN: u64 = 1024 * BLOCK_U64;

fn opened(file: &TempFile) -> OpenedDisk {
    create_file(file.path(), LEN).expect("a file for a disk")
}

#[test]
fn threads() {
    let file = TempFile::new("threads");
    let mut exec = Executor::new(BellDriver::new().unwrap(), Fifo);
    let device = PreadDevice::new(opened(&file), InPlace);
    println!("{:?}", device.geometry());
    suite::run(&mut exec, &device);
    suite::run_tail(&mut exec, &Latched::new(device));
}

#[test]
fn ring() {
    let Some(ring) = ring_or_say(8) else { return };
    let file = TempFile::new("ring");
    let device = ring.attach(opened(&file));
    let mut exec = Executor::new(ring, Fifo);
    suite::run(&mut exec, &device);
    suite::run_tail(&mut exec, &Latched::new(device));
}

/// A ring that can hold one operation only: everything else waits its turn.
#[test]
fn narrow_ring() {
    let Some(ring) = ring_or_say(1) else { return };
    let file = TempFile::new("narrow");
    let device = ring.attach(opened(&file));
    suite::run(&mut Executor::new(ring, Fifo), &device);
}

#[cfg(feature = "sim")]
#[test]
fn simulated() {
    for seed in 0..20 {
        println!("seed {seed}");
        let world = crate::sim::SimWorld::new(seed);
        let device = world.disk(world.add_disk(LEN));
        let mut exec = crate::sim::sim_executor(&world);
        suite::run(&mut exec, &device);
        suite::run_tail(&mut exec, &Latched::new(device));
    }
}

fn ring_or_say(depth: u32) -> Option<Ring> {
    match Ring::new(depth) {
        Ok(ring) => Some(ring),
        Err(error) => {
            println!("NOT RUN: {error}");
            None
        }
    }
}
