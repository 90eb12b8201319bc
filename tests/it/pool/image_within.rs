//! A machine backs up an image of this very pool's disk, and in it records forged with all that such an
//! image tells: the checksum secret, old salts, numbers, places. Whatever happens then, none of it is
//! taken for the pool's own.

use bytes::Bytes;
use keelhold_chunk::{Attributes, Kind, Timestamp};
use keelhold_disk::IngestError;
use keelhold_disk::format::{
    ChecksumKey, ChunkEntry, ChunkKind, Codec, ContainerFooter, ContainerHeader, Directory,
    EntryHeader, FrameEntry, JournalEntry, Label, Op, Place, Purpose, RunHeader, Superblock,
};
use keelhold_disk::mutants::Mutants;
use keelhold_disk::pool::{
    BeginSession, CommitPoint, IncomingFrame, NewContent, NewExtent, NewItem,
};
use keelhold_disk::sim::{Image, Rng};
use keelhold_disk::units::{
    BLOCK, BLOCK_U64, ChunkNumber, ChunkRef, DomainId, PointId, SessionId, SourceId, UnixNanos,
};
use keelhold_tests::rig::{Files, Machine, Rig, Shape, SimPool, read_point};

use super::content::{noise, some_tree};
use super::verdict::{Verdict, chain, ensure};

/// Two chunks of this length do not fit a run: where they lie in theirs is known then.
const PIECE_LEN: usize = 4 * BLOCK - HEAD_LEN;
/// Header and tables of a run with one frame and one chunk.
const HEAD_LEN: usize = Directory::len_for(1, 1);
const PIECES: usize = 40;
/// Numbers that no chunk has.
const NEW_NUMBER: u64 = 1 << 30;
/// Moments of the backup at which the power goes.
const MOMENTS: u64 = 40;

/// The pool before the attack, and what its image tells.
struct Before {
    image: Image,
    points: Vec<(PointId, Files)>,
    label: Label,
    superblock: Superblock,
    salts: Vec<[u8; 16]>,
    /// Numbers of the victim's chunks.
    numbers: Vec<u64>,
}

fn block_at(image: &Image, offset: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    image.read(offset, &mut block);
    block
}

fn before(mutants: Mutants) -> Verdict<Before> {
    let shape = Shape { disk_len: 6 << 20, ..Shape::toy(1) };
    // Not encrypted: there nobody could choose bytes of the disk.
    let mut rig = Rig::shaped(3, shape, mutants);
    let pool = rig.create().map_err(|error| chain(&error))?;
    let (mut machine, mut points, mut numbers) = (Machine::new(1), Vec::new(), Vec::new());
    for round in 0..6 {
        let files = some_tree(round, 12, 6000);
        let made = rig.run(machine.backup(&pool, &files, UnixNanos(1 + round as i64)));
        let point = made.map_err(|error| chain(&error))?.id;
        numbers.extend(rig.run(pool.reach(&point)).map_err(|error| chain(&error))?);
        points.push((point, files));
    }
    rig.run(pool.checkpoint(UnixNanos(20))).map_err(|error| chain(&error))?;
    rig.crash();
    let image = rig.images().remove(0);
    let label = Label::decode(&block_at(&image, 0), 0).map_err(|error| chain(&error))?;
    let key = ChecksumKey::new(&label.secret, &[0; 16]);
    let place = |offset| Place { disk: label.disk, offset };
    let offset = label.zones.superblocks()[0];
    let superblock = Superblock::decode(&block_at(&image, offset), &key, label.pool, place(offset));
    let superblock = superblock.map_err(|error| chain(&error))?;
    let header = |slot| {
        let offset = label.zones.container(slot);
        ContainerHeader::decode(&block_at(&image, offset), &key, label.pool, place(offset)).ok()
    };
    let salts = (0..label.zones.container_count).filter_map(header).map(|of| of.salt).collect();
    Ok(Before { image, points, label, superblock, salts, numbers })
}

fn attributes(kind: Kind) -> Vec<u8> {
    let mtime = Timestamp::default();
    Attributes { kind, mode: 0o644, uid: 0, gid: 0, mtime, link_group: None, xattrs: Vec::new() }
        .to_bytes()
}

