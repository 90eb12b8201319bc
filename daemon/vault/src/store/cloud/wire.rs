//! One request: signed, sent, bounded in time, sent again if that may help, its answer read whole.
//!
//! The crate `object_store` builds requests and reads answers; what it does itself about signatures and
//! repetitions is switched off, so that every attempt has a signature of its own moment, locks are part
//! of what is signed, and refusals have one place where they are understood.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use data_encoding::BASE64;
use http::header::DATE;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::BodyExt;
use jiff::Timestamp;
use jiff::fmt::{rfc2822, strtime};
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::azure::{AzureAuthorizer, AzureCredential};
use object_store::client::{
    HttpClient, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};

use super::refusal::{Refusal, refusal};
use crate::store::{StoreFault, Until};

/// Longest answer that is taken: an object, and then some.
const ANSWER_LEN_MAX: usize = 80 << 20;

/// How long we wait for a server, and how often we ask.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For an answer that does not come or does not go on.
    pub silence: Duration,
    /// The slowest line that is not taken for a dead one: bytes a second.
    pub rate: u64,
    /// Attempts at one request, from 1.
    pub attempts: u32,
    /// Pause after the first failed attempt; doubled after each.
    pub pause: Duration,
    /// Makes pauses differ between appliances.
    pub seed: u64,
}

impl Default for Patience {
    fn default() -> Self {
        let (connect, silence) = (Duration::from_secs(10), Duration::from_secs(30));
        let pause = Duration::from_millis(300);
        Self { connect, silence, rate: 32 * 1024, attempts: 5, pause, seed: 0 }
    }
}

/// Longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(20);

impl Patience {
    fn allows(&self, len: u64) -> Duration {
        self.silence + Duration::from_secs(len / self.rate.max(1))
    }

    /// Between half and the whole of what doubling gives.
    fn pause_after(&self, attempt: u32, drawn: u64) -> Duration {
        let doubled = self.pause.saturating_mul(1 << attempt.min(16)).min(PAUSE_MAX);
        let hash = blake3::hash(&[self.seed.to_le_bytes(), drawn.to_le_bytes()].concat());
        let part = f64::from(hash.as_bytes()[0]) / 256.0;
        doubled.mul_f64(0.5 + part / 2.0)
    }
}

#[derive(Debug)]
pub enum Signer {
    S3 { credential: AwsCredential, region: String },
    Azure { credential: AzureCredential, account: String },
}

/// With a request that creates: lock what is created.
#[derive(Debug, Clone, Copy)]
pub struct Lock(pub Until);

/// How long the object is that a request asks for: how long it may take.
#[derive(Debug, Clone, Copy)]
pub struct Asked(pub u64);

#[derive(Debug)]
pub struct Wire {
    pub client: HttpClient,
    pub signer: Signer,
    pub patience: Patience,
    pub sent: AtomicU64,
}

pub fn is_lockable(until: Until) -> Option<Timestamp> {
    Timestamp::from_second(until.0).ok()
}

/// As HTTP writes it.
pub fn http_date(at: Timestamp) -> Option<String> {
    rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at).ok()
}

pub fn from_http_date(text: &str) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

impl Wire {
    fn lock(&self, headers: &mut HeaderMap, until: Until) -> Option<()> {
        let at = is_lockable(until)?;
        let (mode, mode_name, date, date_name) = match self.signer {
            Signer::S3 { .. } => (
                "COMPLIANCE",
                "x-amz-object-lock-mode",
                at.to_string(),
                "x-amz-object-lock-retain-until-date",
            ),
            Signer::Azure { .. } => (
                "Locked",
                "x-ms-immutability-policy-mode",
                http_date(at)?,
                "x-ms-immutability-policy-until-date",
            ),
        };
        headers.insert(mode_name, HeaderValue::from_static(mode));
        headers.insert(date_name, HeaderValue::from_str(&date).ok()?);
        Some(())
    }

    fn sign(&self, request: &mut HttpRequest) -> Result<(), Refusal> {
        let unsigned = |_| Refusal::silent(StoreFault::Credentials);
        match &self.signer {
            Signer::S3 { credential, region } => {
                // A body of several pieces would be signed as a stream, which it is not.
                let digest = request.headers().get("x-amz-checksum-sha256");
                let digest = digest.and_then(|text| BASE64.decode(text.as_bytes()).ok());
                AwsAuthorizer::new(credential, "s3", region)
                    .try_authorize(request, digest.as_deref())
                    .map_err(unsigned)
            }
            Signer::Azure { credential, account } => {
                AzureAuthorizer::new(credential, account).try_authorize(request).map_err(unsigned)
            }
        }
    }

