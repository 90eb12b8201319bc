use super::*;
use crate::format::object::HEAD_LEN;

fn verified(bytes: &[u8], object: &ObjectRef) -> Result<Directory, FormatFault> {
    let head = ClearObject::read(bytes)?.expect(VAULT, object)?;
    head.verify(&master(), bytes, |_, _| {})
}

#[test]
fn an_object_comes_back_whole_and_by_frames() {
    for pad_to in [1, 64, 4096] {
        let (sealed, plain) = packed(3, pad_to);
        assert_eq!(sealed.bytes.len() % pad_to, 0);
        let master = master();
        let head = ClearObject::read(&sealed.bytes[..HEAD_LEN]).unwrap();
        let head = head.expect(VAULT, &sealed.object).unwrap();
        // The way of a reader who has nothing: head, directory, one frame.
        let end = head.directory_end(&master).unwrap() as usize;
        let directory = head.directory(&master, &sealed.bytes[..end]).unwrap();
        assert_eq!(directory.pool, POOL);
        assert_eq!(directory.frames, sealed.frames);
        assert_eq!(directory.chunks.len(), 5);
        assert_eq!((directory.chunks[1].start, directory.chunks[2].start), (300, 0));
        let key = ObjectKey::new(&master, &sealed.object);
        for (frame, plain) in sealed.frames.iter().zip(&plain) {
            let range = frame.range();
            let stored = &sealed.bytes[range.start as usize..range.end as usize];
            assert_eq!(key.open_frame(frame, stored).as_ref(), Ok(plain));
        }
        let mut seen = Vec::new();
        let whole = head.verify(&master, &sealed.bytes, |_, plain| seen.push(plain.to_vec()));
        assert_eq!(whole.unwrap(), directory);
        assert_eq!(seen, plain);
    }
}

/// Bytes that time or a wire changed are found without keys.
#[test]
fn every_flipped_bit_of_an_object_is_refused() {
    let (sealed, _) = packed(4, 64);
    for bit in 0..sealed.bytes.len() * 8 {
        let mut bytes = sealed.bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let keyless = ClearObject::read(&bytes).and_then(|head| head.prove(&bytes));
        assert!(keyless.is_err(), "bit {bit}");
        assert!(verified(&bytes, &sealed.object).is_err(), "bit {bit}");
    }
}

/// Somebody who knows the format makes all sums right again: the keys still refuse.
#[test]
fn every_flipped_bit_is_refused_though_the_sums_are_right() {
    let (sealed, _) = packed(5, 64);
    for bit in 0..sealed.bytes.len() * 8 {
        let mut bytes = sealed.bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let hash = *blake3::hash(&bytes[HEAD_LEN..]).as_bytes();
        bytes[64..96].copy_from_slice(&hash);
        let sum = checksum(&[&bytes[..128]]);
        bytes[128..144].copy_from_slice(&sum);
        if bytes == sealed.bytes {
            // The bit was in a sum, and is right again.
            continue;
        }
        let opened =
            ClearObject::read(&bytes).and_then(|head| head.verify(&master(), &bytes, |_, _| {}));
        assert!(opened.is_err(), "bit {bit}");
    }
}

#[test]
fn every_cut_and_every_tail_is_refused() {
    let (sealed, _) = packed(6, 1);
    for len in 0..sealed.bytes.len() {
        assert!(verified(&sealed.bytes[..len], &sealed.object).is_err(), "{len}");
    }
    let longer = [&sealed.bytes[..], &[0]].concat();
    let (expected, found) = (sealed.bytes.len() as u64, longer.len() as u64);
    assert_eq!(verified(&longer, &sealed.object), Err(FormatFault::Len { expected, found }));
}

/// A whole, sound object in the place of another, and a frame in the place of another.
#[test]
pub(super) fn what_lies_elsewhere_does_not_open_here() {
    let (one, _) = packed(7, 1);
    let (two, _) = packed(8, 1);
    let fault = verified(&two.bytes, &one.object).unwrap_err();
    assert_eq!(fault, FormatFault::Object { found: two.object.object });
    let head = ClearObject::read(&one.bytes).unwrap();
    let foreign = head.expect(VaultId([8; 16]), &one.object).unwrap_err();
    assert_eq!(foreign, FormatFault::Vault { found: VAULT });

    let stored = |sealed: &SealedObject, frame: usize| {
        let range = sealed.frames[frame].range();
        sealed.bytes[range.start as usize..range.end as usize].to_vec()
    };
    let key = ObjectKey::new(&master(), &one.object);
    let own = &one.frames[2];
    assert!(key.open_frame(own, &stored(&one, 2)).is_ok());
    assert_eq!(key.open_frame(own, &stored(&two, 2)), Err(FormatFault::Unsealable));
    let moved = FramePlace { index: 1, ..*own };
    assert_eq!(key.open_frame(&moved, &stored(&one, 2)), Err(FormatFault::Unsealable));
    let recoded = FramePlace { codec: Codec::Raw, ..one.frames[0] };
    assert_eq!(key.open_frame(&recoded, &stored(&one, 0)), Err(FormatFault::Unsealable));

    let other = MasterKey::draw(VAULT, &mut seeded(99));
    let head = ClearObject::read(&one.bytes).unwrap();
    assert_eq!(head.directory(&other, &one.bytes), Err(FormatFault::Unsealable));
}

/// The one thing that may never happen: the same id for two objects.
#[test]
fn two_objects_of_the_same_content_share_nothing() {
    let mut random = seeded(9);
    let frames = [raw_frame(&[5; 100])];
    let shape = index_shape(ObjectKind::Index);
    let mut seal = || SealedObject::seal(&master(), &shape, frames.to_vec(), &[], &mut random);
    let (one, two) = (seal(), seal());
    assert_ne!(one.object.object, two.object.object);
    let same = one.bytes[HEAD_LEN..].iter().zip(&two.bytes[HEAD_LEN..]);
    let same = same.filter(|(one, two)| one == two).count();
    assert!(same < 12, "{same} of {} bytes are the same", one.bytes.len());
}

