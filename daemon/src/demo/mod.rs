//! The main job, shown on real files and real processes, without root and without a trace left behind.
//!
//! A daemon and an agent run as children of this process and talk mutual TLS over loopback. Everything
//! is done through the command line, as an operator would; each command is printed. What is shown is
//! also checked: a step that does not give what it must ends the demo with `failed`.

pub mod agent;
mod busy;
mod children;
mod commands;
mod narrate;
mod place;
mod sample;
mod steps;

use crate::cli::Context;
use crate::cli::args::Demo;
use crate::failure::{Code, Exit, Failure};
use narrate::Narrator;
use place::Place;
use serde_json::json;
use std::io::{BufRead as _, IsTerminal as _};
use steps::Show;

pub async fn run(context: &Context, args: Demo) -> Result<Exit, Failure> {
    let narrator = Narrator::new(context.printer);
    let place = Place::find(args.path.as_deref(), args.keep)?;
    let mut show = Show::new(narrator, place, args.path);
    let shown = tokio::select! {
        shown = show.run() => shown,
        () = interrupted() => {
            Err(Failure::new(Code::Cancelled, "the demo was interrupted"))
        }
    };
    let verdict = match &shown {
        Ok(figures) => narrator.step("verdict", "ok", &verdict_lines(figures), figures.clone()),
        Err(failure) => {
            let figures = json!({ "error": failure.to_wire() });
            narrator.step("verdict", "failed", &[format!("failed: {failure}")], figures)
        }
    };
    if shown.is_ok() && !args.exit && !context.printer.json && std::io::stdin().is_terminal() {
        eprintln!("The appliance still runs: {}", show.try_it());
        eprint!("Press Enter to end the demo. ");
        let enter = || std::io::stdin().lock().read_line(&mut String::new());
        tokio::select! {
            _ = tokio::task::spawn_blocking(enter) => {}
            () = interrupted() => {}
        }
    }
    show.end().await;
    drop(show);
    verdict?;
    match shown {
        Ok(_) => Ok(Exit::Ok),
        Err(failure) if failure.code == Code::Cancelled => Ok(Exit::Cancelled),
        // The verdict line has said it all.
        Err(_) => Ok(Exit::Failed),
    }
}

/// Ctrl-C, or a polite end from outside: the demo tidies up in both cases.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

fn verdict_lines(figures: &serde_json::Value) -> Vec<String> {
    let figure = |name: &str| figures.get(name).cloned().unwrap_or_default();
    vec![format!(
        "ok: {} recovery points, {} comparisons without a difference, {} s in all",
        figure("points"),
        figure("comparisons"),
        figure("seconds")
    )]
}
