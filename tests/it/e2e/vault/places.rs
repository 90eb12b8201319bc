//! A second place in step, several vaults beside each other, and many that are only registered.

use std::fs;

use keelhold_tests::appliance::{Appliance, Scratch};

use super::{add, assert_same, number, random_tree, ship, status, text, url};

#[test]
fn the_second_place_takes_over_when_the_first_is_lost() {
    let scratch = Scratch::new("vault-geo");
    let tree = scratch.path().join("tree");
    random_tree(&tree, 10, 8);
    let mut appliance = Appliance::ready(&scratch, 256);
    appliance.protect(&tree);
    let place = add(&appliance, &scratch);
    let second = scratch.path().join("second");
    fs::create_dir_all(&second).unwrap();
    let _ = appliance.ask(&["vault", "geo", "v", "--url", &url(&second)]).ok();
    assert_eq!(appliance.backup("m/t")["result"], "ok");
    let _shipped = ship(&appliance);
    let state = status(&appliance);
    assert_eq!((state["redundancy"].as_str(), number(&state["geo"], "behind")), (Some("geo"), 0));

    // The second place is away for a while: shipping goes on, the lag is shown, then it is caught up.
    let away = scratch.path().join("away");
    fs::rename(&second, &away).unwrap();
    fs::write(tree.join("d1/more"), "more").unwrap();
    assert_eq!(appliance.backup("m/t")["result"], "ok");
    let _shipped = ship(&appliance);
    let state = status(&appliance);
    assert!(number(&state["geo"], "behind") > 0 && state["geo"]["why"].is_string(), "{state}");
    fs::rename(&away, &second).unwrap();
    fs::write(tree.join("d1/more"), "and more").unwrap();
    assert_eq!(appliance.backup("m/t")["result"], "ok");
    let _shipped = ship(&appliance);
    assert_eq!(number(&status(&appliance)["geo"], "behind"), 0);

    let kit = scratch.path().join("kit.txt");
    let _ = appliance.ask(&["vault", "kit", "v", "--to", &text(&kit)]).ok();
    appliance.stop_daemon();
    fs::remove_dir_all(&appliance.state).unwrap();
    fs::remove_file(&appliance.pool).unwrap();
    fs::remove_dir_all(&place).unwrap();
    let _ = appliance.ask(&["adopt", "--vault", &url(&second), "--kit", &text(&kit)]).ok();
    appliance.start_daemon();
    let target = scratch.path().join("restored");
    assert_eq!(appliance.restore("m/t@latest", &target)["result"], "ok");
    assert_same(&tree, &target);
}

#[test]
fn five_hundred_vaults_are_registered_and_five_are_shipped_to() {
    let scratch = Scratch::new("vault-many");
    let tree = scratch.path().join("tree");
    random_tree(&tree, 5, 1);
    let appliance = Appliance::ready(&scratch, 256);
    appliance.protect(&tree);
    for vault in 0..500 {
        let place = scratch.path().join(format!("v{vault}"));
        fs::create_dir_all(&place).unwrap();
        let args = ["vault", "add", &format!("v{vault}"), "--url", &url(&place)];
        let _ = appliance.ask(&args).ok();
    }
    assert_eq!(appliance.backup("m/t")["result"], "ok");
    for vault in ["v7", "v77", "v177", "v277", "v499"] {
        let shipped = appliance.ask(&["vault", "ship", vault, "--wait"]).ok();
        assert_eq!(number(&shipped, "points"), 1, "{shipped}");
    }
    let shown = appliance.ask(&["vault", "status"]).ok();
    let shown = shown.as_array().unwrap();
    assert_eq!(shown.len(), 500);
    let have = shown.iter().filter(|vault| number(vault, "points") == 1).count();
    let wait = shown.iter().filter(|vault| number(vault, "backlog_points") == 1).count();
    assert_eq!((have, wait), (5, 495));
    let point = appliance.ask(&["point", "list"]).ok()[0]["places"].clone();
    assert_eq!(point.as_array().unwrap().len(), 6, "{point}");
}
