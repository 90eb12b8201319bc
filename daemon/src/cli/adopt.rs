//! `keelhold adopt`: takes over from a vault alone.

use super::Context;
use super::args::Adopt;
use super::passphrase::{self, Ask};
use super::pool::{lock, of_state};
use super::vault::{kit_texts, secret_text};
use crate::clock::rfc3339;
use crate::failure::{Code, Exit, Failure};
use crate::size_text::count;
use crate::vault::Adopted;
use serde_json::json;

pub async fn run(context: &Context, args: Adopt) -> Result<Exit, Failure> {
    let kit = kit_texts(&args.kit)?;
    let ask = if kit.is_empty() { Ask::Once } else { Ask::Never };
    let passphrase = match kit.is_empty() {
        true => passphrase::read(args.passphrase_file.as_deref(), ask)?,
        false => None,
    };
    let credential = args.credential.as_deref().map(secret_text).transpose()?;
    let _lock = lock(context)?;
    let is_taken = context.state.disks().map_err(|error| of_state(&error))?.is_some()
        || context.state.adopted().map_err(|error| of_state(&error))?.is_some();
    if is_taken {
        let place = context.state.path().display();
        let text = format!("{place} has an appliance already");
        return Err(Failure::new(Code::PoolExists, text)
            .hint("adopt takes over on an empty state directory: name one with --state"));
    }
    let place =
        crate::vault::open_place(&args.vault, args.endpoint.as_deref(), credential.as_deref())?;
    let found = crate::vault::adopt(&place, &kit, passphrase.as_deref()).await?;
    let adopted = found.into_adopted(args.vault, args.endpoint, credential);
    context.state.set_adopted(&adopted).map_err(|error| of_state(&error))?;
    show(context, &adopted)
}

fn show(context: &Context, adopted: &Adopted) -> Result<Exit, Failure> {
    let of = |prefix: &str| {
        let names = adopted.records.records.keys();
        names.filter(|name| name.starts_with(prefix)).count() as u64
    };
    let (machines, groups) = (of("machine/"), of("group/"));
    let newest = rfc3339(keelhold_disk::units::UnixNanos(adopted.seen.shipped_at.unwrap_or(0)));
    let value = json!({ "vault": adopted.vault.name, "id": adopted.vault.id,
        "manifest": adopted.seen.number, "made_at": newest, "points": adopted.points,
        "machines": machines, "groups": groups });
    context.printer.show(&value, |_| {
        vec![
            format!(
                "taken over from vault {} ({}): {} points, {machines} machines, {groups} groups",
                adopted.vault.name, adopted.vault.id, count(adopted.points)
            ),
            format!(
                "its newest manifest is number {} of {newest}; a kit names the number it was printed at: one below that was set back",
                adopted.seen.number
            ),
            String::from("start the daemon with: keelhold serve - points are listed and restored from the vault"),
            String::from("to go on backing up: keelhold pool create --disk PATH:SIZE"),
        ]
    })?;
    Ok(Exit::Ok)
}