/// Nothing of the content shows: what can be compressed afterwards was not sealed.
#[test]
fn sealed_bytes_and_padding_look_alike() {
    let (sealed, _) = packed(10, 4096);
    let (codec, _) = pack(&sealed.bytes[HEAD_LEN..], 19);
    assert_eq!(codec, Codec::Raw);
}

#[test]
fn a_leaf_leads_to_every_chunk() {
    let (sealed, plain) = packed(11, 1);
    let leaf = Leaf::from_bytes(&leaf_of(&sealed).to_bytes()).unwrap();
    assert_eq!(leaf, leaf_of(&sealed));
    assert_eq!(leaf.range(), Some((10, 41)));
    let key = ObjectKey::new(&master(), &sealed.object);
    for (number, frame) in [(10, 0), (11, 0), (12, 1), (40, 2), (41, 2)] {
        let (entry, place) = leaf.find(number).unwrap();
        let id = entry.id;
        assert_eq!(id, [number as u8; 32]);
        let range = place.frame.range();
        let stored = &sealed.bytes[range.start as usize..range.end as usize];
        let opened = key.open_frame(&place.frame, stored).unwrap();
        assert_eq!(opened, plain[frame]);
        assert!((place.start + place.len) as usize <= opened.len());
    }
    assert_eq!(leaf.find(13), None);
}

/// Sealed right and written wrong: an error, and never a place outside an object.
#[test]
fn impossible_leaves_are_refused() {
    let (sealed, _) = packed(12, 1);
    let bytes = leaf_of(&sealed).to_bytes();
    for len in 0..bytes.len() {
        assert!(Leaf::from_bytes(&bytes[..len]).is_err(), "{len}");
    }
    assert!(Leaf::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
    let (objects, frames, entries) = (32, 32 + 48, 32 + 48 + 3 * 20);
    let spoils = [
        ("count of entries", 24, 6),
        ("more entries than a leaf has", 26, 1),
        ("reserved", 28, 1),
        ("length of the object", objects + 41, 0),
        ("kind of the object", objects + 44, 3),
        ("class", objects + 45, 16),
        ("reserved of the object", objects + 46, 1),
        ("object of a frame", frames, 1),
        ("codec", frames + 2, 1),
        ("offset before the head", frames + 8, 0),
        ("offset behind the object", frames + 10, 1),
        ("stored length", frames + 13, 0xff),
        ("plain length", frames + 19, 1),
        ("order of numbers", entries, 11),
        ("frame of an entry", entries + 40, 3),
        ("kind of a chunk", entries + 42, 6),
        ("start", entries + 46, 1),
        ("length", entries + 51, 0xff),
    ];
    for (what, offset, value) in spoils {
        let mut bytes = bytes.clone();
        assert_ne!(bytes[offset], value, "{what}");
        bytes[offset] = value;
        // Offsets below the head need their higher bytes cleared, too.
        if what == "offset before the head" {
            bytes[offset + 1] = 0;
        }
        if what == "length of the object" {
            bytes[offset + 1] = 0;
        }
        assert!(Leaf::from_bytes(&bytes).is_err(), "{what}");
    }
}

#[test]
fn records_come_back_in_as_many_frames_as_it_takes() {
    let entry = |name: &str, what, version, value: Vec<u8>| RecordEntry {
        name: name.to_owned(),
        what,
        version,
        value,
    };
    let entries = [
        entry("machine/a", RecordWhat::Record, 3, vec![1; 1 << 20]),
        entry("machine/b", RecordWhat::Removed, 4, vec![]),
        entry("jobs", RecordWhat::SeriesEntry, 9, vec![2; (1 << 20) - 10]),
        entry("jobs", RecordWhat::SeriesTrimmed, 5, vec![]),
    ];
    let frames = encode_records(&entries);
    assert_eq!(frames.len(), 2);
    let back: Vec<_> = frames.iter().flat_map(|frame| decode_records(frame).unwrap()).collect();
    assert_eq!(back, entries);
    let short = encode_records(&entries[1..2]).remove(0);
    for len in 1..short.len() {
        assert!(decode_records(&short[..len]).is_err(), "{len}");
    }
    for (offset, value) in [(0, 0), (1, 2), (2, 5), (3, 1), (4, 1), (6, 0x11), (16, 0xff)] {
        let mut bytes = short.clone();
        bytes[offset] = value;
        assert!(decode_records(&bytes).is_err(), "{offset}");
    }
}

/// Bytes of a vault are for ever: a change here orphans what people have stored.
#[test]
fn bytes_are_pinned() {
    let (sealed, _) = packed(13, 64);
    let hash = |bytes: &[u8]| blake3::hash(bytes).to_hex()[..16].to_owned();
    let leaf = leaf_of(&sealed).to_bytes();
    // Compressed bytes are the compressor's affair: pinned is what is sealed as it is.
    let shape = index_shape(ObjectKind::Index);
    let frames = [raw_frame(&[5; 100]), raw_frame(&[6; 10])];
    let raw = SealedObject::seal(&master(), &shape, frames.to_vec(), &[], &mut seeded(14));
    assert_eq!(raw.bytes.len(), 144 + 16 + 2 * 16 + 16 + 116 + 26);
    assert_eq!(hash(&raw.bytes), "7126e1bc310148ff");
    assert_eq!(leaf.len(), 32 + 48 + 3 * 20 + 5 * 52);
}
