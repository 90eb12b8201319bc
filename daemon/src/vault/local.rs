//! One vault: the place, the key, and what this appliance knows of it.

use super::Vaults;
use super::failure::{of_chain, of_open_place, of_store_error};
use super::pace::VaultPace;
use super::place::Place;
use super::records::Known;
use crate::clock::SharedClock;
use crate::failure::{Code, Failure, chain};
use crate::job::JobId;
use crate::record::{VaultRecord, VaultSecret, VaultSeen};
use data_encoding::HEXLOWER;
use keelhold_disk::units::PointId;
use keelhold_policy::schedule::Kind;
use keelhold_vault::chain::{self as manifests, Opened, Seen, Terms, Unlock};
use keelhold_vault::format::{Link, Manifest, Name, Parent};
use keelhold_vault::ids::Ids;
use keelhold_vault::keys::MasterKey;
use keelhold_vault::store::{DirectoryStore, LIST_MAX, Store as _, StoreError};
use keelhold_vault::{ManifestNumber, VaultId};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use zeroize::Zeroizing;

/// How long a start of the daemon waits for a vault of which it knows nothing.
const FIRST_LOOK: Duration = Duration::from_secs(15);

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
    /// Of this run of the daemon.
    pub opened: Option<Opened>,
    /// What the vault held when it was last seen.
    pub view: Option<Arc<Manifest>>,
    /// Why the last try did not work.
    pub failure: Option<Failure>,
    pub seen: VaultSeen,
    /// The job that ships, and the one that reads and proves.
    pub job: Option<JobId>,
    pub proving: Option<JobId>,
    /// Asked for by the schedule and not begun.
    pub wanted: Vec<(String, Kind)>,
    /// By hand, while a job ran.
    pub again: bool,
    /// Leases are to be looked after.
    pub renews: bool,
    /// Somebody is about to ship what was wanted.
    pub begun: bool,
    /// What the vault has of the records, as of this manifest.
    pub records: Option<(Parent, Known)>,
    pub terms: Option<Terms>,
    /// Why the second place is not in step.
    pub geo_failure: Option<Failure>,
    pub pause: Option<Duration>,
    pub not_before: Option<tokio::time::Instant>,
}

#[derive(Debug)]
pub struct Vault {
    record: Mutex<VaultRecord>,
    pub(super) master: Arc<MasterKey>,
    /// Opened when it is needed, and anew after a failure: a disk may be mounted meanwhile.
    place: Mutex<Option<Arc<Place>>>,
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

pub fn open_place(
    url: &str,
    endpoint: Option<&str>,
    credential: Option<&str>,
) -> Result<Arc<Place>, Failure> {
    let place = Place::open(url, endpoint, credential, None);
    place.map(Arc::new).map_err(|error| of_open_place(&error))
}

/// As `open_place`, for somebody who sends much.
pub(super) fn open_paced(
    url: &str,
    endpoint: Option<&str>,
    credential: Option<&str>,
    pace: &VaultPace,
) -> Result<Place, Failure> {
    let place = Place::open(url, endpoint, credential, Some(pace));
    place.map_err(|error| of_open_place(&error))
}

impl Vault {
    pub fn new(
        record: VaultRecord,
        secret: &VaultSecret,
        seen: VaultSeen,
        vaults: &Vaults,
        clock: SharedClock,
    ) -> Result<Self, Failure> {
        let master = Arc::new(master_of(&record.id, secret)?);
        let state = State { seen, ..State::default() };
        Ok(Self {
            master,
            place: Mutex::default(),
            secret: Mutex::new(secret.clone()),
            pace: VaultPace::new(&record.bandwidth, vaults.zone.clone(), clock),
            dir: vaults.dir.join(&record.id),
            record: Mutex::new(record),
            writing: tokio::sync::Mutex::new(None),
            state: Mutex::new(state),
        })
    }

