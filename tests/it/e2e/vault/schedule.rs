//! Shipping by itself, and points that leave the vault by its own policy.

use std::fs;

use keelhold_tests::appliance::{Appliance, Scratch};

use super::{add, number, random_tree, status, text};

const GOALS: &str = r#"name = "g"
[[member]]
machine = "m"
source = "t"
[short_term]
points = ["*-01-01 00:00"]
[short_term.keep]
yearly = { day = 1, month = "january", for = "9 years" }
[[online]]
vault = "v"
[online.keep]
yearly = { day = 1, month = "january", for = "9 years" }
"#;

#[test]
fn a_point_is_shipped_behind_the_backup_that_made_it() {
    let scratch = Scratch::new("vault-follows");
    let tree = scratch.path().join("tree");
    random_tree(&tree, 10, 4);
    let appliance = Appliance::ready(&scratch, 256);
    appliance.protect(&tree);
    let _place = add(&appliance, &scratch);
    let group = scratch.path().join("g.toml");
    fs::write(&group, GOALS).unwrap();
    let _ = appliance.ask(&["group", "apply", &text(&group)]).ok();
    assert_eq!(appliance.backup("m/t")["result"], "ok");
    appliance.until("the point is in the vault", |own| number(&status(own), "points") == 1);
    fs::write(tree.join("d1/more"), "more").unwrap();
    assert_eq!(appliance.backup("m/t")["result"], "ok");
    appliance.until("the next one, too", |own| number(&status(own), "points") == 2);
    let state = status(&appliance);
    assert_eq!(number(&state, "backlog_points"), 0, "{state}");
    let listed = appliance.ask(&["vault", "list", "v"]).ok();
    assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");
}
