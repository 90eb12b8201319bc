//! `keelhold-agent`: arguments, the system log, signals; nothing else.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
