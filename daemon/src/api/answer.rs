//! Answers: JSON, JSON lines, bytes, or a failure.

use crate::failure::{Code, Exit, Failure, FailureBody};
use axum::Json;
use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::convert::Infallible;
use tokio::sync::mpsc;

#[derive(Debug)]
pub struct Refused(pub Failure);

impl<E: Into<Failure>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match (self.0.code, self.0.code.exit()) {
            (
                Code::MachineUnknown
                | Code::SourceUnknown
                | Code::JobUnknown
                | Code::PointUnknown
                | Code::PathUnknown,
                _,
            ) => StatusCode::NOT_FOUND,
            (_, Exit::Usage) => StatusCode::BAD_REQUEST,
            (_, Exit::Refused) => StatusCode::CONFLICT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(FailureBody { error: self.0.to_wire() })).into_response()
    }
}

pub type Answer<T> = Result<Json<T>, Refused>;

/// The body of a request. `()` for what has none.
pub fn body<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(|error| Failure::of(Code::BadRequest, &error))
}

fn line(value: &impl Serialize) -> Bytes {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

/// JSON lines out of a channel. Whoever stops reading stops the sender by that.
pub fn lines<T: Serialize + Send + 'static>(
    values: mpsc::Receiver<Result<T, Failure>>,
) -> Response {
    let stream = stream::unfold(values, |mut values| async move {
        let bytes = match values.recv().await? {
            Ok(value) => line(&value),
            Err(failure) => {
                values.close();
                line(&FailureBody { error: failure.to_wire() })
            }
        };
        Some((Ok::<_, Infallible>(bytes), values))
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (kind, Body::from_stream(stream)).into_response()
}

/// Bytes out of a channel. A failure on the way breaks the body off, so that a reader cannot take
/// what it got for the whole.
pub fn bytes(values: mpsc::Receiver<Result<Bytes, Failure>>) -> Response {
    let stream = stream::unfold(values, |mut values| async move {
        let value = values.recv().await?;
        Some((value, values))
    });
    let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
    (kind, Body::from_stream(stream)).into_response()
}

/// Does something to its end, also if whoever asked goes away in its midst: nothing is left half done.
pub async fn whole<T: Send + 'static>(
    work: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<T, Failure> {
    let failed =
        |_| Failure::new(crate::failure::Code::Internal, "the work ended without an answer");
    tokio::spawn(work).await.map_err(failed)?
}
