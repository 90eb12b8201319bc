//! Rules for file systems: what a machine has mounted becomes a source, or is shown as not covered.

use super::Groups;
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::machine::connected::Mounted;
use crate::record::{MachineRecord, SourceKind, SourceRecord};
use crate::source::{self, Names};
use keelhold_policy::goal::{ANY_MACHINE, Cover, New};
use std::collections::BTreeSet;

/// A file system that no source of its machine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Uncovered {
    pub(super) machine: String,
    pub(super) root: Vec<u8>,
}

/// `/` is called root, `/var/lib` var-lib; what cannot stand in a name is a hyphen.
fn name_for(root: &[u8], taken: &BTreeSet<&str>) -> String {
    let text = String::from_utf8_lossy(root);
    let sound = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    let name: String = text.trim_matches('/').chars().map(sound).take(48).collect();
    let name = name.trim_matches('-');
    let name = if name.is_empty() { "root" } else { name };
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    names.find(|name| !taken.contains(name.as_str())).unwrap_or_default()
}

fn is_below(path: &[u8], root: &[u8]) -> bool {
    let root = root.strip_suffix(b"/").unwrap_or(root);
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// Whether some source of the machine, removed ones included, speaks for what is mounted there. What
/// somebody removed was decided about.
fn is_covered(root: &[u8], sources: &[&SourceRecord]) -> bool {
    sources.iter().any(|source| {
        let SourceKind::Tree { all_file_systems, .. } = source.kind;
        let own = source.root();
        own == root || (!source.removed && all_file_systems && is_below(root, &own))
    })
}

impl Groups {
    /// What becomes of new file systems of this machine; none if no rule is for it.
    fn rule_for(&self, machine: &str) -> Option<New> {
        let rule = |of: &str| {
            let members = self.iter().flat_map(|stated| &stated.group.members);
            members.filter(|member| member.machine == of).find_map(|member| match member.cover {
                Cover::FileSystems { new } => Some(new),
                Cover::Source(_) => None,
            })
        };
        rule(machine).or_else(|| rule(ANY_MACHINE))
    }
}

impl Daemon {
    /// What connected machines have mounted, no source has, and a rule speaks for.
    fn uncovered<'a>(
        &self,
        groups: &Groups,
        names: &'a Names,
    ) -> Vec<(&'a MachineRecord, New, Vec<u8>)> {
        let mut found = Vec::new();
        for Mounted { machine, roots } in self.connected.mounted() {
            let Some(machine) = names.machines.get(&machine) else { continue };
            let Some(rule) = groups.rule_for(&machine.name) else { continue };
            let sources: Vec<&SourceRecord> =
                names.sources.values().filter(|source| source.machine == machine.id).collect();
            let new = roots.into_iter().filter(|root| !is_covered(root, &sources));
            found.extend(new.map(|root| (machine, rule, root)));
        }
        found
    }

    /// New file systems that are shown and not protected.
    pub(super) fn not_covered(&self, groups: &Groups, names: &Names) -> Vec<Uncovered> {
        let found = self.uncovered(groups, names).into_iter();
        let shown = found.filter(|(_, rule, _)| *rule == New::Show);
        shown.map(|(of, _, root)| Uncovered { machine: of.name.clone(), root }).collect()
    }

    /// Makes sources of the new file systems that join by themselves. Whether there were any.
    pub async fn join_file_systems(&self, groups: &Groups, names: &Names) -> Result<bool, Failure> {
        let mut joined = false;
        for (machine, rule, root) in self.uncovered(groups, names) {
            if rule != New::Join {
                continue;
            }
            let names = self.names().await?;
            let of_machine = names.sources.values().filter(|each| each.machine == machine.id);
            let taken = of_machine.map(|source| source.name.as_str()).collect();
            let name = name_for(&root, &taken);
            let new = crate::api::types::NewSource {
                machine: machine.name.clone(),
                name: name.clone(),
                tree: String::new(),
                tree_hex: Some(data_encoding::HEXLOWER.encode(&root)),
                exclude: Vec::new(),
                all_file_systems: false,
                default_excludes: true,
            };
            source::add(&self.store, &new).await?;
            let machine = &machine.name;
            tracing::info!(machine, name, "a new file system is protected by its group's rule");
            joined = true;
        }
        Ok(joined)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_places() {
        let taken = BTreeSet::from(["home", "home-2"]);
        assert_eq!(name_for(b"/", &taken), "root");
        assert_eq!(name_for(b"/home", &taken), "home-3");
        assert_eq!(name_for(b"/srv/my data", &taken), "srv-my-data");
        assert_eq!(name_for(b"/\xff\xfe", &taken), "root");
    }

    #[test]
    fn below_is_by_components() {
        assert!(is_below(b"/home/a", b"/home") && is_below(b"/home", b"/home"));
        assert!(is_below(b"/home", b"/") && !is_below(b"/homes", b"/home"));
    }
}
