//! Runs `keelhold` as an operator would, shows the command, and reads its JSON.

use super::busy::Busy;
use super::children::program;
use super::narrate::Narrator;
use crate::failure::{Code, Failure, FailureBody};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::Stdio;
use tokio::process::Command;

#[derive(Debug, Clone)]
pub struct Commands {
    pub state: PathBuf,
    pub narrator: Narrator,
    pub busy: Busy,
}

impl Commands {
    /// Runs a verb that must end well.
    pub async fn run<T: DeserializeOwned>(&self, args: &[&OsStr]) -> Result<T, Failure> {
        let shown: Vec<String> = args.iter().map(|arg| quoted(arg)).collect();
        self.narrator.command(&format!("keelhold {}", shown.join(" ")));
        self.quietly(args).await
    }

    /// The same, without showing it.
    pub async fn quietly<T: DeserializeOwned>(&self, args: &[&OsStr]) -> Result<T, Failure> {
        let mut all: Vec<OsString> = vec!["--state".into(), self.state.clone().into()];
        all.extend([OsString::from("--json"), OsString::from("--yes")]);
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        let mut command = Command::new(program()?);
        // Ctrl-C is the demo's alone.
        command.args(&all).stdin(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let output = self.busy.output(command).await;
        let (status, said) = output.map_err(|error| Failure::of(Code::DemoFailed, &error))?;
        let verb = args.iter().map(|arg| arg.to_string_lossy()).collect::<Vec<_>>().join(" ");
        if let Ok(body) = serde_json::from_slice::<FailureBody>(&said)
            && !status.success()
        {
            let failure = Failure::from_wire(body.error);
            let message = format!("keelhold {verb}: {}", failure.message);
            return Err(Failure { message, ..failure });
        }
        serde_json::from_slice(&said).map_err(|error| {
            let said = String::from_utf8_lossy(&said);
            let text = format!("keelhold {verb} ended with {status} and {said:?}: {error}");
            Failure::new(Code::DemoFailed, text)
        })
    }

    pub async fn values(&self, args: &[&str]) -> Result<Value, Failure> {
        let args: Vec<&OsStr> = args.iter().map(OsStr::new).collect();
        self.run(&args).await
    }

    pub async fn quiet_values(&self, args: &[&str]) -> Result<Value, Failure> {
        let args: Vec<&OsStr> = args.iter().map(OsStr::new).collect();
        self.quietly(&args).await
    }
}

fn quoted(arg: &OsStr) -> String {
    let text = arg.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@,=".contains(c);
    if text.chars().all(plain) { text.into_owned() } else { format!("'{text}'") }
}
