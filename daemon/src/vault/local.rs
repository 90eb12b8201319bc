//! One vault: the place, the key, and what this appliance knows of it.

use super::failure::{of_chain, of_open_place, of_store_error};
use super::pace::VaultPace;
use crate::failure::{Code, Failure, chain};
use crate::job::JobId;
use crate::record::{VaultRecord, VaultSecret, VaultSeen};
use data_encoding::HEXLOWER;
use keelhold_disk::units::PointId;
use keelhold_policy::schedule::Kind;
use keelhold_vault::chain::{self as manifests, Opened, Seen, Unlock};
use keelhold_vault::format::{Link, Manifest};
use keelhold_vault::ids::Ids;
use keelhold_vault::keys::MasterKey;
use keelhold_vault::store::{AnyStore, Checked, Credential, DirectoryStore, Store as _};
use keelhold_vault::{ManifestNumber, VaultId};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use zeroize::Zeroizing;

pub type Place = Checked<AnyStore>;

/// The kernel's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct Random;

impl keelhold_vault::Random for Random {
    fn fill(&mut self, bytes: &mut [u8]) {
        // Without it nothing may be sealed: there is no second best.
        getrandom::fill(bytes).expect("the kernel gives random bytes");
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub opened: Option<Opened>,
    /// Why the last try did not work.
    pub failure: Option<Failure>,
    pub seen: VaultSeen,
    /// Objects and bytes there, when the index was last brought up.
    pub objects: u64,
    pub bytes: u64,
    /// The job that ships or verifies.
    pub job: Option<JobId>,
    /// Asked for by the schedule and not begun.
    pub wanted: Vec<(String, Kind)>,
}

#[derive(Debug)]
pub struct Vault {
    record: Mutex<VaultRecord>,
    pub(super) master: Arc<MasterKey>,
    pub(super) place: Arc<Place>,
    pub(super) secret: Mutex<VaultSecret>,
    pub(super) pace: VaultPace,
    dir: PathBuf,
    /// Whoever holds it writes to the vault.
    pub(super) writing: tokio::sync::Mutex<Option<Ids>>,
    state: Mutex<State>,
}

/// The master key a record holds.
pub(super) fn master_of(id: &str, secret: &VaultSecret) -> Result<MasterKey, Failure> {
    let wrong = || Failure::new(Code::Internal, "the record of the vault's key cannot be read");
    let id = crate::id_text::decode(id).map(VaultId).ok_or_else(wrong)?;
    let bytes = HEXLOWER.decode(secret.master_hex.as_bytes()).map_err(|_| wrong())?;
    let bytes: [u8; 32] = bytes.try_into().map_err(|_| wrong())?;
    Ok(MasterKey::from_bytes(id, secret.number, Zeroizing::new(bytes)))
}

pub(super) fn open_place(
    url: &str,
    endpoint: Option<&str>,
    credential: Option<&str>,
) -> Result<Arc<Place>, Failure> {
    let credential = credential.map(Credential::parse).transpose();
    let credential = credential.map_err(|error| of_open_place(&error))?;
    let store = AnyStore::open(url, endpoint, credential.as_ref());
    Ok(Arc::new(Checked::new(store.map_err(|error| of_open_place(&error))?)))
}

impl Vault {
    pub fn new(
        record: VaultRecord,
        secret: &VaultSecret,
        seen: VaultSeen,
        dir: &Path,
        clock: crate::clock::SharedClock,
        zone: jiff::tz::TimeZone,
    ) -> Result<Self, Failure> {
        let master = Arc::new(master_of(&record.id, secret)?);
        let credential = secret.credential.as_deref();
        let place = open_place(&record.url, record.endpoint.as_deref(), credential)?;
        let state = State { seen, ..State::default() };
        Ok(Self {
            master,
            place,
            secret: Mutex::new(secret.clone()),
            pace: VaultPace::new(&record.bandwidth, zone, clock),
            dir: dir.join(&record.id),
            record: Mutex::new(record),
            writing: tokio::sync::Mutex::new(None),
            state: Mutex::new(state),
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[must_use]
    pub fn record(&self) -> VaultRecord {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_record(&self, record: VaultRecord) {
        self.pace.set(&record.bandwidth);
        *self.record.lock().unwrap_or_else(PoisonError::into_inner) = record;
    }

    #[must_use]
    pub fn name(&self) -> String {
        self.record().name
    }

    #[must_use]
    pub fn seen(&self) -> VaultSeen {
        self.state().seen.clone()
    }

    /// What the vault holds, as far as it was seen.
    #[must_use]
    pub fn view(&self) -> Option<Arc<Manifest>> {
        self.state().opened.as_ref().map(|opened| Arc::clone(&opened.view))
    }

    #[must_use]
    pub fn has(&self, point: &PointId) -> bool {
        let view = self.view();
        view.is_some_and(|view| view.points.binary_search_by_key(point, |of| of.point).is_ok())
    }

    pub(super) fn ids_dir(&self) -> PathBuf {
        self.dir.join("ids")
    }

    fn seen_dir(&self) -> PathBuf {
        self.dir.join("seen")
    }

    fn last_seen(&self) -> Option<Seen> {
        let seen = self.seen();
        let link = HEXLOWER.decode(seen.link_hex.as_bytes()).ok()?.try_into().ok()?;
        Some(Seen { number: ManifestNumber(seen.number), link: Link(link) })
    }

    /// Asks the vault for its newest manifest.
    pub async fn look(&self) -> Result<Opened, Failure> {
        let opened = manifests::open(&*self.place, Unlock::Master(&self.master), self.last_seen());
        let opened = match opened.await {
            Ok(opened) => opened,
            Err(error) => {
                let failure = of_chain(&error);
                self.state().failure = Some(failure.clone());
                return Err(failure);
            }
        };
        self.saw(opened.clone()).await;
        Ok(opened)
    }

    /// Remembers what the vault holds now.
    pub(super) async fn saw(&self, opened: Opened) {
        self.remember(&opened).await;
        let mut state = self.state();
        state.seen.number = opened.newest.number.0;
        state.seen.link_hex = HEXLOWER.encode(&opened.newest.link.0);
        state.opened = Some(opened);
        state.failure = None;
    }

    /// Keeps the newest manifests in the state directory: what was seen can be listed without asking.
    async fn remember(&self, opened: &Opened) {
        let kept = async {
            let dir = self.seen_dir();
            std::fs::create_dir_all(&dir)?;
            let store = DirectoryStore::open(&dir).map_err(std::io::Error::other)?;
            let names: Vec<&str> = opened.stored.iter().map(|(name, _)| name.as_str()).collect();
            let known = store.list("m/", "", 64).await.map_err(std::io::Error::other)?;
            for (name, bytes) in &opened.stored {
                let made = store.create(name, bytes.clone(), None).await;
                made.map_err(std::io::Error::other)?;
            }
            for entry in known.entries.iter().filter(|entry| !names.contains(&entry.name.as_str())) {
                store.delete(&entry.name).await.map_err(std::io::Error::other)?;
            }
            Ok::<_, std::io::Error>(())
        };
        if let Err(error) = kept.await {
            tracing::warn!(vault = self.name(), error = chain(&error), "the vault's list is not kept");
        }
    }

    /// What was seen last, without asking.
    pub(super) async fn recall(&self) {
        let Ok(store) = DirectoryStore::open(&self.seen_dir()) else { return };
        let opened = manifests::open(&store, Unlock::Master(&self.master), self.last_seen()).await;
        if let Ok(opened) = opened {
            self.state().opened = Some(opened);
        }
    }

    /// Whether the store still does what was found out about it when it was set up.
    pub(super) async fn creates_only(&self) -> Result<bool, Failure> {
        let probed = keelhold_vault::store::probe(&*self.place, &mut Random).await;
        Ok(probed.map_err(|error| of_store_error(&error))?.creates_only)
    }
}
