use super::*;

fn place(object: ObjectRef, frame: FramePlace) -> Place {
    Place { object, frame, start: 2, len: 7 }
}

fn object(random: &mut impl Random, kind: ObjectKind) -> ObjectRef {
    let class = if kind.has_chunks() { Class::new(1).unwrap() } else { Class::ZERO };
    ObjectRef {
        object: ObjectId::draw(random),
        shipment: ManifestNumber(3),
        check: random.array(),
        len: 1 << 20,
        kind,
        class,
    }
}

const FRAME: FramePlace =
    FramePlace { index: 4, offset: 4096, stored_len: 500, plain_len: 900, codec: Codec::Zstd };

fn point(random: &mut impl Random, at: i64) -> Point {
    let pages = object(random, ObjectKind::Pages);
    Point {
        point: PointId(random.array()),
        source: SourceId([4; 16]),
        pool: PoolId([random.array::<1>()[0] % 2; 16]),
        is_partial: at % 2 == 1,
        class: Class::new(1).unwrap(),
        at,
        committed_at: at + 5,
        recipe_number: at as u64 * 100,
        recipe_digest: random.array(),
        bytes_source: 1 << 40,
        entry_count: 1_000_000,
        root: vec![3; 30],
        attributes: b"{\"files\":12}".to_vec(),
        recipe: place(pages, FRAME),
        root_page: (at % 3 != 0).then(|| place(pages, FRAME)),
    }
}

fn index(random: &mut impl Random, rank: u64, leaves: u64) -> Index {
    let leaf = |leaf: u64| LeafPlace {
        pool: PoolId([0; 16]),
        first: leaf * 4096,
        last: leaf * 4096 + 4000,
        frame: FRAME,
    };
    let object = object(random, ObjectKind::Index);
    Index { object, rank, leaves: (0..leaves).map(leaf).collect() }
}

/// A full manifest with so many points.
fn full(seed: u64, number: u64, points: i64) -> Manifest {
    let random = &mut seeded(seed);
    let mut points: Vec<Point> = (0..points).map(|at| point(random, at)).collect();
    points.sort_by_key(|point| point.point);
    let record = |random: &mut _, rank| RecordObject {
        object: object(random, ObjectKind::Records),
        frame_count: 2,
        rank,
    };
    let parent = (number > 1)
        .then(|| Parent { number: ManifestNumber(number - 1), link: Link(random.array()) });
    Manifest {
        number: ManifestNumber(number),
        parent,
        base: None,
        made_at: 1_790_000_000_000_000_000,
        witnessed: 1_790_000_000_000_000_001,
        points,
        gone_points: vec![],
        gone_objects: vec![],
        indexes: vec![index(random, 2, 3), index(random, 3, 1)],
        records: vec![record(random, 1), record(random, 3)],
        locks: vec![Lock { class: Class::new(1).unwrap(), until: 77 }],
    }
}

fn seal(manifest: &Manifest, seed: u64) -> Vec<u8> {
    let master = master();
    manifest.seal(&slots(&master).0, &master, &mut seeded(seed))
}

fn open(bytes: &[u8]) -> Result<Manifest, FormatFault> {
    ClearManifest::read(bytes)?.open(&master())
}

/// All that is needed is the manifest itself and the kit.
#[test]
fn a_manifest_opens_by_its_own_slots() {
    let manifest = full(1, 9, 5);
    let bytes = seal(&manifest, 2);
    let clear = ClearManifest::read(&bytes).unwrap();
    assert_eq!((clear.vault, clear.number), (VAULT, ManifestNumber(9)));
    let (_, kit) = slots(&master());
    let opened = clear.slots.open_with_kit(&kit).unwrap();
    assert_eq!(clear.open(&opened).unwrap(), manifest);
    assert_eq!(clear.as_parent().link, Link::of(&bytes));
    // Put together anew it has another salt, and so nothing in common.
    assert_ne!(seal(&manifest, 3), bytes);
}

#[test]
fn every_flipped_bit_of_a_manifest_is_refused() {
    let bytes = seal(&full(2, 9, 2), 2);
    let mut right_again = 0;
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(ClearManifest::read(&bytes).is_err(), "bit {bit}");
        // And when somebody makes the checksum right again.
        let sum = checksum(&[&bytes[..96], &bytes[112..]]);
        bytes[96..112].copy_from_slice(&sum);
        match open(&bytes) {
            Err(_) => {}
            Ok(_) => {
                assert!((96 * 8..112 * 8).contains(&bit), "bit {bit}");
                right_again += 1;
            }
        }
    }
    assert_eq!(right_again, 16 * 8);
}

#[test]
fn every_cut_of_a_manifest_is_refused() {
    let bytes = seal(&full(3, 1, 1), 2);
    for len in 0..bytes.len() {
        assert!(ClearManifest::read(&bytes[..len]).is_err(), "{len}");
    }
    assert!(ClearManifest::read(&[&bytes[..], &[0]].concat()).is_err());
}

#[test]
fn another_master_key_is_told_from_damage() {
    let bytes = seal(&full(4, 1, 1), 2);
    let clear = ClearManifest::read(&bytes).unwrap();
    let other = MasterKey::draw(VAULT, &mut seeded(50));
    assert_eq!(clear.open(&other), Err(FormatFault::MasterKey));
    let elsewhere = MasterKey::draw(VaultId([1; 16]), &mut seeded(1));
    assert_eq!(clear.open(&elsewhere), Err(FormatFault::Vault { found: VAULT }));
}

