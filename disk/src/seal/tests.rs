use super::*;
use crate::units::PoolId;

const POOL: PoolId = PoolId([7; 16]);

fn data_key(byte: u8) -> DataKey {
    DataKey::new(Zeroizing::new([byte; KEY_LEN]), Mutants::default())
}

fn counter() -> impl FnMut(&mut [u8]) {
    let mut next = 0u8;
    move |bytes| {
        for byte in bytes {
            next = next.wrapping_mul(13).wrapping_add(7);
            *byte = next;
        }
    }
}

fn secrets() -> Secrets {
    Secrets { id_key: [1; 32], index_secret: [2; 32], cut_params: vec![3; 40] }
}

fn origin() -> RunOrigin {
    RunOrigin { pool: POOL, container: 3, generation: [4; 16], block: 5, salt: [6; 16] }
}

#[test]
fn keys_come_back_with_the_right_key_alone() {
    let (key, number) = (WrappingKey::new([9; 32]), 1);
    let wrapped = Wrapped::make(&key, (POOL, number), &data_key(8), &secrets(), counter());
    let bytes = wrapped.to_bytes();
    assert!(bytes.len() <= 512, "the superblock has no more room");
    assert_eq!(Wrapped::from_bytes(&bytes), Ok(wrapped.clone()));
    let (opened, found) = wrapped.open(&key, (POOL, number), Mutants::default()).unwrap();
    assert!(*opened.bytes == *data_key(8).bytes && found == secrets());
    for (key, pool, number) in [
        (WrappingKey::new([8; 32]), POOL, 1),
        (key.clone(), PoolId([8; 16]), 1),
        (key.clone(), POOL, 2),
    ] {
        let opened = wrapped.open(&key, (pool, number), Mutants::default());
        assert_eq!(opened.err(), Some(UnwrapError::WrongKey));
    }
    // Every other bit is damage, not a wrong key, or no wrapped key at all.
    for bit in (17 * 8..bytes.len() * 8).chain(0..8) {
        let mut altered = bytes.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        if let Ok(altered) = Wrapped::from_bytes(&altered) {
            let opened = altered.open(&key, (POOL, number), Mutants::default());
            assert_eq!(opened.err(), Some(UnwrapError::Damaged), "bit {bit}");
        }
    }
}

#[test]
fn another_wrapping_key_takes_over() {
    let (old, new) = (WrappingKey::new([9; 32]), WrappingKey::new([10; 32]));
    let first = Wrapped::make(&old, (POOL, 1), &data_key(8), &secrets(), counter());
    let second = first.rewrapped(&new, (POOL, 2), &data_key(8), counter());
    let open = |key, number| second.open(key, (POOL, number), Mutants::default());
    assert!(open(&new, 2).is_ok_and(|(_, found)| found == secrets()));
    assert_eq!(open(&old, 2).err(), Some(UnwrapError::WrongKey));
    assert_eq!(open(&old, 1).err(), Some(UnwrapError::WrongKey));
    assert_ne!(first.to_bytes()[..77], second.to_bytes()[..77]);
    assert_eq!(first.to_bytes()[77..], second.to_bytes()[77..], "secrets stay sealed");
}

#[test]
fn frames_open_only_as_what_and_where_they_were_sealed() {
    let plain = b"some compressed bytes".to_vec();
    let seal = data_key(1).run(&origin());
    let mut sealed = vec![0; plain.len() + TAG_LEN];
    seal.seal_frame(2, 1, 300, &plain, &mut sealed);
    assert!(!sealed.windows(8).any(|window| window == &plain[..8]));
    let open = |seal: &RunSeal, index, codec, plain_len, mut bytes: Vec<u8>| {
        let len = seal.open_frame(index, codec, plain_len, &mut bytes)?;
        Ok::<_, Unsealable>(bytes[..len].to_vec())
    };
    assert_eq!(open(&seal, 2, 1, 300, sealed.clone()), Ok(plain));
    for (index, codec, plain_len) in [(3, 1, 300), (2, 2, 300), (2, 1, 301)] {
        assert_eq!(open(&seal, index, codec, plain_len, sealed.clone()), Err(Unsealable));
    }
    let elsewhere = [
        RunOrigin { pool: PoolId([8; 16]), ..origin() },
        RunOrigin { container: 4, ..origin() },
        RunOrigin { generation: [5; 16], ..origin() },
        RunOrigin { block: 6, ..origin() },
        RunOrigin { salt: [7; 16], ..origin() },
    ];
    for origin in elsewhere {
        let seal = data_key(1).run(&origin);
        assert_eq!(open(&seal, 2, 1, 300, sealed.clone()), Err(Unsealable), "{origin:?}");
    }
    assert_eq!(open(&data_key(2).run(&origin()), 2, 1, 300, sealed.clone()), Err(Unsealable));
    for bit in 0..sealed.len() * 8 {
        let mut altered = sealed.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(open(&seal, 2, 1, 300, altered), Err(Unsealable), "bit {bit}");
    }
    for len in 0..sealed.len() {
        assert!(open(&seal, 2, 1, 300, sealed[..len].to_vec()).is_err(), "cut at {len}");
    }
}

#[test]
fn a_chunk_table_is_no_frame_and_belongs_to_its_header() {
    let seal = data_key(1).run(&origin());
    let mut table = vec![9; 48 + TAG_LEN];
    seal.seal_table(b"header", &mut table);
    let sealed = table.clone();
    assert_eq!(seal.open_table(b"header", &mut table), Ok(48));
    assert_eq!(table[..48], [9; 48]);
    assert!(seal.open_table(b"other!", &mut sealed.clone()).is_err());
    assert!(seal.open_frame(0, 0, 48, &mut sealed.clone()).is_err());
}

#[test]
fn operations_open_only_in_their_entry() {
    let key = data_key(1);
    let origin =
        EntryOrigin { pool: POOL, epoch: 2, sequence: 3, position: 4096, fields: b"fields" };
    let body = key.seal_body(&origin, [5; 16], b"operations");
    assert_eq!(body.len(), 10 + ENTRY_OVERHEAD);
    assert_eq!(key.open_body(&origin, &body), Ok(b"operations".to_vec()));
    let others = [
        EntryOrigin { pool: PoolId([8; 16]), ..origin },
        EntryOrigin { epoch: 3, ..origin },
        EntryOrigin { sequence: 4, ..origin },
        EntryOrigin { position: 8192, ..origin },
        EntryOrigin { fields: b"others", ..origin },
    ];
    for other in others {
        assert_eq!(key.open_body(&other, &body), Err(Unsealable), "{other:?}");
    }
    for at in 0..body.len() {
        let mut altered = body.clone();
        altered[at] ^= 1;
        assert_eq!(key.open_body(&origin, &altered), Err(Unsealable), "byte {at}");
        assert!(key.open_body(&origin, &body[..at]).is_err());
    }
    // The same entry again, as after a stale root came back: another salt, another key.
    assert_ne!(key.seal_body(&origin, [6; 16], b"operations")[16..], body[16..]);
}
