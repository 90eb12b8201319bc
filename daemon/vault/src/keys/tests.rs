use super::*;
use crate::layout::assert_documented;
use crate::random::seeded;

const VAULT: VaultId = VaultId([7; 16]);
const AT: i64 = 1_790_000_000_000_000_000;

fn cheap() -> KdfParams {
    KdfParams::new(8 << 10, 1, 1).unwrap()
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text).unwrap()
}

struct Rig {
    master: MasterKey,
    kit: KitSecret,
    slots: Slots,
}

const WORDS: &str = "seven green anchors";

fn rig() -> Rig {
    let mut random = seeded(1);
    let master = MasterKey::draw(VAULT, &mut random);
    let kit = KitSecret::draw(&mut random);
    let mut slots = Slots::new(&master);
    slots.set_passphrase(&master, &passphrase(WORDS), cheap(), AT, &mut random).unwrap();
    slots.set_kit(&master, &kit, KitShape::new(2, 3).unwrap(), AT, &mut random);
    Rig { master, kit, slots }
}

#[test]
fn the_document_is_the_code() {
    assert_documented("Slot", slot::fields());
}

/// The passphrase alone, or the kit alone, brings the key that sealed everything.
#[test]
fn both_slots_give_the_same_master_key() {
    let Rig { master, kit, slots } = rig();
    let slots = Slots::from_bytes(VAULT, slots.check(), &slots.to_bytes()).unwrap();
    let from_words = slots.open_with_passphrase(&passphrase(WORDS)).unwrap();
    let from_kit = slots.open_with_kit(&kit).unwrap();
    assert_eq!(*from_words.bytes, *master.bytes);
    assert_eq!(*from_kit.bytes, *master.bytes);
}

#[test]
fn what_does_not_open_is_named() {
    let Rig { master, kit, slots } = rig();
    let wrong = slots.open_with_passphrase(&passphrase("seven green anchors!"));
    assert_eq!(wrong.unwrap_err(), OpenError::WrongPassphrase);
    let other = KitSecret::draw(&mut seeded(9));
    let (given, wanted) = (other.id(VAULT), kit.id(VAULT));
    assert_eq!(slots.open_with_kit(&other).unwrap_err(), OpenError::OtherKit { given, wanted });
    let empty = Slots::new(&master);
    let error = empty.open_with_passphrase(&passphrase(WORDS)).unwrap_err();
    assert_eq!(error, OpenError::NoPassphrase);
    assert_eq!(empty.open_with_kit(&kit).unwrap_err(), OpenError::NoKit);
}

/// A slot carried to another vault opens nothing there.
#[test]
fn a_slot_belongs_to_its_vault() {
    let Rig { slots, .. } = rig();
    let moved = Slots::from_bytes(VaultId([8; 16]), slots.check(), &slots.to_bytes()).unwrap();
    let error = moved.open_with_passphrase(&passphrase(WORDS)).unwrap_err();
    assert_eq!(error, OpenError::WrongPassphrase);
}

#[test]
fn rotation_replaces_one_and_keeps_the_other() {
    let Rig { master, kit, mut slots } = rig();
    let mut random = seeded(2);
    let before = slots.all().iter().map(Slot::number).collect::<Vec<_>>();
    let new = "eight brown anchors";
    slots.set_passphrase(&master, &passphrase(new), cheap(), AT + 1, &mut random).unwrap();
    assert_eq!(slots.all().len(), 2);
    assert!(slots.all().iter().any(|slot| !before.contains(&slot.number())));
    assert!(slots.open_with_passphrase(&passphrase(WORDS)).is_err());
    assert_eq!(*slots.open_with_passphrase(&passphrase(new)).unwrap().bytes, *master.bytes);
    assert_eq!(*slots.open_with_kit(&kit).unwrap().bytes, *master.bytes);

    let new_kit = KitSecret::draw(&mut random);
    slots.set_kit(&master, &new_kit, KitShape::new(1, 1).unwrap(), AT + 2, &mut random);
    assert!(slots.open_with_kit(&kit).is_err());
    assert_eq!(*slots.open_with_kit(&new_kit).unwrap().bytes, *master.bytes);
    assert_eq!(*slots.open_with_passphrase(&passphrase(new)).unwrap().bytes, *master.bytes);
}

/// Nobody gets at the master key, or at another one, by altering a slot.
#[test]
fn every_flipped_bit_of_a_slot_closes_it() {
    let Rig { master, kit, slots } = rig();
    let bytes = slots.to_bytes();
    let (mut refused, mut closed) = (0, 0);
    // The kit's slot is the second one; Argon2 would make the same test of the first a long one.
    for bit in SLOT_LEN * 8..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        match Slots::from_bytes(VAULT, slots.check(), &bytes) {
            Err(_) => refused += 1,
            Ok(slots) => {
                assert!(slots.open_with_kit(&kit).is_err(), "bit {bit} opened something");
                closed += 1;
            }
        }
    }
    assert_eq!(refused + closed, SLOT_LEN * 8);
    assert!(refused > 100 && closed > 900, "{refused} {closed}");
    // One bit of every byte of the passphrase's slot, as far as it still is a slot.
    for byte in 0..SLOT_LEN {
        let mut bytes = bytes.clone();
        bytes[byte] ^= 1;
        if let Ok(slots) = Slots::from_bytes(VAULT, master.check(), &bytes) {
            let cheap = slots.all().iter().all(|slot| match slot.kind() {
                SlotKind::Passphrase(params) => params.memory_kib() <= 9 << 10,
                SlotKind::Kit { .. } => true,
            });
            if cheap {
                assert!(slots.open_with_passphrase(&passphrase(WORDS)).is_err(), "byte {byte}");
            }
        }
    }
}

