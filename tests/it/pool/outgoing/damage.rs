//! Damage does not leave: what cannot be proved is named, and what stands beside it comes.

use keelhold_disk::mutants::Mutants;
use keelhold_disk::units::{ChunkNumber, UnixNanos};
use keelhold_tests::rig::{Files, Machine, Rig, SimPool};
use roaring::RoaringTreemap;

use super::{ascending, ship};
use crate::pool::content::{noise, text};
use crate::pool::verdict::{Verdict, chain, ensure};

/// A pool with one flipped byte inside a raw frame, and what its point needs.
fn flipped(mutants: Mutants) -> Verdict<(Rig, SimPool, RoaringTreemap)> {
    // Neither encrypted nor with an index on the disks.
    let mut rig = Rig::new(6, 1, mutants);
    let pool = rig.create().map_err(|error| chain(&error))?;
    let mut files: Files = (0..6).map(|n| (format!("n{n}"), noise(n, 5000))).collect();
    files.insert("text".into(), text(1, 9000));
    let point = rig.run(Machine::new(1).backup(&pool, &files, UnixNanos(1)));
    let point = point.map_err(|error| chain(&error))?.id;
    rig.run(pool.close(UnixNanos(2))).map_err(|error| chain(&error))?;
    rig.end();
    let mut images = rig.images();
    let bytes = images[0].to_buf().to_vec();
    let needle = &noise(3, 5000)[2000..2032];
    let at = bytes.windows(needle.len()).position(|window| window == needle);
    images[0].damage(at.ok_or("the file is nowhere on the disk")? as u64, |byte| *byte ^= 0x40);
    let mut rig = Rig::over(6, &images, mutants);
    let pool = rig.look().map_err(|error| chain(&error))?;
    let reach = rig.run(pool.reach(&point)).map_err(|error| chain(&error))?;
    Ok((rig, pool, reach))
}

/// The damage is named, whole frames asked for or parts of them.
pub fn flipped_and_shipped(mutants: Mutants) -> Verdict {
    for step in [1, 2, 3] {
        let (mut rig, pool, reach) = flipped(mutants)?;
        let asked = reach.iter().filter(|number| number % step == 0).collect();
        let shipped = rig.run(ship(&pool, &asked))?;
        let corrupt = shipped.unread.values().all(|error| error.place().is_some());
        ensure!(corrupt, "{:?}", shipped.unread);
        // A frame of the machine has three chunks.
        ensure!((1..=3).contains(&shipped.unread.len()), "{:?}", shipped.unread);
    }
    Ok(())
}

#[test]
fn damage_does_not_leave_and_the_others_do() {
    flipped_and_shipped(Mutants::default()).unwrap_or_else(|words| panic!("{words}"));
}

#[test]
fn a_reader_that_mixes_gets_what_is_proved_and_nothing_else() {
    let (mut rig, pool, reach) = flipped(Mutants::default()).unwrap();
    let key = pool.id_key();
    let upto = reach.max().unwrap() + 50;
    let mut at = Vec::new();
    for first in (0..upto).step_by(60) {
        at.extend(rig.run(pool.chunks_at(ChunkNumber(first), 60)));
    }
    let told = rig.run(pool.ids_of(&ascending(&reach)));
    assert!(told.unread.is_empty() && told.ids.len() as u64 == reach.len());
    let mut missing = 0;
    for (number, id) in told.ids {
        match &at[number.0 as usize] {
            Some((found, bytes)) => assert!(*found == id && key.id(bytes) == id),
            None => missing += 1,
        }
    }
    assert!((1..=3).contains(&missing), "{missing} of {}", reach.len());
    let there = at.iter().flatten().count() as u64;
    assert_eq!(there + missing, reach.len(), "numbers nobody gave have chunks");
    let beyond = rig.run(pool.chunks_at(ChunkNumber(u64::MAX - 3), 9));
    assert!(beyond.iter().all(Option::is_none));
}

/// A disk that is away loses what is on it and nothing else; a number nobody gave is named.
#[test]
fn what_is_not_there_is_named_and_does_not_harm_the_others() {
    let mut rig = Rig::new(6, 2, Mutants::default());
    let pool = rig.create().unwrap();
    let mut machine = Machine::new(1);
    let mut reach = RoaringTreemap::new();
    for round in 0..8u64 {
        let files = Files::from([(format!("f{round}"), noise(round, 50_000))]);
        let point = rig.run(machine.backup(&pool, &files, UnixNanos(1 + round as i64))).unwrap();
        reach |= rig.run(pool.reach(&point.id)).unwrap();
    }
    let unknown = reach.max().unwrap() + 1_000_000;
    let all = &reach | &RoaringTreemap::from_iter([unknown]);
    let shipped = rig.run(ship(&pool, &all)).unwrap();
    assert_eq!(shipped.unread.keys().copied().collect::<Vec<_>>(), [ChunkNumber(unknown)]);
    let told = rig.run(pool.ids_of(&ascending(&all)));
    assert_eq!((told.ids.len() as u64, told.unread.len()), (reach.len(), 1));
    rig.run(pool.close(UnixNanos(20))).unwrap();
    rig.end();
    let pool = rig.look().unwrap();
    rig.world.vanish(rig.disks[1]);
    let shipped = rig.run(ship(&pool, &reach)).unwrap();
    let (came, not) = (shipped.chunks().len(), shipped.unread.len());
    println!("with one of two disks {came} chunks came and {not} did not");
    assert!(came > 0 && not > 0);
    assert!(shipped.unread.values().all(|error| !error.is_corruption()), "{:?}", shipped.unread);
}
