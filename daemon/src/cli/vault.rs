//! `keelhold vault …`

use super::Context;
use super::args::{Vault, VaultAdd, VaultKit};
use super::passphrase::{self, Ask};
use super::wait::finish;
use crate::api::address::Address;
use crate::api::types::{
    Bandwidth, CopyRequest, Kit, KitShapeRequest, NewGeo, NewPassphrase, NewVault, NewZone,
    PruneRequest, Started, Vault as Shown, VaultPoint, VerifyRequest,
};
use crate::failure::{Code, Exit, Failure};
use crate::size_text::{count, size};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

fn address(name: &str) -> Address {
    Address::new("/vaults").segment(name.as_bytes())
}

pub async fn run(context: &Context, verb: Vault) -> Result<Exit, Failure> {
    match verb {
        Vault::Add(args) => return add(context, args).await,
        Vault::Kit(args) => return kit(context, args).await,
        Vault::Ship { name, wait } => return ship(context, name, wait).await,
        Vault::Verify { name, whole } => {
            let mut client = context.client().await?;
            let request = VerifyRequest { whole };
            let started = client.post(&address(&name).segment(b"verify"), &request).await?;
            return finish(context, client, started, true).await;
        }
        Vault::Copy { name, to } => return copy(context, &name, to, false).await,
        Vault::Move { name, to } => return copy(context, &name, to, true).await,
        Vault::Prune { name, credential, dry_run, second } => {
            let request = PruneRequest {
                credential: credential.as_deref().map(secret_text).transpose()?,
                dry_run,
                confirmed: context.global.yes,
                second,
            };
            let mut client = context.client().await?;
            let started = client.post(&address(&name).segment(b"prune"), &request).await?;
            return finish(context, client, started, true).await;
        }
        Vault::Status => {
            let vaults: Vec<Shown> = context.client().await?.get(&Address::new("/vaults")).await?;
            context.printer.show(&vaults, |vaults| match vaults.is_empty() {
                true => vec![String::from("no vault: `keelhold vault add NAME --url URL`")],
                false => vaults.iter().flat_map(describe).collect(),
            })?;
        }
        Vault::List { name } => {
            let address = address(&name).segment(b"points");
            let points: Vec<VaultPoint> = context.client().await?.get(&address).await?;
            let head = ["POINT", "SOURCE", "AT", "RESULT", "SIZE", "TAGS", "EXPIRES", "POOL"];
            context.printer.table(&points, &head, row)?;
        }
        Vault::Passphrase { name, passphrase_file } => {
            let none = || Failure::new(Code::VaultKeyInvalid, "no passphrase was given");
            let passphrase = passphrase::read(passphrase_file.as_deref(), Ask::New)?;
            let request = NewPassphrase { passphrase: passphrase.ok_or_else(none)? };
            let address = address(&name).segment(b"passphrase");
            let vault: Shown = context.client().await?.post(&address, &request).await?;
            context.printer.show(&vault, |vault| {
                vec![
                    format!("vault {} opens with the new passphrase from now on", vault.name),
                    String::from(
                        "older manifests still open with the former one: after a leak make a new vault",
                    ),
                ]
            })?;
        }
        Vault::Bandwidth { name, rules } => {
            let address = address(&name).segment(b"bandwidth");
            let vault: Shown = context.client().await?.post(&address, &Bandwidth { rules }).await?;
            context.printer.show(&vault, |vault| {
                vec![format!("vault {}: shipping keeps to its new limits at once", vault.name)]
            })?;
        }
        Vault::Geo { name, url, endpoint, credential } => {
            let credential = credential.as_deref().map(secret_text).transpose()?;
            let request = NewGeo { url, endpoint, credential };
            let vault: Shown =
                context.client().await?.post(&address(&name).segment(b"geo"), &request).await?;
            context.printer.show(&vault, |vault| {
                vec![match &vault.geo {
                    Some(geo) => format!(
                        "vault {}: {} is kept in step from the next shipment on",
                        vault.name, geo.url
                    ),
                    None => {
                        format!("vault {} has no second place; what is there stays", vault.name)
                    }
                }]
            })?;
        }
        Vault::Zone { name, none } => {
            let request = NewZone { several: !none };
            let vault: Shown =
                context.client().await?.post(&address(&name).segment(b"zone"), &request).await?;
            context.printer.show(&vault, |vault| {
                vec![format!("vault {}: redundancy {} from now on", vault.name, vault.redundancy)]
            })?;
        }
        Vault::Remove { name } => {
            let vault: Shown = context.client().await?.delete(&address(&name)).await?;
            context.printer.show(&vault, |vault| {
                let text = "nothing is shipped there any more; what is in it stays, and opens with its kit";
                vec![format!("vault {}: {text}", vault.name)]
            })?;
        }
    }
    Ok(Exit::Ok)
}

