//! Requests the crate `object_store` has no words for: versions and locks.

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use data_encoding::BASE64;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, Response};
use jiff::Timestamp;
use object_store::client::HttpRequest;

use super::pages::{Mark, Page, azure, s3};
use super::refusal::Refusal;
use super::wire::{Signer, Wire, from_http_date, http_date, is_lockable};
use crate::store::{StoreFault, Until};

/// What is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    Versions,
    /// Where versions cannot be listed.
    Names,
}

/// Where a bucket or container is, and how its server is spoken to.
#[derive(Debug)]
pub struct Requests {
    pub wire: std::sync::Arc<Wire>,
    /// URL of the bucket or container, without a slash at its end.
    pub place: String,
}

/// One parameter's value, so that it can mean nothing else.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn impossible() -> Refusal {
    Refusal::silent(StoreFault::Unfit)
}

impl Requests {
    pub fn is_s3(&self) -> bool {
        matches!(self.wire.signer, Signer::S3 { .. })
    }

    async fn send(
        &self,
        method: Method,
        key: &str,
        query: &[(&str, &str)],
        headers: &[(&str, String)],
        body: Bytes,
    ) -> Result<Response<Bytes>, Refusal> {
        let pairs: Vec<String> =
            query.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let slash = if key.is_empty() { "" } else { "/" };
        let mut url = format!("{}{slash}{key}", self.place);
        if !pairs.is_empty() {
            url = format!("{url}?{}", pairs.join("&"));
        }
        let mut request = http::Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if !body.is_empty() || !self.is_s3() {
            request = request.header(CONTENT_LENGTH, body.len());
        }
        let request: HttpRequest = request.body(body.into()).map_err(|_| impossible())?;
        self.wire.exchange(request).await
    }

    fn version<'a>(&self, version: Option<&'a str>) -> Vec<(&'static str, &'a str)> {
        let name = if self.is_s3() { "versionId" } else { "versionid" };
        version.map(|version| (name, version)).into_iter().collect()
    }

    /// A page of all versions, or names, whose keys begin with `prefix` and, where the server can say
    /// so, lie behind `after`.
    pub async fn page(
        &self,
        of: Of,
        prefix: &str,
        after: &str,
        mark: Option<&Mark>,
        limit: usize,
    ) -> Result<Page, Refusal> {
        let limit = limit.to_string();
        let mut query = Vec::new();
        if self.is_s3() && of == Of::Names {
            query.extend([("list-type", "2"), ("max-keys", &limit), ("prefix", prefix)]);
            match mark {
                Some(mark) => query.push(("continuation-token", &mark.key)),
                None if after.is_empty() => {}
                None => query.push(("start-after", after)),
            }
        } else if self.is_s3() {
            query.extend([("versions", ""), ("max-keys", &limit), ("prefix", prefix)]);
            match mark {
                Some(mark) => {
                    query.push(("key-marker", &mark.key));
                    if !mark.version.is_empty() {
                        query.push(("version-id-marker", &mark.version));
                    }
                }
                None if after.is_empty() => {}
                None => query.push(("key-marker", after)),
            }
        } else {
            query.extend([("restype", "container"), ("comp", "list")]);
            if of == Of::Versions {
                query.push(("include", "versions"));
            }
            query.extend([("maxresults", limit.as_str()), ("prefix", prefix)]);
            match mark {
                Some(mark) => query.push(("marker", &mark.key)),
                None if after.is_empty() => {}
                None => query.push(("startFrom", after)),
            }
        }
        let answer = self.send(Method::GET, "", &query, &[], Bytes::new()).await?;
        let page = if self.is_s3() { s3(answer.body()) } else { azure(answer.body()) };
        page.ok_or_else(impossible)
    }

    /// Length of a version, and until when it is locked so that nobody can end it.
    pub async fn head(
        &self,
        key: &str,
        version: Option<&str>,
    ) -> Result<(u64, Option<Until>), Refusal> {
        let query = self.version(version);
        let answer = self.send(Method::HEAD, key, &query, &[], Bytes::new()).await?;
        let headers = answer.headers();
        let len = text(headers, "content-length").and_then(|len| len.parse().ok());
        let until = if self.is_s3() {
            let is_strict = text(headers, "x-amz-object-lock-mode") == Some("COMPLIANCE");
            let date = text(headers, "x-amz-object-lock-retain-until-date");
            date.filter(|_| is_strict).and_then(|date| date.parse::<Timestamp>().ok())
        } else {
            let mode = text(headers, "x-ms-immutability-policy-mode");
            let is_strict = mode.is_some_and(|mode| mode.eq_ignore_ascii_case("locked"));
            let date = text(headers, "x-ms-immutability-policy-until-date");
            date.filter(|_| is_strict).and_then(from_http_date)
        };
        Ok((len.ok_or_else(impossible)?, until.map(|until| Until(until.as_second()))))
    }

    /// Asks for a lock until then. Whether a shorter one is refused is the server's affair.
    pub async fn retain(
        &self,
        key: &str,
        version: Option<&str>,
        until: Until,
    ) -> Result<(), Refusal> {
        let no_locks = || Refusal::silent(StoreFault::NoLocks);
        let at = is_lockable(until).ok_or_else(no_locks)?;
        let mut query = self.version(version);
        if self.is_s3() {
            query.insert(0, ("retention", ""));
            let body = format!(
                "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                 <Mode>COMPLIANCE</Mode><RetainUntilDate>{at}</RetainUntilDate></Retention>"
            );
            let headers = [("x-amz-checksum-sha256", sha256(body.as_bytes()))];
            return self.send(Method::PUT, key, &query, &headers, body.into()).await.map(|_| ());
        }
        query.insert(0, ("comp", "immutabilityPolicies"));
        let date = http_date(at).ok_or_else(no_locks)?;
        let headers = [
            ("x-ms-immutability-policy-until-date", date),
            ("x-ms-immutability-policy-mode", "Locked".to_owned()),
        ];
        self.send(Method::PUT, key, &query, &headers, Bytes::new()).await.map(|_| ())
    }

    /// Deletes a version, or, without one, what stands under the key now.
    pub async fn delete(&self, key: &str, version: Option<&str>) -> Result<(), Refusal> {
        let query = self.version(version);
        match self.send(Method::DELETE, key, &query, &[], Bytes::new()).await {
            Err(refusal) if refusal.fault == StoreFault::NotFound => Ok(()),
            answer => answer.map(|_| ()),
        }
    }
}

fn sha256(bytes: &[u8]) -> String {
    BASE64.encode(digest(&SHA256, bytes).as_ref())
}
