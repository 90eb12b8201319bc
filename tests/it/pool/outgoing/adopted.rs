//! An appliance whose pool is made anew with the content keys of the old one cuts and names as before.

use keelhold_disk::mutants::Mutants;
use keelhold_disk::units::UnixNanos;
use keelhold_tests::rig::{Machine, Rig, chunks_of, read_point};

use super::{opened, ship};
use crate::pool::content::some_tree;

#[test]
fn frames_of_the_old_pool_are_taken_by_one_with_its_content_keys() {
    for seed in 0..6 {
        println!("seed {seed}");
        let mut old = Rig::new(seed, 1, Mutants::default());
        let mut options = old.options();
        // Parameters of its own: the seed is drawn.
        options.cut = options
            .cut
            .map(|cut| keelhold_chunk::cut::CutParams { seed: [seed as u8 + 100; 32], ..cut });
        let pool = old.create_with(options).unwrap();
        let files = some_tree(seed, 20, 6000);
        let mut machine = Machine::new(1);
        let point = old.run(machine.backup(&pool, &files, UnixNanos(1))).unwrap().id;
        let reach = old.run(pool.reach(&point)).unwrap();
        let shipped = old.run(ship(&pool, &reach)).unwrap();

        let mut new = Rig::new(seed + 50, 1, Mutants::default());
        let options = pool.content_keys().into_options(new.options()).unwrap();
        let adopted = new.create_with(options).unwrap();
        assert_eq!(chunks_of(&adopted, &files), chunks_of(&pool, &files));
        assert_ne!(adopted.id(), pool.id());
        let machine = Machine::new(1);
        let read = new.run(async {
            let session = machine.begin(&adopted, UnixNanos(1)).await.unwrap();
            for frame in &shipped.frames {
                let frame = opened(&adopted, frame).await.unwrap();
                adopted.place_frame(session, frame).await.unwrap();
            }
            let sent = machine.send(&adopted, session, &files).await.unwrap();
            assert_eq!(sent, 0, "what had come from elsewhere was sent again");
            let commit = keelhold_disk::pool::CommitPoint::default();
            let point = adopted.commit(session, commit, UnixNanos(2)).await.unwrap();
            read_point(&adopted, &point.id).await.unwrap()
        });
        assert_eq!(read, files);
        // Other keys are other names.
        let other = new_pool_of(seed + 90);
        assert_ne!(other, *pool.id_key().as_bytes());
    }
}

fn new_pool_of(seed: u64) -> [u8; 32] {
    *Rig::new(seed, 1, Mutants::default()).create().unwrap().id_key().as_bytes()
}

#[test]
fn content_keys_are_not_shown_and_damaged_ones_are_refused() {
    let mut rig = Rig::new(2, 1, Mutants::default());
    let pool = rig.create().unwrap();
    assert_eq!(format!("{:?}", pool.content_keys()), "ContentKeys(secret)");
    let mut keys = pool.content_keys();
    keys.cut.push(0);
    assert!(keys.into_options(rig.options()).is_err());
}