/// Sealed by a writer with a mistake: refused, whatever the field.
#[test]
fn impossible_bodies_are_refused() {
    let manifest = full(5, 9, 3);
    let plain = manifest::encode(&manifest);
    let decode = |plain: &[u8]| manifest::decode(ManifestNumber(9), plain);
    assert_eq!(decode(&plain).as_ref(), Ok(&manifest));
    for len in 0..plain.len() {
        assert!(decode(&plain[..len]).is_err(), "{len}");
    }
    assert!(decode(&[&plain[..], &[0]].concat()).is_err());
    let (mut refused, mut accepted) = (0, 0);
    for bit in 0..plain.len() * 8 {
        let mut plain = plain.clone();
        plain[bit / 8] ^= 1 << (bit % 8);
        match decode(&plain) {
            Err(_) => refused += 1,
            // Another time, another id: then it is what an encoder would have written.
            Ok(other) => {
                assert_eq!(manifest::encode(&other), plain, "bit {bit}");
                accepted += 1;
            }
        }
    }
    assert!(refused > 1000 && accepted > 1000, "{refused} {accepted}");
    // Who was written before nobody: a number at or above its own, as parent.
    for number in [9, 10, u64::MAX] {
        let mut plain = plain.clone();
        plain[..8].copy_from_slice(&u64::to_le_bytes(number));
        assert!(decode(&plain).is_err());
    }
}

/// Base and difference give what a full manifest would have said, over a history.
#[test]
fn differences_give_the_full_state_back() {
    for seed in 0..40 {
        let random = &mut seeded(1000 + seed);
        let base = full(seed, 5, 8);
        let base_bytes = seal(&base, seed);
        let is = ClearManifest::read(&base_bytes).unwrap().as_parent();
        let mut now = base.clone();
        for number in 6..12 {
            now.number = ManifestNumber(number);
            now.parent = Some(Parent { number: ManifestNumber(number - 1), link: Link([1; 32]) });
            let [pick, what, more] = random.array();
            match what % 4 {
                0 if !now.points.is_empty() => {
                    now.points.remove(usize::from(pick) % now.points.len());
                }
                1 if !now.points.is_empty() => {
                    let at = usize::from(pick) % now.points.len();
                    now.points[at].attributes.push(more);
                }
                2 if !now.indexes.is_empty() => {
                    now.indexes.remove(usize::from(pick) % now.indexes.len());
                }
                _ => {
                    now.points.push(point(random, i64::from(more)));
                    now.points.sort_by_key(|point| point.point);
                }
            }
            now.indexes.push(index(random, number, u64::from(more % 3)));
            now.locks[0].until += 1;
            let bytes = seal(&now.difference(&base, is), number);
            let opened = open(&bytes).unwrap();
            assert_eq!(opened.over(&base, is).unwrap(), now, "seed {seed}, manifest {number}");
        }
    }
}

#[test]
fn a_difference_belongs_to_its_base_alone() {
    let base = full(6, 5, 4);
    let is = Parent { number: base.number, link: Link([5; 32]) };
    let mut now = full(6, 6, 4);
    now.points.pop();
    let difference = now.difference(&base, is);
    let number = base.number;
    let other = Parent { link: Link([6; 32]), ..is };
    assert_eq!(difference.clone().over(&base, other), Err(MergeFault::Base { number }));
    let later = Manifest { number: ManifestNumber(4), ..base.clone() };
    let fault = difference.clone().over(&later, is).unwrap_err();
    assert_eq!(fault, MergeFault::Base { number: ManifestNumber(4) });
    let full = MergeFault::Full { number: ManifestNumber(6) };
    assert_eq!(now.clone().over(&base, is), Err(full));
    let mut strange = difference.clone();
    strange.gone_points = vec![PointId([0; 16])];
    let gone = MergeFault::GonePoint { point: PointId([0; 16]) };
    assert_eq!(strange.over(&base, is), Err(gone));
    let mut strange = difference;
    strange.indexes = vec![base.indexes[0].clone()];
    let object = base.indexes[0].object.object;
    assert_eq!(strange.over(&base, is), Err(MergeFault::Object { object }));
}

/// What repack wrote counts, wherever older entries still stand.
#[test]
fn the_higher_rank_is_asked_first() {
    let manifest = full(7, 9, 0);
    let pool = PoolId([0; 16]);
    let ranks = |number| {
        let found = manifest.leaves_of(pool, number).map(|(object, _)| object.object);
        found.collect::<Vec<_>>()
    };
    let (old, new) = (manifest.indexes[0].object.object, manifest.indexes[1].object.object);
    assert_eq!(ranks(17), [new, old]);
    assert_eq!(ranks(5000), [old]);
    assert!(ranks(4050).is_empty(), "between two leaves");
    assert!(manifest.leaves_of(PoolId([9; 16]), 17).next().is_none());
}

/// A thousand points are listed from one manifest that is no longer than a photograph.
#[test]
fn a_thousand_points_take_little() {
    let bytes = seal(&full(8, 2, 1000), 1);
    println!("1,000 points: {} bytes", bytes.len());
    assert!(bytes.len() < 300_000, "{}", bytes.len());
    assert_eq!(open(&bytes).unwrap().points.len(), 1000);
}

#[test]
fn bytes_are_pinned() {
    let plain = manifest::encode(&full(9, 9, 3));
    assert_eq!(blake3::hash(&plain).to_hex()[..16], *"f8891beef2f6ad6a");
    // How a body is compressed may change; what was sealed once must open for ever.
    let golden = include_bytes!("manifest_v1.bin");
    let (_, kit) = slots(&master());
    let clear = ClearManifest::read(golden).unwrap();
    let opened = clear.slots.open_with_kit(&kit).unwrap();
    assert_eq!(clear.open(&opened).unwrap(), full(10, 2, 2));
}
