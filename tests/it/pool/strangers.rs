//! What a machine may do to another's data: nothing.

use bytes::Bytes;
use keelhold_disk::format::Codec;
use keelhold_disk::mutants::Mutants;
use keelhold_disk::pool::{BeginSession, IncomingFrame};
use keelhold_disk::units::{ChunkRef, UnixNanos};
use keelhold_disk::{IngestError, ReadError};
use keelhold_tests::rig::{Files, Machine, Rig, chunks_of, read_point};

use super::content::noise;
use super::verdict::{Verdict, chain, ensure};

/// Bytes sent under the id of others are refused, and the others keep their bytes.
pub fn forged_bytes(mutants: Mutants) -> Verdict {
    let mut rig = Rig::new(1, 1, mutants);
    let pool = rig.create().map_err(|error| chain(&error))?;
    let machine = Machine::new(1);
    let wanted = noise(1, 200);
    let chunk = ChunkRef { id: pool.id_key().id(&wanted), len: 200 };
    let frame = IncomingFrame {
        codec: Codec::Raw,
        plain_len: 200,
        stored: Bytes::from(noise(2, 200)),
        chunks: vec![chunk],
    };
    let refused = rig.run(async {
        machine.begin(&pool, UnixNanos(1)).await?;
        pool.verify_frame(frame).await
    });
    ensure!(matches!(refused, Err(IngestError::WrongId { .. })), "forged bytes: {refused:?}");
    Ok(())
}

/// "Have" is no answer about what only another machine has, and knowing an id is not having it.
pub fn foreign_have(mutants: Mutants) -> Verdict {
    let mut rig = Rig::new(1, 1, mutants);
    let pool = rig.create().map_err(|error| chain(&error))?;
    let files: Files = [("secret".to_owned(), noise(3, 3000))].into();
    let (mut owner, curious) = (Machine::new(1), Machine::new(2));
    let have = rig.run(async {
        owner.backup(&pool, &files, UnixNanos(1)).await?;
        let session = curious.begin(&pool, UnixNanos(2)).await?;
        pool.offer(session, &chunks_of(&pool, &files)).await
    });
    let have = have.map_err(|error| chain(&error))?;
    ensure!(!have.contains(&true), "a stranger is told what another machine has");
    Ok(())
}

#[test]
fn a_stranger_cannot_forge_and_is_told_nothing() {
    for check in [forged_bytes, foreign_have] {
        check(Mutants::default()).unwrap_or_else(|words| panic!("{words}"));
    }
}

#[test]
fn a_session_on_an_older_point_is_served_and_on_a_foreign_one_refused() {
    let mut rig = Rig::new(1, 1, Mutants::default());
    let pool = rig.create().unwrap();
    let mut machine = Machine::new(1);
    let mut files: Files = [("a".to_owned(), noise(3, 3000))].into();
    rig.run(async {
        let first = machine.backup(&pool, &files, UnixNanos(1)).await.unwrap();
        let before = files.clone();
        files.insert("b".into(), noise(4, 2000));
        files.remove("a");
        machine.backup(&pool, &files, UnixNanos(2)).await.unwrap();
        // The machine was itself restored, and remembers the first.
        machine.basis = Some((first.id, before.clone()));
        let mut again = before;
        again.insert("c".into(), noise(5, 1000));
        let third = machine.backup(&pool, &again, UnixNanos(3)).await.unwrap();
        assert_eq!(read_point(&pool, &third.id).await.unwrap(), again);
        let stranger = Machine::new(2);
        let request = BeginSession {
            source: stranger.source,
            domain: stranger.domain,
            basis: Some(third.id),
            lease_until: UnixNanos(9),
        };
        let refused = pool.begin(request, UnixNanos(4)).await;
        assert!(matches!(refused, Err(IngestError::Read(ReadError::NoPoint { .. }))));
    });
    rig.crash();
    let pool = rig.open().unwrap();
    assert_eq!(pool.points().len(), 3);
}
