//! Stores over the network: the stand-in that is as strict as the provider's pages, and real servers.

mod conformance;
mod faults;
mod locks;
mod pace;
pub mod servers;
mod thief;

use std::time::Duration;

use keelhold_tests::cloud::StrictS3;
use keelhold_vault::store::{Checked, CloudStore, Credential, Patience};

/// What the tests wait for never comes by waiting: long enough for any machine.
fn patience() -> Patience {
    let silence = Duration::from_secs(120);
    Patience { silence, attempts: 4, pause: Duration::from_millis(1), ..Patience::default() }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(work)
}

fn open_at(server: &StrictS3, user: &str, patience: Patience) -> Checked<CloudStore> {
    let credential = Credential::parse(&server.credential(user)).unwrap();
    let at = server.endpoint();
    let store = CloudStore::open("s3://vault/one", Some(&at), &credential, patience).unwrap();
    Checked::new(store)
}

fn open(server: &StrictS3, user: &str) -> Checked<CloudStore> {
    open_at(server, user, patience())
}

/// Random bytes that follow from a seed.
fn seeded(seed: u64) -> impl FnMut(&mut [u8]) + Send {
    let mut stream = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    move |bytes: &mut [u8]| stream.fill(bytes)
}
