//! placeholder
use crate::cli::args::DemoAgent;
use crate::failure::{Exit, Failure};
pub fn run(_args: &DemoAgent) -> Result<Exit, Failure> { Ok(Exit::Ok) }
