//! Short histories, each cut off after every one of its device operations.

use futures_util::future::{join, join3};
use keelhold_disk::IngestError;
use keelhold_disk::mutants::Mutants;
use keelhold_tests::rig::{Files, Machine, Rig, Shape};

use super::ledger::Stage;
use crate::pool::content::{noise, some_tree};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Story {
    First,
    Incremental,
    Unchanged,
    TwoMachines,
    TwoAtOnce,
    Records,
    CommitBesideRecords,
    CommitBesideCheckpoint,
    ThreeStreams,
    ParkAndResume,
    ParkAndCancel,
    FullContainer,
    RingOfCheckpoints,
    WorkingState,
    Promotion,
    Reclaim,
    Compact,
    ReclaimBesideBackup,
    Restart,
}

impl Story {
    pub const ALL: [Self; 19] = [
        Self::First,
        Self::Incremental,
        Self::Unchanged,
        Self::TwoMachines,
        Self::TwoAtOnce,
        Self::Records,
        Self::CommitBesideRecords,
        Self::CommitBesideCheckpoint,
        Self::ThreeStreams,
        Self::ParkAndResume,
        Self::ParkAndCancel,
        Self::FullContainer,
        Self::RingOfCheckpoints,
        Self::WorkingState,
        Self::Promotion,
        Self::Reclaim,
        Self::Compact,
        Self::ReclaimBesideBackup,
        Self::Restart,
    ];

    /// Tells the story to a new pool. What is recorded are the steps behind `record`.
    pub fn tell(
        self,
        seed: u64,
        (disk_count, copies): (usize, u16),
        mutants: Mutants,
    ) -> Result<(Rig, Stage), String> {
        let shape = Shape { copies, ..Shape::toy(disk_count) };
        let mut rig = Rig::shaped(seed, shape, mutants);
        let pool = rig.create().map_err(|error| error.to_string())?;
        let mut stage = Stage::new(&rig, pool);
        let machines = [1, 2, 3].map(Machine::new);
        let told = self.prelude(&mut rig, &stage, machines).and_then(|machines| {
            rig.world.record();
            match self {
                Self::Restart => restart(&mut rig, &mut stage, seed, machines),
                _ => rig.run(self.chapters(&stage, seed, machines)),
            }
        });
        told.map_err(|error| format!("{self:?}: {error}"))?;
        Ok((rig, stage))
    }

    /// What has happened before the part that is cut off.
    fn prelude(
        self,
        rig: &mut Rig,
        stage: &Stage,
        mut machines: [Machine; 3],
    ) -> Result<[Machine; 3], IngestError> {
        rig.run(async {
            match self {
                Self::First | Self::Records | Self::TwoAtOnce => {}
                _ => stage.backup(&mut machines[0], &some_tree(7, 5, 3000)).await?,
            }
            stage.record("group/a", b"before").await?;
            stage.checkpoint().await
        })?;
        Ok(machines)
    }

