//! From a request to what the rules say to it, and back, as the provider writes it.

use bytes::Bytes;
use data_encoding::BASE64;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::CONTENT_LENGTH;
use hyper::http::request::Parts;
use hyper::http::response::Builder;
use hyper::{Method, Response};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

use super::rules::{Action, DENIED, Habit, Mode, No, Retention, Version};
use super::{BUCKET, Fault, Kind, Lost, REGION, State, locked, sigv4};

pub type Body = BoxBody<Bytes, Lost>;

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

fn has(parts: &Parts, name: &str) -> bool {
    sigv4::query(parts).iter().any(|(found, _)| found == name)
}

fn parameter(parts: &Parts, name: &str) -> Option<String> {
    sigv4::query(parts).into_iter().find(|(found, _)| found == name).map(|(_, value)| value)
}

fn header<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    parts.headers.get(name).and_then(|value| value.to_str().ok())
}

pub fn key(parts: &Parts) -> String {
    let path = parts.uri.path().trim_start_matches('/');
    path.split_once('/').map_or_else(String::new, |(_, key)| key.to_owned())
}

pub fn kind(parts: &Parts) -> Kind {
    let is_object = !key(parts).is_empty();
    match (&parts.method, is_object) {
        (&Method::GET, false) => Kind::List,
        (&Method::PUT, true) if has(parts, "retention") => Kind::Retain,
        (&Method::PUT, true) => Kind::Put,
        (&Method::GET, true) => Kind::Get,
        (&Method::HEAD, true) => Kind::Head,
        (&Method::DELETE, true) => Kind::Delete,
        _ => Kind::Other,
    }
}

fn dated(status: u16, at: i64) -> Builder {
    let date = Timestamp::from_second(at).unwrap_or(Timestamp::UNIX_EPOCH);
    let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&date).unwrap_or_default();
    Response::builder().status(status).header("date", date)
}

fn built(builder: Builder, body: Body) -> Response<Body> {
    builder.body(body).expect("a response")
}

pub fn broken(status: u16) -> Response<Body> {
    let code = if status == 503 { "SlowDown" } else { "InternalError" };
    built(Response::builder().status(status), full(format!("<Error><Code>{code}</Code></Error>")))
}

/// The same answer, of which half comes.
pub fn cut(answer: Response<Body>) -> Response<Body> {
    let (mut parts, _) = answer.into_parts();
    parts.headers.insert(CONTENT_LENGTH, 1_000.into());
    let half = [Ok(Frame::data(Bytes::from_static(b"<half"))), Err(Lost)];
    Response::from_parts(parts, StreamBody::new(futures_util::stream::iter(half)).boxed())
}

fn refused(no: No, at: i64) -> Response<Body> {
    let mut builder = dated(no.status, at).header("content-type", "application/xml");
    if no.is_marker {
        builder = builder.header("x-amz-delete-marker", "true");
    }
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{}</Code><Message>{}</Message>\
         <Region>{REGION}</Region></Error>",
        no.code, no.message
    );
    built(builder, full(body))
}

/// The retention a request asks for in its headers (API, PutObject: both or none, and a checksum).
fn retention(parts: &Parts) -> Result<Option<Retention>, No> {
    let bad = |message| No { status: 400, code: "InvalidArgument", message, is_marker: false };
    let mode = header(parts, "x-amz-object-lock-mode");
    let until = header(parts, "x-amz-object-lock-retain-until-date");
    let (mode, until) = match (mode, until) {
        (None, None) => return Ok(None),
        (Some(mode), Some(until)) => (mode, until),
        _ => return Err(bad("mode and date must both be supplied")),
    };
    let mode = named_mode(mode).ok_or_else(|| bad("Unknown wormMode directive."))?;
    let until: Timestamp = until.parse().map_err(|_| bad("The date is none."))?;
    if header(parts, "content-md5").is_none() && header(parts, "x-amz-checksum-sha256").is_none() {
        let message = "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object \
                       requests with Object Lock parameters";
        return Err(No { code: "InvalidRequest", ..bad(message) });
    }
    Ok(Some(Retention { mode, until: until.as_second() }))
}

