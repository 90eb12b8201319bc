//! What the kernel says about this machine.

use std::fs;

/// The host's name, for people.
#[must_use]
pub fn name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Differs after every boot; zeros where the kernel does not tell.
#[must_use]
pub fn boot_id() -> [u8; 16] {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    parse_boot_id(&text).unwrap_or_default()
}

fn parse_boot_id(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let number = u128::from_str_radix(&digits, 16).ok()?;
    let mut id = number.to_le_bytes();
    id.reverse();
    (digits.len() == 32).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_id_is_read_in_its_own_order() {
        let id = parse_boot_id("00010203-0405-0607-0809-0a0b0c0d0eff\n").unwrap();
        assert_eq!(id[..4], [0, 1, 2, 3]);
        assert_eq!(id[15], 0xff);
        assert_eq!(parse_boot_id(""), None);
        assert_ne!(boot_id(), [0; 16]);
        assert!(!name().is_empty());
    }
}
