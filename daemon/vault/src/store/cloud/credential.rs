//! What a cloud store is opened with, and the small file it stands in.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use thiserror::Error;
use zeroize::Zeroizing;

/// Longest file that is read.
const FILE_LEN_MAX: u64 = 16 * 1024;
/// Rights of a file that others than its owner have.
const OTHERS: u32 = 0o077;

/// Who asks a cloud store.
///
/// The file has one `name = value` a line; empty lines and lines that begin with `#` say nothing. For S3:
/// `access_key_id`, `secret_access_key`, `region`, and `session_token` if the key needs one. For Azure:
/// `account`, `account_key`. Nobody but its owner may have any right to it.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    S3 {
        access_key_id: String,
        secret_access_key: Zeroizing<String>,
        session_token: Option<Zeroizing<String>>,
        region: String,
    },
    Azure {
        account: String,
        account_key: Zeroizing<String>,
    },
}

/// The secrets are in nobody's log.
impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::S3 { access_key_id, region, .. } => {
                write!(f, "Credential::S3({access_key_id} in {region})")
            }
            Self::Azure { account, .. } => write!(f, "Credential::Azure({account})"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CredentialError {
    #[error("the file cannot be read: {kind}")]
    Unreadable { kind: std::io::ErrorKind },
    #[error("others than its owner have rights to it (mode {mode:03o}): chmod 600")]
    Open { mode: u32 },
    #[error("this is no regular file")]
    NoFile,
    #[error("it is longer than {FILE_LEN_MAX} bytes, or no text")]
    NoText,
    #[error("line {line} is not `name = value`")]
    Line { line: usize },
    #[error("line {line}: no such name, or it stood there before")]
    Name { line: usize },
    #[error("`{name}` is missing")]
    Missing { name: &'static str },
    #[error("it has names of S3 and of Azure")]
    Mixed,
}

const NAMES: [&str; 6] =
    ["access_key_id", "secret_access_key", "session_token", "region", "account", "account_key"];

impl Credential {
    /// Reads the file, which only its owner may read.
    pub fn read(path: &Path) -> Result<Self, CredentialError> {
        let failed = |error: std::io::Error| CredentialError::Unreadable { kind: error.kind() };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(CredentialError::NoFile);
        }
        let mode = metadata.mode() & 0o777;
        if mode & OTHERS != 0 {
            return Err(CredentialError::Open { mode });
        }
        let mut text = Zeroizing::new(String::new());
        let limit = file.take(FILE_LEN_MAX + 1).read_to_string(&mut text);
        match limit {
            Ok(len) if len as u64 <= FILE_LEN_MAX => Self::parse(&text),
            Ok(_) => Err(CredentialError::NoText),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                Err(CredentialError::NoText)
            }
            Err(error) => Err(failed(error)),
        }
    }

    pub fn parse(text: &str) -> Result<Self, CredentialError> {
        let mut values: [Option<Zeroizing<String>>; NAMES.len()] = Default::default();
        for (line, content) in (1..).zip(text.lines()) {
            let content = content.trim();
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            let (name, value) = content.split_once('=').ok_or(CredentialError::Line { line })?;
            let (name, value) = (name.trim(), value.trim());
            // What goes into a header must be able to.
            if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(CredentialError::Line { line });
            }
            let place = NAMES.iter().position(|known| *known == name);
            let slot = place.and_then(|place| values.get_mut(place));
            let free = slot.filter(|slot| slot.is_none()).ok_or(CredentialError::Name { line })?;
            *free = Some(Zeroizing::new(value.to_owned()));
        }
        let [access, secret, token, region, account, account_key] = values;
        let is_s3 = access.is_some() || secret.is_some() || token.is_some() || region.is_some();
        let missing = |name| CredentialError::Missing { name };
        if account.is_some() || account_key.is_some() {
            if is_s3 {
                return Err(CredentialError::Mixed);
            }
            let account = account.ok_or(missing("account"))?.to_string();
            return Ok(Self::Azure {
                account,
                account_key: account_key.ok_or(missing("account_key"))?,
            });
        }
        Ok(Self::S3 {
            access_key_id: access.ok_or(missing("access_key_id"))?.to_string(),
            secret_access_key: secret.ok_or(missing("secret_access_key"))?,
            session_token: token,
            region: region.ok_or(missing("region"))?.to_string(),
        })
    }
}
