//! Putting texts into force.

use super::preview::Studied;
use super::{Groups, keep};
use crate::api::types::{self, GroupPreview, GroupTexts, GroupsApplied};
use crate::audit::Actor;
use crate::clock::rfc3339;
use crate::daemon::Daemon;
use crate::failure::{Code, Failure};
use crate::pool_failure::of_closed;
use crate::record::{GROUPS, GroupRecord};
use keelhold_disk::units::UnixNanos;

impl Daemon {
    pub async fn preview_groups(
        &self,
        actor: &Actor,
        texts: &GroupTexts,
    ) -> Result<GroupPreview, Failure> {
        Ok(self.study(actor, texts).await?.preview)
    }

    /// All texts together or none.
    pub async fn apply_groups(
        &self,
        actor: &Actor,
        texts: &GroupTexts,
    ) -> Result<GroupsApplied, Failure> {
        let _turn = self.forgetting.lock().await;
        let mut what = texts.groups.iter().map(|text| text.origin.clone()).collect();
        let applied = async {
            let studied = self.study(actor, texts).await?;
            what = studied.preview.groups.clone();
            self.put_into_force(studied, texts.confirmed).await
        }
        .await;
        self.store.audit(actor, "group apply", what, &applied).await;
        applied
    }

    /// Gives a group up. Sources it alone protected are not protected by any schedule then.
    pub async fn remove_group(&self, actor: &Actor, name: &str) -> Result<types::Group, Failure> {
        let _turn = self.forgetting.lock().await;
        let removed = async {
            let (old, names) = (self.groups().await?, self.names().await?);
            let gone = || Failure::new(Code::GroupUnknown, format!("there is no group {name}"));
            let stated = old.get(name).ok_or_else(gone)?;
            let shown = self.show_group(stated, &old, &names);
            let mut new = (*old).clone();
            new.0.remove(name);
            let record = GroupRecord {
                text: String::new(),
                version: stated.record.version + 1,
                applied_at: self.store.clock.now().0,
                applied_by: actor.name().to_owned(),
                ..stated.record.clone()
            };
            let studied = self.compare(&names, &old, new, vec![record]).await?;
            self.put_into_force(studied, true).await?;
            Ok(shown)
        }
        .await;
        self.store.audit(actor, "group remove", vec![name.to_owned()], &removed).await;
        removed
    }

    /// The caller has the turn of forgetting: nobody looks at points by the new texts before those
    /// that they would remove are in the trash.
    async fn put_into_force(
        &self,
        studied: Studied,
        confirmed: bool,
    ) -> Result<GroupsApplied, Failure> {
        let Studied { groups, records, preview, removed } = studied;
        if preview.shortens && !confirmed {
            let sources = preview.sources.iter().filter(|source| source.loses > 0).count();
            let points: u64 = preview.sources.iter().map(|source| source.loses).sum();
            let text = format!(
                "{points} points of {sources} sources would be kept for a shorter time, {} of them \
                 would go to the trash at once",
                preview.points_removed
            );
            return Err(Failure::new(Code::GroupShortens, text));
        }
        let mut trashed_until = None;
        if !removed.is_empty() {
            let until = self.move_to_trash(&removed, false).await?;
            trashed_until = Some(rfc3339(self.store.pool.time.look().on_the_wall(until)));
        }
        keep(&self.store, &records).await?;
        self.groups_changed().await;
        let names = self.names().await?;
        let shown = |record: &GroupRecord| {
            groups.get(&record.name).map(|stated| self.show_group(stated, &groups, &names))
        };
        Ok(GroupsApplied {
            groups: records.iter().filter_map(shown).collect(),
            points_trashed: removed.len() as u64,
            trashed_until,
        })
    }

    /// Every text of a group that was ever in force, oldest first.
    pub async fn group_history(&self, name: &str) -> Result<Vec<types::GroupVersion>, Failure> {
        let read =
            |pool: crate::pool_thread::LivePool| async move { pool.series(GROUPS, 0, usize::MAX) };
        let entries = self.store.pool.call(read).await.map_err(of_closed)?;
        let records = entries.iter().filter_map(|(_, entry)| {
            serde_json::from_slice::<GroupRecord>(entry).ok().filter(|record| record.name == name)
        });
        let versions: Vec<types::GroupVersion> = records
            .map(|record| types::GroupVersion {
                version: record.version,
                applied_at: rfc3339(UnixNanos(record.applied_at)),
                applied_by: record.applied_by,
                text: record.text,
            })
            .collect();
        match versions.is_empty() {
            true => {
                Err(Failure::new(Code::GroupUnknown, format!("there never was a group {name}")))
            }
            false => Ok(versions),
        }
    }

    pub async fn group_list(&self) -> Result<Vec<types::Group>, Failure> {
        let (groups, names) = (self.groups().await?, self.names().await?);
        let groups: &Groups = &groups;
        Ok(groups.iter().map(|stated| self.show_group(stated, groups, &names)).collect())
    }
}
