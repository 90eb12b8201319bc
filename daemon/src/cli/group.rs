//! `keelhold group …` and `keelhold schedule next`

use super::Context;
use super::args::{CountedBy, Group, GroupImport};
use crate::api::address::Address;
use crate::api::types::{
    Group as Shown, GroupPreview, GroupText, GroupTexts, GroupVersion, GroupsApplied, Planned,
    SourcePreview,
};
use crate::failure::{Code, Exit, Failure};
use crate::size_text::{count, size};
use keelhold_policy::calendar::Calendar;
use keelhold_policy::count::{Counts, Model, import as import_counts};
use std::path::{Path, PathBuf};

/// Points named one by one per source; the count is always right.
const NAMED_MAX: usize = 20;

pub async fn run(context: &Context, verb: Group) -> Result<Exit, Failure> {
    if let Group::Import(args) = &verb {
        return import(context, args);
    }
    let mut client = context.client().await?;
    match verb {
        Group::Show { name } => {
            let groups = named(client.get(&Address::new("/groups")).await?, name.as_deref())?;
            context.printer.show(&groups, |groups| groups.iter().flat_map(describe).collect())?;
        }
        Group::Export { name } => {
            let groups = named(client.get(&Address::new("/groups")).await?, name.as_deref())?;
            context.printer.show(&groups, |groups| {
                groups.iter().map(|group| group.text.trim_end().to_owned()).collect()
            })?;
        }
        Group::Import(_) => {}
        Group::History { name } => {
            let address = Address::new("/groups").segment(name.as_bytes()).segment(b"history");
            let versions: Vec<GroupVersion> = client.get(&address).await?;
            context
                .printer
                .show(&versions, |versions| versions.iter().flat_map(version).collect())?;
        }
        Group::Preview { files } => {
            let texts = read(&files)?;
            let preview: GroupPreview =
                client.post(&Address::new("/groups/preview"), &texts).await?;
            context.printer.show(&preview, preview_lines)?;
        }
        Group::Apply { files } => return apply(context, read(&files)?).await,
        Group::Remove { name } => {
            let address = Address::new("/groups").segment(name.as_bytes());
            let group: Shown = client.delete(&address).await?;
            context.printer.show(&group, |group| {
                vec![format!("group {} is gone; its sources and their points stay", group.name)]
            })?;
        }
    }
    Ok(Exit::Ok)
}

fn version(of: &GroupVersion) -> Vec<String> {
    let mut lines =
        vec![format!("# version {}, {} by {}", of.version, of.applied_at, of.applied_by)];
    lines.push(match of.text.is_empty() {
        true => String::from("# the group was removed"),
        false => of.text.trim_end().to_owned(),
    });
    lines
}

fn import(context: &Context, args: &GroupImport) -> Result<Exit, Failure> {
    let points = Calendar::parse(&args.points)
        .map_err(|fault| Failure::new(Code::BadRequest, format!("{:?}: {fault}", args.points)))?;
    let model = match args.from {
        CountedBy::Pbs | CountedBy::Borg => Model::OneAfterAnother,
        CountedBy::Restic | CountedBy::Kopia => Model::SideBySide,
    };
    let counts = [args.hourly, args.daily, args.weekly, args.monthly, args.yearly];
    let text =
        import_counts(&Counts { last: args.last, counts }, model, &points).text("short_term");
    context
        .printer
        .show(&serde_json::json!({ "text": text }), |_| vec![text.trim_end().to_owned()])?;
    Ok(Exit::Ok)
}

async fn apply(context: &Context, texts: GroupTexts) -> Result<Exit, Failure> {
    let mut client = context.client().await?;
    let preview: GroupPreview = client.post(&Address::new("/groups/preview"), &texts).await?;
    if preview.shortens {
        preview_lines(&preview).iter().for_each(|line| eprintln!("{line}"));
        context.confirm("keep points for a shorter time than now")?;
    }
    let texts = GroupTexts { confirmed: true, ..texts };
    let applied: GroupsApplied = client.post(&Address::new("/groups"), &texts).await?;
    context.printer.show(&applied, |applied| {
        let line = |group: &Shown| {
            let sources = count(group.sources.len() as u64);
            format!(
                "group {} is in force (version {}): {sources} sources",
                group.name, group.version
            )
        };
        let mut lines: Vec<String> = applied.groups.iter().map(line).collect();
        if let Some(until) = &applied.trashed_until {
            let points = count(applied.points_trashed);
            lines.push(format!("{points} points are in the trash until {until}"));
        }
        lines
    })?;
    Ok(Exit::Ok)
}

