//! A vault over weeks of virtual time: points leave it, what is dead is written again or deleted, and
//! everything that is held can be proved.

use super::time::Hand;
use super::*;
use crate::api::types::{GroupText, GroupTexts, Job, JobResult, NewVault, PruneRequest};
use crate::audit::Actor;

const DAY: i64 = 86_400 * 1_000_000_000;
/// Points that nobody's schedule asked for are kept for thirty days: most of these go.
const DAYS: u64 = 100;
const FILES: u64 = 30;
const FILE_LEN: usize = 30_000;

const GROUP: &str = r#"name = "g"
zone = "UTC"
[[member]]
machine = "machine-a"
source = "tree"
[short_term]
points = ["daily 12:00"]
[short_term.keep]
daily = { for = "30 days" }
[[online]]
vault = "v"
[online.keep]
daily = { for = "3 days" }
"#;

/// What nothing compresses.
fn noise(seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; FILE_LEN];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Thirty files, of which a few are new every day.
async fn back_up(house: &House, day: u64) {
    let mut talk = house.talk(b'a').await;
    talk.begin();
    let contents: Vec<Vec<u8>> = (0..FILES).map(|at| noise(at * 1_000 + (day + at) / 9)).collect();
    let files = contents.iter().enumerate().map(|(at, bytes)| {
        let content = Content::Extents(vec![talk.chunk(bytes)]);
        file(format!("f{at:02}").as_bytes(), bytes.len() as u64, content)
    });
    let items: Vec<Item> = std::iter::once(root()).chain(files).collect();
    talk.items(1, items);
    let mut upto = 0;
    while upto < FILES {
        let want = talk.want().await;
        for reference in want.wanted.iter() {
            let bytes = contents[usize::try_from(reference).unwrap()].clone();
            talk.frame(&[reference], bytes.len() as u32, Codec::Raw, bytes);
        }
        upto = want.upto;
    }
    talk.finish();
    assert_eq!(result(talk.end.await.unwrap()).0, Outcome::Ok, "day {day}");
}

async fn ended(house: &House, job: JobId) -> Job {
    loop {
        let followed = house.daemon.jobs.follow(job).unwrap();
        match followed.changed {
            Some(mut changed) => drop(changed.changed().await),
            None => return followed.job,
        }
    }
}

async fn shipped(house: &House) -> crate::api::types::ShipResult {
    let started = crate::vault::ship_by_hand(&house.daemon, "v").await.unwrap();
    match ended(house, started.job).await.details {
        Some(JobResult::Ship(shipped)) => shipped,
        other => panic!("{other:?}"),
    }
}

async fn pruned(house: &House, dry_run: bool) -> crate::api::types::PruneResult {
    let request = PruneRequest { credential: None, dry_run, confirmed: true, second: false };
    let actor = Actor::user(Some(7));
    let started = crate::vault::prune(&house.daemon, actor, "v", request).await.unwrap();
    match ended(house, started.job).await.details {
        Some(JobResult::Prune(pruned)) => pruned,
        other => panic!("{other:?}"),
    }
}

fn bytes_in(dir: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(dir).unwrap().flatten();
    entries
        .map(|entry| match entry.metadata().unwrap() {
            found if found.is_dir() => bytes_in(&entry.path()),
            found => found.len(),
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_vault_needs_no_more_goes_and_everything_else_stays() {
    let clock = Hand::new();
    let house = house_by("vault-weeks", clock.clone()).await;
    let place = house.dir.join("vault");
    std::fs::create_dir_all(&place).unwrap();
    let new = NewVault {
        name: String::from("v"),
        url: format!("file://{}", place.display()),
        endpoint: None,
        credential: None,
        passphrase: None,
        kit: Vec::new(),
        lease: None,
    };
    let actor = Actor::user(Some(7));
    let added = house.daemon.add_vault(&actor, new).await.unwrap();
    assert!(added.findings.iter().any(|of| of.contains("locks nothing")), "{added:?}");
    let text = GroupText { origin: String::from("test"), text: GROUP.to_owned() };
    let texts = GroupTexts { groups: vec![text], confirmed: true };
    house.daemon.apply_groups(&Actor::keelhold(), &texts).await.unwrap();

    let (mut repacked, mut gone) = (0, 0);
    for day in 0..DAYS {
        clock.pass(DAY);
        back_up(&house, day).await;
        let done = shipped(&house).await;
        assert!(done.left_out.is_empty(), "{done:?}");
        (repacked, gone) = (repacked + done.repacked, gone + done.points_gone);
    }
    assert!(gone > DAYS / 2, "{gone} points left the vault");
    assert!(repacked > 0, "nothing was ever mostly dead");

    let before = bytes_in(&place);
    let dry = pruned(&house, true).await;
    assert!(dry.objects > 0 && bytes_in(&place) == before, "{dry:?}");
    let done = pruned(&house, false).await;
    assert_eq!((done.objects, done.bytes), (dry.objects, dry.bytes));
    assert_eq!(before - bytes_in(&place), done.bytes);
    assert!(done.bytes * 2 > before, "{} of {before} bytes went", done.bytes);
    // Who deleted what, and why, stands written.
    let audited = house.daemon.store.audited().await.unwrap();
    let lines: Vec<&String> = audited
        .iter()
        .filter(|entry| entry.action == "vault-delete" && entry.actor == "uid 7")
        .flat_map(|entry| entry.what.iter().skip(1))
        .collect();
    assert_eq!(lines.len() as u64, done.objects);
    assert!(lines.iter().any(|line| line.contains("let go by manifest")), "{lines:?}");
    assert_eq!(pruned(&house, false).await.objects, 0);

    // Everything that is held is there, also by the eyes of one who knows nothing yet.
    let started = crate::vault::verify(&house.daemon, "v", true).await.unwrap();
    match ended(&house, started.job).await.details {
        Some(JobResult::Verify(proved)) => {
            assert_eq!((proved.result, proved.findings.len()), (Outcome::Ok, 0), "{proved:?}");
            assert!(proved.points >= 3, "{proved:?}");
        }
        other => panic!("{other:?}"),
    }
    assert!(shipped(&house).await.left_out.is_empty());
}
