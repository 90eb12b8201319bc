//! A stand-in for S3 on loopback, as strict as the provider's pages: signatures, rights, versions,
//! markers, object locks, conditional writes; with a clock that tests set, counters, faults, and the
//! habits of servers that are not as strict.

mod answers;
mod faults;
mod listing;
mod rules;
mod sigv4;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

pub use answers::Body;
pub use faults::{Fault, Plan};
pub use rules::{Action, Bucket, Habit, Mode, Retention, Version};

pub const REGION: &str = "eu-central-1";
pub const BUCKET: &str = "vault";

/// Who may ask.
#[derive(Debug, Clone)]
pub struct User {
    pub secret: String,
    pub may: Vec<Action>,
}

/// What the uploader may do: add, read, lock; never delete.
pub const UPLOADER: [Action; 7] = [
    Action::PutObject,
    Action::GetObject,
    Action::GetObjectVersion,
    Action::ListBucket,
    Action::ListBucketVersions,
    Action::PutObjectRetention,
    Action::GetObjectRetention,
];

/// Of what kind a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Put,
    Get,
    Head,
    List,
    Retain,
    Delete,
    Other,
}

#[derive(Debug)]
struct State {
    bucket: Mutex<Bucket>,
    users: BTreeMap<String, User>,
    plan: Mutex<Option<Plan>>,
    counts: Mutex<BTreeMap<Kind, u64>>,
    /// Seconds the server's clock is ahead of the real one.
    ahead: AtomicI64,
    /// Most names on a page of a listing.
    page_max: Mutex<usize>,
    at: SocketAddr,
    /// Where a server looks and writes in two steps, two writers always meet in between.
    pairs: tokio::sync::Barrier,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The server: up as long as this lives.
#[derive(Debug)]
pub struct StrictS3 {
    state: Arc<State>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl StrictS3 {
    /// A server with one empty bucket, and three users: `uploader`, `prune` (may also delete versions),
    /// `admin` (may everything).
    ///
    /// # Panics
    /// If no loopback port can be had.
    #[must_use]
    pub fn start(bucket: Bucket) -> Self {
        let prune = [&UPLOADER[..], &[Action::DeleteObject, Action::DeleteObjectVersion]].concat();
        let admin = [&prune[..], &[Action::BypassGovernanceRetention]].concat();
        let users = [("uploader", UPLOADER.to_vec()), ("prune", prune), ("admin", admin)];
        let user = |(name, may): (&str, Vec<Action>)| {
            (name.to_owned(), User { secret: format!("secret/of+{name}"), may })
        };
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        let at = listener.local_addr().expect("a bound socket");
        let state = Arc::new(State {
            bucket: Mutex::new(bucket),
            users: users.into_iter().map(user).collect(),
            plan: Mutex::default(),
            counts: Mutex::default(),
            ahead: AtomicI64::new(0),
            page_max: Mutex::new(1000),
            at,
            pairs: tokio::sync::Barrier::new(2),
        });
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let serving = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                tokio::select! {
                    () = accept(listener, serving) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { state, stop: Some(stop), thread: Some(thread) }
    }

    /// What a store is opened with as its endpoint.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.state.at)
    }

    /// Lines of a credential file for a user.
    #[must_use]
    pub fn credential(&self, user: &str) -> String {
        let secret = self.state.users.get(user).map_or("none", |user| user.secret.as_str());
        format!("access_key_id = {user}\nsecret_access_key = {secret}\nregion = {REGION}\n")
    }

    /// The bucket, as nobody over the network sees it.
    pub fn bucket(&self) -> MutexGuard<'_, Bucket> {
        locked(&self.state.bucket)
    }

    /// Seconds since 1970 by the server's clock.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.state.now()
    }

    /// Moves the server's clock: so many seconds ahead of the real one.
    pub fn set_ahead(&self, seconds: i64) {
        self.state.ahead.store(seconds, Ordering::SeqCst);
    }

    pub fn set_page_max(&self, names: usize) {
        *locked(&self.state.page_max) = names;
    }

    pub fn plan(&self, plan: Option<Plan>) {
        *locked(&self.state.plan) = plan;
    }

    /// Requests since the last time this was asked, by kind; also those that were refused.
    #[must_use]
    pub fn take_counts(&self) -> BTreeMap<Kind, u64> {
        std::mem::take(&mut *locked(&self.state.counts))
    }
}

impl Drop for StrictS3 {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl State {
    fn now(&self) -> i64 {
        jiff::Timestamp::now().as_second() + self.ahead.load(Ordering::SeqCst)
    }
}

async fn accept(listener: tokio::net::TcpListener, state: Arc<State>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(Arc::clone(&state), request));
            let connection = hyper::server::conn::http1::Builder::new();
            // A connection that breaks is what some tests ask for.
            let _ = connection.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Why a connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the answer is lost")]
pub struct Lost;

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Body>, Lost> {
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return Err(Lost) };
    let (body, kind): (Bytes, Kind) = (body.to_bytes(), answers::kind(&parts));
    *locked(&state.counts).entry(kind).or_default() += 1;
    let is_list = kind == Kind::List;
    let fault = locked(&state.plan).as_mut().and_then(|plan| {
        use Fault::{BackwardList, Garbage, ShortList, StrangeList};
        let for_lists = matches!(plan.fault, BackwardList | Garbage | ShortList | StrangeList);
        if for_lists && !is_list { None } else { plan.strikes() }
    });
    match fault {
        Some(Fault::Hang) => return Ok(forever().await),
        Some(Fault::Status(status)) => return Ok(answers::broken(status)),
        _ => {}
    }
    // Between looking and writing: where a server is not atomic, others come first.
    let was_taken = locked(&state.bucket).is_taken(&answers::key(&parts));
    let waits = kind == Kind::Put && locked(&state.bucket).habit == Habit::NotAtomic;
    if waits {
        state.pairs.wait().await;
    }
    let made = answers::answer(&state, &parts, body, was_taken, fault);
    match fault {
        Some(Fault::Lost) => Err(Lost),
        Some(Fault::LostSilently) => Ok(forever().await),
        // An answer without a body has no middle.
        Some(Fault::Cut) if kind == Kind::Head => Err(Lost),
        Some(Fault::Cut) => Ok(answers::cut(made)),
        _ => Ok(made),
    }
}

async fn forever<T>() -> T {
    let never: Result<T, Infallible> = std::future::pending().await;
    match never {
        Ok(answer) => answer,
    }
}
