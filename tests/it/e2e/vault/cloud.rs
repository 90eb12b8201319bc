//! Vaults in buckets and containers, through the daemon: real servers, a strict stand-in, and somebody who
//! has the uploader's credential.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use bytes::Bytes;
use keelhold_tests::appliance::{Appliance, Scratch};
use keelhold_tests::cloud::{Bucket, Habit, Kind, StrictS3};

use super::adopt::{kit, lose_everything};
use super::{assert_same, number, random_tree, ship, status, text};
use crate::stores::servers::{Azurite, Moto};

const DAY: i64 = 86_400;

/// A file that belongs to its owner alone.
fn credential(scratch: &Scratch, name: &str, content: &str) -> String {
    use std::io::Write;
    let path = scratch.path().join(name);
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&path).unwrap();
    file.write_all(content.as_bytes()).unwrap();
    text(&path)
}

/// Backs up changing files three times, shipping each; gives the points with what each must look like.
fn three_rounds(
    scratch: &Scratch,
    appliance: &Appliance,
    place: &[String; 3],
) -> Vec<(String, PathBuf)> {
    let tree = scratch.path().join("tree");
    let [endpoint, url, secret] = place;
    let secret = credential(scratch, "credential", secret);
    let args = ["vault", "add", "v", "--url", url, "--endpoint", endpoint, "--credential", &secret];
    let added = appliance.ask(&args).ok();
    println!("{}", added["findings"]);
    let mut points = Vec::new();
    for round in 0..3 {
        random_tree(&tree.join("more"), 15, 40 + round);
        let point = appliance.backup("m/t")["point"].as_str().unwrap().to_owned();
        let copy = scratch.path().join(format!("copy{round}"));
        assert_eq!(appliance.restore(&point, &copy)["result"], "ok");
        let shipped = ship(appliance);
        assert_eq!(number(&shipped, "points"), 1, "{shipped}");
        points.push((point, copy));
    }
    points
}

/// The appliance is gone; everything comes back from the vault, to the last byte.
fn assert_back(
    scratch: &Scratch,
    appliance: &mut Appliance,
    place: &[String; 3],
    points: &[(String, PathBuf)],
) {
    let kit = kit(appliance, scratch);
    lose_everything(appliance);
    let [endpoint, url, secret] = place;
    let secret = credential(scratch, "credential", secret);
    let args =
        ["adopt", "--vault", url, "--kit", &kit, "--endpoint", endpoint, "--credential", &secret];
    let adopted = appliance.ask(&args).ok();
    assert_eq!(number(&adopted, "points"), points.len() as u64, "{adopted}");
    appliance.start_daemon();
    for (point, copy) in points {
        let target = scratch.path().join(format!("back-{point}"));
        assert_eq!(appliance.restore(point, &target)["result"], "ok");
        assert_same(copy, &target);
    }
}

fn ready(scratch: &Scratch) -> Appliance {
    let tree = scratch.path().join("tree");
    random_tree(&tree, 40, 7);
    let appliance = Appliance::ready(scratch, 512);
    appliance.protect(&tree);
    appliance
}

#[test]
fn a_vault_in_azure_brings_everything_back() {
    let Some(server) = Azurite::start() else { return };
    let scratch = Scratch::new("vault-azure");
    let mut appliance = ready(&scratch);
    let points = three_rounds(&scratch, &appliance, &server.place());
    let verified = appliance.ask(&["vault", "verify", "v", "--whole"]).ok();
    assert_eq!(verified["result"], "ok", "{verified}");
    assert_back(&scratch, &mut appliance, &server.place(), &points);
}

#[test]
fn a_vault_in_s3_brings_everything_back() {
    let Some(server) = Moto::start() else { return };
    let scratch = Scratch::new("vault-s3");
    let mut appliance = ready(&scratch);
    let points = three_rounds(&scratch, &appliance, &server.place());
    assert_back(&scratch, &mut appliance, &server.place(), &points);
}

