//! The pool: many disks, one log of numbered chunks, and the points that refer to them.
//!
//! One thread. [`Pool`] is a handle; everything it does is an asynchronous function over an
//! asynchronous [`Device`], so that the simulator runs the same code over a lying disk.
//!
//! **The road of a backup.** [`Pool::begin`] opens a session. [`Pool::offer`] tells which chunks the
//! machine need not send. [`Pool::verify_frame`] proves what it sends, [`Pool::place_frame`] keeps what
//! is new. [`Pool::push`] describes the tree. [`Pool::commit`] makes a point of it: payload durable,
//! then the journal entry that names it, then the answer.
//!
//! **What protects what from what**
//!
//! | starting \ running | ingest | commit | checkpoint | read |
//! |---|---|---|---|---|
//! | ingest | own builder, own container | runs issued before the entry are waited for | sees only journaled effects | waits for runs on their way |
//! | commit | the journal's lock, entries shared | the journal's lock | position noted under the journal's lock | nothing |
//! | checkpoint | as commit | as commit | one at a time | freed slots wait for two checkpoints |
//! | read | nothing | nothing | nothing | caches only |
//!
//! What gives room back, looks for rot and copies containers goes on beside all of that:
//!
//! | running | beside sessions and commits | beside readers | beside its like and the others |
//! |---|---|---|---|
//! | reclaim | what a session was told of is not dead; looked at once more, between two awaits, when a container is given up (`reclaim/free.rs`) | an epoch is held from the look-up on (`epoch.rs`) | one at a time (`reclaiming`); a container whose slots changed meanwhile keeps its number |
//! | scrub | runs not journaled are not looked at | holds an epoch itself | a container freed meanwhile is no finding |
//! | heal, moves | the container is closed and all its runs journaled before it is copied (`settle`) | the slot that is left rests for two checkpoints | one copy at a time (`moving`); a container freed meanwhile gives the slot back |

mod audit;
mod cache;
mod checkpoint;
mod copies;
mod create;
mod disk;
mod disks;
mod epoch;
mod event;
mod exclusive;
mod forget;
mod frame;
mod heal;
mod inspect;
mod journal;
mod keys;
mod layout;
mod listing;
mod loss;
mod members;
mod moves;
mod near;
mod open;
mod outgoing;
mod outside;
mod phase;
mod prove;
mod read;
mod reader;
mod rebuild;
mod reclaim;
mod records;
mod recover;
mod refs;
mod roots;
mod run;
mod scrub;
mod session;
mod sheets;
mod slots;
mod source;
mod space;
mod status;
mod steps;
mod store;
mod tables;
mod tail;
mod verify;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::{Rc, Weak};

use futures_util::lock::Mutex;
use keelhold_chunk::IdKey;
use keelhold_chunk::cut::CutParams;

use crate::buffer::BufferPool;
use crate::device::Device;
use crate::exec::Spawner;
use crate::format::Codec;
use crate::mutants::Mutants;
use crate::seal::WrappingKey;
use crate::units::{PointId, PoolId, SessionId, SourceId, UnixNanos};
use crate::work::Work;

pub use crate::format::DiskState;
pub use crate::tree::Piece;
pub use audit::Claim;
pub use create::CreateOptions;
pub use exclusive::Forecast;
pub use frame::{FRAME_TARGET, IncomingFrame, VerifiedFrame};
pub use heal::HealReport;
pub use inspect::{DiskReport, Fact, Inspector, Section, Where, inspect_disk};
pub use keys::ContentKeys;
pub use members::DrainReport;
pub use open::{LabelFound, read_label};
pub use outgoing::{Anatomy, ChunkOut, FrameOut, FramesOut, IdsOut, Unread};
pub use outside::OutsideReport;
pub use reader::{PointHold, PointReader};
pub use reclaim::{ReclaimOptions, ReclaimProgress, ReclaimReport};
pub use records::{Record, RecordChange};
pub use run::RUN_BUFFER_LEN;
pub use scrub::{ScrubAt, ScrubReport};
pub use session::{BeginSession, CommitPoint, NewContent, NewExtent, NewItem, Placed, SessionInfo};
pub use status::{DiskStatus, PointInfo, PoolStatus};
pub use store::PageError;
pub use verify::{VerifyFinding, VerifyReport};

/// Where random bytes come from: salts and ids. Injected, as the engine draws none itself.
pub trait Entropy {
    fn fill(&mut self, bytes: &mut [u8]);
}

