//! `keelhold export`: bytes of a point to a file or standard output.

use super::Context;
use super::args::Export;
use super::client::Body;
use super::print::nobody_reads;
use super::restore::inner_path;
use crate::api::address::Address;
use crate::failure::{Code, Exit, Failure};
use crate::size_text::size;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub async fn run(context: &Context, args: Export) -> Result<Exit, Failure> {
    let address = Address::new("/points").segment(args.point.as_bytes());
    let (address, target) = match (args.raw, args.tar) {
        (Some(target), _) => (address.segment(b"content"), target),
        (None, Some(target)) => (address.segment(b"tar"), target),
        (None, None) => return Err(Failure::new(Code::BadRequest, "--raw or --tar is needed")),
    };
    let path = inner_path(&args.path.unwrap_or_default());
    let body = context.client().await?.body(&address.query("path", &path)).await?;
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::BrokenPipe => nobody_reads(),
        _ => Failure::of(Code::OutputFailed, &error),
    };
    if target == Path::new("-") {
        copy(body, io::stdout().lock(), failed).await?;
        return Ok(Exit::Ok);
    }
    let part = part_name(&target);
    let written = async {
        let file = std::fs::File::create_new(&part).map_err(failed)?;
        let len = copy(body, &file, failed).await?;
        file.sync_all().map_err(failed)?;
        Ok(len)
    };
    // Under its own name only when it is whole.
    let len = match written.await {
        Ok(len) => len,
        Err(failure) => {
            let _ = std::fs::remove_file(&part);
            return Err(failure);
        }
    };
    std::fs::rename(&part, &target).map_err(failed)?;
    eprintln!("{} written to {}", size(len), target.display());
    Ok(Exit::Ok)
}

fn part_name(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}

async fn copy(
    mut body: Body,
    mut out: impl Write,
    failed: impl Fn(io::Error) -> Failure,
) -> Result<u64, Failure> {
    let mut len = 0;
    while let Some(bytes) = body.next().await? {
        out.write_all(&bytes).map_err(&failed)?;
        len += bytes.len() as u64;
    }
    out.flush().map_err(failed)?;
    Ok(len)
}
