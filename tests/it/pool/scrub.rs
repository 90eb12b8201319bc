//! Scrub by its routine: rot is found, told exactly, asked for again and healed.

use std::collections::{BTreeMap, BTreeSet};

use keelhold_disk::mutants::Mutants;
use keelhold_disk::pool::{Claim, ScrubAt, VerifyFinding};
use keelhold_disk::sim::{Image, Rng};
use keelhold_disk::tree::Touched;
use keelhold_disk::units::{BLOCK, BLOCK_U64, PointId, UnixNanos};
use keelhold_tests::rig::{Files, Machine, Rig, Shape, SimPool, campaign, read_point};
use roaring::RoaringTreemap;

use super::content::{change_tree, some_tree};
use super::verdict::{Verdict, chain, ensure, survive};

const DAMAGES: u64 = 500;
/// Small, so that a pass takes many steps.
const BUDGET: u64 = 100 << 10;

struct Stage {
    images: Vec<Image>,
    points: BTreeMap<PointId, Files>,
    newest: BTreeMap<u8, Files>,
    claims: Vec<Claim>,
}

fn shape() -> Shape {
    Shape { disk_len: 4 << 20, ..Shape::toy(2) }
}

fn stage(seed: u64, mutants: Mutants) -> Verdict<Stage> {
    let mut rig = Rig::shaped(seed, shape(), mutants);
    let pool = rig.create().map_err(|error| chain(&error))?;
    let mut rng = Rng::new(seed);
    let (mut points, mut newest) = (BTreeMap::new(), BTreeMap::new());
    for number in 1..=2u8 {
        let mut machine = Machine::new(number);
        let mut files = some_tree(seed + u64::from(number), 12, 4000);
        for round in 0..5 {
            let made = rig.run(machine.backup(&pool, &files, UnixNanos(round + 1)));
            points.insert(made.map_err(|error| chain(&error))?.id, files.clone());
            newest.insert(number, files.clone());
            change_tree(&mut files, &mut rng, 4000);
        }
    }
    rig.run(pool.clone().close(UnixNanos(20))).map_err(|error| chain(&error))?;
    rig.end();
    // Opened once more: every container is sealed, and the last checkpoint is the one on the disks.
    let pool = rig.open().map_err(|error| chain(&error))?;
    let claims = rig.run(pool.claims());
    rig.end();
    Ok(Stage { images: rig.images(), points, newest, claims })
}

/// A whole pass in small steps.
pub fn pass(rig: &mut Rig, pool: &SimPool) -> Verdict<Vec<VerifyFinding>> {
    let (mut at, mut findings) = (ScrubAt::default(), Vec::new());
    loop {
        let step = rig.run(pool.scrub(at, BUDGET, UnixNanos(30)));
        let step = step.map_err(|error| chain(&error))?;
        findings.extend(step.found.findings);
        match step.next {
            Some(next) => at = next,
            None => return Ok(findings),
        }
    }
}

/// The points that cannot be read whole, and of each the files.
fn unreadable(rig: &mut Rig, pool: &SimPool, stage: &Stage) -> Verdict<BTreeSet<PointId>> {
    let mut bad = BTreeSet::new();
    for (point, files) in &stage.points {
        match rig.run(read_point(pool, point)) {
            Ok(read) => ensure!(read == *files, "point {point} is served with other bytes"),
            Err(_) => drop(bad.insert(*point)),
        }
    }
    Ok(bad)
}

/// The list names what is lost: every file of it, and nothing that can be read.
fn list_is_exact(
    rig: &mut Rig,
    pool: &SimPool,
    point: &PointId,
    files: &Files,
    lost: &RoaringTreemap,
) -> Verdict {
    let touched = rig.run(pool.touched(point, lost)).map_err(|error| chain(&error))?;
    let Some(touched) = touched else { return Ok(()) };
    let mut named: BTreeSet<String> = BTreeSet::new();
    let mut pages = 0;
    for touched in touched {
        match touched {
            Touched::Entry { path, .. } => {
                named.insert(String::from_utf8_lossy(&path).into_owned());
            }
            Touched::Page { .. } => pages += 1,
        }
    }
    if pages > 0 {
        return Ok(());
    }
    let reader = rig.run(pool.reader(point)).map_err(|error| chain(&error))?;
    for path in files.keys() {
        let found = rig.run(reader.find(path.as_bytes())).map_err(|error| chain(&error))?;
        let (_, entry) = found.ok_or("a file is not found")?;
        let whole = rig.run(reader.read(&entry, 0, u64::MAX)).is_ok();
        ensure!(whole != named.contains(path), "{path} is named: {}", named.contains(path));
    }
    Ok(())
}

