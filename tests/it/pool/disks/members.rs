//! Disks that join and leave while backups run, with the power going at any moment.

use futures_util::future::join;
use keelhold_disk::mutants::Mutants;
use keelhold_disk::pool::DiskState;
use keelhold_disk::sim::{Rng, SimDisk};
use keelhold_disk::units::{DiskId, UnixNanos};
use keelhold_disk::{IngestError, MemberError};
use keelhold_tests::rig::{Files, Machine, SimPool, campaign};

use super::Fleet;
use crate::pool::verdict::{Verdict, chain, ensure};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Add,
    Drain,
    Replace,
    ReplaceMissing,
}

const CHANGES: [Change; 4] = [Change::Add, Change::Drain, Change::Replace, Change::ReplaceMissing];
const NOW: UnixNanos = UnixNanos(1 << 50);

async fn change(
    pool: SimPool,
    kind: Change,
    old: DiskId,
    device: SimDisk,
) -> Result<bool, MemberError> {
    match kind {
        Change::Add => pool.add_disk(device, NOW).await.map(|_| true),
        Change::Drain => pool.drain_disk(old, NOW).await.map(|done| done.retired),
        Change::Replace | Change::ReplaceMissing => {
            pool.replace_disk(old, device, NOW).await.map(|(_, done)| done.retired)
        }
    }
}

async fn backup(
    pool: SimPool,
    mut machine: Machine,
    tree: Files,
    now: UnixNanos,
) -> Result<Machine, IngestError> {
    machine.backup(&pool, &tree, now).await.map(|_| machine)
}

struct Case {
    fleet: Fleet,
    kind: Change,
    old: DiskId,
    old_at: usize,
    new_at: usize,
    /// Disks that were there before.
    known: usize,
}

impl Case {
    fn begin(seed: u64, copies: u16, mutants: Mutants) -> Verdict<Option<Self>> {
        let mut rng = Rng::new(seed);
        let kind = CHANGES[seed as usize % CHANGES.len()];
        if copies < 2 && kind == Change::ReplaceMissing {
            return Ok(None);
        }
        // What leaves must leave enough disks behind.
        let known = 1 + usize::from(copies) + rng.index(2);
        let mut fleet = Fleet::new(seed, known, copies, mutants)?;
        for _ in 0..3 {
            fleet.backup(4)?;
        }
        let position = rng.index(known);
        let old = fleet.pool.status().disks[position].id;
        let (old_at, new_at) = (fleet.rig.disks[position], fleet.rig.world.add_disk(5 << 20));
        if kind == Change::ReplaceMissing {
            let left: Vec<usize> =
                fleet.rig.disks.iter().copied().filter(|disk| *disk != old_at).collect();
            fleet.reopen_on(&left)?;
        }
        Ok(Some(Self { fleet, kind, old, old_at, new_at, known }))
    }

    fn state_of_old(&self) -> DiskState {
        let status = self.fleet.pool.status();
        let found = status.disks.iter().find(|disk| disk.id == self.old);
        found.map_or(DiskState::Retired, |disk| disk.state)
    }

    fn has_joined(&self) -> bool {
        self.fleet.pool.status().disks.len() > self.known
    }

    fn is_done(&self) -> bool {
        match self.kind {
            Change::Add => self.has_joined(),
            _ => self.state_of_old() == DiskState::Retired,
        }
    }

    /// The change beside a backup. `None` if the power went before both were answered.
    fn run(&mut self, kind: Change, nanos: Option<u64>) -> Verdict<Option<()>> {
        let (machine, tree, now) = self.fleet.next_backup(4);
        let (pool, device) = (self.fleet.pool.clone(), self.fleet.rig.world.disk(self.new_at));
        let both = join(
            backup(pool.clone(), machine, tree.clone(), now),
            change(pool, kind, self.old, device),
        );
        let answers = match nanos {
            Some(nanos) => self.fleet.rig.run_at_most(nanos, both),
            None => Some(self.fleet.rig.run(both)),
        };
        let Some((machine, changed)) = answers else {
            return Ok(None);
        };
        let machine = machine.map_err(|error| format!("beside {kind:?}: {}", chain(&error)))?;
        let (id, _) = machine.basis.clone().ok_or("a backup without a point")?;
        self.fleet.points.push((id, tree));
        self.fleet.machine = machine;
        let changed = changed.map_err(|error| format!("{kind:?}: {}", chain(&error)))?;
        ensure!(changed, "{kind:?} was not finished");
        Ok(Some(()))
    }

