//! What reading costs in requests (VAULT.md, section 8).

use super::*;
use crate::format::{RecordEntry, RecordWhat};
use crate::testing::point as bare_point;
use keelhold_chunk::IdKey;
use keelhold_disk::tree::{NewContent, ResolvedExtent, TreeRoot};
use keelhold_disk::units::ChunkNumber;

const MIB: usize = 1 << 20;

fn noise(len: usize, random: &mut impl Random) -> Vec<u8> {
    let mut bytes = vec![0; len];
    random.fill(&mut bytes);
    bytes
}

/// A million files; one of them is there, the others are said to be.
fn million(chunks: &RefCell<Chunks>, target: &[u8]) -> (TreeRoot, Vec<u8>) {
    const FOLDERS: u64 = 1000;
    let key = IdKey::new(crate::testing::vault::ID_KEY);
    let mut found = Vec::new();
    let items = (0..FOLDERS).flat_map(|folder| {
        let path = format!("{folder:03}").into_bytes();
        std::iter::once((path, None)).chain((0..FOLDERS).map(move |at| {
            (format!("{folder:03}/file-{at:03}.dat").into_bytes(), Some(folder * FOLDERS + at))
        }))
    });
    let items = std::iter::once((Vec::new(), None)).chain(items);
    let items = items.map(|(path, at)| match at {
        None => directory(&path),
        Some(567_891) => {
            found.clone_from(&path);
            let content = chunks.borrow_mut().content(target, 64 << 10);
            file(&path, target.len() as u64, content)
        }
        Some(_) => {
            let mut chunks = chunks.borrow_mut();
            let (number, len) = (chunks.next, 1000);
            chunks.next += 1;
            let id = key.id(&number.to_le_bytes());
            chunks.pretended.insert(number, id);
            let chunk = ResolvedExtent::Chunk { number: ChunkNumber(number), id, len };
            file(&path, len.into(), NewContent::Extents(vec![chunk]))
        }
    });
    let root = tree(chunks, items);
    (root, found)
}

#[test]
fn one_file_of_a_million_takes_twelve_requests() {
    let store = Arc::new(Watched::new(MemoryStore::new()));
    let (random, chunks) = (&mut seeded(1), RefCell::new(Chunks::default()));
    let mut opened = founded(&*store, random);
    let target = noise(MIB, random);
    let (root, path) = million(&chunks, &target);
    let point = PointId(random.array());
    println!("{} entries, level {}, {} chunks", root.entry_count, root.level, chunks.borrow().next);
    let shipment =
        Shipment { chunks: &chunks, points: vec![(point, root)], records: vec![], packing: USUAL };
    opened = ship(&*store, &opened, shipment, random);
    println!(
        "manifest: base {} bytes, {} leaves",
        opened.base_len,
        opened.view.indexes[0].leaves.len()
    );
    // The base is not among the names that are listed.
    for at in 0..10 {
        let mut next = (*opened.view).clone();
        next.made_at = at;
        let terms = crate::testing::vault::TERMS;
        let made = crate::chain::commit(&*store, &opened, &next, &opened.slots, terms, random);
        opened = now(made).unwrap();
    }
    store.take();
    store.bytes.store(0, std::sync::atomic::Ordering::Relaxed);
    let opened = now(open(&*store, Unlock::Master(&opened.master), None)).unwrap();
    let opening = store.requests.load(std::sync::atomic::Ordering::Relaxed);
    let vault = reader(&store, &opened);
    let reader = vault.point(&point, NoLocal).unwrap();
    let (_, entry) = now(reader.find(&path)).unwrap().unwrap();
    let found = store.requests.load(std::sync::atomic::Ordering::Relaxed);
    let plan = now(plan(&reader, &[Wanted::whole(&entry)])).unwrap();
    let planned = store.requests.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(now(content(&reader, &entry, 1 << 20)).unwrap(), target);
    let bytes = store.bytes.load(std::sync::atomic::Ordering::Relaxed);
    let all = store.take();
    println!(
        "requests: open {opening}, find {}, plan {}, read {}: {all} in all, {bytes} bytes; {plan:?}",
        found - opening,
        planned - found,
        all - planned
    );
    assert_eq!(plan.requests, all - planned);
    assert!(all <= 12, "{all}");
}

