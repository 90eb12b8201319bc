//! A machine that gets another name stays in its groups: their texts follow.

use super::preview::check_members;
use super::{Groups, Stated, refused};
use crate::audit::Actor;
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::machine;
use crate::pool_failure::of_store;
use crate::record::{GROUPS, GroupRecord, MachineRecord};
use keelhold_policy::goal::{self, Group, Terms};

/// The text with the other name, as it was written if that can be; else printed anew.
fn renamed(stated: &Stated, old: &str, new: &str) -> Option<String> {
    let is_of = |group: &Group| group.members.iter().any(|member| member.machine == old);
    if !is_of(&stated.group) {
        return None;
    }
    let mut group = stated.group.clone();
    for member in group.members.iter_mut().filter(|member| member.machine == old) {
        new.clone_into(&mut member.machine);
    }
    let line = |line: &str| match line.trim_start().starts_with("machine") {
        true => line.replacen(&format!("\"{old}\""), &format!("\"{new}\""), 1).replacen(
            &format!("'{old}'"),
            &format!("'{new}'"),
            1,
        ),
        false => line.to_owned(),
    };
    let text: String = stated.record.text.split_inclusive('\n').map(line).collect();
    let is_same = goal::parse(&text, &Terms::default()).is_ok_and(|read| read == group);
    Some(if is_same { text } else { goal::print(&group) })
}

fn records(groups: &Groups, old: &str, new: &str, by: &str, at: i64) -> Vec<GroupRecord> {
    let renamed = |stated: &Stated| {
        Some(GroupRecord {
            text: renamed(stated, old, new)?,
            version: stated.record.version + 1,
            applied_at: at,
            applied_by: by.to_owned(),
            ..stated.record.clone()
        })
    };
    groups.iter().filter_map(renamed).collect()
}

impl Daemon {
    pub async fn rename_machine(
        &self,
        actor: &Actor,
        old: &str,
        new: &str,
    ) -> Result<MachineRecord, Failure> {
        let _turn = self.forgetting.lock().await;
        let groups = self.groups().await?;
        let records = records(&groups, old, new, actor.name(), self.store.clock.now().0);
        let mut after = (*groups).clone();
        for record in &records {
            let name = format!("group {}", record.name);
            let group = goal::parse(&record.text, &Terms::default());
            let group = group.map_err(|why| refused(&name, &why))?;
            after.put(Stated { record: record.clone(), group });
        }
        check_members(&after)?;
        let machine = machine::rename(&self.store, old, new, &records).await?;
        self.groups_changed().await;
        for record in &records {
            let entry = serde_json::to_vec(record).unwrap_or_default();
            self.store.append(GROUPS, entry).await.map_err(|error| of_store(&error))?;
        }
        Ok(machine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stated(text: &str) -> Stated {
        let group = goal::parse(text, &Terms::default()).unwrap();
        let (name, text) = (group.name.clone(), text.to_owned());
        let applied_by = String::new();
        let record = GroupRecord { name, version: 1, text, applied_at: 0, applied_by };
        Stated { record, group }
    }

    const TEXT: &str = "name = \"web\"   # web, not the machine\n[[member]]\nmachine = \"web\"  # ours\n\
        source = \"etc\"\n[short_term]\npoints = [\"daily 12:00\"]\n[short_term.keep]\n\
        daily = { for = \"9 days\" }\n";

    #[test]
    fn a_text_keeps_its_form_and_its_comments() {
        let text = renamed(&stated(TEXT), "web", "www").unwrap();
        assert_eq!(text, TEXT.replace("machine = \"web\"", "machine = \"www\""));
        assert_eq!(renamed(&stated(TEXT), "db", "www"), None);
    }

    #[test]
    fn a_form_nobody_expects_is_printed_anew() {
        let text = TEXT.replace("machine =", "\"machine\" =");
        let text = renamed(&stated(&text), "web", "www").unwrap();
        let group = goal::parse(&text, &Terms::default()).unwrap();
        assert_eq!(group.members[0].machine, "www");
    }
}