/// Everything the uploader's credential can do, to every object: the worst of it leaves a version behind.
fn vandalise(server: &StrictS3) -> u64 {
    let now = server.now();
    let mut bucket = server.bucket();
    let keys: Vec<String> = bucket.keys.keys().cloned().collect();
    let (mut hit, garbage) = (0, Bytes::from_static(b"garbage"));
    for (at, key) in keys.iter().enumerate() {
        let first = bucket.keys[key][0].clone();
        let until = first.retention.map_or(0, |retention| retention.until);
        if key.contains("/probe/") {
            continue;
        }
        assert!(until > now + 29 * DAY, "{key} is locked until {until}, now {now}");
        assert!(bucket.delete(key, Some(&first.id), false, now).is_err(), "{key} could be deleted");
        match at % 3 {
            0 => drop(bucket.put(key, garbage.clone(), None, now)),
            1 => bucket.delete(key, None, false, now).unwrap(),
            _ => {
                bucket.put(key, Bytes::from(vec![7; 5000]), None, now).unwrap();
                bucket.delete(key, None, false, now).unwrap();
            }
        }
        hit += 1;
    }
    hit
}

#[test]
fn a_thief_with_the_uploaders_credential_takes_no_point() {
    let server = StrictS3::start(Bucket::new(true, true, Habit::Strict));
    let scratch = Scratch::new("vault-thief");
    let mut appliance = ready(&scratch);
    let place = [server.endpoint(), String::from("s3://vault/one"), server.credential("uploader")];
    let points = three_rounds(&scratch, &appliance, &place);
    let until = status(&appliance)["locked_until"].as_str().unwrap().to_owned();
    let until: jiff::Timestamp = until.parse().unwrap();
    assert!(until.as_second() > server.now() + 29 * DAY, "{until}");
    let hit = vandalise(&server);
    println!("{hit} objects covered or marked as deleted");
    assert!(hit > 10);
    // Who still has everything, and who comes with nothing but kit and credential.
    let verified = appliance.ask(&["vault", "verify", "v", "--whole"]).ok();
    assert_eq!(verified["result"], "ok", "{verified}");
    assert_back(&scratch, &mut appliance, &place, &points);
}

/// Nothing asks for the right to delete but deleting, and that keeps to locks.
#[test]
fn deleting_takes_a_credential_of_its_own() {
    let server = StrictS3::start(Bucket::new(true, true, Habit::Strict));
    let scratch = Scratch::new("vault-prune");
    let appliance = ready(&scratch);
    let place = [server.endpoint(), String::from("s3://vault/one"), server.credential("uploader")];
    let _points = three_rounds(&scratch, &appliance, &place);
    assert_eq!(
        server.take_counts().get(&Kind::Delete).copied().unwrap_or(0),
        2,
        "the lock's probe"
    );
    let no = appliance.ask(&["vault", "prune", "v"]).error(2);
    assert_eq!(no, "KH-E2018");
    let open = scratch.path().join("open");
    fs::write(&open, server.credential("prune")).unwrap();
    let open = text(&open);
    let no = appliance.ask(&["vault", "prune", "v", "--credential", &open]).error(4);
    assert_eq!(no, "KH-E0223", "a credential that others can read");
    let secret = credential(&scratch, "prune", &server.credential("prune"));
    let args = ["vault", "prune", "v", "--credential", &secret, "--dry-run"];
    let dry = appliance.ask(&args).ok();
    assert_eq!((number(&dry, "objects"), dry["dry_run"].as_bool()), (0, Some(true)), "{dry}");
    let done = appliance.ask(&args[..5]).ok();
    assert_eq!((number(&done, "objects"), number(&done, "locked")), (0, 0), "{done}");
    assert!(!server.take_counts().contains_key(&Kind::Delete));
}

/// A store that says it locks and does not is found out when the vault is added.
#[test]
fn a_store_that_does_not_keep_locks_is_not_called_locked() {
    for habit in [Habit::IgnoresLocks, Habit::Shortens] {
        let server = StrictS3::start(Bucket::new(true, true, habit));
        let scratch = Scratch::new("vault-unlocked");
        let appliance = ready(&scratch);
        let secret = credential(&scratch, "credential", &server.credential("prune"));
        let at = server.endpoint();
        let args = ["vault", "add", "v", "--url", "s3://vault/one", "--endpoint", &at];
        let args = [&args[..], &["--credential", &secret]].concat();
        let lease = [&args[..], &["--lease", "30d"]].concat();
        assert_eq!(appliance.ask(&lease).error(4), "KH-E2019");
        assert_eq!(appliance.ask(&[&args[..], &["--lease", "1d"]].concat()).error(2), "KH-E2021");
        let added = appliance.ask(&args).ok();
        let said = added["findings"].to_string();
        assert!(said.contains("does not keep them"), "{said}");
        assert!(status(&appliance)["locked_until"].is_null());
    }
}
