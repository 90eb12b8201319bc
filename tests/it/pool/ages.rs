//! An old point costs as many reads as a new one, and a cold look into either few.

use std::collections::BTreeSet;

use bytes::Bytes;
use keelhold_chunk::{Attributes, Kind, Timestamp};
use keelhold_disk::format::Codec;
use keelhold_disk::mutants::Mutants;
use keelhold_disk::pool::{
    BeginSession, CommitPoint, IncomingFrame, NewContent, NewExtent, NewItem, ReclaimOptions,
};
use keelhold_disk::sim::{Image, Rng};
use keelhold_disk::units::{ChunkRef, DomainId, PointId, SessionId, SourceId, UnixNanos};
use keelhold_tests::rig::{Files, Rig, Shape, SimPool, read_point, tree_bytes};

use super::content::noise;

const DAYS: u64 = 60;
const FILES: u64 = 2000;
const FILE_LEN: usize = 16 << 10;
/// Of a thousand files, so many are other ones on the next day.
const CHURN_PER_MILLE: u64 = 20;
/// Cold looks into each point.
const LOOKS: u64 = 60;

/// Files of a frame, as an agent sends it.
const FRAME_FILES: usize = 16;

fn path(file: u64) -> String {
    format!("f{file:05}")
}

fn item(path: &str, kind: Kind, content: NewContent) -> NewItem {
    let mtime = Timestamp::default();
    let attributes = Attributes {
        kind,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime,
        link_group: None,
        xattrs: Vec::new(),
    };
    NewItem::Entry { path: path.as_bytes().to_vec(), attributes: attributes.to_bytes(), content }
}

/// Sends chunks, each a file, in frames.
async fn send(pool: &SimPool, session: SessionId, chunks: &[(ChunkRef, &Vec<u8>)]) {
    for few in chunks.chunks(FRAME_FILES) {
        let stored: Vec<u8> = few.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
        let frame = IncomingFrame {
            codec: Codec::Raw,
            plain_len: stored.len() as u32,
            stored: Bytes::from(stored),
            chunks: few.iter().map(|(chunk, _)| *chunk).collect(),
        };
        let verified = pool.verify_frame(frame).await.unwrap();
        pool.place_frame(session, verified).await.unwrap();
    }
}

/// A backup of files of which only `changed` differ from the basis.
async fn backup(
    pool: &SimPool,
    basis: Option<PointId>,
    files: &Files,
    changed: &BTreeSet<u64>,
    now: UnixNanos,
) -> PointId {
    let request = BeginSession {
        source: SourceId([1; 16]),
        domain: DomainId([1; 16]),
        basis,
        lease_until: UnixNanos(1 << 50),
    };
    let session = pool.begin(request, now).await.unwrap();
    let mut items = match basis {
        None => vec![item("", Kind::Directory, NewContent::None)],
        Some(_) => vec![NewItem::Same { first: 0, count: 1 }],
    };
    let mut chunks = Vec::new();
    for file in 0..FILES {
        if !changed.contains(&file) {
            items.push(NewItem::Same { first: file + 1, count: 1 });
            continue;
        }
        let (path, bytes) = (path(file), &files[&path(file)]);
        let chunk = ChunkRef { id: pool.id_key().id(bytes), len: bytes.len() as u32 };
        chunks.push((chunk, bytes));
        let kind = Kind::File { size: bytes.len() as u64 };
        items.push(item(&path, kind, NewContent::Extents(vec![NewExtent::Chunk(chunk)])));
    }
    let asked: Vec<ChunkRef> = chunks.iter().map(|(chunk, _)| *chunk).collect();
    let have = pool.offer(session, &asked).await.unwrap();
    assert!(have.iter().all(|have| !have), "every file is a new one");
    send(pool, session, &chunks).await;
    pool.push(session, items).await.unwrap();
    let commit = CommitPoint { at: now, ..CommitPoint::default() };
    pool.commit(session, commit, now).await.unwrap().id
}

/// Which files change: any, or mostly the same.
#[derive(Debug, Clone, Copy)]
enum Churn {
    Scattered,
    Hot,
}

struct Aged {
    image: Image,
    oldest: (PointId, Files),
    newest: (PointId, Files),
}

