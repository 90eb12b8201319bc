//! What more than one suite needs. The suites themselves are in `it/`, one binary.

use std::path::{Path, PathBuf};

pub mod appliance;
pub mod chance;
pub mod cloud;
pub mod liar;
pub mod mapped;
pub mod rig;

/// Where the repository lies.
///
/// # Panics
/// Never: this crate is a folder of it.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a folder of it").to_path_buf()
}