/// What the engine is given besides its disks.
pub struct Surroundings<W> {
    pub work: W,
    pub spawner: Spawner,
    pub entropy: Box<dyn Entropy>,
    /// Memory for runs on their way to the disks.
    pub buffers: BufferPool,
    pub mutants: Mutants,
    /// Chunks up to which the index is in memory, some 30 bytes for each. Above, some 3 bytes are, and
    /// ids are looked up on the disks.
    pub index_budget: u64,
    /// Wraps the data key of an encrypted pool. A pool that is made with one becomes encrypted; one
    /// that is opened must be.
    pub key: Option<WrappingKey>,
}

/// Chunks up to which the index is in memory, unless somebody says otherwise.
pub const INDEX_BUDGET: u64 = 5_000_000;

impl<W> fmt::Debug for Surroundings<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Surroundings")
    }
}

/// See [`Pool::hold`].
#[derive(Debug)]
pub struct Hold {
    _epoch: epoch::Epoch,
}

/// An open pool. Clones are the same pool.
pub struct Pool<D: Device, W: Work> {
    inner: Rc<Inner<D, W>>,
}

struct Inner<D: Device, W: Work> {
    this: Weak<Self>,
    fixed: layout::Fixed,
    disks: RefCell<Vec<Rc<disk::Disk<D>>>>,
    noted: copies::Noted,
    work: W,
    spawner: Spawner,
    entropy: RefCell<Box<dyn Entropy>>,
    /// Memory for runs.
    buffers: BufferPool,
    /// Memory for frames that are read. Where it is all out, a read makes its own.
    read_buffers: BufferPool,
    mutants: Mutants,
    index_budget: u64,
    near: RefCell<near::Near>,
    tables: RefCell<tables::Tables>,
    journal: journal::Journal,
    space: space::Space,
    cache: RefCell<cache::Cache>,
    live: RefCell<BTreeMap<SessionId, Rc<session::Live>>>,
    trees: RefCell<BTreeMap<SessionId, session::Tree<D, W>>>,
    /// One change of the chain of a source at a time.
    turns: RefCell<BTreeMap<SourceId, Rc<Mutex<()>>>>,
    /// Points that are being read, and how often.
    readers: RefCell<BTreeMap<PointId, u32>>,
    reclaiming: Mutex<()>,
    reclaim_progress: Cell<ReclaimProgress>,
    /// See [`epoch`].
    epochs: epoch::Epochs,
    leasing: Mutex<()>,
    recording: Mutex<()>,
    /// One disk joins or leaves, or one copy of a container is made, at a time.
    moving: Mutex<()>,
    checkpoints: Mutex<checkpoint::Checkpoints>,
    codec: Cell<Codec>,
    /// Keys as the next superblock carries them, in an encrypted pool.
    wrapping: RefCell<Option<keys::Wrapping>>,
}

impl<D: Device, W: Work> Inner<D, W> {
    fn handle(&self) -> Rc<Self> {
        self.this.upgrade().expect("whoever calls a method holds the pool")
    }

    fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.entropy.borrow_mut().fill(&mut bytes);
        bytes
    }

    /// Whoever holds it may change the chain of the source.
    fn turn_of(&self, source: SourceId) -> Rc<Mutex<()>> {
        Rc::clone(self.turns.borrow_mut().entry(source).or_default())
    }

    /// Time only goes forward: what any caller once said, the pool has seen.
    fn witness(&self, now: UnixNanos) {
        let mut tables = self.tables.borrow_mut();
        tables.witnessed = tables.witnessed.max(now.0);
    }
}

impl<D: Device, W: Work> Pool<D, W> {
    #[must_use]
    pub fn id(&self) -> PoolId {
        self.inner.fixed.pool
    }

    #[must_use]
    pub fn id_key(&self) -> IdKey {
        self.inner.fixed.id_key.clone()
    }

    #[must_use]
    pub fn cut_params(&self) -> CutParams {
        self.inner.fixed.cut.clone()
    }

    /// While this is held, nothing that is given up from now on is overwritten.
    #[must_use]
    pub fn hold(&self) -> Hold {
        Hold { _epoch: self.inner.epochs.hold() }
    }

    /// Highest time any caller ever told the pool.
    #[must_use]
    pub fn witnessed(&self) -> UnixNanos {
        UnixNanos(self.inner.tables.borrow().witnessed)
    }

    /// Codec of frames the pool makes itself. Frames that arrive keep theirs.
    pub fn set_codec(&self, codec: Codec) {
        self.inner.codec.set(codec);
    }
}

impl<D: Device, W: Work> Clone for Pool<D, W> {
    fn clone(&self) -> Self {
        Self { inner: Rc::clone(&self.inner) }
    }
}

impl<D: Device, W: Work> fmt::Debug for Pool<D, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({})", self.inner.fixed.pool)
    }
}
