//! What things cost, counted at the devices: flushes and space of a commit, reads of a path, space
//! of a point in which nothing changed.

use keelhold_chunk::{Attributes, Kind, Timestamp};
use keelhold_disk::mutants::Mutants;
use keelhold_disk::pool::{BeginSession, CommitPoint, NewContent, NewItem};
use keelhold_disk::units::{DomainId, PointId, SourceId, UnixNanos};
use keelhold_tests::rig::{Files, Machine, Rig, Shape, SimPool};

use super::content::noise;

/// As a pool on disks of a few GiB is made when nothing is chosen, but for the journal: what is
/// counted depends on them.
fn real(disk_count: usize, journal_len: u64) -> Shape {
    Shape { disk_count, disk_len: 4 << 30, container_len: 16 << 20, journal_len, copies: 1 }
}

#[test]
fn a_thousand_small_commits_cost_little_space_and_two_flushes_each() {
    for disk_count in [1, 2] {
        let mut rig = Rig::shaped(4, real(disk_count, 32 << 20), Mutants::default());
        let pool = rig.create().unwrap();
        let mut machine = Machine::new(1);
        let mut files: Files = (0..20).map(|n| (format!("f{n}"), noise(n, 4096))).collect();
        rig.run(machine.backup(&pool, &files, UnixNanos(1))).unwrap();
        let used = pool.status().bytes_used;
        let flushes = |rig: &Rig| -> Vec<u64> {
            rig.disks.iter().map(|disk| rig.world.counters(*disk).flushes).collect()
        };
        let before = flushes(&rig);
        for n in 0..1000 {
            files.insert(format!("f{}", n % 20), noise(1000 + n, 4096));
            rig.run(machine.backup(&pool, &files, UnixNanos(2 + n as i64))).unwrap();
        }
        let space = (pool.status().bytes_used - used) / 1000;
        let most = flushes(&rig).iter().zip(before).map(|(now, before)| now - before).max();
        let most = most.unwrap_or(0) as f64 / 1000.0;
        println!(
            "1,000 commits of 4 KiB on {disk_count} disks: {space} bytes of the pool and {most:.2} \
             flushes of the busiest disk each"
        );
        assert!(space <= 16 << 10, "{space} bytes a commit");
        assert!(most <= 2.0, "{most} flushes a commit");
    }
}

/// Entries of the large tree: directories of a thousand files each.
const ENTRIES: u64 = 1_000_000;
const PER_DIRECTORY: u64 = 1000;

fn path(file: u64) -> String {
    format!("home/d{:05}/file-{:07}", file / PER_DIRECTORY, file)
}

fn attributes(size: Option<u64>) -> Vec<u8> {
    let kind = size.map_or(Kind::Directory, |size| Kind::File { size });
    let mtime = Timestamp::default();
    Attributes { kind, mode: 0o644, uid: 0, gid: 0, mtime, link_group: None, xattrs: Vec::new() }
        .to_bytes()
}

fn item(path: &str, content: Option<Vec<u8>>) -> NewItem {
    let attributes = attributes(content.as_ref().map(|bytes| bytes.len() as u64));
    let content = content.map_or(NewContent::None, NewContent::Inline);
    NewItem::Entry { path: path.as_bytes().to_vec(), attributes, content }
}

const SOURCE: SourceId = SourceId([1; 16]);

async fn point(
    pool: &SimPool,
    basis: Option<PointId>,
    items: impl Iterator<Item = NewItem>,
    at: i64,
) -> PointId {
    let request = BeginSession {
        source: SOURCE,
        domain: DomainId([1; 16]),
        basis,
        lease_until: UnixNanos(at),
    };
    let session = pool.begin(request, UnixNanos(at)).await.unwrap();
    let mut few = Vec::new();
    for item in items {
        few.push(item);
        if few.len() == 1000 {
            pool.push(session, std::mem::take(&mut few)).await.unwrap();
        }
    }
    pool.push(session, few).await.unwrap();
    let commit = CommitPoint { at: UnixNanos(at), ..CommitPoint::default() };
    pool.commit(session, commit, UnixNanos(at)).await.unwrap().id
}

#[test]
fn a_path_among_a_million_is_found_in_five_reads_and_an_unchanged_point_is_small() {
    let mut rig = Rig::shaped(4, real(1, 1 << 20), Mutants::default());
    let pool = rig.create().unwrap();
    let files = (0..ENTRIES).flat_map(|file| {
        let directory = (file % PER_DIRECTORY == 0)
            .then(|| item(&format!("home/d{:05}", file / PER_DIRECTORY), None));
        let content = file.to_le_bytes().to_vec();
        directory.into_iter().chain([item(&path(file), Some(content))])
    });
    let roots = ["", "home"].into_iter().map(|path| item(path, None));
    let first = rig.run(point(&pool, None, roots.chain(files), 1));
    let entries = pool.points()[0].entries;
    let used = pool.status().bytes_used;
    let same = [NewItem::Same { first: 0, count: entries }];
    let second = rig.run(point(&pool, Some(first), same.into_iter(), 2));
    let added = pool.status().bytes_used - used;
    rig.run(pool.close(UnixNanos(3))).unwrap();
    let mut most = 0;
    for probe in 0..40 {
        rig.crash();
        let pool = rig.look().unwrap();
        let reads = |rig: &Rig| rig.world.counters(rig.disks[0]).reads;
        let reader = rig.run(pool.reader(&second)).unwrap();
        let before = reads(&rig);
        let path = path(probe * 7919 * 31 % ENTRIES);
        let (_, entry) = rig.run(reader.find(path.as_bytes())).unwrap().unwrap();
        assert_eq!(entry.path, path.as_bytes());
        most = most.max(reads(&rig) - before);
    }
    println!(
        "{entries} entries: a path in {most} reads at most; an unchanged point adds {added} bytes"
    );
    assert!(most <= 5, "{most} reads");
    assert!(added <= 16 << 10, "{added} bytes");
}