/// Backs up one file made of these pieces, each a chunk in a frame of its own.
async fn attack(pool: &SimPool, pieces: &[Vec<u8>]) -> Result<PointId, IngestError> {
    let (now, source) = (UnixNanos(30), SourceId([9; 16]));
    let lease_until = UnixNanos(1 << 50);
    let request = BeginSession { source, domain: DomainId([9; 16]), basis: None, lease_until };
    let session = pool.begin(request, now).await?;
    let mut extents = Vec::new();
    // The last one shares its run with the pages of the tree.
    let filler = noise(4000, PIECE_LEN);
    for piece in pieces.iter().chain([&filler]) {
        let chunk = ChunkRef { id: pool.id_key().id(piece), len: piece.len() as u32 };
        if !pool.offer(session, &[chunk]).await?[0] {
            let frame = IncomingFrame {
                codec: Codec::Raw,
                plain_len: chunk.len,
                stored: Bytes::copy_from_slice(piece),
                chunks: vec![chunk],
            };
            let verified = pool.verify_frame(frame).await?;
            pool.place_frame(session, verified).await?;
        }
        extents.push(NewExtent::Chunk(chunk));
    }
    let size = (pieces.len() as u64 + 1) * PIECE_LEN as u64;
    let entry = |path: &str, kind, content| NewItem::Entry {
        path: path.as_bytes().to_vec(),
        attributes: attributes(kind),
        content,
    };
    let items = vec![
        entry("", Kind::Directory, NewContent::None),
        entry("pool.img", Kind::File { size }, NewContent::Extents(extents)),
    ];
    pool.push(session, items).await?;
    let commit = CommitPoint { at: now, ..CommitPoint::default() };
    Ok(pool.commit(session, commit, now).await?.id)
}

/// The disk after the attack, and whose salt of which container stands where.
struct After {
    settled: Image,
    evil: PointId,
    chunks: u64,
    /// Where each piece begins on the disk.
    places: Vec<u64>,
}

fn after(before: &Before, pieces: &[Vec<u8>], mutants: Mutants) -> Verdict<After> {
    let mut rig = Rig::over(9, std::slice::from_ref(&before.image), mutants);
    let pool = rig.open().map_err(|error| chain(&error))?;
    let evil = rig.run(attack(&pool, pieces)).map_err(|error| chain(&error))?;
    rig.run(pool.checkpoint(UnixNanos(40))).map_err(|error| chain(&error))?;
    let chunks = pool.status().chunks;
    rig.crash();
    let settled = rig.images().remove(0);
    let bytes = settled.to_buf();
    let place = |piece: &Vec<u8>| {
        let found = bytes.windows(24).position(|window| *window == piece[..24]);
        found.map(|at| at as u64).ok_or("a piece is nowhere on the disk")
    };
    let places = pieces.iter().map(place).collect::<Result<Vec<u64>, _>>()?;
    for place in &places {
        ensure!(place % BLOCK_U64 == HEAD_LEN as u64, "a piece lies at {place}");
    }
    Ok(After { settled, evil, chunks, places })
}

/// The beginning of every piece: what it is found by, and fills the first block.
fn opening(at: usize) -> Vec<u8> {
    noise(5000 + at as u64, BLOCK - HEAD_LEN)
}

/// Pieces in which, at every block of the disk they come to lie on, stands what could be a structure:
/// half of them as they are in the image, half forged for just that place.
fn forge_pieces(before: &Before, at: &After) -> Verdict<(Vec<Vec<u8>>, u64)> {
    let mut rng = Rng::new(11);
    let copied: Vec<u64> = before.image.written_blocks().collect();
    let (mut pieces, mut forged) = (Vec::new(), 0u64);
    for (index, place) in at.places.iter().enumerate() {
        let mut piece = opening(index);
        let mut landing = place - HEAD_LEN as u64 + BLOCK_U64;
        while piece.len() < PIECE_LEN {
            let block = match rng.below(4) {
                0 => block_at(&before.image, copied[rng.index(copied.len())] * BLOCK_U64).to_vec(),
                _ => {
                    forged += 1;
                    forge(before, &at.settled, landing, &mut rng)?
                }
            };
            piece.extend_from_slice(&block);
            landing += BLOCK_U64;
        }
        piece.truncate(PIECE_LEN);
        pieces.push(piece);
    }
    Ok((pieces, forged))
}