fn named_mode(text: &str) -> Option<Mode> {
    match text {
        "COMPLIANCE" => Some(Mode::Compliance),
        "GOVERNANCE" => Some(Mode::Governance),
        _ => None,
    }
}

/// What stands between two tags.
fn between<'a>(text: &'a str, tag: &str) -> Option<&'a str> {
    let from = text.find(&format!("<{tag}>"))? + tag.len() + 2;
    let len = text.get(from..)?.find(&format!("</{tag}>"))?;
    text.get(from..from + len)
}

pub fn answer(
    state: &State,
    parts: &Parts,
    body: Bytes,
    was_taken: bool,
    fault: Option<Fault>,
) -> Response<Body> {
    let now = state.now();
    asked(state, parts, body, was_taken, fault, now).unwrap_or_else(|no| refused(no, now))
}

fn asked(
    state: &State,
    parts: &Parts,
    body: Bytes,
    was_taken: bool,
    fault: Option<Fault>,
    now: i64,
) -> Result<Response<Body>, No> {
    let secret = |user: &str| state.users.get(user).map(|user| user.secret.as_str());
    let user = sigv4::signer(parts, &body, REGION, now, secret)?;
    let user = state.users.get(&user).ok_or(DENIED)?;
    let need = |action| if user.may.contains(&action) { Ok(()) } else { Err(DENIED) };
    let bucket = parts.uri.path().trim_start_matches('/').split('/').next().unwrap_or_default();
    if bucket != BUCKET {
        let (code, message) = ("NoSuchBucket", "The specified bucket does not exist");
        return Err(No { status: 404, code, message, is_marker: false });
    }
    let (key, version) = (key(parts), parameter(parts, "versionId"));
    let version = version.as_deref();
    let mut bucket = locked(&state.bucket);
    // IAM: bypassing is a right, and is asked for by a header (guide, "Governance mode").
    let bypasses = need(Action::BypassGovernanceRetention).is_ok()
        && header(parts, "x-amz-bypass-governance-retention") == Some("true");
    match kind(parts) {
        Kind::Put => {
            need(Action::PutObject)?;
            let retention = retention(parts)?;
            if retention.is_some() {
                need(Action::PutObjectRetention)?;
            }
            checked(parts, &body)?;
            let is_conditional = header(parts, "if-none-match") == Some("*");
            let is_taken = match bucket.habit {
                Habit::IgnoresConditions => false,
                Habit::NotAtomic => was_taken,
                _ => bucket.is_taken(&key),
            };
            if is_conditional && is_taken {
                let (code, message) = (
                    "PreconditionFailed",
                    "At least one of the pre-conditions \
                                        you specified did not hold",
                );
                return Err(No { status: 412, code, message, is_marker: false });
            }
            let id = bucket.put(&key, body, retention, now)?;
            let builder = dated(200, now).header("etag", format!("\"{id}\""));
            Ok(built(builder.header("x-amz-version-id", id), full("")))
        }
        Kind::Get | Kind::Head => {
            need(version.map_or(Action::GetObject, |_| Action::GetObjectVersion))?;
            let shows = need(Action::GetObjectRetention).is_ok();
            Ok(object(parts, bucket.get(&key, version)?, shows, now))
        }
        Kind::Retain => {
            need(Action::PutObjectRetention)?;
            checked(parts, &body)?;
            let text = String::from_utf8_lossy(&body);
            let mode = between(&text, "Mode").and_then(named_mode);
            let until = between(&text, "RetainUntilDate").and_then(|at| at.parse().ok());
            let (code, message) = ("MalformedXML", "The XML you provided was not well-formed");
            let malformed = No { status: 400, code, message, is_marker: false };
            let (mode, until): (Mode, Timestamp) = mode.zip(until).ok_or(malformed)?;
            let asked = Retention { mode, until: until.as_second() };
            bucket.retain(&key, version, asked, bypasses, now)?;
            Ok(built(dated(200, now), full("")))
        }
        Kind::Delete => {
            need(version.map_or(Action::DeleteObject, |_| Action::DeleteObjectVersion))?;
            bucket.delete(&key, version, bypasses, now)?;
            Ok(built(dated(204, now), full("")))
        }
        Kind::List if fault == Some(Fault::Garbage) => {
            Ok(built(dated(200, now), full("<html><br>Login</html>")))
        }
        Kind::List if has(parts, "versions") && bucket.habit == Habit::NoVersionLists => {
            let (code, message) = ("NotImplemented", "A header or query implies what is not there");
            Err(No { status: 501, code, message, is_marker: false })
        }
        Kind::List => {
            let is_versions = has(parts, "versions");
            need(if is_versions { Action::ListBucketVersions } else { Action::ListBucket })?;
            let page_max = *locked(&state.page_max);
            let list = super::listing::List::of(parts, page_max);
            let text = if is_versions {
                list.versions(&bucket, fault)
            } else {
                list.names(&bucket, fault)
            };
            Ok(built(dated(200, now).header("content-type", "application/xml"), full(text)))
        }
        Kind::Other => Err(DENIED),
    }
}

