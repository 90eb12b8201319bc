//! Ids as people type them: 26 lowercase letters and digits (RFC 4648 base32 without padding of the
//! sixteen bytes). Any unique beginning of at least [`PREFIX_LEN_MIN`] characters is understood.

use data_encoding::{Encoding, Specification};
use std::sync::LazyLock;

pub const PREFIX_LEN_MIN: usize = 6;
const ID_TEXT_LEN: usize = 26;

static ALPHABET: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
    specification.encoding().expect("the alphabet is a valid one")
});

#[must_use]
pub fn encode(id: &[u8; 16]) -> String {
    ALPHABET.encode(id)
}

#[must_use]
pub fn decode(text: &str) -> Option<[u8; 16]> {
    ALPHABET.decode(text.as_bytes()).ok()?.try_into().ok()
}

/// Whether `text` can be the beginning of an id.
#[must_use]
pub fn is_prefix(text: &str) -> bool {
    (PREFIX_LEN_MIN..=ID_TEXT_LEN).contains(&text.len())
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back() {
        let id = *b"0123456789abcdef";
        let text = encode(&id);
        assert_eq!(text.len(), ID_TEXT_LEN);
        assert_eq!(decode(&text), Some(id));
        assert!(is_prefix(&text) && is_prefix(&text[..6]) && !is_prefix(&text[..5]));
        assert!(!is_prefix("a/b@latest") && decode("short").is_none());
    }
}