/// A master key that somebody else wrapped with our passphrase is not ours.
#[test]
fn the_master_key_is_checked_behind_the_slot() {
    let Rig { slots, .. } = rig();
    let mut random = seeded(3);
    let foreign = MasterKey::draw(VAULT, &mut random);
    let mut forged = Slots::new(&foreign);
    forged.set_passphrase(&foreign, &passphrase(WORDS), cheap(), AT, &mut random).unwrap();
    let planted = Slots::from_bytes(VAULT, slots.check(), &forged.to_bytes()).unwrap();
    let error = planted.open_with_passphrase(&passphrase(WORDS)).unwrap_err();
    assert_eq!(error, OpenError::Altered);
}

/// A slot that would exhaust the machine is refused before anything is allocated.
#[test]
fn parameters_are_bounded_when_read() {
    let Rig { slots, .. } = rig();
    let bytes = slots.to_bytes();
    let spoil = |offset: usize, value: u32| {
        let mut bytes = bytes.clone();
        bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        Slots::from_bytes(VAULT, slots.check(), &bytes).unwrap_err()
    };
    let of = |fault| SlotsFault::Slot { index: 0, fault: SlotFault::Kdf(fault) };
    let memory_kib = (2 << 20) + 1;
    assert_eq!(spoil(8, memory_kib), of(KdfError::Memory { memory_kib }));
    assert_eq!(spoil(8, 0), of(KdfError::Memory { memory_kib: 0 }));
    assert_eq!(spoil(12, 17), of(KdfError::Passes { passes: 17 }));
    assert_eq!(spoil(16, u32::MAX), of(KdfError::Lanes { lanes: u32::MAX }));
    let short = Slots::from_bytes(VAULT, slots.check(), &bytes[1..]).unwrap_err();
    assert_eq!(short, SlotsFault::Len { len: 287 });
    let none = Slots::from_bytes(VAULT, slots.check(), &[]).unwrap_err();
    assert_eq!(none, SlotsFault::Count { count: 0 });
    let many = Slots::from_bytes(VAULT, slots.check(), &bytes.repeat(5)).unwrap_err();
    assert_eq!(many, SlotsFault::Count { count: 10 });
    let twice = Slots::from_bytes(VAULT, slots.check(), &bytes.repeat(2)).unwrap_err();
    assert_eq!(twice, SlotsFault::Twice { number: 1 });
}

#[test]
fn what_new_slots_take_is_within_the_bounds() {
    for memory in [1u64 << 30, 4 << 30, 64 << 30] {
        let params = KdfParams::for_machine(memory);
        let checked = KdfParams::new(params.memory_kib(), params.passes(), params.lanes());
        assert_eq!(checked, Ok(params));
        assert!(u64::from(params.memory_kib()) << 10 <= memory / 4);
    }
}

/// One key for one thing: whatever differs gives another key.
#[test]
fn derived_keys_differ() {
    let Rig { master, .. } = rig();
    let seal = |cipher: Cipher| {
        let mut sealed = [0; 32];
        cipher.seal([0; 12], &[], &mut sealed);
        sealed
    };
    let other = MasterKey::draw(VaultId([8; 16]), &mut seeded(1));
    let same = *other.bytes == *master.bytes;
    assert!(same, "both were drawn from one seed: only the vault differs");
    let (number, next) = (ManifestNumber(1), ManifestNumber(2));
    let keys = [
        seal(master.object(ObjectId([1; 16]))),
        seal(master.object(ObjectId([2; 16]))),
        seal(other.object(ObjectId([1; 16]))),
        seal(master.manifest(number, &[1; 16])),
        seal(master.manifest(next, &[1; 16])),
        seal(master.manifest(number, &[2; 16])),
        seal(other.manifest(number, &[1; 16])),
    ];
    for (index, key) in keys.iter().enumerate() {
        assert!(!keys[..index].contains(key), "key {index}");
    }
}

/// Derivations and slots are format: a change orphans every vault.
#[test]
fn bytes_are_pinned() {
    let Rig { master, kit, slots } = rig();
    let hash = |bytes: &[u8]| blake3::hash(bytes).to_hex()[..16].to_owned();
    let pinned = [
        hash(&master.check().0),
        kit.id(VAULT).to_string(),
        hash(&slots.all()[0].to_bytes()),
        hash(&slots.all()[1].to_bytes()),
    ];
    assert_eq!(
        pinned,
        ["c8ae9f2a8aa52e91", "8e37cca3a894dff8", "b2096833c850643d", "36a49cace491590b"]
    );
}

#[test]
fn secrets_are_not_printed() {
    let Rig { master, kit, .. } = rig();
    let shown = format!("{master:?} {kit:?}");
    assert!(
        shown.contains("secret") && !shown.contains(&format!("{:?}", master.bytes[0..4].to_vec()))
    );
}
