//! The demo's processes: a daemon and an agent, started from this very executable.

use crate::failure::{Code, Failure, chain};
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

/// A child that ends with the demo, however that ends.
#[derive(Debug)]
pub struct Running {
    child: Child,
    name: &'static str,
    log: PathBuf,
}

pub fn program() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|error| Failure::of(Code::DemoFailed, &error))
}

impl Running {
    /// Starts a child; what it says goes to a file.
    pub fn start(name: &'static str, args: &[OsString], log: &Path) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            Failure::new(
                Code::DemoFailed,
                format!("{name} could not be started: {}", chain(&error)),
            )
        };
        let file = File::options().create(true).append(true).open(log).map_err(failed)?;
        let child = Command::new(program()?)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            // Ctrl-C is the demo's to handle: it takes its children along in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        Ok(Self { child, name, log: log.to_owned() })
    }

    /// The end of what it said, if it has ended by itself.
    pub fn ended(&mut self) -> Option<Failure> {
        let status = self.child.try_wait().ok()??;
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        let tail: Vec<&str> = said.lines().rev().take(6).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        let text = format!("the {} ended with {status}: {}", self.name, tail.join(" / "));
        Some(Failure::new(Code::DemoFailed, text))
    }

    /// SIGKILL: no chance to tidy up.
    pub async fn kill(&mut self) {
        let _ = self.child.kill().await;
    }

    /// SIGTERM, and patience.
    pub async fn stop(&mut self) {
        let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) else {
            return;
        };
        let id = nix::unistd::Pid::from_raw(id);
        let _ = nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM);
        if tokio::time::timeout(Duration::from_secs(15), self.child.wait()).await.is_err() {
            self.kill().await;
        }
    }
}
