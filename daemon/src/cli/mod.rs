//! The command line: every verb but `serve` and those that work on the disks themselves asks the
//! daemon. With `--json` a verb prints the types of the API and nothing else on standard output.

mod adopt;
pub mod args;
mod backup;
mod check;
pub mod client;
mod export;
mod forget;
mod group;
mod inspect;
mod machine;
mod mount;
mod passphrase;
mod point;
mod pool;
mod print;
mod restore;
mod serve;
mod source;
mod vault;
mod wait;

use crate::failure::{Code, Exit, Failure, FailureBody};
use crate::state_dir::StateDir;
use args::{Cli, Global, Verb};
use clap::Parser as _;
use client::Client;
pub use print::Printer;

/// What a verb needs to know besides its own arguments.
#[derive(Debug)]
pub struct Context {
    pub state: StateDir,
    pub printer: Printer,
    pub global: Global,
}

impl Context {
    pub async fn client(&self) -> Result<Client, Failure> {
        Client::connect(&self.state).await
    }

    /// Asks before something that cannot be taken back. Without a terminal only `--yes` is a yes.
    pub fn confirm(&self, question: &str) -> Result<(), Failure> {
        use std::io::{BufRead as _, IsTerminal as _};
        if self.global.yes {
            return Ok(());
        }
        let unasked = || Failure::new(Code::Cancelled, format!("{question} was not confirmed"));
        if !std::io::stdin().is_terminal() {
            let text = format!("{question}: nobody was there to confirm it");
            return Err(Failure::new(Code::NotConfirmed, text));
        }
        eprint!("{question}? Type yes: ");
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer).map_err(|_| unasked())?;
        if answer.trim() == "yes" { Ok(()) } else { Err(unasked()) }
    }
}

/// Runs the command line of this process to its exit code.
#[must_use]
pub fn main() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(Exit::Usage.code());
        }
    };
    let json = cli.global.json;
    match run(cli) {
        Ok(exit) => exit.code(),
        Err(failure) => {
            report(&failure, json);
            failure.code.exit().code()
        }
    }
}

fn report(failure: &Failure, json: bool) {
    if failure.message.is_empty() {
        return;
    }
    if json {
        let body = FailureBody { error: failure.to_wire() };
        println!("{}", serde_json::to_string(&body).unwrap_or_default());
    }
    eprintln!("error: {failure}");
    eprintln!("  {}", failure.hint);
}

fn run(cli: Cli) -> Result<Exit, Failure> {
    let context = Context {
        state: StateDir::new(cli.global.state.clone()),
        printer: Printer::new(cli.global.json),
        global: cli.global,
    };
    match cli.verb {
        Verb::RestoreWriter => return crate::demo::agent::write_restore(),
        Verb::DemoAgent(args) => return crate::demo::agent::run(&args),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::of(Code::Internal, &error))?;
    runtime.block_on(dispatch(context, cli.verb))
}

async fn dispatch(context: Context, verb: Verb) -> Result<Exit, Failure> {
    match verb {
        Verb::Demo(args) => crate::demo::run(&context, args).await,
        Verb::Serve(args) => serve::serve(&context, args).await,
        Verb::Status => pool::status(&context).await,
        Verb::Pool(verb) => pool::run(&context, verb).await,
        Verb::Catalog(args::Catalog::Rebuild) => pool::rebuild_catalog(&context).await,
        Verb::Machine(verb) => machine::run(&context, verb).await,
        Verb::Source(verb) => source::run(&context, verb).await,
        Verb::Backup(args) => backup::backup(&context, args).await,
        Verb::Group(verb) => group::run(&context, verb).await,
        Verb::Schedule(args::Schedule::Next { count }) => group::next(&context, count).await,
        Verb::Sync(args) => backup::sync(&context, args).await,
        Verb::Vault(verb) => vault::run(&context, verb).await,
        Verb::Adopt(args) => adopt::run(&context, args).await,
        Verb::Job(verb) => backup::job(&context, verb).await,
        Verb::Audit(args::Audit::List) => forget::audit(&context).await,
        Verb::Point(verb) => point::run(&context, verb).await,
        Verb::Find(args) => point::find(&context, args).await,
        Verb::Restore(args) => restore::run(&context, args).await,
        Verb::Export(args) => export::run(&context, args).await,
        Verb::Mount(args) => mount::run(&context, args).await,
        Verb::RestoreWriter | Verb::DemoAgent(_) => Ok(Exit::Ok),
    }
}
