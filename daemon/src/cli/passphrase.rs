//! Where passphrases come from: a file, a variable, a prompt; never the command line.

use crate::failure::{Code, Failure};
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;

const VARIABLE: &str = "KEELHOLD_PASSPHRASE";

/// How it is asked for where there is a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Of something that exists.
    Once,
    /// A new one, twice; an empty line is none.
    New,
    Never,
}

/// The passphrase, if there is one.
pub fn read(file: Option<&Path>, ask: Ask) -> Result<Option<String>, Failure> {
    if let Some(file) = file {
        let text = std::fs::read_to_string(file).map_err(|error| {
            let text = format!("passphrase file {} cannot be read: {error}", file.display());
            Failure::new(Code::VaultKeyInvalid, text)
        })?;
        return Ok(Some(text.strip_suffix('\n').unwrap_or(&text).to_owned()));
    }
    if let Some(text) = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty()) {
        return Ok(Some(text));
    }
    if ask == Ask::Never || !std::io::stdin().is_terminal() {
        return Ok(None);
    }
    let first = prompt(match ask {
        Ask::New => "passphrase of the vault (empty: the recovery kit alone opens it): ",
        _ => "passphrase of the vault: ",
    })?;
    if first.is_empty() {
        return Ok(None);
    }
    if ask == Ask::New && prompt("once more: ")? != first {
        return Err(Failure::new(Code::VaultKeyInvalid, "the two passphrases differ"));
    }
    Ok(Some(first))
}

fn prompt(text: &str) -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure::of(Code::VaultKeyInvalid, &error);
    let stdin = std::io::stdin();
    eprint!("{text}");
    std::io::stderr().flush().map_err(failed)?;
    let before = tcgetattr(&stdin).map_err(|errno| failed(errno.into()))?;
    let mut silent = before.clone();
    silent.local_flags.remove(LocalFlags::ECHO);
    tcsetattr(&stdin, SetArg::TCSANOW, &silent).map_err(|errno| failed(errno.into()))?;
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    let restored = tcsetattr(&stdin, SetArg::TCSANOW, &before);
    eprintln!();
    read.map_err(failed)?;
    restored.map_err(|errno| failed(errno.into()))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
