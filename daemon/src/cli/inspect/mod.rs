//! `keelhold pool inspect`: any structure of a pool at any place, believed or not. Secrets and what records
//! hold are not shown: the output is made to be passed on.

pub mod place;
mod show;

use super::Context;
use super::args::PoolInspect;
use super::pool::WORKERS;
use crate::failure::{Exit, Failure};
use crate::pool_open::{Bench, on_bench};
use keelhold_disk::pool::{Claim, Section, Where};
use place::Asked;
use serde_json::{Value, json};

pub fn run(context: &Context, args: &PoolInspect) -> Result<Exit, Failure> {
    let asked = match &args.place {
        None => Asked::At(Where::Overview),
        Some(text) => Asked::parse(text)?,
    };
    let key = args.key.read()?;
    let (value, lines) = on_bench(WORKERS, key, async |bench: Bench| match &asked {
        Asked::Claims { disk, offset } => claims(&bench, args, disk.as_deref(), *offset).await,
        _ => sections(&bench, args, &asked).await,
    })?;
    context.printer.show(&value, |_| lines)?;
    Ok(Exit::Ok)
}

async fn sections(
    bench: &Bench,
    args: &PoolInspect,
    asked: &Asked,
) -> Result<(Value, Vec<String>), Failure> {
    let inspector = bench.inspector(&args.disks).await?;
    let place = match asked {
        Asked::At(place) => place.clone(),
        Asked::Offset { disk, offset } | Asked::Claims { disk: Some(disk), offset } => {
            let disk = place::disk(disk, &args.disks, &inspector.labels())?;
            Where::Offset { disk, offset: *offset }
        }
        Asked::Claims { disk: None, offset } => Where::Offset { disk: 0, offset: *offset },
    };
    let sections = inspector.show(&place).await;
    let value = json!({
        "where": args.place.as_deref().unwrap_or("overview"),
        "sound": sections.iter().all(Section::is_sound),
        "sections": sections.iter().map(show::value).collect::<Vec<_>>(),
    });
    Ok((value, sections.iter().flat_map(show::lines).collect()))
}

/// Which structures claim a byte; without a disk it is asked of every disk.
async fn claims(
    bench: &Bench,
    args: &PoolInspect,
    disk: Option<&str>,
    offset: u64,
) -> Result<(Value, Vec<String>), Failure> {
    let pool = bench.open_read_only(&args.disks).await?;
    let mut found = pool.claims().await;
    found.retain(|claim| {
        let own = claim.place.disk.to_string();
        disk.is_none_or(|wanted| own.starts_with(wanted))
            && (claim.place.offset..claim.place.offset + claim.len).contains(&offset)
    });
    let show = |claim: &Claim| {
        json!({
            "what": claim.what,
            "disk": claim.place.disk.to_string(),
            "offset": claim.place.offset,
            "len": claim.len,
        })
    };
    let value = json!({
        "offset": offset,
        "claimed": !found.is_empty(),
        "claims": found.iter().map(show).collect::<Vec<_>>(),
    });
    let line = |claim: &Claim| format!("{} of {} bytes on {}", claim.what, claim.len, claim.place);
    let lines = match found.is_empty() {
        true => vec![String::from("no structure claims this byte: nobody reads it")],
        false => found.iter().map(line).collect(),
    };
    Ok((value, lines))
}