    async fn chapters(
        self,
        stage: &Stage,
        seed: u64,
        machines: [Machine; 3],
    ) -> Result<(), IngestError> {
        let [mut one, mut two, mut three] = machines;
        let old = some_tree(7, 5, 3000);
        let mut new = old.clone();
        new.insert("d1/new".into(), noise(seed, 2500));
        new.remove("d0/f000");
        let other = some_tree(seed, 4, 2500);
        match self {
            Self::First => stage.backup(&mut one, &other).await,
            Self::Incremental => stage.backup(&mut one, &new).await,
            Self::Unchanged => stage.backup(&mut one, &old).await,
            Self::TwoMachines => {
                stage.backup(&mut two, &new).await?;
                stage.backup(&mut one, &new).await
            }
            Self::TwoAtOnce => {
                let (left, right) =
                    join(stage.backup(&mut one, &other), stage.backup(&mut two, &other)).await;
                left.and(right)
            }
            Self::Records => records(stage, 4).await,
            Self::CommitBesideRecords => {
                let (left, right) = join(stage.backup(&mut one, &new), records(stage, 3)).await;
                left.and(right)
            }
            Self::CommitBesideCheckpoint => {
                let (left, right) = join(stage.backup(&mut one, &new), async {
                    stage.checkpoint().await?;
                    stage.checkpoint().await
                })
                .await;
                left.and(right)
            }
            Self::ThreeStreams => {
                let (left, middle, right) = join3(
                    stage.backup(&mut one, &new),
                    stage.backup(&mut two, &other),
                    stage.backup(&mut three, &some_tree(seed + 1, 4, 2500)),
                )
                .await;
                left.and(middle).and(right)
            }
            Self::ParkAndResume => {
                stage.park(&one, &new).await?;
                stage.record("group/a", b"between").await?;
                stage.backup(&mut one, &new).await
            }
            Self::ParkAndCancel => {
                stage.park(&one, &new).await?;
                stage.cancel(&one).await?;
                stage.backup(&mut two, &other).await
            }
            Self::FullContainer => {
                let mut large = old.clone();
                large.extend((0..10).map(|n| (format!("big/{n}"), noise(seed + n, 7000))));
                stage.backup(&mut one, &large).await
            }
            Self::RingOfCheckpoints => records(stage, 24).await,
            Self::WorkingState => {
                stage.synchronise(&mut one, &new).await?;
                stage.backup(&mut one, &other).await
            }
            Self::Promotion => {
                stage.synchronise(&mut one, &new).await?;
                // The second describes its differences from the first.
                stage.synchronise(&mut one, &other).await?;
                stage.promote(&one).await?;
                stage.synchronise(&mut one, &new).await?;
                stage.promote(&one).await
            }
            Self::Reclaim => {
                stage.backup(&mut two, &other).await?;
                stage.forget(&two).await?;
                stage.reclaim().await?;
                stage.backup(&mut three, &other).await
            }
            Self::Compact => {
                mixed(stage, seed, &mut one, &mut two).await?;
                stage.forget(&two).await?;
                stage.reclaim().await?;
                stage.backup(&mut three, &other).await
            }
            Self::ReclaimBesideBackup => {
                mixed(stage, seed, &mut one, &mut two).await?;
                stage.forget(&two).await?;
                let (left, right) =
                    join(stage.reclaim(), stage.backup(&mut three, &large_tree(seed))).await;
                left.and(right)
            }
            Self::Restart => Ok(()),
        }
    }
}

fn large_tree(seed: u64) -> Files {
    (0..8).map(|n| (format!("big/{n}"), noise(seed + n, 6000))).collect()
}

/// Two machines whose chunks lie in the same containers, one after the other.
async fn mixed(
    stage: &Stage,
    seed: u64,
    one: &mut Machine,
    two: &mut Machine,
) -> Result<(), IngestError> {
    let (mut kept, mut dropped) = (Files::new(), Files::new());
    for n in 0..4 {
        kept.insert(format!("kept/{n}"), noise(seed + n, 3000));
        stage.backup(one, &kept).await?;
        dropped.insert(format!("dropped/{n}"), noise(seed + 50 + n, 9000));
        stage.backup(two, &dropped).await?;
        stage.forget(two).await?;
    }
    Ok(())
}

async fn records(stage: &Stage, count: u64) -> Result<(), IngestError> {
    for n in 0..count {
        if n % 2 == 0 {
            stage.record("group/a", &noise(n, 300)).await?;
        } else {
            stage.append("jobs", &noise(n, 200)).await?;
        }
    }
    Ok(())
}

/// A backup, a clean end, a new beginning, and the next backup: openings count too.
fn restart(
    rig: &mut Rig,
    stage: &mut Stage,
    seed: u64,
    machines: [Machine; 3],
) -> Result<(), IngestError> {
    let [mut one, ..] = machines;
    rig.run(stage.backup(&mut one, &some_tree(seed, 4, 2500)))?;
    let now = stage.now();
    rig.run(stage.pool.clone().close(now))?;
    stage.pool = rig.open().expect("a pool that was closed opens");
    rig.run(stage.backup(&mut one, &some_tree(seed + 1, 4, 2500)))
}
