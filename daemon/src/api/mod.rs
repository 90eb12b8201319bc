//! `/api/v1`: HTTP with JSON over the unix socket of the state directory. Long answers are JSON
//! lines; one that ends early ends with a line `{"error": …}`.

pub mod address;
mod answer;
mod groups;
mod jobs;
mod points;
mod protect;
mod space;
mod status;
pub mod types;
mod vaults;
mod verdict;

pub use status::full_line;

use crate::daemon::Daemon;
use crate::failure::{Code, Failure, chain};
use crate::raised::raised;
use crate::state_dir::StateDir;
use axum::Router;
use axum::routing::{delete, get, post};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use tokio::net::UnixListener;
use tokio::sync::watch;

pub type SharedDaemon = Arc<Daemon>;

fn router(daemon: SharedDaemon) -> Router<()> {
    let v1 = Router::new()
        .route("/status", get(status::status))
        .route("/pool", get(status::pool))
        .route("/catalog/rebuild", post(status::rebuild_catalog))
        .route("/machines", get(protect::machines))
        .route("/machines/token", post(protect::token))
        .route("/machines/{name}", delete(protect::remove_machine))
        .route("/machines/{name}/revoke", post(protect::revoke))
        .route("/machines/{name}/rename", post(protect::rename))
        .route("/sources", get(protect::sources).post(protect::add_source))
        .route("/sources/{machine}/{name}", delete(protect::remove_source))
        .route("/sources/{machine}/{name}/backup", post(protect::backup))
        .route("/groups", get(groups::list).post(groups::apply))
        .route("/groups/preview", post(groups::preview))
        .route("/groups/{name}", delete(groups::remove))
        .route("/groups/{name}/history", get(groups::history))
        .route("/schedule", get(groups::next))
        .route("/jobs", get(jobs::list))
        .route("/jobs/{job}", get(jobs::show))
        .route("/jobs/{job}/cancel", post(jobs::cancel))
        .route("/jobs/{job}/log", get(jobs::log))
        .route("/jobs/{job}/follow", get(jobs::follow))
        .route("/pool/trash", get(space::trash))
        .route("/pool/reclaim", post(space::reclaim))
        .route("/pool/disks", post(space::disks))
        .route("/pool/scrub", post(space::scrub))
        .route("/machines/{name}/quota", post(space::quota))
        .route("/audit", get(space::audit))
        .route("/points", get(points::list))
        .route("/points/forget", post(space::forget))
        .route("/points/forecast", post(space::forecast))
        .route("/points/{point}/undo-forget", post(space::undo_forget))
        .route("/points/{point}/pin", post(space::pin))
        .route("/points/{point}/unpin", post(space::unpin))
        .route("/points/{point}", get(points::show))
        .route("/points/{point}/files", get(points::files))
        .route("/points/{point}/entries", get(points::entries))
        .route("/points/{point}/content", get(points::content))
        .route("/points/{point}/tar", get(points::tar))
        .route("/points/{point}/note", post(points::note))
        .route("/diff", get(points::diff))
        .route("/find", get(points::find))
        .route("/vaults", get(vaults::list).post(vaults::add))
        .route("/vaults/{name}", delete(vaults::remove))
        .route("/vaults/{name}/ship", post(vaults::ship))
        .route("/vaults/{name}/verify", post(vaults::verify))
        .route("/vaults/{name}/copy", post(vaults::copy))
        .route("/vaults/{name}/prune", post(vaults::prune))
        .route("/vaults/{name}/points", get(vaults::points))
        .route("/vaults/{name}/kit", post(vaults::kit))
        .route("/vaults/{name}/passphrase", post(vaults::passphrase))
        .route("/vaults/{name}/geo", post(vaults::geo))
        .route("/vaults/{name}/zone", post(vaults::zone))
        .route("/vaults/{name}/bandwidth", post(vaults::bandwidth))
        .route("/restores", post(jobs::restore));
    Router::new()
        .nest("/api/v1", v1)
        .fallback(async || answer::Refused(Failure::new(Code::BadRequest, "no such address")))
        .with_state(daemon)
}

/// Opens the socket. A file left by a daemon that was killed is replaced: the state directory's lock
/// says that nobody serves it.
pub fn bind(state: &StateDir) -> Result<UnixListener, Failure> {
    let (_dir, path) = state.socket().map_err(|error| Failure::of(Code::StateUnusable, &error))?;
    let _ = std::fs::remove_file(&path);
    let failed = |error: std::io::Error| {
        let place = state.path().display();
        Failure::new(Code::StateUnusable, format!("no socket in {place}: {}", chain(&error)))
    };
    let listener = UnixListener::bind(&path).map_err(failed)?;
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// Serves until the daemon stops.
pub async fn serve(
    daemon: SharedDaemon,
    listener: UnixListener,
    mut stopping: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let stop = async move {
        raised(&mut stopping).await;
    };
    let app = router(daemon).into_make_service_with_connect_info::<crate::audit::Actor>();
    axum::serve(listener, app).with_graceful_shutdown(stop).await
}
