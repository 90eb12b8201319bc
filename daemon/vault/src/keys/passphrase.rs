//! Passphrases: long enough, and overwritten when they go.

use std::collections::BTreeSet;
use std::fmt;

use thiserror::Error;
use zeroize::Zeroizing;

pub const PASSPHRASE_CHARS_MIN: usize = 16;
const PASSPHRASE_LEN_MAX: usize = 1024;
/// "aaaaaaaaaaaaaaaa" is long and still the first thing that is tried.
const DIFFERENT_CHARS_MIN: usize = 5;

/// A passphrase that may open a vault. Its bytes count as they are: nothing is normalised.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PassphraseFault {
    #[error("the passphrase has {chars} characters, at least {PASSPHRASE_CHARS_MIN} are needed")]
    TooShort { chars: usize },
    #[error("the passphrase is {len} bytes long, at most {PASSPHRASE_LEN_MAX} are allowed")]
    TooLong { len: usize },
    #[error(
        "the passphrase has {different} different characters, at least {DIFFERENT_CHARS_MIN} are needed"
    )]
    TooUniform { different: usize },
}

impl Passphrase {
    /// Takes the one line end that an editor leaves at the end of a file for no part of it.
    pub fn new(text: &str) -> Result<Self, PassphraseFault> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.len() > PASSPHRASE_LEN_MAX {
            return Err(PassphraseFault::TooLong { len: text.len() });
        }
        let chars = text.chars().count();
        if chars < PASSPHRASE_CHARS_MIN {
            return Err(PassphraseFault::TooShort { chars });
        }
        let different = text.chars().collect::<BTreeSet<_>>().len();
        if different < DIFFERENT_CHARS_MIN {
            return Err(PassphraseFault::TooUniform { different });
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_uniform_ones_are_refused() {
        let fault = |text: &str| Passphrase::new(text).unwrap_err();
        assert_eq!(fault("fifteen letters"), PassphraseFault::TooShort { chars: 15 });
        // Characters count, not bytes.
        assert_eq!(fault("äöüäöüäöüäöüäöü"), PassphraseFault::TooShort { chars: 15 });
        assert_eq!(fault("abababababababab"), PassphraseFault::TooUniform { different: 2 });
        assert_eq!(fault(&"abcdefgh".repeat(129)), PassphraseFault::TooLong { len: 1032 });
        assert_eq!(fault("fifteen letters\n"), PassphraseFault::TooShort { chars: 15 });
    }

    #[test]
    fn a_line_end_is_no_part_of_it() {
        let plain = Passphrase::new("sixteen letters!").unwrap();
        for text in ["sixteen letters!\n", "sixteen letters!\r\n"] {
            assert_eq!(Passphrase::new(text).unwrap().as_bytes(), plain.as_bytes());
        }
        let spaced = Passphrase::new("sixteen letters! ").unwrap();
        assert_ne!(spaced.as_bytes(), plain.as_bytes());
        assert_eq!(format!("{spaced:?}"), "Passphrase(secret)");
    }
}
