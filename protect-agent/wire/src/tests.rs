//! What holds for all messages at once.

mod fuzz;
mod golden;
mod samples;
mod stream;

use crate::message::{FromAgent, FromNewcomer, FromServer, ToNewcomer};

/// Both directions may share a kind only for the same message.
#[test]
fn a_kind_means_one_message() {
    let all = [FromAgent::KINDS, FromServer::KINDS, FromNewcomer::KINDS, ToNewcomer::KINDS];
    let mut names = std::collections::BTreeMap::new();
    for (kind, name) in all.into_iter().flatten() {
        assert_ne!(*kind, 0, "no message has kind 0");
        let known = names.entry(*kind).or_insert(*name);
        assert_eq!(known, name, "kind {kind:#04x}");
    }
}

/// The tables of `PROTOCOL.md` are those of the code.
#[test]
fn the_description_names_every_message_and_every_limit() {
    let text = include_str!("../PROTOCOL.md");
    let sets = [
        ("A→S", FromAgent::KINDS),
        ("S→A", FromServer::KINDS),
        ("N→S", FromNewcomer::KINDS),
        ("S→N", ToNewcomer::KINDS),
    ];
    for (direction, kinds) in sets {
        for (kind, name) in kinds {
            let row = text.lines().find(|line| line.starts_with(&format!("| {kind:#04x} |")));
            let row = row.unwrap_or_else(|| panic!("{kind:#04x} {name} is not described"));
            assert!(row.contains(&format!("`{name}`")), "{row}");
            assert!(row.contains(direction), "{row} does not say {direction}");
        }
    }
    let described = text.lines().filter(|line| line.starts_with("| 0x")).count();
    let mut kinds: Vec<u8> = sets.iter().flat_map(|(_, set)| set.iter().map(|(k, _)| *k)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(described, kinds.len(), "rows of messages");
    for line in include_str!("limits.rs").lines().filter(|line| line.starts_with("pub const ")) {
        let name = line["pub const ".len()..].split(':').next().unwrap();
        assert!(text.contains(&format!("`{name}`")), "limit {name} is not described");
    }
}
