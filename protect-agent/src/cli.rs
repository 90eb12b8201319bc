//! What people type. Data goes to standard output, everything else to standard error.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use keelhold_agent::enroll::enroll;
use keelhold_agent::failure::{Code, Failure};
use keelhold_agent::local::{Question, Reply, ask};
use keelhold_agent::run::{AgentConfig, run};
use keelhold_agent::status::Status;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

/// The verb that makes this executable carry out one restore. Not for people.
const RESTORE_VERB: &str = "restore-helper";

/// What scripts of ended jobs may take before the process ends all the same.
const LAST_SCRIPTS: std::time::Duration = std::time::Duration::from_secs(30);

/// Protects this machine: runs in the background, dials its Keelhold appliance and does what that
/// has scheduled.
#[derive(Debug, Parser)]
#[command(name = "keelhold-agent", version)]
struct Arguments {
    /// Everything the agent owns on this machine
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "KEELHOLD_AGENT_STATE",
        default_value = keelhold_agent::state_dir::DEFAULT
    )]
    state: PathBuf,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Trade a token for this machine's certificate; `keelhold machine token` prints the whole line
    Enroll {
        /// keelhold://HOST:PORT
        url: String,
        /// The token, or `-` to read it from standard input
        token: String,
    },
    /// Run in the foreground
    Run,
    /// Ask the appliance to back up a source of this machine now, or all of them
    Backup { name: Option<String> },
    /// What the running agent is doing
    Status,
    #[command(name = RESTORE_VERB, hide = true)]
    RestoreHelper,
}

pub(crate) fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_log();
    let ended = act(&arguments);
    // The runtime is gone, and with it every job; their last scripts may still run.
    keelhold_agent::script::settle(LAST_SCRIPTS);
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if arguments.json {
                let (code, message, hint) = (failure.label(), &failure.message, &failure.hint);
                let error = serde_json::json!({ "code": code, "message": message, "hint": hint });
                println!("{}", serde_json::json!({ "error": error }));
            } else {
                eprintln!("{failure}");
            }
            ExitCode::from(exit_code(&failure))
        }
    }
}

/// Refusals exit with 4, as the command-line contract says; all other failures with 1.
fn exit_code(failure: &Failure) -> u8 {
    const REFUSED: [Code; 3] = [Code::AlreadyRunning, Code::Busy, Code::RestoreRefused];
    let ours = REFUSED.iter().any(|code| code.number() == failure.code);
    // The daemon's codes for refused tokens and rights.
    let theirs = (302..=311).contains(&failure.code);
    if ours || theirs { 4 } else { 1 }
}

fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("KEELHOLD_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

fn act(arguments: &Arguments) -> Result<(), Failure> {
    let runtime = Runtime::new().map_err(|error| Failure::of(Code::Internal, &error))?;
    match &arguments.verb {
        Verb::Enroll { url, token } => {
            let token = if token == "-" { token_from_input()? } else { token.clone() };
            let machine = runtime.block_on(enroll(&arguments.state, url, &token))?;
            if arguments.json {
                println!("{}", serde_json::json!({ "machine": machine }));
            } else {
                println!("enrolled as {machine}; start it with `keelhold-agent run`");
            }
            Ok(())
        }
        Verb::Run => {
            let config = AgentConfig::new(arguments.state.clone(), RESTORE_VERB);
            Ok(runtime.block_on(async { run(config, stopped()).await })?)
        }
        Verb::Backup { name } => {
            let question = Question::Backup { source: name.clone() };
            match runtime.block_on(ask(&arguments.state, &question))? {
                Reply::Accepted { jobs } => {
                    print_accepted(&jobs, arguments.json);
                    Ok(())
                }
                other => Err(unexpected(other)),
            }
        }
        Verb::Status => match runtime.block_on(ask(&arguments.state, &Question::Status))? {
            Reply::Status(status) => print_status(&status, arguments.json),
            other => Err(unexpected(other)),
        },
        Verb::RestoreHelper => Ok(runtime.block_on(keelhold_agent::restore::serve())?),
    }
}

fn token_from_input() -> Result<String, Failure> {
    let mut token = String::new();
    match std::io::stdin().take(4 << 10).read_to_string(&mut token) {
        Ok(_) => Ok(token),
        Err(error) => Err(Failure::of(Code::TokenInvalid, &error)),
    }
}

/// SIGTERM, SIGINT. Without handlers the default actions end the process, which is right too.
async fn stopped() {
    let (Ok(mut term), Ok(mut int)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

fn unexpected(reply: Reply) -> Failure {
    match reply {
        Reply::Error { code, message, hint } => Failure { code, message, hint },
        _ => Failure::new(Code::Internal, "the agent answered something else"),
    }
}

fn print_accepted(jobs: &[u64], json: bool) {
    if json {
        println!("{}", serde_json::json!({ "jobs": jobs }));
    } else if jobs.is_empty() {
        println!("nothing to back up: this machine has no sources");
    } else {
        let jobs: Vec<String> = jobs.iter().map(u64::to_string).collect();
        println!("asked for: job {}", jobs.join(", "));
    }
}

fn print_status(status: &Status, json: bool) -> Result<(), Failure> {
    if json {
        let line = serde_json::to_string(status);
        println!("{}", line.map_err(|error| Failure::of(Code::Internal, &error))?);
        return Ok(());
    }
    let link = if status.connected { "connected to" } else { "not connected to" };
    println!("{} is {link} {}", status.machine, status.server);
    if let Some(error) = &status.last_error {
        println!("last error: {error}");
    }
    for (job, running) in &status.running {
        println!("running: job {job}, {}", running.source);
    }
    for (source, result) in &status.results {
        let error = result.error.as_deref().unwrap_or("");
        println!("{source}: {} ({} files) {error}", result.result, result.files);
    }
    Ok(())
}
