//! Looking at disks, sound and damaged: everything can be shown, what is wrong is named, nothing is
//! written, and nothing that stands on a disk makes the looking fail.

use keelhold_disk::mutants::Mutants;
use keelhold_disk::pool::{Fact, RecordChange, Section, Where};
use keelhold_disk::sim::{Image, Rng};
use keelhold_disk::units::{ChunkNumber, SessionId, SourceId, UnixNanos};
use keelhold_tests::rig::{Rig, campaign, chunks_of, wrapping_key};

use super::flips::{Still, still};

fn show(disks: &[Image], place: &Where) -> Vec<Section> {
    let mut rig = Rig::over(1, disks, Mutants::default());
    let before: Vec<Vec<u8>> = bytes(&rig);
    let sections = rig.inspect(place);
    assert!(before == bytes(&rig), "{place:?} wrote to a disk");
    sections
}

fn bytes(rig: &Rig) -> Vec<Vec<u8>> {
    rig.images().iter().map(|image| image.to_buf().to_vec()).collect()
}

/// A section of this name anywhere below.
fn find<'a>(sections: &'a [Section], what: &str) -> Option<&'a Section> {
    sections.iter().find_map(|section| match section.what.starts_with(what) {
        true => Some(section),
        false => find(&section.parts, what),
    })
}

fn number(section: &Section, name: &str) -> Option<u64> {
    section.facts.iter().find_map(|(of, fact)| match fact {
        Fact::Number(number) if of == name => Some(*number),
        _ => None,
    })
}

fn flag(section: &Section, name: &str) -> Option<bool> {
    section.facts.iter().find_map(|(of, fact)| match fact {
        Fact::Flag(flag) if of == name => Some(*flag),
        _ => None,
    })
}

fn sound(still: &Still, place: &Where) -> Vec<Section> {
    let sections = show(&still.disks, place);
    assert!(!sections.is_empty());
    for section in &sections {
        assert!(section.is_sound(), "{place:?}: {section:#?}");
    }
    sections
}

/// Every form there is, for this pool.
fn every_form(still: &Still) -> Vec<Where> {
    let mut forms = vec![
        Where::Overview,
        Where::Label,
        Where::Superblock(None),
        Where::Superblock(Some(2)),
        Where::Journal(None),
        Where::Journal(Some(3)),
        Where::Chunk(ChunkNumber(1)),
        Where::Point(still.points[0].0),
        Where::Session(SessionId([9; 16])),
        Where::Source(SourceId([1; 16])),
        Where::Record("group/a".into()),
        Where::State,
    ];
    forms.extend((0..8).map(Where::Container));
    forms.extend((0..8).map(|container| Where::Run(container, 1)));
    forms.extend([0, 5000, 70_000, 200_001].map(|offset| Where::Offset { disk: 0, offset }));
    forms.push(Where::Offset { disk: 7, offset: 0 });
    forms
}

#[test]
fn everything_of_a_sound_pool_can_be_shown() {
    // One pool in clear and one that is encrypted.
    for seed in [3, 4] {
        let still = still(seed, true, Mutants::default());
        let overview = sound(&still, &Where::Overview);
        let pool = find(&overview, "pool").unwrap();
        assert_eq!((number(pool, "points"), number(pool, "records")), (Some(2), Some(1)));
        assert_eq!(flag(pool, "encrypted"), Some(seed == 4));
        assert_eq!(sound(&still, &Where::Label).len(), 2);
        let superblocks = sound(&still, &Where::Superblock(None));
        assert_eq!(superblocks.iter().filter(|of| flag(of, "wins") == Some(true)).count(), 4);
        let journal = sound(&still, &Where::Journal(None));
        let in_force = journal.iter().filter(|entry| flag(entry, "in_force") == Some(true));
        assert!(in_force.count() >= 2 && find(&journal, "PointCommitted").is_some());
        let point = sound(&still, &Where::Point(still.points[1].0));
        let recipe = number(&point[0], "recipe").unwrap();
        let chunk = sound(&still, &Where::Chunk(ChunkNumber(recipe)));
        assert_eq!(flag(&chunk[0], "proved"), Some(true));
        let run = chunk[0].facts.iter().find_map(|(name, fact)| match fact {
            Fact::Text(text) if name == "run" => text.split_once(':'),
            _ => None,
        });
        let (container, block) = run.unwrap();
        let place = Where::Run(container.parse().unwrap(), block.parse().unwrap());
        let shown = sound(&still, &place);
        assert!(find(&shown, &format!("chunk {recipe}")).is_some(), "{shown:#?}");
        let _ = sound(&still, &Where::Container(container.parse().unwrap()));
        let record = sound(&still, &Where::Record("group/a".into()));
        assert_eq!(number(&record[0], "len"), Some(still.record.len() as u64));
        let _ = sound(&still, &Where::State);
        let _ = sound(&still, &Where::Source(SourceId([1; 16])));
        // By its id, too.
        let mut rig = Rig::over(1, &still.disks, Mutants::default());
        let pool = rig.look().unwrap();
        let known = chunks_of(&pool, &still.points[1].1)[0].id;
        let _ = sound(&still, &Where::ChunkId(known));
    }
}