    /// One attempt.
    async fn attempt(&self, mut request: HttpRequest) -> Result<Response<Bytes>, Refusal> {
        if let Some(Lock(until)) = request.extensions().get::<Lock>().copied() {
            let locked = self.lock(request.headers_mut(), until);
            locked.ok_or_else(|| Refusal::silent(StoreFault::NoLocks))?;
        }
        self.sign(&mut request)?;
        let asked = request.extensions().get::<Asked>().map_or(0, |asked| asked.0);
        let allowed = self.patience.allows(asked.max(request.body().content_length() as u64));
        let ours = signed_at(request.headers());
        self.sent.fetch_add(1, Ordering::Relaxed);
        let silent = StoreFault::Silent { seconds: allowed.as_secs() };
        let exchange = async {
            let answer = self.client.execute(request).await.map_err(|error| broken(&error))?;
            read(answer, self.patience.silence).await
        };
        let answer = tokio::time::timeout(allowed, exchange)
            .await
            .map_err(|_| Refusal::silent(silent))??;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let theirs = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
        let theirs = theirs.and_then(from_http_date).map(Timestamp::as_second);
        let skew = theirs.zip(ours).map(|(theirs, ours)| theirs - ours);
        Err(refusal(answer.status(), answer.headers(), answer.body(), skew))
    }

    /// All attempts.
    pub async fn exchange(&self, request: HttpRequest) -> Result<Response<Bytes>, Refusal> {
        let mut attempt = 0;
        loop {
            match self.attempt(request.clone()).await {
                Err(refusal) if refusal.is_passing() && attempt + 1 < self.patience.attempts => {
                    let drawn = self.sent.load(Ordering::Relaxed);
                    tokio::time::sleep(self.patience.pause_after(attempt, drawn)).await;
                    attempt += 1;
                }
                done => return done,
            }
        }
    }
}

/// When a request says it was signed: this crate asks no clock of its own.
fn signed_at(headers: &HeaderMap) -> Option<i64> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(date) = text("x-amz-date") {
        let parsed = strtime::parse("%Y%m%dT%H%M%SZ", date).and_then(|time| time.to_datetime());
        let zoned = parsed.and_then(|time| time.to_zoned(jiff::tz::TimeZone::UTC));
        return zoned.ok().map(|time| time.timestamp().as_second());
    }
    text("date").and_then(from_http_date).map(Timestamp::as_second)
}

fn broken(error: &HttpError) -> Refusal {
    Refusal::silent(match error.kind() {
        HttpErrorKind::Connect => StoreFault::Unreachable,
        HttpErrorKind::Timeout => StoreFault::Silent { seconds: 0 },
        _ => StoreFault::Cut,
    })
}

/// The whole answer, each piece of it within `silence`.
async fn read(answer: HttpResponse, silence: Duration) -> Result<Response<Bytes>, Refusal> {
    let (parts, mut body) = answer.into_parts();
    let mut whole = BytesMut::new();
    loop {
        let frame = tokio::time::timeout(silence, body.frame()).await;
        let silent = StoreFault::Silent { seconds: silence.as_secs() };
        match frame.map_err(|_| Refusal::silent(silent))? {
            None => break,
            Some(Err(_)) => return Err(Refusal::silent(StoreFault::Cut)),
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { continue };
                if whole.len() + data.len() > ANSWER_LEN_MAX {
                    return Err(Refusal::silent(StoreFault::TooLong));
                }
                whole.extend_from_slice(&data);
            }
        }
    }
    Ok(Response::from_parts(parts, whole.freeze()))
}

/// What the crate `object_store` sends its requests with.
#[derive(Debug, Clone)]
pub struct Service(pub std::sync::Arc<Wire>);

#[async_trait::async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answer = self.0.exchange(request).await;
        let answer = answer.map_err(|refusal| HttpError::new(HttpErrorKind::Unknown, refusal))?;
        let (parts, body) = answer.into_parts();
        Ok(HttpResponse::from_parts(parts, body.into()))
    }
}