/// API, PutObject: a body that does not have the checksum it came with is refused.
fn checked(parts: &Parts, body: &[u8]) -> Result<(), No> {
    let found = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body);
    match header(parts, "x-amz-checksum-sha256") {
        Some(sum) if sum != BASE64.encode(found.as_ref()) => {
            let (code, message) = ("BadDigest", "The checksum did not match what we received.");
            Err(No { status: 400, code, message, is_marker: false })
        }
        _ => Ok(()),
    }
}

/// API, GetObject and HeadObject; retention is shown only to who may read it.
fn object(parts: &Parts, version: &Version, shows: bool, now: i64) -> Response<Body> {
    let bytes = version.bytes.clone().unwrap_or_default();
    let len = bytes.len();
    let made = Timestamp::from_second(version.made_at).unwrap_or(Timestamp::UNIX_EPOCH);
    let made = DateTimePrinter::new().timestamp_to_rfc9110_string(&made).unwrap_or_default();
    let marked = |status| {
        let mut builder = dated(status, now)
            .header("etag", format!("\"{}\"", version.id))
            .header("last-modified", &made)
            .header("x-amz-version-id", &version.id);
        if let Some(retention) = version.retention.filter(|_| shows) {
            let mode = match retention.mode {
                Mode::Compliance => "COMPLIANCE",
                Mode::Governance => "GOVERNANCE",
            };
            let until = Timestamp::from_second(retention.until).unwrap_or(Timestamp::UNIX_EPOCH);
            builder = builder
                .header("x-amz-object-lock-mode", mode)
                .header("x-amz-object-lock-retain-until-date", until.to_string());
        }
        builder
    };
    if parts.method == Method::HEAD {
        return built(marked(200).header(CONTENT_LENGTH, len), full(""));
    }
    let range = header(parts, "range").and_then(|range| {
        let (start, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        Some((start.parse::<usize>().ok()?, last.parse::<usize>().ok()?))
    });
    match range {
        None => built(marked(200), full(bytes)),
        // RFC 9110, as the API pages say: a range that begins behind the end cannot be satisfied.
        Some((start, _)) if start >= len => {
            let (code, message) = ("InvalidRange", "The requested range is not satisfiable");
            refused(No { status: 416, code, message, is_marker: false }, now)
        }
        Some((start, last)) => {
            let end = last.saturating_add(1).min(len);
            let place = format!("bytes {start}-{}/{len}", end - 1);
            let part = bytes.slice(start..end.max(start));
            built(marked(206).header("content-range", place), full(part))
        }
    }
}
