//! A snapshot's files under the identities they have in the live tree.
//!
//! A snapshot has a device number of its own, another each time. What is remembered and what is sent
//! says the live one: so an unchanged file is unchanged whatever it is read from, and the names of a
//! file with several names belong together from one point to the next.

use keelhold_chunk::{Attributes, LinkGroup};
use keelhold_tree::Identity;

/// Which device is read, and which it stands for; the live tree stands for itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) read: u64,
    pub(crate) live: u64,
}

impl View {
    fn device(self, device: u64) -> u64 {
        if device == self.read { self.live } else { device }
    }

    pub(crate) fn identity(self, identity: &Identity) -> Identity {
        Identity { device: self.device(identity.device), ..*identity }
    }

    /// Encoded.
    pub(crate) fn attributes(self, attributes: &Attributes) -> Vec<u8> {
        match attributes.link_group {
            Some(LinkGroup { device, inode }) if self.read != self.live => {
                let group = LinkGroup { device: self.device(device), inode };
                Attributes { link_group: Some(group), ..attributes.clone() }.to_bytes()
            }
            _ => attributes.to_bytes(),
        }
    }
}
