//! Where a server is: `keelhold://HOST:PORT`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

const SCHEME: &str = "keelhold://";
/// Port of the agents' listener where none is said.
pub const PORT_DEFAULT: u16 = 7447;

/// A host name or address and a port. IPv6 addresses stand in brackets in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    pub host: String,
    pub port: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AddressError {
    #[error("an address begins with {SCHEME}")]
    Scheme,
    #[error("the host is missing or holds characters no host has")]
    Host,
    #[error("the port is not a number from 1 to 65535")]
    Port,
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "{SCHEME}[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{SCHEME}{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for ServerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let rest = text.trim().strip_prefix(SCHEME).ok_or(AddressError::Scheme)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.strip_prefix('[') {
            Some(bracketed) => {
                let (host, after) = bracketed.split_once(']').ok_or(AddressError::Host)?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| AddressError::Host)?;
                (host, after.strip_prefix(':'))
            }
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
        if host.is_empty() || !host.bytes().all(known) {
            return Err(AddressError::Host);
        }
        let port = match port {
            None => PORT_DEFAULT,
            Some(port) => port.parse().map_err(|_| AddressError::Port)?,
        };
        if port == 0 {
            return Err(AddressError::Port);
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_from_their_text() {
        for text in
            ["keelhold://backup.example:7447", "keelhold://10.0.0.1:1", "keelhold://[::1]:9"]
        {
            assert_eq!(text.parse::<ServerAddress>().map(|at| at.to_string()), Ok(text.to_owned()));
        }
        let short = "keelhold://nas/".parse::<ServerAddress>();
        assert_eq!(short, Ok(ServerAddress { host: "nas".to_owned(), port: PORT_DEFAULT }));
    }

    #[test]
    fn what_is_wrong_with_an_address_is_said() {
        let parse = |text: &str| text.parse::<ServerAddress>();
        assert_eq!(parse("https://nas:1"), Err(AddressError::Scheme));
        assert_eq!(parse("keelhold://:1"), Err(AddressError::Host));
        assert_eq!(parse("keelhold://a b:1"), Err(AddressError::Host));
        assert_eq!(parse("keelhold://[::1:1"), Err(AddressError::Host));
        assert_eq!(parse("keelhold://nas:0"), Err(AddressError::Port));
        assert_eq!(parse("keelhold://nas:99999"), Err(AddressError::Port));
    }
}
