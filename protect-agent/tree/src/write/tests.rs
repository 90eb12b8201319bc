use super::*;
use crate::listing::compare;
use crate::scratch::{Scratch, copy, is_root};
use crate::torture;

fn assert_equal(left: &Path, right: &Path) {
    let differences = compare(left, right).unwrap();
    let shown: Vec<String> = differences
        .iter()
        .take(20)
        .map(ToString::to_string)
        .collect();
    assert!(
        differences.is_empty(),
        "{} differences: {shown:#?}",
        differences.len()
    );
}

#[test]
fn a_torture_tree_comes_back_exactly() {
    if !is_root() {
        println!("not root: modes nobody may read, devices and foreign owners are not covered");
        return;
    }
    let scratch = Scratch::new();
    let (from, to) = (scratch.path("from"), scratch.path("to"));
    let made = torture::make(&from, 7).unwrap();
    println!(
        "{} entries, left out: {:?}",
        made.entry_count, made.left_out
    );
    assert!(made.entry_count > 5_000);
    let report = copy(&from, &to, WriteOptions::default(), 4);
    assert_eq!(report.unwritten, []);
    let written = report.files + report.directories + report.links + report.others;
    assert_eq!(written, made.entry_count as u64 + 1);
    assert_equal(&from, &to);
}
