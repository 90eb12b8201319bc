//! `keelhold point forget`, `keelhold pool reclaim`, `keelhold audit list`.

use super::Context;
use super::print::safe;
use super::wait::finish;
use crate::api::address::Address;
use crate::api::types;
use crate::failure::{Exit, Failure};
use crate::size_text::{count, size};

/// Points a question names one by one.
const NAMED_MAX: usize = 10;

fn named(points: &[types::ForgottenPoint]) -> String {
    let one = |point: &types::ForgottenPoint| format!("{} of {}", point.id, point.source);
    let mut names: Vec<String> = points.iter().take(NAMED_MAX).map(one).collect();
    if points.len() > NAMED_MAX {
        names.push(format!("and {} more", points.len() - NAMED_MAX));
    }
    names.join(", ")
}

pub async fn forget(
    context: &Context,
    points: Vec<String>,
    now: bool,
    dry_run: bool,
) -> Result<Exit, Failure> {
    let mut client = context.client().await?;
    let request = types::ForgetRequest { points, now };
    let forecast = Address::new("/points/forecast");
    if dry_run {
        let forecast: types::ForgetForecast = client.post(&forecast, &request).await?;
        context.printer.show(&forecast, forecast_lines)?;
        return Ok(Exit::Ok);
    }
    if now && !context.global.yes {
        let forecast: types::ForgetForecast = client.post(&forecast, &request).await?;
        let (names, bytes) = (named(&forecast.points), size(forecast.bytes_exclusive));
        context.confirm(&format!("Give up for good {names} ({bytes} that nothing else needs)"))?;
    }
    let address = Address::new("/points/forget");
    let forgotten: types::Forgotten = client.post(&address, &request).await?;
    context.printer.show(&forgotten, |forgotten| match &forgotten.trashed_until {
        None => vec![format!("given up for good: {}", named(&forgotten.points))],
        Some(until) => vec![
            format!("in the trash until {until}: {}", named(&forgotten.points)),
            String::from("bring one back with: keelhold point undo-forget POINT"),
        ],
    })?;
    Ok(Exit::Ok)
}

fn forecast_lines(forecast: &types::ForgetForecast) -> Vec<String> {
    let mut lines = vec![
        format!("forgetting {}:", named(&forecast.points)),
        format!("  {} are needed by nothing else", size(forecast.bytes_exclusive)),
        format!(
            "  {} come back with the next reclaim once they are out of the trash ({} of it without them, too)",
            size(forecast.bytes_freed),
            size(forecast.bytes_freed_anyway)
        ),
        format!(
            "  {} stay as dead shares of containers that are too full",
            size(forecast.bytes_left)
        ),
    ];
    let refused = forecast.refused.iter();
    lines.extend(refused.map(|each| format!("  refused: {}: {}", each.why.code, each.why.message)));
    lines.push(String::from("nothing was changed"));
    lines
}

pub async fn reclaim(
    context: &Context,
    wait: bool,
    empty_trash: bool,
    confirm: bool,
) -> Result<Exit, Failure> {
    let mut client = context.client().await?;
    let mut request = types::ReclaimRequest { empty_trash: Vec::new(), confirm };
    if empty_trash {
        let trash: types::Trash = client.get(&Address::new("/pool/trash")).await?;
        if !trash.points.is_empty() {
            let (points, bytes) = (count(trash.points.len() as u64), size(trash.bytes));
            let names = named(&trash.points);
            context.confirm(&format!(
                "Give up for good {points} points in the trash ({bytes} that nothing else needs): {names}"
            ))?;
        }
        request.empty_trash = trash.points.into_iter().map(|point| point.id).collect();
    }
    if confirm {
        context.confirm("Give up also far more than was expected")?;
    }
    let started: types::Started = client.post(&Address::new("/pool/reclaim"), &request).await?;
    finish(context, client, started, wait).await
}

pub async fn audit(context: &Context) -> Result<Exit, Failure> {
    let entries: Vec<types::AuditEntry> =
        context.client().await?.get(&Address::new("/audit")).await?;
    let head = ["AT", "ACTOR", "ACTION", "RESULT", "WHAT"];
    context.printer.table(&entries, &head, |entry| {
        vec![
            entry.at.clone(),
            entry.actor.clone(),
            entry.action.clone(),
            entry.result.clone(),
            safe(&entry.what.join(", ")),
        ]
    })?;
    Ok(Exit::Ok)
}