pub async fn next(context: &Context, count: usize) -> Result<Exit, Failure> {
    let mut client = context.client().await?;
    let address = Address::new("/schedule").query("count", count.to_string().as_bytes());
    let planned: Vec<Planned> = client.get(&address).await?;
    let head = ["AT", "SOURCE", "WHAT", "GROUP", "STATE", "WHY"];
    context.printer.table(&planned, &head, |planned| {
        vec![
            planned.at.clone(),
            planned.source.clone(),
            planned.what.clone(),
            planned.group.clone(),
            planned.state.clone(),
            planned.why.clone().unwrap_or_default(),
        ]
    })?;
    Ok(Exit::Ok)
}

fn named(mut groups: Vec<Shown>, name: Option<&str>) -> Result<Vec<Shown>, Failure> {
    let Some(name) = name else { return Ok(groups) };
    groups.retain(|group| group.name == name);
    match groups.is_empty() {
        true => Err(Failure::new(Code::GroupUnknown, format!("there is no group {name}"))),
        false => Ok(groups),
    }
}

fn read(files: &[PathBuf]) -> Result<GroupTexts, Failure> {
    let text = |path: &PathBuf| -> Result<GroupText, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
        Ok(GroupText { origin: path.display().to_string(), text })
    };
    let groups: Result<Vec<GroupText>, Failure> = files.iter().map(text).collect();
    Ok(GroupTexts { groups: groups?, confirmed: false })
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Code::GroupInvalid, format!("{} cannot be read: {error}", path.display()))
}

fn describe(group: &Shown) -> Vec<String> {
    let mut lines = vec![format!(
        "{} (version {}, in force since {}, zone {})",
        group.name, group.version, group.applied_at, group.zone
    )];
    lines.extend(group.goals.iter().map(|goal| format!("  {goal}")));
    lines.extend(group.sources.iter().map(|source| format!("  protects {source}")));
    lines.extend(group.not_covered.iter().map(|what| format!("  new, not covered: {what}")));
    lines
}

fn preview_lines(preview: &GroupPreview) -> Vec<String> {
    let mut lines: Vec<String> = preview.sources.iter().flat_map(source_lines).collect();
    if lines.is_empty() {
        lines.push(String::from("no existing point gains or loses time"));
    }
    if preview.points_removed > 0 {
        lines.push(format!(
            "{} points would go to the trash; giving them up frees {}",
            count(preview.points_removed),
            size(preview.bytes_freed)
        ));
    }
    lines
}

fn source_lines(source: &SourcePreview) -> Vec<String> {
    let group = |name: &Option<String>| name.clone().unwrap_or_else(|| String::from("no group"));
    let mut lines = Vec::new();
    if source.group_before != source.group_after {
        let (before, after) = (group(&source.group_before), group(&source.group_after));
        lines.push(format!("{}: from {before} to {after}", source.source));
    }
    if source.gains + source.loses > 0 {
        lines.push(format!(
            "{}: {} points gain time, {} lose time, {} keep theirs",
            source.source, source.gains, source.loses, source.keeps
        ));
    }
    let named = source.points.iter().take(NAMED_MAX);
    lines.extend(named.map(|point| {
        let (id, at, effect) = (&point.id, &point.at, &point.effect);
        format!("  {id} of {at} in {}: {effect}: {} -> {}", point.place, point.before, point.after)
    }));
    if source.points.len() > NAMED_MAX {
        lines.push(format!("  and {} more", source.points.len() - NAMED_MAX));
    }
    lines
}