/// One block with a structure for `landing`. The attacker knows everything but the salt that the
/// container is going to have.
fn forge(before: &Before, settled: &Image, landing: u64, rng: &mut Rng) -> Verdict<Vec<u8>> {
    let Before { label, superblock, salts, numbers, points, .. } = before;
    let (pool, zones) = (label.pool, label.zones);
    let place = Place { disk: label.disk, offset: landing };
    let plain = ChecksumKey::new(&label.secret, &[0; 16]);
    let slot = (landing - zones.container(0)) / zones.container_len;
    let start = Place { offset: zones.container(slot), ..place };
    let header = ContainerHeader::decode(&block_at(settled, start.offset), &plain, pool, start);
    let header = header.map_err(|error| chain(&error))?;
    let number = numbers[rng.index(numbers.len())];
    let mut block = match rng.below(8) {
        0 => {
            let header = EntryHeader {
                sequence: superblock.journal_sequence + rng.below(3),
                parent: superblock.journal_parent,
                epoch: superblock.epoch + rng.below(2),
                position: superblock.journal_position,
                witnessed: 50,
            };
            let value = Some(b"forged".to_vec());
            let record = Op::Record { name: "forged".into(), version: 1, value };
            let ops = vec![record, Op::PointDropped { point: points[0].0 }];
            JournalEntry { header, ops }.encode(&plain, pool, place).0
        }
        1 => {
            let sequence = superblock.sequence + 100;
            Superblock { sequence, ..superblock.clone() }.encode(&plain, pool, place).to_vec()
        }
        2 => label.encode(landing).to_vec(),
        3 => {
            let header = ContainerHeader { purpose: Purpose::Data, salt: [0; 16], ..header };
            header.encode(&plain, pool, place).to_vec()
        }
        kind => {
            let salt = match kind {
                4 | 5 => [0; 16],
                _ => salts[rng.index(salts.len())],
            };
            let key = ChecksumKey::new(&label.secret, &salt);
            if rng.below(6) == 0 {
                let footer = ContainerFooter {
                    container: header.container,
                    generation: header.generation,
                    run_count: 0,
                    body_block: 1,
                    body_len: 0,
                    body_hash: *blake3::hash(&[]).as_bytes(),
                };
                footer.encode(&key, pool, place).to_vec()
            } else {
                forged_run(&header, number, rng).encode(&key, pool, place)
            }
        }
    };
    block.resize(BLOCK, 0);
    block.truncate(BLOCK);
    Ok(block)
}

/// A run that says it has a chunk of the victim, and one that nobody has.
fn forged_run(container: &ContainerHeader, number: u64, rng: &mut Rng) -> Directory {
    let bytes = noise(rng.next_u64(), 1000);
    let key = keelhold_chunk::IdKey::new([1; 32]);
    let chunk = |number, from: usize| ChunkEntry {
        number: ChunkNumber(number),
        id: key.id(&bytes[from..from + 500]),
        len: 500,
        frame: 0,
        kind: ChunkKind::Data,
        offset: from as u32,
    };
    let header = RunHeader {
        ordinal: 0,
        container: container.container,
        key_number: 0,
        domain: DomainId([1; 16]),
        session: SessionId([1; 16]),
        salt: [0; 16],
        run_len: BLOCK as u32,
    };
    let frame = FrameEntry {
        offset: Directory::len_for(1, 2) as u32,
        stored_len: 1000,
        plain_len: 1000,
        codec: Codec::Raw,
        hash: *blake3::hash(&bytes).as_bytes(),
    };
    let chunks = vec![chunk(NEW_NUMBER + rng.below(1 << 20), 0), chunk(number, 500)];
    Directory { header, frames: vec![frame], chunks }
}

