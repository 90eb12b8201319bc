//! placeholder
pub mod agent;
use crate::cli::Context;
use crate::cli::args::Demo;
use crate::failure::{Exit, Failure};
pub async fn run(_context: &Context, _args: Demo) -> Result<Exit, Failure> { Ok(Exit::Ok) }
