//! What the appliance remembers between shipments: after which manifest everything was in order, and
//! whether one is under way. Believed only if it proves itself and names the newest manifest; who knows
//! nothing looks at what is in the vault.

use std::fs;
use std::path::Path;

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::format::Parent;
use crate::units::VaultId;

const MAGIC: u32 = u32::from_le_bytes(*b"KHVS");

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawState {
    magic: U32,
    version: U32,
    vault: [u8; 16],
    newest: U64,
    link: [u8; 32],
    shipping: U64,
    check: [u8; 16],
}

const CHECKED_LEN: usize = 72;
const _: () = assert!(std::mem::offset_of!(RawState, check) == CHECKED_LEN);

/// After `newest` nothing was left behind, or the shipment `shipping` was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    pub newest: Parent,
    /// 0: none.
    pub shipping: u64,
}

fn check(raw: &RawState) -> [u8; 16] {
    let hash = blake3::hash(&raw.as_bytes()[..CHECKED_LEN]);
    hash.as_bytes().first_chunk().copied().expect("a hash is longer")
}

pub(super) fn read(path: &Path, vault: VaultId) -> Option<State> {
    let raw = RawState::read_from_bytes(&fs::read(path).ok()?).ok()?;
    let is_ours = raw.magic.get() == MAGIC && raw.version.get() == 1 && raw.vault == vault.0;
    (is_ours && check(&raw) == raw.check).then(|| {
        let number = crate::units::ManifestNumber(raw.newest.get());
        let newest = Parent { number, link: crate::format::Link(raw.link) };
        State { newest, shipping: raw.shipping.get() }
    })
}

pub(super) fn write(path: &Path, vault: VaultId, state: &State) -> std::io::Result<()> {
    let mut raw = RawState {
        magic: U32::new(MAGIC),
        version: U32::new(1),
        vault: vault.0,
        newest: U64::new(state.newest.number.0),
        link: state.newest.link.0,
        shipping: U64::new(state.shipping),
        check: [0; 16],
    };
    raw.check = check(&raw);
    let partial = path.with_extension("partial");
    fs::write(&partial, raw.as_bytes())?;
    // Before anything is sent: who forgets that he has begun does not look for what he left.
    fs::File::open(&partial)?.sync_all()?;
    fs::rename(&partial, path)
}
