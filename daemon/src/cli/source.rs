//! `keelhold source …`

use super::Context;
use super::args::{Source, SourceAdd};
use super::wait::{finish, start};
use crate::api::address::Address;
use crate::api::types;
use crate::failure::{Code, Exit, Failure};
use crate::record::SourceName;
use data_encoding::HEXLOWER;
use std::os::unix::ffi::OsStrExt as _;

pub async fn run(context: &Context, verb: Source) -> Result<Exit, Failure> {
    match verb {
        Source::Add(args) => add(context, args).await?,
        Source::List => list(context).await?,
        Source::Check { source, wait } => {
            let source = source_name(&source)?;
            let request = types::BackupRequest { check: true, ..Default::default() };
            let mut client = context.client().await?;
            let started = start(&mut client, &source, &request).await?;
            return finish(context, client, started, wait).await;
        }
        Source::Remove { source, points } => {
            let source = source_name(&source)?;
            let (word, fate) = (points.word(), points.fate());
            context.confirm(&format!("Stop protecting {source} ({fate})"))?;
            let address = address(&source).query("points", word.as_bytes());
            let removed: types::Source = context.client().await?.delete(&address).await?;
            context
                .printer
                .show(&removed, |_| vec![format!("{source} is not protected any more; {fate}")])?;
        }
    }
    Ok(Exit::Ok)
}

pub fn source_name(text: &str) -> Result<SourceName, Failure> {
    text.parse::<SourceName>().map_err(|error| Failure::of(Code::NameInvalid, &error))
}

pub fn address(source: &SourceName) -> Address {
    let address = Address::new("/sources").segment(source.machine.as_bytes());
    address.segment(source.name.as_bytes())
}

async fn add(context: &Context, args: SourceAdd) -> Result<(), Failure> {
    let body = types::NewSource {
        machine: args.machine,
        name: args.name,
        tree: args.tree.to_string_lossy().into_owned(),
        tree_hex: Some(HEXLOWER.encode(args.tree.as_os_str().as_bytes())),
        exclude: args.exclude,
        all_file_systems: args.all_file_systems,
        default_excludes: !args.no_default_excludes,
    };
    let address = Address::new("/sources");
    let source: types::Source = context.client().await?.post(&address, &body).await?;
    context.printer.show(&source, |source| {
        let name = format!("{}/{}", source.machine, source.name);
        vec![
            format!("{name} protects {} on {}", source.tree, source.machine),
            format!("make its first point with: keelhold backup {name} --wait"),
        ]
    })
}

async fn list(context: &Context) -> Result<(), Failure> {
    let address = Address::new("/sources");
    let sources: Vec<types::Source> = context.client().await?.get(&address).await?;
    let head = ["SOURCE", "TREE", "POINTS", "LAST POINT", "RESULT"];
    context.printer.table(&sources, &head, |source| {
        vec![
            format!("{}/{}", source.machine, source.name),
            super::print::safe(&source.tree),
            source.points.to_string(),
            source.last_point.clone().unwrap_or_default(),
            source.last_result.map_or("", types::Outcome::word).to_owned(),
        ]
    })
}