/// Opened, what the victim had is there as it was, nothing else came in, and `chunks` are known.
fn nothing_forged(
    before: &Before,
    image: &Image,
    chunks: Option<u64>,
    mutants: Mutants,
) -> Verdict {
    let mut rig = Rig::over(21, std::slice::from_ref(image), mutants);
    let pool = rig.open().map_err(|error| format!("does not open: {}", chain(&error)))?;
    ensure!(pool.record("forged").is_none(), "a forged record was accepted");
    let known = pool.points().len();
    ensure!((before.points.len()..=before.points.len() + 1).contains(&known), "{known} points");
    let found = pool.status().chunks;
    ensure!(chunks.is_none_or(|chunks| chunks == found), "{found} chunks, {chunks:?} are ours");
    for (point, files) in &before.points {
        let read = rig.run(read_point(&pool, point));
        let read = read.map_err(|error| format!("point {point}: {}", chain(&error)))?;
        ensure!(read == *files, "point {point} holds other bytes");
    }
    Ok(())
}

/// Zeros over the first block of everything that is called so, as the opened pool claims it.
fn erase(image: &mut Image, mutants: Mutants, what: &[&str]) -> Verdict {
    let mut rig = Rig::over(22, std::slice::from_ref(image), mutants);
    let pool = rig.look().map_err(|error| chain(&error))?;
    let claims = [rig.run(pool.claims()), rig.run(pool.state_runs())].concat();
    for claim in claims.iter().filter(|claim| what.contains(&claim.what)) {
        let start = claim.place.offset - claim.place.offset % BLOCK_U64;
        image.write(start, &[0; BLOCK]);
    }
    Ok(())
}

/// Gives how many structures were forged.
pub fn forged(mutants: Mutants) -> Verdict<u64> {
    let before = before(mutants)?;
    let blank: Vec<Vec<u8>> = (0..PIECES)
        .map(|at| [opening(at), noise(9000 + at as u64, PIECE_LEN - opening(at).len())].concat())
        .collect();
    // Where its bytes will lie, an attacker may guess: here he knows.
    let learned = after(&before, &blank, mutants)?;
    let (pieces, count) = forge_pieces(&before, &learned)?;
    let done = after(&before, &pieces, mutants)?;
    ensure!(done.places == learned.places, "the pieces came to lie elsewhere");
    nothing_forged(&before, &done.settled, Some(done.chunks), mutants)?;
    // The index is lost: directories are read again, those of the pool.
    let mut lost = done.settled.clone();
    erase(&mut lost, mutants, &["index"])?;
    nothing_forged(&before, &lost, Some(done.chunks), mutants)?;
    let mut rig = Rig::over(23, std::slice::from_ref(&lost), mutants);
    let pool = rig.open().map_err(|error| chain(&error))?;
    let read = rig.run(read_point(&pool, &done.evil)).map_err(|error| chain(&error))?;
    let same = read["pool.img"].starts_with(&pieces.concat());
    ensure!(same, "the image does not come back as it was");
    // Footers too, and the directories of the runs that hold the image: the runs behind them are
    // searched for in its bytes.
    erase(&mut lost, mutants, &["container footer"])?;
    let mut searched = lost.clone();
    done.places.iter().for_each(|at| searched.write(at - at % BLOCK_U64, &[0; BLOCK]));
    let left = done.chunks - PIECES as u64;
    nothing_forged(&before, &searched, Some(left), mutants)?;
    // The power goes while it is written.
    for moment in 0..MOMENTS {
        let mut rig = Rig::over(9, std::slice::from_ref(&before.image), mutants);
        let pool = rig.open().map_err(|error| chain(&error))?;
        let cut = (1 + moment) * 1_500_000;
        drop(rig.run_at_most(cut, attack(&pool, &pieces)));
        rig.crash();
        let words = |words: String| format!("moment {moment}: {words}");
        nothing_forged(&before, &rig.images()[0], None, mutants).map_err(words)?;
    }
    Ok(count)
}

#[test]
fn a_pool_image_inside_a_backup() {
    let count = forged(Mutants::default()).unwrap_or_else(|words| panic!("{words}"));
    println!("a pool image inside a backup: {count} structures forged, 0 accepted");
    assert!(count > 50, "{count} forged");
}
