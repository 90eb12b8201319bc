//! The key that locks an encrypted pool: 32 random bytes in a file of its owner alone, or in a
//! credential of the service manager.

use crate::failure::{Code, Failure};
use data_encoding::HEXLOWER_PERMISSIVE;
use keelhold_disk::seal::{KEY_LEN, WrappingKey};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use thiserror::Error;
use zeroize::Zeroizing;

/// Name of the credential, and the variable that tells where credentials are.
pub const CREDENTIAL: &str = "pool-key";
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

const HEX_LEN: usize = 2 * KEY_LEN;

/// Why a file is no key.
#[derive(Debug, Error)]
pub enum KeyFileError {
    #[error("key file {} cannot be read", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("key file {} is not a regular file", path.display())]
    NotAFile { path: PathBuf },
    #[error("key file {} can be read by others (mode {mode:04o})", path.display())]
    Open { path: PathBuf, mode: u32 },
    #[error("{} holds no key: {what}", path.display())]
    NoKey { path: PathBuf, what: &'static str },
}

impl From<KeyFileError> for Failure {
    fn from(error: KeyFileError) -> Self {
        let (code, hint) = match &error {
            KeyFileError::Open { path, .. } => {
                (Code::KeyFileOpen, Some(format!("chmod 600 {}", path.display())))
            }
            _ => (Code::KeyFileInvalid, None),
        };
        let failure = Self::of(code, &error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// Who else may read the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guard {
    /// Nobody.
    Owner,
    /// Whom the service manager lets: it shows the rights of its list as those of the group.
    Manager,
}

/// The key in a file that belongs to its owner alone.
pub fn read(path: &Path) -> Result<WrappingKey, KeyFileError> {
    read_guarded(path, Guard::Owner)
}

/// The daemon's key: the file that its configuration names, or the service manager's credential.
pub fn of_service(configured: Option<&Path>) -> Result<Option<WrappingKey>, KeyFileError> {
    if let Some(path) = configured {
        return read(path).map(Some);
    }
    let Some(directory) = std::env::var_os(CREDENTIALS) else {
        return Ok(None);
    };
    let path = Path::new(&directory).join(CREDENTIAL);
    if path.exists() { read_guarded(&path, Guard::Manager).map(Some) } else { Ok(None) }
}

fn read_guarded(path: &Path, guard: Guard) -> Result<WrappingKey, KeyFileError> {
    let failed = |source| KeyFileError::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    // Asked of the open file: what the path leads to may change in between.
    let facts = file.metadata().map_err(failed)?;
    if !facts.is_file() {
        return Err(KeyFileError::NotAFile { path: path.to_owned() });
    }
    let mode = facts.mode() & 0o7777;
    let others = if guard == Guard::Owner { 0o077 } else { 0o007 };
    if mode & others != 0 {
        return Err(KeyFileError::Open { path: path.to_owned(), mode });
    }
    // Room for the longest form, its newline, and a byte that shows there is more.
    let mut room = Zeroizing::new([0; HEX_LEN + 2]);
    let mut len = 0;
    while len < room.len() {
        match file.read(&mut room[len..]).map_err(failed)? {
            0 => break,
            more => len += more,
        }
    }
    parse(&room[..len]).map_err(|what| KeyFileError::NoKey { path: path.to_owned(), what })
}

fn parse(bytes: &[u8]) -> Result<WrappingKey, &'static str> {
    let mut key = Zeroizing::new([0; KEY_LEN]);
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    if line.len() == HEX_LEN {
        let decoded = HEXLOWER_PERMISSIVE.decode_mut(line, &mut key[..]);
        decoded.map_err(|_| "64 characters, but not all of them hexadecimal")?;
    } else if bytes.len() == KEY_LEN {
        // That 32 random bytes are all printable happens once in 2^45 files.
        if bytes.iter().all(u8::is_ascii_graphic) {
            return Err("a passphrase is not a key, it can be guessed");
        }
        key.copy_from_slice(bytes);
    } else {
        return Err("a key is 32 random bytes, or 64 hexadecimal characters");
    }
    if key.iter().all(|byte| *byte == key[0]) {
        return Err("all bytes are the same");
    }
    Ok(WrappingKey::new(*key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn keys_are_raw_or_hexadecimal_and_nothing_else() {
        let raw: Vec<u8> = (0..32).collect();
        let hex = data_encoding::HEXLOWER.encode(&raw);
        assert!(parse(&raw).is_ok() && parse(hex.as_bytes()).is_ok());
        assert!(parse(format!("{}\n", hex.to_uppercase()).as_bytes()).is_ok());
        let long: Vec<u8> = (0..33).collect();
        let wrong: [&[u8]; 8] = [
            b"",
            b"correct horse battery staple",
            b"correct-horse-battery-staple-too",
            &raw[..31],
            &long,
            &[7; 32],
            &[b'0'; 64],
            &[b'x'; 64],
        ];
        for bytes in wrong {
            assert!(parse(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_file_of_others_is_refused() {
        let path = std::env::temp_dir().join(format!("keelhold-key-{}", std::process::id()));
        std::fs::write(&path, (0..32).collect::<Vec<u8>>()).unwrap();
        for (mode, owner, manager) in
            [(0o600, true, true), (0o400, true, true), (0o440, false, true), (0o644, false, false)]
        {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read_guarded(&path, Guard::Owner).is_ok(), owner, "{mode:o}");
            assert_eq!(read_guarded(&path, Guard::Manager).is_ok(), manager, "{mode:o}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(read(&path), Err(KeyFileError::Read { .. })));
        assert!(matches!(read(Path::new("/proc")), Err(KeyFileError::NotAFile { .. })));
    }
}
