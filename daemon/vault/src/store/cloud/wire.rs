//! One request: signed, sent, bounded in time, sent again if that may help, its answer read whole.
//!
//! The crate `object_store` builds requests and reads answers; what it does itself about signatures and
//! repetitions is switched off, so that every attempt has a signature of its own moment, locks are part
//! of what is signed, and refusals have one place where they are understood.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use data_encoding::BASE64;
use futures_util::stream::unfold;
use http::header::DATE;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::BodyExt;
use jiff::Timestamp;
use jiff::fmt::{rfc2822, strtime};
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::azure::{AzureAuthorizer, AzureCredential};
use object_store::client::{
    HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpService,
};
use reqwest::{Body, Client, Request, Url};

use super::refusal::{Refusal, refusal};
use crate::store::pace::{Pace, next_piece};
use crate::store::{StoreFault, Until};

/// What S3 wants of a body that is to be locked, and what this is called.
const CHECKSUM: &str = "x-amz-checksum-sha256";
const CHECKSUM_NAME: &str = "x-amz-sdk-checksum-algorithm";
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
    pub client: Client,
    pub signer: Signer,
    pub patience: Patience,
    pub sent: AtomicU64,
    /// Set before the first request, or never.
    pub pace: OnceLock<Arc<dyn Pace>>,
}

/// Whether a body waits for its pace, and did since somebody looked.
#[derive(Debug, Default)]
struct Waits {
    is_waiting: AtomicBool,
    has_waited: AtomicBool,
}

impl Waits {
    async fn next_piece(&self, pace: &dyn Pace, rest: &mut Bytes) -> Option<Bytes> {
        let mut next = pin!(next_piece(pace, rest));
        poll_fn(|context| {
            let polled = next.as_mut().poll(context);
            self.is_waiting.store(polled.is_pending(), Ordering::Relaxed);
            self.has_waited.fetch_or(polled.is_pending(), Ordering::Relaxed);
            polled
        })
        .await
    }

    fn since_last(&self) -> bool {
        self.has_waited.swap(false, Ordering::Relaxed) || self.is_waiting.load(Ordering::Relaxed)
    }
}

/// A body that leaves in pieces, each when its pace allows it.
fn paced(pace: Arc<dyn Pace>, waits: Arc<Waits>, bytes: Bytes) -> Body {
    Body::wrap_stream(unfold((pace, waits, bytes), async |(pace, waits, mut rest)| {
        let piece = waits.next_piece(&*pace, &mut rest).await?;
        Some((Ok::<_, std::convert::Infallible>(piece), (pace, waits, rest)))
    }))
}

/// How often it is looked whether a request that takes its time does so for its pace.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// At most so long, not counting what was waited for the pace; `None` if it takes longer.
async fn within<T>(
    mut left: Duration,
    waits: &Waits,
    mut exchange: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    loop {
        let look = left.min(LOOK_EVERY);
        if let Ok(done) = tokio::time::timeout(look, exchange.as_mut()).await {
            return Some(done);
        }
        if !waits.since_last() {
            left -= look;
        }
        if left.is_zero() {
            return None;
        }
    }
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
                let digest = request.headers().get(CHECKSUM);
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

    /// A request for the client. Its body leaves as the pace allows, if there is one.
    async fn outgoing(
        &self,
        request: http::Request<HttpRequestBody>,
        waits: &Arc<Waits>,
    ) -> Option<Request> {
        let (parts, body) = request.into_parts();
        // It is one piece, which is taken as it is.
        let bytes = body.collect().await.ok()?.to_bytes();
        let body = match self.pace.get() {
            Some(pace) if !bytes.is_empty() => paced(Arc::clone(pace), Arc::clone(waits), bytes),
            _ => Body::from(bytes),
        };
        let mut outgoing = Request::new(parts.method, Url::parse(&parts.uri.to_string()).ok()?);
        *outgoing.headers_mut() = parts.headers;
        *outgoing.body_mut() = Some(body);
        Some(outgoing)
    }

    /// One attempt.
    async fn attempt(&self, mut request: HttpRequest) -> Result<Response<Bytes>, Refusal> {
        if let Some(Lock(until)) = request.extensions().get::<Lock>().copied() {
            let locked = self.lock(request.headers_mut(), until);
            locked.ok_or_else(|| Refusal::silent(StoreFault::NoLocks))?;
        }
        if request.headers().contains_key(CHECKSUM) {
            // A server that does not know the checksum shall say so instead of passing it over.
            request.headers_mut().insert(CHECKSUM_NAME, HeaderValue::from_static("SHA256"));
        }
        self.sign(&mut request)?;
        let asked = request.extensions().get::<Asked>().map_or(0, |asked| asked.0);
        let allowed = self.patience.allows(asked.max(request.body().content_length() as u64));
        let ours = signed_at(request.headers());
        self.sent.fetch_add(1, Ordering::Relaxed);
        let silent = StoreFault::Silent { seconds: allowed.as_secs() };
        let waits = Arc::default();
        let unfit = || Refusal::silent(StoreFault::Unfit);
        let outgoing = self.outgoing(request, &waits).await.ok_or_else(unfit)?;
        let exchange = pin!(async {
            let answer = self.client.execute(outgoing).await.map_err(|error| broken(&error))?;
            read(answer.into(), self.patience.silence).await
        });
        let answer = within(allowed, &waits, exchange).await;
        let answer = answer.ok_or_else(|| Refusal::silent(silent))??;
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

fn broken(error: &reqwest::Error) -> Refusal {
    Refusal::silent(if error.is_timeout() {
        StoreFault::Silent { seconds: 0 }
    } else if error.is_connect() {
        StoreFault::Unreachable
    } else {
        StoreFault::Cut
    })
}

/// The whole answer, each piece of it within `silence`.
async fn read(answer: Response<Body>, silence: Duration) -> Result<Response<Bytes>, Refusal> {
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