/// The text of a file that belongs to its owner alone.
pub fn secret_text(path: &Path) -> Result<String, Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(Code::VaultKeyInvalid, format!("{} cannot be read: {error}", path.display()))
    };
    let mode = std::fs::metadata(path).map_err(failed)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        let text = format!("{} can be read by others (mode {mode:04o})", path.display());
        return Err(
            Failure::new(Code::KeyFileOpen, text).hint(format!("chmod 600 {}", path.display()))
        );
    }
    std::fs::read_to_string(path).map_err(failed)
}

pub fn kit_texts(paths: &[PathBuf]) -> Result<Vec<String>, Failure> {
    let text = |path: &PathBuf| {
        std::fs::read_to_string(path).map_err(|error| {
            let text = format!("{} cannot be read: {error}", path.display());
            Failure::new(Code::VaultKeyInvalid, text)
        })
    };
    paths.iter().map(text).collect()
}

async fn add(context: &Context, args: VaultAdd) -> Result<Exit, Failure> {
    let ask = if args.kit.is_empty() { Ask::New } else { Ask::Never };
    let request = NewVault {
        name: args.name,
        url: args.url,
        endpoint: args.endpoint,
        credential: args.credential.as_deref().map(secret_text).transpose()?,
        passphrase: passphrase::read(args.passphrase_file.as_deref(), ask)?,
        kit: kit_texts(&args.kit)?,
        lease: args.lease,
    };
    let vault: Shown = context.client().await?.post(&Address::new("/vaults"), &request).await?;
    context.printer.show(&vault, |vault| {
        let mut lines = vec![format!("vault {} ({}) at {}", vault.name, vault.id, vault.url)];
        lines.extend(vault.findings.iter().map(|finding| format!("note: {finding}")));
        if vault.kit_at.is_none() {
            let name = &vault.name;
            lines.push(format!(
                "save the recovery kit now, away from this machine: keelhold vault kit {name} --to FILE"
            ));
        }
        lines
    })?;
    Ok(Exit::Ok)
}

async fn copy(context: &Context, name: &str, to: String, moves: bool) -> Result<Exit, Failure> {
    let mut client = context.client().await?;
    let request = CopyRequest { to, moves };
    let started = client.post(&address(name).segment(b"copy"), &request).await?;
    finish(context, client, started, true).await
}

async fn ship(context: &Context, name: Option<String>, wait: bool) -> Result<Exit, Failure> {
    let mut client = context.client().await?;
    let names = match name {
        Some(name) => vec![name],
        None => {
            let vaults: Vec<Shown> = client.get(&Address::new("/vaults")).await?;
            vaults.into_iter().map(|vault| vault.name).collect()
        }
    };
    if names.is_empty() {
        return Err(Failure::new(Code::VaultUnknown, "there is no vault to ship to")
            .hint("add one with `keelhold vault add NAME --url URL`"));
    }
    let mut exit = Exit::Ok;
    for name in names {
        let started: Started = client.post(&address(&name).segment(b"ship"), &()).await?;
        let ended = finish(context, context.client().await?, started, wait).await?;
        if ended != Exit::Ok {
            exit = ended;
        }
    }
    Ok(exit)
}

async fn kit(context: &Context, args: VaultKit) -> Result<Exit, Failure> {
    let shape = KitShapeRequest { shares: args.shares.unwrap_or(1), need: args.need.unwrap_or(1) };
    let paths = places(&args.to, args.shares.is_some(), shape.shares)?;
    let kit: Kit =
        context.client().await?.post(&address(&args.name).segment(b"kit"), &shape).await?;
    for (path, share) in paths.iter().zip(&kit.shares) {
        write_share(path, share)?;
    }
    let value = serde_json::json!({ "vault": kit.vault, "kit": kit.kit, "need": kit.need,
        "shares": kit.shares.len(), "files": paths });
    context.printer.show(&value, |_| {
        let shown = paths.iter().map(|path| path.display().to_string());
        let head = format!(
            "recovery kit {} of vault {}, any {} of {} open it:",
            kit.kit,
            kit.vault,
            kit.need,
            kit.shares.len()
        );
        let end = String::from("keep it away from this machine: whoever has it reads the vault");
        std::iter::once(head).chain(shown).chain([end]).collect()
    })?;
    Ok(Exit::Ok)
}

