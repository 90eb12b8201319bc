//! `keelhold pool add-disk`, `drain-disk` and `replace-disk`.

use crate::api::address::Address;
use crate::api::types::{DiskChange, DiskRequest, Started};
use crate::cli::{Context, wait};
use crate::failure::{Code, Exit, Failure, chain};
use crate::size_text::split_path_size;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

pub struct Order<'a> {
    pub change: DiskChange,
    pub leaves: Option<&'a str>,
    /// PATH[:SIZE]
    pub joins: Option<&'a str>,
}

/// The daemon has a working directory of its own.
fn absolute(path: &str) -> Result<PathBuf, Failure> {
    let unusable = |error: std::io::Error| {
        Failure::new(Code::DiskUnusable, format!("{path} is no path: {}", chain(&error)))
    };
    std::path::absolute(path).map_err(unusable)
}

pub async fn change(
    context: &Context,
    order: &Order<'_>,
    background: bool,
) -> Result<Exit, Failure> {
    let (path, bytes) = order.joins.map(split_path_size).unzip();
    let path = path.map(absolute).transpose()?;
    let hex = |path: PathBuf| data_encoding::HEXLOWER.encode(path.as_os_str().as_bytes());
    // A path is meant where there is a slash, or something of that name.
    let is_path = |named: &str| named.contains('/') || Path::new(named).exists();
    let leaves = order.leaves.map(|named| match is_path(named) {
        true => absolute(named).map(|path| path.display().to_string()),
        false => Ok(named.to_owned()),
    });
    let request = DiskRequest {
        change: order.change,
        disk: leaves.transpose()?,
        path_hex: path.map(hex),
        bytes: bytes.flatten(),
    };
    let mut client = context.client().await?;
    let started: Started = client.post(&Address::new("/pool/disks"), &request).await?;
    wait::finish(context, client, started, !background).await
}
