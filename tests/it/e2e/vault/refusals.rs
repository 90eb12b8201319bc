//! Bad input: a clear error, and local protection goes on untouched.

use std::fs;

use keelhold_tests::appliance::{Appliance, Scratch};
use keelhold_tree::removal::remove_tree;

use super::{add, random_tree, ship, status, text, url};

#[test]
fn what_cannot_be_a_vault_is_said_and_backups_go_on() {
    let scratch = Scratch::new("vault-refusals");
    let tree = scratch.path().join("tree");
    random_tree(&tree, 10, 4);
    let appliance = Appliance::ready(&scratch, 256);
    appliance.protect(&tree);
    let missing = scratch.path().join("not-there");
    let code = |args: &[&str], exit: i32| appliance.ask(args).error(exit);
    assert_eq!(code(&["vault", "add", "v", "--url", &url(&missing)], 1), "KH-E2004");
    assert_eq!(code(&["vault", "add", "v", "--url", "ftp://x/y"], 2), "KH-E2016");
    assert_eq!(code(&["vault", "add", "v", "--url", "s3://bucket/p"], 2), "KH-E2018");
    assert_eq!(code(&["vault", "ship", "v"], 1), "KH-E2001");
    assert_eq!(code(&["vault", "list", "v"], 1), "KH-E2001");
    let short = scratch.path().join("short");
    fs::write(&short, "too short").unwrap();
    let place = scratch.path().join("vault");
    fs::create_dir_all(&place).unwrap();
    let args = ["vault", "add", "v", "--url", &url(&place), "--passphrase-file", &text(&short)];
    assert_eq!(code(&args, 2), "KH-E2008");
    assert_eq!(fs::read_dir(place.join("m")).map_or(0, Iterator::count), 0, "nothing was founded");
    assert_eq!(appliance.backup("m/t")["result"], "ok");

    let _place = add(&appliance, &scratch);
    assert_eq!(code(&["vault", "add", "v", "--url", &url(&place)], 4), "KH-E0302");
    assert_eq!(code(&["vault", "add", "w", "--url", &url(&place)], 4), "KH-E2007");
    let kit = scratch.path().join("kit.txt");
    let _ = appliance.ask(&["vault", "kit", "v", "--to", &text(&kit)]).ok();
    let again = ["vault", "add", "w", "--url", &url(&place), "--kit", &text(&kit)];
    assert_eq!(code(&again, 4), "KH-E0302", "one vault, one name");
    assert_eq!(code(&["vault", "kit", "v", "--to", &text(&kit)], 1), "KH-E0004");
}

#[test]
fn a_vault_that_was_set_back_or_is_gone_is_told_of_and_not_written_to() {
    let scratch = Scratch::new("vault-rollback");
    let tree = scratch.path().join("tree");
    random_tree(&tree, 10, 4);
    let mut appliance = Appliance::ready(&scratch, 256);
    appliance.protect(&tree);
    let place = add(&appliance, &scratch);
    assert_eq!(appliance.backup("m/t")["result"], "ok");
    let _shipped = ship(&appliance);
    let old = scratch.path().join("old");
    let copied = std::process::Command::new("cp").arg("-a").arg(&place).arg(&old).status().unwrap();
    assert!(copied.success());
    fs::write(tree.join("d1/more"), vec![3; 100_000]).unwrap();
    assert_eq!(appliance.backup("m/t")["result"], "ok");
    let _shipped = ship(&appliance);

    let newest = scratch.path().join("newest");
    fs::rename(&place, &newest).unwrap();
    fs::rename(&old, &place).unwrap();
    appliance.stop_daemon();
    appliance.start_daemon();
    appliance.agent_connected();
    fs::write(tree.join("d1/more"), vec![4; 100_000]).unwrap();
    assert_eq!(appliance.backup("m/t")["result"], "ok", "local protection goes on");
    let refused = appliance.ask(&["vault", "ship", "v", "--wait"]);
    assert_eq!((refused.code, &refused.json["error"]["code"]), (4, &"KH-E2009".into()));
    assert_eq!(status(&appliance)["state"], "refused");
    assert!(appliance.ask(&["status"]).json["lines"].to_string().contains("vault v"));

    remove_tree(&place).unwrap();
    let gone = appliance.ask(&["vault", "ship", "v", "--wait"]);
    assert_ne!(gone.code, 0, "{}", gone.json);
    assert_eq!(appliance.backup("m/t")["result"], "ok");
    fs::rename(&newest, &place).unwrap();
    let _shipped = ship(&appliance);
    assert_eq!(status(&appliance)["backlog_points"], 0);
}