/// What the table of claims says of a byte, the look at that byte says as well.
#[test]
fn every_claimed_byte_is_shown_in_its_structure_and_its_damage_is_named() {
    for seed in [3, 4] {
        let still = still(seed, true, Mutants::default());
        let mut rng = Rng::new(seed);
        for claim in &still.claims {
            let offset = claim.place.offset + rng.below(claim.len);
            let place = Where::Offset { disk: 0, offset };
            let before = show(&still.disks, &place);
            assert_eq!(flag(&before[0], "claimed"), Some(true), "{claim:?}: {before:#?}");
            assert!(before[0].is_sound() && !before[0].parts.is_empty(), "{claim:?}: {before:#?}");
            let mut disks = still.disks.clone();
            disks[0].damage(offset, |byte| *byte ^= 1 << rng.below(8));
            let after = show(&disks, &place);
            // The copies of directories in a footer are proved as a whole.
            let footer_body = claim.what == "container footer" && claim.len != 4096;
            if !footer_body {
                assert!(!after[0].is_sound() || after != before, "{claim:?}: {after:#?}");
            }
        }
    }
}

#[test]
fn no_damage_makes_the_looking_fail() {
    let mut shown = 0;
    for seed in 0..campaign(4) {
        let still = still(seed, false, Mutants::default());
        let mut rng = Rng::new(seed ^ 0x1a5e);
        for _ in 0..campaign(6) {
            let mut disks = still.disks.clone();
            let written: Vec<u64> = disks[0].written_blocks().collect();
            for _ in 0..1 + rng.below(400) {
                let byte = written[rng.index(written.len())] * 4096 + rng.below(4096);
                disks[0].damage(byte, |value| *value ^= 1 << rng.below(8));
            }
            for place in every_form(&still) {
                shown += show(&disks, &place).len();
            }
        }
        // Nothing but zeroes, and nothing but noise.
        for fill in [0, 0xa5] {
            let mut disk = Image::empty(still.disks[0].size());
            disk.write(0, &vec![fill; still.disks[0].size() as usize]);
            for place in every_form(&still) {
                shown += show(std::slice::from_ref(&disk), &place).len();
            }
        }
    }
    println!("{shown} sections of damaged disks shown");
}

/// A pool that does not open is shown as far as it goes, and says why it goes no further.
#[test]
fn a_pool_that_does_not_open_is_shown_all_the_same() {
    let mut rig = Rig::new(4, 1, Mutants::default());
    let pool = rig.create().unwrap();
    rig.run(async {
        for n in 0..4 {
            let name = format!("record/{n}");
            let change = RecordChange { name, expected: None, bytes: Some(vec![n]) };
            pool.write_records(vec![change], UnixNanos(1)).await.unwrap();
            if n == 0 {
                pool.checkpoint(UnixNanos(2)).await.unwrap();
            }
        }
    });
    rig.crash();
    let pool = rig.look().unwrap();
    let claims = rig.run(pool.claims());
    let entries = claims.iter().filter(|claim| claim.what == "journal entry");
    let entries: Vec<u64> = entries.map(|claim| claim.place.offset).collect();
    let mut disks = rig.images();
    // Both copies of the second of three.
    for offset in &entries[2..4] {
        disks[0].damage(offset + 130, |byte| *byte ^= 1);
    }
    assert!(Rig::over(1, &disks, Mutants::default()).look().is_err());
    let overview = show(&disks, &Where::Overview);
    let pool = find(&overview, "pool").unwrap();
    assert!(pool.faults[0].contains("journal entry"), "{pool:#?}");
    assert_eq!(number(pool, "records"), Some(2), "the checkpoint and the first entry are shown");
    let journal = show(&disks, &Where::Journal(None));
    assert!(
        journal.iter().any(|entry| entry.faults.iter().any(|fault| fault.contains("checksum")))
    );
}

#[test]
fn without_the_key_structures_are_shown_and_contents_are_not() {
    let still = still(4, true, Mutants::default());
    let mut rig = Rig::over(1, &still.disks, Mutants::default());
    assert!(rig.key.take().is_some());
    let overview = rig.inspect(&Where::Overview);
    let pool = find(&overview, "pool").unwrap();
    assert!(pool.faults[0].contains("no key was given"), "{pool:#?}");
    // Numbers of containers follow their generations.
    let has_frames = |rig: &mut Rig, container: u32| {
        find(&rig.inspect(&Where::Run(container, 1)), "frame 0").is_some()
    };
    let container = (0..16).find(|container| has_frames(&mut rig, *container)).unwrap();
    let run = rig.inspect(&Where::Run(container, 1));
    assert!(find(&run, "frame 0").is_some_and(Section::is_sound) && find(&run, "chunk").is_none());
    let journal = rig.inspect(&Where::Journal(None));
    assert!(journal.iter().all(|entry| entry.is_sound() && entry.parts.is_empty()), "{journal:#?}");
    rig.key = Some(wrapping_key());
    assert!(has_frames(&mut rig, container));
}
