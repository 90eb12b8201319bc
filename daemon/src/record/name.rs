//! Names that people give to machines and sources, and `MACHINE/NAME`, which names a source.

use std::fmt;
use std::str::FromStr;
use thiserror::Error;

const NAME_LEN_MAX: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    #[error("{name:?} is not a name")]
    Unsound { name: String },
    #[error("{text:?} is not of the form MACHINE/NAME")]
    NoSource { text: String },
}

/// Names stand in commands, addresses and tables: nothing in them needs quoting.
pub fn check_name(name: &str) -> Result<(), NameError> {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if begins && name.len() <= NAME_LEN_MAX && name.bytes().all(sound) {
        Ok(())
    } else {
        Err(NameError::Unsound { name: name.to_owned() })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceName {
    pub machine: String,
    pub name: String,
}

impl FromStr for SourceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let Some((machine, name)) = text.split_once('/') else {
            return Err(NameError::NoSource { text: text.to_owned() });
        };
        check_name(machine)?;
        check_name(name)?;
        Ok(Self { machine: machine.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.machine, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_need_no_quoting() {
        for name in ["web1", "a", "10.0.0.1", "db_main-2"] {
            assert_eq!(check_name(name), Ok(()));
        }
        for name in ["", "-x", ".x", "a b", "a/b", "a@b", "ü", "\n", &"x".repeat(65)] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_source_is_two_names() {
        let source: SourceName = "web1/etc".parse().unwrap();
        assert_eq!(source.to_string(), "web1/etc");
        assert!("web1".parse::<SourceName>().is_err() && "a/b/c".parse::<SourceName>().is_err());
    }
}
