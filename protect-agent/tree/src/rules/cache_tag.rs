//! Cache directories that say so: <https://bford.info/cachedir/>.
//!
//! The directory and its tag stay in the backup, so that a restored cache is still marked as one.

pub(crate) const NAME: &[u8] = b"CACHEDIR.TAG";

const SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// Whether the content of a file of that name begins with the signature; a file that only has the
/// name marks nothing.
pub(crate) fn is_tag(content: &[u8]) -> bool {
    content.starts_with(SIGNATURE)
}
