//! Identities of the vault.

use std::fmt;

pub use keelhold_disk::units::{PointId, PoolId, SourceId};

use data_encoding::{BASE32_NOPAD, Specification};

use crate::random::Random;

pub const ID_LEN: usize = 16;
/// Letters of an id as text.
pub const ID_TEXT_LEN: usize = 26;

fn lower_base32(bytes: &[u8]) -> String {
    BASE32_NOPAD.encode(bytes).to_ascii_lowercase()
}

/// The bytes of an id from its only text.
pub(crate) fn id_from_text(text: &str) -> Option<[u8; ID_LEN]> {
    let mut specification = Specification::new();
    specification.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
    let encoding = specification.encoding().ok()?;
    encoding.decode(text.as_bytes()).ok()?.try_into().ok()
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; ID_LEN]);

        impl $name {
            #[must_use]
            pub fn draw(random: &mut impl Random) -> Self {
                Self(random.array())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&lower_base32(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

id_type!(
    /// A vault. Everything sealed in it is bound to this id.
    VaultId
);
id_type!(
    /// An object: random, and what its key is derived from. Never used for other content.
    ObjectId
);

/// Number of a manifest, from 1; also of the shipment it commits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ManifestNumber(pub u64);

impl fmt::Display for ManifestNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_text() {
        let id = VaultId([0xa5; ID_LEN]);
        let text = id.to_string();
        assert_eq!(text.len(), ID_TEXT_LEN);
        assert_eq!(id_from_text(&text), Some(id.0));
        assert_eq!(id_from_text(&text.to_ascii_uppercase()), None);
        assert_eq!(id_from_text(&text[1..]), None);
        // The last letter has two bits to spare: only zeros are written.
        let mut other = text.clone();
        other.replace_range(25.., "7");
        assert_eq!(id_from_text(&other), None);
    }
}
