//! Versions of the protocol. The doc comments below are its changelog.

use std::fmt;

/// TLS application protocol of an enrolled agent: both sides show certificates.
pub const ALPN_AGENT: &[u8] = b"keelhold/1";
/// TLS application protocol of a machine that has only a token.
pub const ALPN_ENROLL: &[u8] = b"keelhold-enroll/1";

/// The name in the server's certificate. Agents dial addresses of every kind and know the server by
/// its authority, so the name is the same everywhere.
pub const SERVER_NAME: &str = "keelhold";

/// A version both sides speak. `Hello` offers a range, `Welcome` names the choice; every message
/// after it is encoded as that version says. `Hello` and `Refuse` never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum Version {
    /// Entries are offers; wants, frames and credits in both directions; *read again* at the start
    /// of a session; enrolment by token; restores through the agent; renewal of certificates.
    V1 = 1,
    /// Demands in `StartBackup` and what was reached in `Finish`: consistency, scripts. `Log`,
    /// `Condition` and `FileSystems`.
    V2 = 2,
}

impl Version {
    pub const OLDEST: Self = Self::V1;
    pub const NEWEST: Self = Self::V2;

    #[must_use]
    pub fn number(self) -> u16 {
        self as u16
    }

    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        match number {
            1 => Some(Self::V1),
            2 => Some(Self::V2),
            _ => None,
        }
    }

    /// The newest version inside the peer's range and ours.
    #[must_use]
    pub fn choose(peer_min: u16, peer_max: u16) -> Option<Self> {
        let newest = peer_max.min(Self::NEWEST.number());
        let oldest = peer_min.max(Self::OLDEST.number());
        (oldest <= newest).then_some(newest).and_then(Self::from_number)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_common_version_is_chosen() {
        assert_eq!(Version::choose(1, 1), Some(Version::V1));
        assert_eq!(Version::choose(1, 9), Some(Version::V2));
        assert_eq!(Version::choose(0, 1), Some(Version::V1));
        assert_eq!(Version::choose(2, 2), Some(Version::V2));
        assert_eq!(Version::choose(3, 9), None);
        assert_eq!(Version::choose(9, 1), None);
    }
}
