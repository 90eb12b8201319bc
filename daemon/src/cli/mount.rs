//! placeholder
use super::Context;
use super::args::Mount;
use crate::failure::{Exit, Failure};
pub async fn run(_context: &Context, _args: Mount) -> Result<Exit, Failure> { Ok(Exit::Ok) }
