//! Reading: whole points, single files, parts of files, paths, directories.

use keelhold_disk::ReadError;
use keelhold_disk::pool::Piece;
use keelhold_disk::units::PointId;
use keelhold_tests::rig::SimPool;

use super::check::read_back;
use super::world::Life;
use crate::pool::verdict::{Verdict, chain, ensure};

/// Content of one file between two offsets; `None` if the path is not there.
pub async fn read_part(
    pool: &SimPool,
    point: &PointId,
    path: &str,
    offset: u64,
    len: u64,
) -> Result<Option<Vec<u8>>, ReadError> {
    let reader = pool.reader(point).await?;
    let Some((_, entry)) = reader.find(path.as_bytes()).await? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    for piece in reader.read(&entry, offset, len).await? {
        match piece {
            Piece::Data(data) => bytes.extend_from_slice(&data),
            Piece::Hole(len) => bytes.resize(bytes.len() + len as usize, 0),
        }
    }
    Ok(Some(bytes))
}

/// A whole point, or a path that is in it, or one that is not.
pub fn one(life: &mut Life) -> Verdict {
    if life.model.points.is_empty() {
        return Ok(());
    }
    let at = life.rng.index(life.model.points.len());
    let point = life.model.points[at].clone();
    match life.rng.below(6) {
        0 => {
            life.tally.count("read point");
            read_back(&mut life.rig, &life.pool, &point)
        }
        1 => {
            life.tally.count("look for what is not there");
            let path = format!("d{}/never", life.rng.below(4));
            let found = life.rig.run(read_part(&life.pool, &point.id, &path, 0, 1));
            let found = found.map_err(|error| chain(&error))?;
            ensure!(found.is_none(), "{path} was found");
            Ok(())
        }
        2 => {
            life.tally.count("list directory");
            let directory = format!("d{}", life.rng.below(3));
            let prefix = format!("{directory}/");
            let expected: Vec<&[u8]> = point
                .files
                .keys()
                .filter(|path| path.starts_with(&prefix))
                .map(String::as_bytes)
                .collect();
            let listed = life.rig.run(async {
                life.pool.reader(&point.id).await?.list(directory.as_bytes(), None, 1000).await
            });
            let listed = listed.map_err(|error| chain(&error))?;
            let listed: Vec<&[u8]> = listed.iter().map(|(_, entry)| &entry.path[..]).collect();
            ensure!(listed == expected, "{directory} lists {listed:?}, not {expected:?}");
            Ok(())
        }
        _ => small(life),
    }
}

/// One file, or a part of it.
pub fn small(life: &mut Life) -> Verdict {
    if life.model.points.is_empty() {
        return Ok(());
    }
    let at = life.rng.index(life.model.points.len());
    let point = &life.model.points[at];
    let Some((path, content)) = point.files.iter().nth(life.rng.index(point.files.len().max(1)))
    else {
        return Ok(());
    };
    let whole = life.rng.below(2) == 0;
    let (start, len) = match whole {
        true => (0, content.len()),
        false => (life.rng.index(content.len() + 1), life.rng.index(content.len() + 1)),
    };
    life.tally.count(if whole { "read file" } else { "read part of file" });
    let read = read_part(&life.pool, &point.id, path, start as u64, len as u64);
    let read = life.rig.run(read).map_err(|error| format!("{path}: {}", chain(&error)))?;
    let expected = &content[start..(start + len).min(content.len())];
    ensure!(read.as_deref() == Some(expected), "{path} from {start} holds other bytes");
    Ok(())
}
