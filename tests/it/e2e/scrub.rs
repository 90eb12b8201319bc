//! Rot under a running appliance: scrub finds it, names what it touches, and the machine heals it by
//! its next backup without anybody's help.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use keelhold_tests::appliance::{Appliance, Scratch};
use keelhold_tests::liar::noise;
use keelhold_tree::listing::compare;

#[test]
fn what_rots_is_named_by_scrub_and_healed_by_the_next_backup() {
    let scratch = Scratch::new("scrub");
    let tree = scratch.path().join("tree");
    fs::create_dir_all(&tree).unwrap();
    for name in ["a", "bb", "ccc"] {
        fs::write(tree.join(name), noise(name.len() as u64 + 40, 300_000)).unwrap();
    }
    let mut appliance = Appliance::ready(&scratch, 256);
    appliance.protect(&tree);
    assert_eq!(appliance.backup("m/t")["result"], "ok");
    let first = appliance.ask(&["pool", "scrub", "--wait"]).ok();
    assert_eq!((&first["last_found"], &first["pass"]), (&0.into(), &1.into()), "{first}");
    appliance.kill_agent();
    appliance.stop_daemon();

    // Noise is stored as it is: a stretch of it is found, and one bit of it turned.
    let needle = &noise(43, 300_000)[150_000..150_032];
    let bytes = fs::read(&appliance.pool).unwrap();
    let at = bytes.windows(needle.len()).position(|window| window == needle).unwrap() as u64;
    let disk = File::options().write(true).open(&appliance.pool).unwrap();
    disk.write_all_at(&[needle[0] ^ 8], at).unwrap();
    drop((disk, bytes));

    appliance.start_daemon();
    let scrub = appliance.ask(&["pool", "scrub", "--wait"]);
    assert_eq!(scrub.code, 3, "{scrub:?}");
    let damage = scrub.json["damage"].as_array().unwrap();
    assert!(damage[0].as_str().unwrap().contains("1 points touched"), "{damage:?}");
    let status = appliance.ask(&["status"]);
    assert_eq!(status.code, 3, "damage is a risk: {status:?}");
    assert!(
        status.json["sentence"].as_str().unwrap().contains("damaged in every copy"),
        "{status:?}"
    );
    let target = scratch.path().join("before");
    let broken = appliance.ask(&["restore", "m/t@latest", "--to", &target.display().to_string()]);
    assert_eq!(broken.json["failed"].as_array().map(Vec::len), Some(1), "{broken:?}");

    // Nothing changed on the machine: it reads the damaged file all the same, and sends what is lost.
    appliance.start_agent();
    let healed = appliance.backup("m/t");
    assert_eq!(healed["result"], "ok", "{healed}");
    assert!(healed["bytes_sent"].as_u64().unwrap() > 1000, "{healed}");
    assert!(healed["bytes_sent"].as_u64().unwrap() < 600_000, "only what is lost: {healed}");
    let points = appliance.get("/points").unwrap();
    for (number, point) in points.as_array().unwrap().iter().enumerate() {
        let target = scratch.path().join(format!("after-{number}"));
        let restored = appliance.restore(point["id"].as_str().unwrap(), &target);
        assert_eq!(restored["result"], "ok", "{restored}");
        let differences = compare(&tree, &target).unwrap();
        assert!(differences.is_empty(), "{differences:?}");
    }
    assert_eq!(appliance.ask(&["status"]).code, 0, "what was sent again is no risk");
    let last = appliance.ask(&["pool", "scrub", "--wait"]).ok();
    assert_eq!(last["last_found"], 0, "{last}");
}
