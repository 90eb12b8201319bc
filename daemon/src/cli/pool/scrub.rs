//! `keelhold pool scrub`.

use crate::api::address::Address;
use crate::api::types;
use crate::cli::Context;
use crate::failure::{Code, Exit, Failure};
use crate::size_text::size;
use std::time::Duration;

/// How often a scrub is looked at that somebody waits for.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub async fn run(context: &Context, wait: bool) -> Result<Exit, Failure> {
    let mut client = context.client().await?;
    let begun: types::ScrubStatus = client.post(&Address::new("/pool/scrub"), &()).await?;
    let until = begun.until_pass.unwrap_or(begun.pass);
    let mut now = begun;
    while wait && now.pass <= until && now.state == "running" {
        tokio::time::sleep(LOOK_EVERY).await;
        let status: types::PoolStatus = client.get(&Address::new("/pool")).await?;
        now = status.scrub;
    }
    if wait && now.pass <= until {
        let mut text = format!("pass {} ended before its end", now.pass);
        if let Some(error) = &now.error {
            text = format!("{text}: {}: {}", error.code, error.message);
        }
        return Err(Failure::new(Code::ScrubStopped, text));
    }
    context.printer.show(&now, lines)?;
    Ok(if wait && now.last_found > 0 { Exit::Partial } else { Exit::Ok })
}

pub fn lines(scrub: &types::ScrubStatus) -> Vec<String> {
    let last = scrub.last_at.as_deref().unwrap_or("never");
    let mut lines = vec![format!(
        "scrub: {}; last whole pass: {last}, damaged places: {}; this pass: {} read, {} damaged; \
        mended: {}",
        scrub.state,
        scrub.last_found,
        size(scrub.bytes_read),
        scrub.found,
        scrub.healed
    )];
    lines.extend(scrub.error.iter().map(|error| format!("  stopped: {}", error.message)));
    lines.extend(scrub.damage.iter().map(|place| format!("  {place}")));
    lines
}