fn aged(churn: Churn, forgets: bool) -> Aged {
    let shape = Shape {
        disk_len: 512 << 20,
        container_len: 16 << 20,
        journal_len: 1 << 20,
        ..Shape::toy(1)
    };
    let mut rig = Rig::shaped(2, shape, Mutants::default());
    let pool = rig.create().unwrap();
    let mut rng = Rng::new(5);
    let mut files: Files = (0..FILES).map(|n| (path(n), noise(n, FILE_LEN))).collect();
    let mut points: Vec<(PointId, Files)> = Vec::new();
    for day in 0..DAYS {
        let now = UnixNanos(day as i64 + 1);
        let mut changed: BTreeSet<u64> =
            if day == 0 { (0..FILES).collect() } else { BTreeSet::new() };
        if day > 0 {
            for n in 0..FILES * CHURN_PER_MILLE / 1000 {
                let file = match churn {
                    Churn::Scattered => rng.below(FILES),
                    Churn::Hot => rng.below(FILES / 20),
                };
                files.insert(path(file), noise(day << 32 | n, FILE_LEN));
                changed.insert(file);
            }
        }
        let basis = points.last().map(|(point, _)| *point);
        let point = rig.run(backup(&pool, basis, &files, &changed, now));
        points.push((point, files.clone()));
        // Only two of them are compared.
        if points.len() > 2 {
            points.remove(1);
        }
    }
    let now = UnixNanos(1000);
    if forgets {
        let kept = [points[0].0, points[1].0];
        let all: Vec<PointId> = pool.points().iter().map(|point| point.id).collect();
        let gone: Vec<PointId> = all.into_iter().filter(|id| !kept.contains(id)).collect();
        rig.run(pool.forget(&gone, now, now)).unwrap();
    }
    rig.run(pool.close(now)).unwrap();
    rig.end();
    let pool = rig.open().unwrap();
    let options = ReclaimOptions { least_dead: 10, confirmed: false };
    let report = rig.run(pool.reclaim(options, now)).unwrap();
    println!("{churn:?}, forgets {forgets}: {report:?}");
    rig.run(pool.close(now)).unwrap();
    rig.end();
    let [oldest, newest] = <[(PointId, Files); 2]>::try_from(points).unwrap();
    Aged { image: rig.images().remove(0), oldest, newest }
}

/// Device reads for a GiB when all of a point is restored, nothing in any cache before.
fn restored(image: &Image, (point, files): &(PointId, Files)) -> f64 {
    let mut rig = Rig::over(3, std::slice::from_ref(image), Mutants::default());
    let pool = rig.look().unwrap();
    let before = rig.world.counters(rig.disks[0]).reads;
    assert_eq!(rig.run(read_point(&pool, point)).unwrap(), *files);
    let reads = rig.world.counters(rig.disks[0]).reads - before;
    reads as f64 * f64::from(1 << 30) / tree_bytes(files) as f64
}

/// Device reads of 4 KiB of a file whose entry is known, and of finding the entry, on average.
fn looked(image: &Image, (point, files): &(PointId, Files)) -> (f64, f64) {
    let (mut reading, mut finding) = (0, 0);
    for look in 0..LOOKS {
        let mut rig = Rig::over(3 + look, std::slice::from_ref(image), Mutants::default());
        let pool = rig.look().unwrap();
        let reads = |rig: &Rig| rig.world.counters(rig.disks[0]).reads;
        let path = path(look * 7919 % FILES);
        let reader = rig.run(pool.reader(point)).unwrap();
        let before = reads(&rig);
        let (_, entry) = rig.run(reader.find(path.as_bytes())).unwrap().unwrap();
        let found = reads(&rig);
        let pieces = rig.run(reader.read(&entry, 8192, 4096)).unwrap();
        let len: u64 = pieces.iter().map(|piece| piece.len()).sum();
        assert_eq!((len, files[&path].len()), (4096, FILE_LEN));
        reading += reads(&rig) - found;
        finding += found - before;
    }
    (reading as f64 / LOOKS as f64, finding as f64 / LOOKS as f64)
}

#[test]
fn old_and_new_points_cost_the_same() {
    for (churn, forgets) in [(Churn::Hot, false), (Churn::Hot, true), (Churn::Scattered, false)] {
        let Aged { image, oldest, newest } = aged(churn, forgets);
        let (old, new) = (restored(&image, &oldest), restored(&image, &newest));
        let (old_look, new_look) = (looked(&image, &oldest), looked(&image, &newest));
        println!(
            "{DAYS} days, {churn:?}, forgets {forgets}: {old:.0} reads a GiB of the oldest, {new:.0} \
             of the newest; a cold 4 KiB in {:.2} and {:.2} reads, finding its entry in {:.2} and \
             {:.2}",
            old_look.0, new_look.0, old_look.1, new_look.1
        );
        assert!(old_look.0 <= 4.0 && new_look.0 <= 4.0, "{old_look:?} {new_look:?}");
        // A tree walked by its paths meets, where any file may be of any day, a frame of every day
        // again and again: more of them than the cache holds. And what the first day wrote stands
        // in its frames beside what is no longer needed.
        let most = match (churn, forgets) {
            (Churn::Hot, true) => 1.2,
            (Churn::Hot, false) => 1.3,
            (Churn::Scattered, _) => 5.0,
        };
        assert!(new <= old * most && old <= new * most, "{old} and {new} reads");
    }
}