    /// Where its objects are.
    pub(super) fn place(&self) -> Result<Arc<Place>, Failure> {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = &*place {
            return Ok(Arc::clone(place));
        }
        let record = self.record();
        let secret = self.secret.lock().unwrap_or_else(PoisonError::into_inner);
        let credential = secret.credential.as_deref();
        let endpoint = record.endpoint.as_deref();
        let opened = Arc::new(open_paced(&record.url, endpoint, credential, &self.pace)?);
        *place = Some(Arc::clone(&opened));
        Ok(opened)
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

    #[must_use]
    pub fn opened(&self) -> Option<Opened> {
        self.state().opened.clone()
    }

    /// What the vault holds, as far as it was seen.
    #[must_use]
    pub fn view(&self) -> Option<Arc<Manifest>> {
        self.state().view.clone()
    }

    #[must_use]
    pub fn has(&self, point: &PointId) -> bool {
        let view = self.view();
        view.is_some_and(|view| view.points.binary_search_by_key(point, |of| of.point).is_ok())
    }

    pub(super) fn dir(&self) -> PathBuf {
        self.dir.clone()
    }

    pub(super) fn ids_dir(&self) -> PathBuf {
        self.dir.join("ids")
    }

    pub(super) fn last_seen(&self) -> Option<Seen> {
        let seen = self.seen();
        let link = HEXLOWER.decode(seen.link_hex.as_bytes()).ok()?.try_into().ok()?;
        Some(Seen { number: ManifestNumber(seen.number), link: Link(link) })
    }

    async fn ask(&self) -> Result<Opened, Failure> {
        let (place, seen) = (self.place()?, self.last_seen());
        let opened = manifests::open(&*place, Unlock::Master(&self.master), seen).await;
        opened.map_err(|error| of_chain(&error))
    }

    /// Asks the vault for its newest manifest.
    pub async fn look(&self) -> Result<Opened, Failure> {
        let opened = match self.ask().await {
            Ok(opened) => opened,
            Err(failure) => {
                *self.place.lock().unwrap_or_else(PoisonError::into_inner) = None;
                self.state().failure = Some(failure.clone());
                return Err(failure);
            }
        };
        self.saw(opened.clone()).await;
        Ok(opened)
    }

    /// Remembers what the vault holds now.
    pub(super) async fn saw(&self, opened: Opened) {
        if let Err(error) = self.remember(&opened).await {
            tracing::warn!(
                vault = self.name(),
                error = chain(&error),
                "the vault's list is not kept"
            );
        }
        let mut state = self.state();
        state.seen.number = opened.newest.number.0;
        state.seen.link_hex = HEXLOWER.encode(&opened.newest.link.0);
        state.view = Some(Arc::clone(&opened.view));
        state.opened = Some(opened);
        state.failure = None;
    }

    /// Keeps what the vault holds in the state directory, as a full manifest: it can be listed without
    /// asking. Nobody commits on top of it.
    async fn remember(&self, opened: &Opened) -> std::io::Result<()> {
        let (dir, view) = (self.dir.join("seen"), &*opened.view);
        if self.view().is_some_and(|known| known.number == view.number) {
            return Ok(());
        }
        let bytes = view.seal(&opened.slots, &opened.master, &mut Random);
        let name = Name::Manifest(view.number).to_string();
        std::fs::create_dir_all(&dir)?;
        let store = DirectoryStore::open(&dir).map_err(std::io::Error::other)?;
        let failed = std::io::Error::other::<StoreError>;
        store.create(&name, bytes.into(), None).await.map_err(failed)?;
        let older = store.list(Name::MANIFESTS, &name, LIST_MAX).await.map_err(failed)?;
        for entry in older.entries {
            store.delete(&entry.name).await.map_err(failed)?;
        }
        Ok(())
    }

    /// What was seen last, without asking.
    pub(super) async fn recall(&self) {
        let Ok(store) = DirectoryStore::open(&self.dir.join("seen")) else { return };
        let opened = manifests::open(&store, Unlock::Master(&self.master), None).await;
        if let Ok(opened) = opened {
            self.state().view = Some(opened.view);
        }
    }

    /// Asks a vault of which nothing is known here, for as long as a start may take.
    pub(super) async fn look_first(&self) {
        if self.view().is_none() {
            let _ = tokio::time::timeout(FIRST_LOOK, self.look()).await;
        }
    }

    /// What the store does with what is there already; tried out once in a run of the daemon.
    pub(super) async fn terms(&self) -> Result<Terms, Failure> {
        if let Some(terms) = self.state().terms {
            return Ok(terms);
        }
        let probed = keelhold_vault::store::probe(&*self.place()?, &mut Random).await;
        let creates_only = probed.map_err(|error| of_store_error(&error))?.creates_only;
        let terms = Terms { creates_only, until: None };
        self.state().terms = Some(terms);
        Ok(terms)
    }
}
