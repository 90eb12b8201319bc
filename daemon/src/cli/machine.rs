//! `keelhold machine …`

use super::Context;
use super::args::Machine;
use crate::api::address::Address;
use crate::api::types;
use crate::failure::{Code, Exit, Failure};
use crate::size_text::{parse_seconds, parse_size, size};

pub async fn run(context: &Context, verb: Machine) -> Result<Exit, Failure> {
    match verb {
        Machine::Token { name, ttl } => token(context, name, &ttl).await?,
        Machine::List => list(context).await?,
        Machine::Revoke { name } => {
            let address = Address::new("/machines").segment(name.as_bytes()).segment(b"revoke");
            let machine: types::Machine = context.client().await?.post(&address, &()).await?;
            context.printer.show(&machine, |_| {
                vec![format!("{name} is refused from now on; its points stay")]
            })?;
        }
        Machine::Rename { old, new } => {
            let address = Address::new("/machines").segment(old.as_bytes()).segment(b"rename");
            let body = types::NewName { name: new.clone() };
            let machine: types::Machine = context.client().await?.post(&address, &body).await?;
            context.printer.show(&machine, |_| vec![format!("{old} is called {new} now")])?;
        }
        Machine::Quota { name, size } => quota(context, &name, &size).await?,
        Machine::Remove { name, points } => {
            let fate = points.fate();
            context.confirm(&format!("Remove machine {name} and its sources ({fate})"))?;
            let address = Address::new("/machines").segment(name.as_bytes());
            let address = address.query("points", points.word().as_bytes());
            let machine: types::Machine = context.client().await?.delete(&address).await?;
            context.printer.show(&machine, |_| vec![format!("{name} is removed; {fate}")])?;
        }
    }
    Ok(Exit::Ok)
}

async fn quota(context: &Context, name: &str, text: &str) -> Result<(), Failure> {
    let bytes = match text {
        "none" => None,
        text => Some(parse_size(text).ok_or_else(|| {
            Failure::new(Code::BadRequest, format!("{text:?} is not a size with a unit"))
                .hint("write it like 500GiB, or none")
        })?),
    };
    let address = Address::new("/machines").segment(name.as_bytes()).segment(b"quota");
    let body = types::NewQuota { bytes };
    let machine: types::Machine = context.client().await?.post(&address, &body).await?;
    context.printer.show(&machine, |machine| match machine.quota_bytes {
        None => vec![format!("{name} may take what there is")],
        Some(quota) => {
            let used = size(machine.bytes_exclusive.unwrap_or(0));
            vec![format!("{name} may take {}; only its points need {used} now", size(quota))]
        }
    })
}

async fn token(context: &Context, name: String, ttl: &str) -> Result<(), Failure> {
    let ttl_seconds = parse_seconds(ttl).ok_or_else(|| {
        Failure::new(Code::BadRequest, format!("{ttl:?} is not a duration"))
            .hint("write it like 30m, 1h or 2d")
    })?;
    let body = types::NewToken { machine: name, ttl_seconds };
    let address = Address::new("/machines/token");
    let token: types::Token = context.client().await?.post(&address, &body).await?;
    if context.printer.json {
        return context.printer.json(&token);
    }
    eprintln!("Paste this on {}, before {}:", token.machine, token.expires_at);
    context.printer.line(&token.line)
}

async fn list(context: &Context) -> Result<(), Failure> {
    let address = Address::new("/machines");
    let machines: Vec<types::Machine> = context.client().await?.get(&address).await?;
    let head = ["MACHINE", "STATE", "CONNECTED", "VERSION", "LAST SEEN", "QUOTA"];
    context.printer.table(&machines, &head, |machine| {
        vec![
            machine.name.clone(),
            machine.state.clone(),
            if machine.connected { "yes" } else { "no" }.to_owned(),
            machine.version.clone().unwrap_or_default(),
            machine.last_seen.clone().unwrap_or_default(),
            machine.quota_bytes.map_or_else(String::new, |quota| {
                format!("{} of {}", size(machine.bytes_exclusive.unwrap_or(0)), size(quota))
            }),
        ]
    })
}
