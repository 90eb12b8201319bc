//! `keelhold restore`

use super::Context;
use super::args::Restore;
use super::wait::finish;
use crate::api::address::Address;
use crate::api::types::{Fetch, RestoreRequest, RestoreStarted};
use crate::failure::{Code, Exit, Failure};
use crate::size_text::{count, size};
use data_encoding::HEXLOWER;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// A path inside a point: relative to the source's root, whatever people put around it.
#[must_use]
pub fn inner_path(path: &Path) -> Vec<u8> {
    let parts = path.components().filter_map(|part| match part {
        std::path::Component::Normal(name) => Some(name.as_bytes()),
        std::path::Component::ParentDir => Some(&b".."[..]),
        _ => None,
    });
    parts.collect::<Vec<_>>().join(&b'/')
}

pub async fn run(context: &Context, args: Restore) -> Result<Exit, Failure> {
    let to_hex = match (&args.to, &args.machine) {
        (None, _) => None,
        // On another machine the path means what it means there.
        (Some(to), Some(_)) => Some(HEXLOWER.encode(to.as_os_str().as_bytes())),
        (Some(to), None) => {
            let to = std::path::absolute(to)
                .map_err(|error| Failure::of(Code::TargetUnusable, &error))?;
            Some(HEXLOWER.encode(to.as_os_str().as_bytes()))
        }
    };
    if args.original && args.machine.is_none() {
        let text = "--original restores through a machine's agent";
        return Err(Failure::new(Code::BadRequest, text).hint("name it with --machine"));
    }
    let request = RestoreRequest {
        point: args.point,
        to_hex,
        paths_hex: args.paths.iter().map(|path| HEXLOWER.encode(&inner_path(path))).collect(),
        on_clash: args.on_clash,
        machine: args.machine,
        original: args.original,
    };
    let mut client = context.client().await?;
    let answer: RestoreStarted = client.post(&Address::new("/restores"), &request).await?;
    if let Some(Fetch { requests, bytes, objects }) = answer.fetch {
        let (requests, bytes) = (count(requests), size(bytes));
        eprintln!("from the vault: {bytes} in {requests} requests to {} objects", count(objects));
    }
    finish(context, client, answer.started, true).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_from_the_root() {
        assert_eq!(inner_path(Path::new("/etc/./ssh/")), b"etc/ssh");
        assert_eq!(inner_path(Path::new("")), b"");
        assert_eq!(inner_path(Path::new("a/../b")), b"a/../b");
    }
}
