//! Whether a request was signed by who it says it was. IAM User Guide, "Create a signed AWS API
//! request"; API Reference, "Authenticating Requests: Using the Authorization Header".

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use data_encoding::HEXLOWER;
use http::request::Parts;

use super::rules::No;

/// A clock may be off by that many seconds.
const SKEW_MAX: i64 = 15 * 60;

const fn no(code: &'static str, message: &'static str) -> No {
    No { status: 403, code, message, is_marker: false }
}

const SKEWED: No = no(
    "RequestTimeTooSkewed",
    "The difference between the request time and the current time is too large.",
);
const MALFORMED: No = no("AccessDenied", "Not signed, or not as it should be.");
const WRONG: No = no(
    "SignatureDoesNotMatch",
    "The request signature we calculated does not match the signature you provided.",
);
const UNKNOWN: No =
    no("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.");

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if bytes[at] == b'%' => {
                out.push(byte);
                at += 3;
            }
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// Parameters of a request, decoded.
pub fn query(parts: &Parts) -> Vec<(String, String)> {
    let pairs = parts.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

fn header<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    parts.headers.get(name).and_then(|value| value.to_str().ok())
}

fn hex_of(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest(&SHA256, bytes).as_ref())
}

/// Seconds since 1970 of `20261123T010203Z`.
fn seconds(text: &str) -> Option<i64> {
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
}

fn canonical(parts: &Parts, signed: &str, payload: &str) -> Option<String> {
    let mut pairs = query(parts);
    pairs.sort();
    let pairs: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    let mut headers = String::new();
    for name in signed.split(';') {
        headers.push_str(&format!("{name}:{}\n", header(parts, name)?.trim()));
    }
    let path = parts.uri.path();
    Some(format!("{}\n{path}\n{}\n{headers}\n{signed}\n{payload}", parts.method, pairs.join("&")))
}

/// Whose request it is: an access key, if `secret` knows one for it and the signature is right.
pub fn signer<'a>(
    parts: &Parts,
    body: &[u8],
    region: &str,
    now: i64,
    secret: impl Fn(&str) -> Option<&'a str>,
) -> Result<String, No> {
    let fields = header(parts, "authorization").and_then(|text| {
        let fields = text.strip_prefix("AWS4-HMAC-SHA256 ")?;
        let mut fields = fields.split(',').map(str::trim);
        let scope = fields.next()?.strip_prefix("Credential=")?;
        let signed = fields.next()?.strip_prefix("SignedHeaders=")?;
        Some((scope, signed, fields.next()?.strip_prefix("Signature=")?))
    });
    let (scope, signed, signature) = fields.ok_or(MALFORMED)?;
    let (access, scope) = scope.split_once('/').ok_or(MALFORMED)?;
    let at = header(parts, "x-amz-date").ok_or(MALFORMED)?;
    let day = at.get(..8).ok_or(MALFORMED)?;
    if scope != format!("{day}/{region}/s3/aws4_request") {
        return Err(No { status: 400, ..no("AuthorizationHeaderMalformed", "wrong region") });
    }
    let secret = secret(access).ok_or(UNKNOWN)?;
    // Every x-amz header and the host must be part of what is signed.
    let names: Vec<&str> = signed.split(';').collect();
    let is_covered = |name: &str| names.contains(&name);
    let mut amz = parts.headers.keys().filter(|name| name.as_str().starts_with("x-amz-"));
    if !is_covered("host") || !amz.all(|name| is_covered(name.as_str())) {
        return Err(MALFORMED);
    }
    let payload = header(parts, "x-amz-content-sha256").ok_or(MALFORMED)?;
    let text = canonical(parts, signed, payload).ok_or(MALFORMED)?;
    let to_sign = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{}", hex_of(text.as_bytes()));
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in [day, region, "s3", "aws4_request"] {
        key = sign(&Key::new(HMAC_SHA256, &key), part.as_bytes()).as_ref().to_vec();
    }
    let right = sign(&Key::new(HMAC_SHA256, &key), to_sign.as_bytes());
    if HEXLOWER.encode(right.as_ref()) != signature {
        return Err(WRONG);
    }
    if seconds(at).ok_or(MALFORMED)?.abs_diff(now) > SKEW_MAX as u64 {
        return Err(SKEWED);
    }
    if payload != hex_of(body) {
        let message =
            "The provided 'x-amz-content-sha256' header does not match what was computed.";
        return Err(No { status: 400, ..no("XAmzContentSHA256Mismatch", message) });
    }
    Ok(access.to_owned())
}
