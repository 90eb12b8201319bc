//! The demo's second machine: the agent, run by this same executable in a process of its own. The
//! only place of the daemon that knows the agent's library.

use crate::cli::args::DemoAgent;
use crate::failure::{Code, Exit, Failure, chain};
use keelhold_agent::AgentConfig;

/// How this executable is told to write one restore's files, by the agent that started it.
pub const WRITER_VERB: &str = "restore-writer";

fn of(error: &dyn std::error::Error) -> Failure {
    Failure::new(Code::AgentFailed, chain(error))
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let built = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    built.map_err(|error| of(&error))
}

/// Has the kernel end this process when the one that started it is gone.
pub fn exit_with_parent() {
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
}

/// Enrols if asked to, then runs until the process is told to stop.
pub fn run(args: &DemoAgent) -> Result<Exit, Failure> {
    exit_with_parent();
    let _ = tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).try_init();
    runtime()?.block_on(async {
        if let (Some(url), Some(token)) = (&args.url, &args.token) {
            keelhold_agent::enroll(&args.agent_state, url, token)
                .await
                .map_err(|error| of(&error))?;
        }
        let config = AgentConfig::new(args.agent_state.clone(), WRITER_VERB);
        let stop = async {
            let _ = tokio::signal::ctrl_c().await;
        };
        keelhold_agent::run(config, stop).await.map_err(|error| of(&error))?;
        Ok(Exit::Ok)
    })
}

/// One restore, told over standard input.
pub fn write_restore() -> Result<Exit, Failure> {
    runtime()?.block_on(async {
        keelhold_agent::restore::serve().await.map_err(|error| of(&error))?;
        Ok(Exit::Ok)
    })
}
