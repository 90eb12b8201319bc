//! Talks to the daemon: HTTP over the unix socket of the state directory.

use crate::api::address::Address;
use crate::failure::{Code, Failure, FailureBody, chain};
use crate::state_dir::StateDir;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

/// One connection; requests go one after another.
#[derive(Debug)]
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
}

/// JSON lines as they arrive.
#[derive(Debug)]
pub struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
}

fn unreachable(state: &StateDir, error: &dyn std::error::Error) -> Failure {
    let place = state.path().display();
    let message = format!("no daemon answers at {place}/keelhold.sock: {}", chain(error));
    Failure::new(Code::DaemonUnreachable, message)
}

fn broken(error: &dyn std::error::Error) -> Failure {
    let message = format!("the connection to the daemon broke: {}", chain(error));
    Failure::new(Code::DaemonUnreachable, message)
        .hint("see whether the daemon still runs; what it had announced is safe")
}

impl Client {
    pub async fn connect(state: &StateDir) -> Result<Self, Failure> {
        let (_dir, path) = state.socket().map_err(|error| unreachable(state, &error))?;
        let stream =
            UnixStream::connect(&path).await.map_err(|error| unreachable(state, &error))?;
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(state, &error))?;
        tokio::spawn(connection);
        Ok(Self { sender })
    }

    async fn request(
        &mut self,
        method: Method,
        address: &Address,
        body: Vec<u8>,
    ) -> Result<Response<Incoming>, Failure> {
        let request = Request::builder()
            .method(method)
            .uri(address.as_str())
            .header("host", "keelhold")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Failure::of(Code::BadRequest, &error))?;
        self.sender.ready().await.map_err(|error| broken(&error))?;
        let response = self.sender.send_request(request).await.map_err(|error| broken(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = collect(response).await?;
        Err(match serde_json::from_slice::<FailureBody>(&body) {
            Ok(body) => Failure::from_wire(body.error),
            Err(_) => Failure::new(Code::Internal, format!("the daemon answered {status}")),
        })
    }

    pub async fn get<T: DeserializeOwned>(&mut self, address: &Address) -> Result<T, Failure> {
        parse(&collect(self.request(Method::GET, address, Vec::new()).await?).await?)
    }

    pub async fn post<T: DeserializeOwned>(
        &mut self,
        address: &Address,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let body =
            serde_json::to_vec(body).map_err(|error| Failure::of(Code::BadRequest, &error))?;
        parse(&collect(self.request(Method::POST, address, body).await?).await?)
    }

    pub async fn delete<T: DeserializeOwned>(&mut self, address: &Address) -> Result<T, Failure> {
        parse(&collect(self.request(Method::DELETE, address, Vec::new()).await?).await?)
    }

    pub async fn lines(&mut self, address: &Address) -> Result<Lines, Failure> {
        let response = self.request(Method::GET, address, Vec::new()).await?;
        Ok(Lines { body: response.into_body(), buffer: Vec::new() })
    }

    /// The raw body, for file contents.
    pub async fn body(&mut self, address: &Address) -> Result<Body, Failure> {
        let response = self.request(Method::GET, address, Vec::new()).await?;
        Ok(Body { body: response.into_body() })
    }
}

async fn collect(response: Response<Incoming>) -> Result<Bytes, Failure> {
    let body = response.into_body().collect().await.map_err(|error| broken(&error))?;
    Ok(body.to_bytes())
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| {
        Failure::new(Code::Internal, format!("the daemon's answer is not understood: {error}"))
            .hint("bring command line and daemon to the same version")
    })
}

/// Bytes of a body as they arrive. A body that ends early is an error, never a short file.
#[derive(Debug)]
pub struct Body {
    body: Incoming,
}

impl Body {
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        next_data(&mut self.body).await
    }
}

async fn next_data(body: &mut Incoming) -> Result<Option<Bytes>, Failure> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|error| broken(&error))?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

impl Lines {
    /// The next line. A line `{"error": …}` ends the stream as that failure.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Failure> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                if let Ok(body) = serde_json::from_slice::<FailureBody>(&line) {
                    return Err(Failure::from_wire(body.error));
                }
                return parse(&line).map(Some);
            }
            match next_data(&mut self.body).await? {
                Some(data) => self.buffer.extend_from_slice(&data),
                None => return Ok(None),
            }
        }
    }
}