/// One damaged byte, met by the routine; then the machines send everything again. Gives whether it had
/// to be found, and whether machines healed it.
fn one(stage: &Stage, seed: u64, mutants: Mutants) -> Verdict<(bool, bool)> {
    let mut rng = Rng::new(seed);
    let mut images = stage.images.clone();
    let claim = stage.claims[rng.index(stage.claims.len())];
    let mut look = Rig::over(seed, &images, mutants);
    let pool = look.look().map_err(|error| chain(&error))?;
    let disks: Vec<_> = pool.status().disks.iter().map(|disk| disk.id).collect();
    let disk = disks.iter().position(|id| *id == claim.place.disk).ok_or("no such disk")?;
    drop((look, pool));
    let offset = claim.place.offset + rng.below(claim.len);
    images[disk].damage(offset, |byte| *byte ^= 1 << rng.below(8));
    let mut rig = Rig::over(seed, &images, mutants);
    let pool = rig.open().map_err(|error| format!("does not open: {}", chain(&error)))?;
    let (damaged, opened) = (&images[disk], &rig.images()[disk]);
    let claimed = is_still_claimed(stage, seed, (disk, offset), (damaged, opened), mutants)?;
    let bad = unreadable(&mut rig, &pool, stage)?;
    let findings = pass(&mut rig, &pool)?;
    let touched: BTreeSet<PointId> = findings.iter().flat_map(|of| of.points.clone()).collect();
    // A checkpoint of the opening may have replaced what was damaged.
    let of_data = claim.what == "frame" || claim.what == "run directory";
    let must = claimed || !bad.is_empty();
    ensure!(!findings.is_empty() || !must, "damage of a {} was not found", claim.what);
    ensure!(bad.is_subset(&touched), "points {bad:?} are damaged, named are {touched:?}");
    let lost = pool.lost();
    for point in &touched {
        list_is_exact(&mut rig, &pool, point, &stage.points[point], &lost)?;
    }
    for (number, files) in &stage.newest {
        // What was lost is read again, everything else is offered.
        let mut machine = Machine::new(*number);
        let made = rig.run(machine.backup(&pool, files, UnixNanos(40)));
        let point = made.map_err(|error| chain(&error))?;
        let read = rig.run(read_point(&pool, &point.id)).map_err(|error| chain(&error))?;
        ensure!(read == *files, "the next backup does not come back");
    }
    // Every file the machines still have is whole again, in every point.
    let healed = bad.difference(&unreadable(&mut rig, &pool, stage)?).count();
    for (number, files) in &stage.newest {
        let newest = stage.points.iter().filter(|(_, of)| *of == files);
        for (point, files) in newest {
            let read = rig.run(read_point(&pool, point));
            let words = read.as_ref().err().map(|error| chain(error));
            let whole = read.is_ok_and(|read| read == *files);
            let keeps = whole || lost_beyond(&mut rig, &pool, point);
            let lost = pool.lost();
            ensure!(
                keeps,
                "a {} is damaged, point {point} of machine {number} was not healed, lost are {lost:?}: {words:?}",
                claim.what
            );
        }
    }
    Ok((claimed, of_data && healed > 0))
}

/// Whether the point's recipe is lost: no machine could have sent it.
fn lost_beyond(rig: &mut Rig, pool: &SimPool, point: &PointId) -> bool {
    matches!(rig.run(pool.touched(point, &pool.lost())), Ok(None))
}

/// Whether damage at `offset` still matters when the pool was opened: the opening has not written
/// there, and a pool without the damage claims the place.
fn is_still_claimed(
    stage: &Stage,
    seed: u64,
    (disk, offset): (usize, u64),
    (damaged, opened): (&Image, &Image),
    mutants: Mutants,
) -> Verdict<bool> {
    let around = |image: &Image| {
        let mut bytes = [0; BLOCK];
        image.read(offset - offset % BLOCK_U64, &mut bytes);
        bytes
    };
    if around(damaged) != around(opened) {
        return Ok(false);
    }
    let mut rig = Rig::over(seed, &stage.images, mutants);
    let pool = rig.open().map_err(|error| chain(&error))?;
    let id = pool.status().disks[disk].id;
    let claims = rig.run(pool.claims());
    let covers = |claim: &Claim| {
        let range = claim.place.offset..claim.place.offset + claim.len;
        claim.place.disk == id && range.contains(&offset)
    };
    Ok(claims.iter().any(covers))
}

/// How many of the damages had to be found, and how many machines healed.
pub fn damages(range: std::ops::Range<u64>, mutants: Mutants) -> Verdict<(u64, u64)> {
    let stage = stage(5, mutants)?;
    let (mut claimed, mut healed) = (0, 0);
    for seed in range {
        let met = one(&stage, seed, mutants).map_err(|words| format!("seed {seed}: {words}"))?;
        claimed += u64::from(met.0);
        healed += u64::from(met.1);
    }
    Ok((claimed, healed))
}

#[test]
fn what_rots_is_found_named_and_healed_by_the_next_backup() {
    let count = campaign(DAMAGES);
    let met = survive(|| damages(0..count, Mutants::default()));
    let (claimed, healed) = met.unwrap_or_else(|words| panic!("{words}"));
    println!(
        "scrub: {count} damages, {claimed} still there after opening and found, {healed} healed by \
         machines"
    );
    assert!(claimed > count / 2 && healed > count / 4);
}
