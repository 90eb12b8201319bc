//! Flags of `keelhold demo`.

use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Demo {
    /// A tree to protect; by default a copy of some of this machine's own files
    pub path: Option<PathBuf>,
    /// Do not wait for a key at the end
    #[arg(long)]
    pub exit: bool,
    /// Keep the demo's directory
    #[arg(long)]
    pub keep: bool,
}

#[derive(Debug, Args)]
pub struct DemoAgent {
    #[arg(long)]
    pub agent_state: PathBuf,
    /// Enrol first: the server's address
    #[arg(long, requires = "token")]
    pub url: Option<String>,
    #[arg(long)]
    pub token: Option<String>,
}
