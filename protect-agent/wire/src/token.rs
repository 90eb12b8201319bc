//! The token of an enrolment: one line to paste, with everything a new machine must know.
//!
//! `KH1-` and the base32 text of a 16-byte secret and the pin of the server's CA. The secret proves
//! to the server that the machine was invited; the pin proves to the machine, before it sends the
//! secret, that it talks to the right server.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use thiserror::Error;

use crate::pin::CaPin;

pub const SECRET_LEN: usize = 16;
const PREFIX: &str = "KH1-";
const PIN_LEN: usize = 32;

#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    pub secret: [u8; SECRET_LEN],
    pub pin: CaPin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenError {
    #[error("a token begins with {PREFIX}")]
    Prefix,
    #[error("the token has {found} characters, {expected} belong to it")]
    Length { found: usize, expected: usize },
    #[error("character {position} does not belong to a token")]
    Character { position: usize },
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; SECRET_LEN + PIN_LEN];
        let (secret, pin) = bytes.split_at_mut(SECRET_LEN);
        secret.copy_from_slice(&self.secret);
        pin.copy_from_slice(self.pin.as_bytes());
        write!(f, "{PREFIX}{}", BASE32_NOPAD.encode(&bytes))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("pin", &self.pin).finish_non_exhaustive()
    }
}

impl FromStr for Token {
    type Err = TokenError;

    /// Accepts what was printed, in any case of letters and with blanks around it.
    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text = text.trim().to_ascii_uppercase();
        let body = text.strip_prefix(PREFIX).ok_or(TokenError::Prefix)?;
        let expected = BASE32_NOPAD.encode_len(SECRET_LEN + PIN_LEN);
        if body.len() != expected {
            return Err(TokenError::Length {
                found: PREFIX.len() + body.len(),
                expected: PREFIX.len() + expected,
            });
        }
        let bytes = BASE32_NOPAD
            .decode(body.as_bytes())
            .map_err(|error| TokenError::Character { position: PREFIX.len() + error.position })?;
        let short = TokenError::Length { found: bytes.len(), expected };
        let (secret, pin) = bytes.split_first_chunk::<SECRET_LEN>().ok_or(short)?;
        let pin = <[u8; PIN_LEN]>::try_from(pin).map_err(|_| short)?;
        Ok(Self { secret: *secret, pin: CaPin::from_bytes(pin) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Token {
        Token { secret: [0xa5; 16], pin: CaPin::from_bytes([7; 32]) }
    }

    #[test]
    fn a_token_comes_back_from_its_text() {
        let text = sample().to_string();
        assert_eq!(
            text,
            "KH1-UWS2LJNFUWS2LJNFUWS2LJNFUUDQOBYHA4DQOBYHA4DQOBYHA4DQOBYHA4DQOBYHA4DQOBYHA4DQO"
        );
        assert_eq!(text.parse(), Ok(sample()));
        assert_eq!(format!(" {}\n", text.to_lowercase()).parse(), Ok(sample()));
    }

    #[test]
    fn what_is_wrong_with_a_token_is_said() {
        let text = sample().to_string();
        assert_eq!("".parse::<Token>(), Err(TokenError::Prefix));
        assert_eq!(text[4..].parse::<Token>(), Err(TokenError::Prefix));
        assert!(matches!(text[..78].parse::<Token>(), Err(TokenError::Length { found: 78, .. })));
        let other = text.replacen('W', "0", 1);
        assert_eq!(other.parse::<Token>(), Err(TokenError::Character { position: 5 }));
    }

    #[test]
    fn the_secret_is_not_printed_by_debug() {
        assert!(!format!("{:?}", sample()).contains("165"));
    }
}
