//! The `keelhold` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(keelhold_daemon::cli::main())
}