/// Where the shares go; looked at before a kit is made that could not be written.
fn places(to: &Path, divided: bool, shares: u8) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error: std::io::Error| {
        let text = format!("{} cannot be written: {error}", to.display());
        Failure::new(Code::OutputFailed, text)
    };
    if divided {
        std::fs::create_dir_all(to).map_err(failed)?;
    }
    let paths: Vec<PathBuf> = match divided || to.is_dir() {
        true => (1..=shares).map(|number| to.join(format!("keelhold-kit-{number}.txt"))).collect(),
        false => vec![to.to_owned()],
    };
    if let Some(path) = paths.iter().find(|path| path.exists()) {
        let text = format!("{} exists; a kit overwrites nothing", path.display());
        return Err(Failure::new(Code::OutputFailed, text).hint("name another file or directory"));
    }
    Ok(paths)
}

fn write_share(path: &Path, share: &str) -> Result<(), Failure> {
    let written = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(share.as_bytes())?;
        file.sync_all()
    };
    written().map_err(|error: std::io::Error| {
        let text = format!("{} cannot be written: {error}", path.display());
        Failure::new(Code::OutputFailed, text)
    })
}

fn row(point: &VaultPoint) -> Vec<String> {
    vec![
        point.id.clone(),
        point.source.clone(),
        point.at.clone(),
        point.result.word().to_owned(),
        size(point.bytes_source),
        point.tags.join(","),
        point.expires_at.clone().unwrap_or_default(),
        if point.in_pool { String::from("too") } else { String::from("no") },
    ]
}

fn describe(vault: &Shown) -> Vec<String> {
    let last = vault.last_shipped_at.as_deref().unwrap_or("never");
    let mut lines = vec![
        format!("{}: {}; last shipped {last}", vault.name, vault.state),
        format!(
            "  {} points, {} objects, {} at {}",
            count(vault.points),
            count(vault.objects),
            size(vault.bytes),
            vault.url
        ),
    ];
    if vault.backlog_points > 0 {
        let since = vault.backlog_since.as_deref().unwrap_or("now");
        lines.push(format!(
            "  behind: {} points, about {}, since {since}",
            count(vault.backlog_points),
            size(vault.backlog_bytes)
        ));
    }
    match (&vault.geo, &vault.zone_checked_at) {
        (Some(geo), _) => {
            let last = geo.copied_at.as_deref().unwrap_or("never");
            let mut line =
                format!("  geo: {}, {} manifests behind, copied {last}", geo.url, geo.behind);
            line.extend(geo.why.iter().map(|why| format!(": {why}")));
            lines.push(line);
        }
        (None, Some(at)) => lines.push(format!("  zone: declared {at}")),
        (None, None) => {}
    }
    lines.extend(vault.why.iter().map(|why| format!("  {why}")));
    lines.push(match &vault.last_verified_at {
        Some(at) if vault.verified_ok => format!("  proved restorable {at}"),
        Some(at) => format!(
            "  NOT all of it could be read {at}: keelhold vault verify {} --whole",
            vault.name
        ),
        None => format!("  not verified yet: keelhold vault verify {}", vault.name),
    });
    match (&vault.kit_at, vault.has_passphrase) {
        (Some(at), _) => lines.push(format!("  recovery kit printed {at}")),
        (None, true) => {
            lines.push(String::from("  no recovery kit printed: only the passphrase opens it"))
        }
        (None, false) => lines.push(format!(
            "  NOTHING opens it when this appliance is gone: keelhold vault kit {} --to FILE",
            vault.name
        )),
    }
    lines.extend(vault.locked_until.iter().map(|until| format!("  locked until {until} at least")));
    lines.extend(vault.findings.iter().map(|finding| format!("  note: {finding}")));
    lines
}