/// Who lost everything sees his thousand points after a few requests.
#[test]
fn a_thousand_points_and_all_records_take_twenty_requests() {
    let store = Arc::new(Watched::new(MemoryStore::new()));
    let random = &mut seeded(2);
    let chunks = RefCell::new(Chunks::default());
    let mut opened = founded(&*store, random);
    for shipment in 0..8 {
        let value = noise(1000, random);
        let name = |at| format!("machine/{shipment}-{at}");
        let entry = |at| RecordEntry {
            name: name(at),
            what: RecordWhat::Record,
            version: at,
            value: value.clone(),
        };
        let records = (0..100).map(entry).collect();
        let shipment = Shipment { chunks: &chunks, points: vec![], records, packing: USUAL };
        opened = ship(&*store, &opened, shipment, random);
    }
    let mut next = (*opened.view).clone();
    next.points.extend((0..1000).map(|at| bare_point(random, at)));
    next.points.sort_by_key(|point| point.point);
    let terms = crate::testing::vault::TERMS;
    now(crate::chain::commit(&*store, &opened, &next, &opened.slots, terms, random)).unwrap();
    store.take();
    let opened = now(open(&*store, Unlock::Master(&opened.master), None)).unwrap();
    let vault = reader(&store, &opened);
    let records = now(vault.records()).unwrap();
    assert_eq!((records.records.len(), vault.view().points.len()), (800, 1000));
    let requests = store.take();
    println!("adopt of 1,000 points, 8 record objects: {requests} requests");
    assert!(requests <= 12, "{requests}");
}

/// A file that was changed here and there in twenty backups.
#[test]
fn a_fragmented_file_costs_the_objects_that_hold_it() {
    let store = Arc::new(Watched::new(MemoryStore::new()));
    let (random, chunks) = (&mut seeded(3), RefCell::new(Chunks::default()));
    let mut opened = founded(&*store, random);
    let mut target = noise(4 * MIB, random);
    let mut point = PointId([0; 16]);
    for backup in 0..20 {
        for _ in 0..3 {
            let [high, low] = random.array::<2>();
            let at = (usize::from(high) << 8 | usize::from(low)) * 63;
            random.fill(&mut target[at..at + 16]);
        }
        let mut items = vec![directory(b"")];
        let content = chunks.borrow_mut().content(&target, 16 << 10);
        items.push(file(b"base", target.len() as u64, content));
        // Others of the same backup.
        for at in 0..20 {
            let other = noise(50_000, random);
            let content = chunks.borrow_mut().content(&other, 16 << 10);
            items.push(file(format!("other{at:02}-{backup}").as_bytes(), 50_000, content));
        }
        point = PointId(random.array());
        let points = vec![(point, tree(&chunks, items))];
        let shipment = Shipment { chunks: &chunks, points, records: vec![], packing: USUAL };
        opened = ship(&*store, &opened, shipment, random);
    }
    store.take();
    let opened = now(open(&*store, Unlock::Master(&opened.master), None)).unwrap();
    let vault = reader(&store, &opened);
    let reader = vault.point(&point, NoLocal).unwrap();
    let (_, entry) = now(reader.find(b"base")).unwrap().unwrap();
    let before = store.take();
    let wanted = [Wanted::whole(&entry)];
    let plan = now(plan(&reader, &wanted)).unwrap();
    let planning = store.take();
    now(bring(&reader, &wanted)).unwrap();
    let bringing = store.take();
    assert_eq!(now(content(&reader, &entry, 1 << 20)).unwrap(), target);
    let reading = store.take();
    println!(
        "open and find {before}, plan {planning}, bring {bringing}, read {reading}; {} objects, {} bytes planned",
        plan.objects.len(),
        plan.bytes
    );
    assert_eq!((plan.requests, reading), (bringing, 0));
    assert!(bringing <= plan.objects.len() as u64);
    // A leaf for each shipment that the file has chunks of: each is another object.
    assert!(before + bringing + planning <= 11 + 2 * plan.objects.len() as u64);
}
