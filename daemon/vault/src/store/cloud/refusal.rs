//! What a server's refusal means: its status and its word for it, made a fault of ours.

use http::{HeaderMap, StatusCode};
use quick_xml::Reader;
use quick_xml::events::Event;
use thiserror::Error;

use crate::store::StoreFault;

/// Longest word of a server that is repeated to people.
const CODE_LEN_MAX: usize = 64;

/// A request that was not done, or of which it is not known.
#[derive(Debug, Clone, Error)]
#[error("{fault}")]
pub struct Refusal {
    /// 0 if no answer came.
    pub status: u16,
    /// The server's word for it, empty if it said none.
    pub code: String,
    pub fault: StoreFault,
    /// A delete marker stands where the object was asked for.
    pub is_marked_deleted: bool,
}

impl Refusal {
    /// No usable answer came.
    pub fn silent(fault: StoreFault) -> Self {
        Self { status: 0, code: String::new(), fault, is_marked_deleted: false }
    }

    /// Whether there is something under the name that was to be created.
    pub fn is_taken(&self) -> bool {
        self.status == StatusCode::PRECONDITION_FAILED.as_u16()
            || matches!(self.code.as_str(), "BlobAlreadyExists" | "BlobImmutableDueToPolicy")
    }

    /// Whether the server does not know what it was asked for, or keeps it from this credential: another
    /// way may be open.
    pub fn is_unknown_request(&self) -> bool {
        self.fault == StoreFault::Refused
            || self.status == StatusCode::NOT_IMPLEMENTED.as_u16()
            || matches!(self.code.as_str(), "NotImplemented" | "InvalidArgument")
    }

    /// Whether the same request may succeed when it is simply sent again.
    pub fn is_passing(&self) -> bool {
        matches!(
            self.fault,
            StoreFault::Unavailable { .. }
                | StoreFault::Silent { .. }
                | StoreFault::Unreachable
                | StoreFault::Cut
        )
    }
}

/// Reads an answer that is no success. `skew`: seconds by which the store's clock is ahead of ours.
pub fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8], skew: Option<i64>) -> Refusal {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let code = header("x-ms-error-code").map_or_else(|| element(body, b"Code"), str::to_owned);
    let code: String =
        code.chars().filter(char::is_ascii_alphanumeric).take(CODE_LEN_MAX).collect();
    let is_marked_deleted = header("x-amz-delete-marker") == Some("true");
    let fault = fault(status.as_u16(), &code, body, skew);
    let fault = match (fault, header("x-amz-bucket-region")) {
        (StoreFault::Region { .. }, Some(region)) => {
            let is_word = |char: &char| char.is_ascii_alphanumeric() || *char == '-';
            StoreFault::Region { expected: region.chars().filter(is_word).take(32).collect() }
        }
        (fault, _) => fault,
    };
    Refusal { status: status.as_u16(), code, fault, is_marked_deleted }
}

/// Seconds between two clocks from which on a refused signature is blamed on them: both providers allow
/// fifteen minutes.
const SKEW_MAX: u64 = 14 * 60;

fn fault(status: u16, code: &str, body: &[u8], skew: Option<i64>) -> StoreFault {
    let skewed = StoreFault::ClockSkew { ahead: skew.unwrap_or_default() };
    let is_skewed = skew.is_some_and(|skew| skew.unsigned_abs() >= SKEW_MAX);
    match code {
        "RequestTimeTooSkewed" | "RequestExpired" => return skewed,
        // Azure has one word for a wrong key and a wrong time.
        "AuthenticationFailed" | "SignatureDoesNotMatch" if is_skewed => return skewed,
        "AuthenticationFailed"
        | "InvalidAuthenticationInfo"
        | "NoAuthenticationInformation"
        | "SignatureDoesNotMatch"
        | "InvalidAccessKeyId"
        | "InvalidToken"
        | "ExpiredToken"
        | "InvalidSecurity" => return StoreFault::Credentials,
        "NoSuchBucket" | "ContainerNotFound" | "ContainerDisabled" | "ContainerBeingDeleted" => {
            return StoreFault::NoBucket;
        }
        "AuthorizationHeaderMalformed" | "PermanentRedirect" | "TemporaryRedirect" => {
            return StoreFault::Region { expected: element(body, b"Region") };
        }
        "QuotaExceeded"
        | "XMinioStorageFull"
        | "InsufficientStorage"
        | "EntityTooLarge"
        | "RequestBodyTooLarge" => return StoreFault::Full,
        // Two writers of one name at one moment: one of them is to ask again.
        "ConditionalRequestConflict" | "OperationAborted" => {
            return StoreFault::Unavailable { status };
        }
        "BlobImmutableDueToPolicy" | "SnapshotsPresent" => return StoreFault::Refused,
        "ObjectLockConfigurationNotFoundError" | "InvalidRetentionPeriod" => {
            return StoreFault::NoLocks;
        }
        // Some servers write it in one word.
        "InvalidRequest" if says(body, "Object Lock") || says(body, "ObjectLock") => {
            return StoreFault::NoLocks;
        }
        _ => {}
    }
    match status {
        404 => StoreFault::NotFound,
        401 => StoreFault::Credentials,
        403 | 405 => StoreFault::Refused,
        301 | 307 | 308 => StoreFault::Region { expected: String::new() },
        408 | 429 | 500 | 502 | 503 | 504 => StoreFault::Unavailable { status },
        507 => StoreFault::Full,
        _ => StoreFault::Answer { status, code: code.to_owned() },
    }
}

fn says(body: &[u8], word: &str) -> bool {
    body.windows(word.len()).any(|window| window == word.as_bytes())
}

/// Text of the first element of that name; empty if there is none, or it is no XML.
fn element(body: &[u8], name: &[u8]) -> String {
    let mut reader = Reader::from_reader(body);
    let mut is_inside = false;
    loop {
        match reader.read_event() {
            Ok(Event::Start(start)) => is_inside = start.local_name().as_ref() == name,
            Ok(Event::Text(text)) if is_inside => {
                return String::from_utf8_lossy(&text).trim().to_owned();
            }
            Ok(Event::Eof) | Err(_) => return String::new(),
            Ok(_) => is_inside = false,
        }
    }
}