    fn disks_there(&self) -> Vec<usize> {
        let mut disks = self.fleet.rig.disks.clone();
        if self.is_labelled(self.new_at) && !disks.contains(&self.new_at) {
            disks.push(self.new_at);
        }
        disks
    }

    /// Both of its labels were written: before that it is not known whose it is.
    fn is_labelled(&self, disk: usize) -> bool {
        let image = self.fleet.rig.world.image(disk);
        let mut block = vec![0; 4096];
        image.read(0, &mut block);
        block[16..20] == *b"KHLB"
    }
}

fn change_disks(seed: u64, copies: u16, cut: bool, mutants: Mutants) -> Verdict<bool> {
    let Some(mut case) = Case::begin(seed, copies, mutants)? else {
        return Ok(false);
    };
    let kind = case.kind;
    let mut was_cut = false;
    if cut {
        let nanos = 1 + case.fleet.rig.world.choose(250_000_000);
        was_cut = case.run(kind, Some(nanos))?.is_none();
        // A torn label is nobody's: such a disk is left out.
        case.fleet.rig.crash();
        let there = case.disks_there();
        case.fleet.reopen_on(&there)?;
        case.fleet.read_all().map_err(|words| format!("after the cut: {words}"))?;
    }
    if !case.is_done() {
        // A disk that joined before the power went is used for what was begun.
        let again = if case.has_joined() && kind != Change::Add { Change::Drain } else { kind };
        case.run(again, None)?;
    }
    ensure!(case.is_done(), "{kind:?} is not done: {:?}", case.state_of_old());
    case.fleet.read_all()?;
    let mut there = case.disks_there();
    if kind != Change::Add {
        // It is needed no more.
        there.retain(|disk| *disk != case.old_at);
    }
    case.fleet.reopen_on(&there)?;
    case.fleet.read_all().map_err(|words| format!("without the old disk: {words}"))?;
    case.fleet.backup(2)?;
    case.fleet.heal()?;
    case.fleet.verify_is_clean()?;
    case.fleet.read_all()?;
    Ok(was_cut)
}

#[test]
fn disks_join_and_leave_beside_backups_whenever_the_power_goes() {
    let (mut cases, mut cuts) = (0, 0);
    for seed in 0..campaign(60) {
        for copies in [1, 2] {
            let cut = seed % 5 > 0;
            let done = change_disks(seed, copies, cut, Mutants::default());
            let was_cut = done
                .unwrap_or_else(|words| panic!("seed {seed}, {copies} copies, cut {cut}: {words}"));
            cases += 1;
            cuts += u64::from(was_cut);
        }
    }
    println!("disks that join and leave: {cases} cases, {cuts} cut off and gone on with");
    assert!(cuts > cases / 4, "only {cuts} of {cases} were cut off in the midst");
}

#[test]
fn what_cannot_be_done_is_refused_before_anything_is() {
    let mut fleet = Fleet::new(1, 2, 2, Mutants::default()).unwrap();
    (0..12).for_each(|_| fleet.backup(14).unwrap());
    let ids: Vec<DiskId> = fleet.pool.status().disks.iter().map(|disk| disk.id).collect();
    let pool = fleet.pool.clone();
    let refused = fleet.rig.run(pool.drain_disk(ids[0], NOW)).unwrap_err();
    assert!(matches!(refused, MemberError::TooFewDisks { copies: 2 }), "{refused:?}");
    let stranger = fleet.rig.run(pool.drain_disk(DiskId([9; 16]), NOW)).unwrap_err();
    assert!(matches!(stranger, MemberError::NoDisk { .. }), "{stranger:?}");
    let used = fleet.rig.world.disk(fleet.rig.disks[0]);
    let used = fleet.rig.run(pool.add_disk(used, NOW)).unwrap_err();
    assert!(matches!(used, MemberError::InUse { .. }), "{used:?}");
    let small = fleet.rig.world.add_disk(1 << 20);
    let small = fleet.rig.world.disk(small);
    let small = fleet.rig.run(pool.replace_disk(ids[0], small, NOW)).unwrap_err();
    assert!(matches!(small, MemberError::TooSmall { .. }), "{small:?}");
    let service = fleet.rig.run(pool.retire_disk(ids[0], NOW)).unwrap_err();
    assert!(matches!(service, MemberError::InService { .. }), "{service:?}");
    let mut one = Fleet::new(2, 1, 1, Mutants::default()).unwrap();
    let id = one.pool.status().disks[0].id;
    let pool = one.pool.clone();
    let last = one.rig.run(pool.drain_disk(id, NOW)).unwrap_err();
    assert!(matches!(last, MemberError::LastDisk { .. }), "{last:?}");
}
