//! The slots of a vault together: what every manifest carries, what opens it, and how one is replaced.

use std::fmt;

use thiserror::Error;

use super::kdf::{KdfError, KdfParams};
use super::passphrase::Passphrase;
use super::slot::{KitShape, SLOT_LEN, Slot, SlotFault, SlotKind, SlotPlan};
use super::{KitId, KitSecret, MasterKey};
use crate::random::Random;
use crate::units::VaultId;

pub const SLOTS_MAX: usize = 8;

/// Tells one master key from every other. In clear in every manifest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MasterCheck(pub [u8; 32]);

impl fmt::Debug for MasterCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..6].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Slots of one vault, and which master key is in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slots {
    vault: VaultId,
    check: MasterCheck,
    slots: Vec<Slot>,
}

/// Why bytes are no table of slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SlotsFault {
    #[error("{count} slots, allowed are 1 to {SLOTS_MAX}")]
    Count { count: usize },
    #[error("{len} bytes are no whole number of slots")]
    Len { len: usize },
    #[error("slot {index} cannot be: {fault}")]
    Slot {
        index: usize,
        #[source]
        fault: SlotFault,
    },
    #[error("two slots have the number {number}")]
    Twice { number: u8 },
}

/// Why a vault does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OpenError {
    #[error("no passphrase opens this vault: it has none")]
    NoPassphrase,
    #[error("no recovery kit opens this vault: it has none")]
    NoKit,
    #[error("the passphrase is not the one of this vault")]
    WrongPassphrase,
    #[error("recovery kit {given} is not the one of this vault, which is {wanted}")]
    OtherKit { given: KitId, wanted: KitId },
    #[error("the slot of the vault was altered")]
    Altered,
    #[error("the passphrase could not be tried: {0}")]
    Kdf(#[source] KdfError),
}

impl Slots {
    /// A vault that nothing opens yet.
    #[must_use]
    pub fn new(master: &MasterKey) -> Self {
        Self { vault: master.vault(), check: master.check(), slots: Vec::new() }
    }

    #[must_use]
    pub fn vault(&self) -> VaultId {
        self.vault
    }

    #[must_use]
    pub fn check(&self) -> MasterCheck {
        self.check
    }

    #[must_use]
    pub fn all(&self) -> &[Slot] {
        &self.slots
    }

    /// A passphrase from now on, in place of the one before: what it opened stays as it is.
    pub fn set_passphrase(
        &mut self,
        master: &MasterKey,
        passphrase: &Passphrase,
        params: KdfParams,
        made_at: i64,
        random: &mut impl Random,
    ) -> Result<(), KdfError> {
        let kind = SlotKind::Passphrase(params);
        let plan = self.plan(kind, made_at, random);
        let secret = params.stretch(passphrase, &plan.salt)?;
        self.replace(Slot::make(self.own(master), &plan, &secret, random));
        Ok(())
    }

    /// A recovery kit from now on, in place of the one before.
    pub fn set_kit(
        &mut self,
        master: &MasterKey,
        secret: &KitSecret,
        shape: KitShape,
        made_at: i64,
        random: &mut impl Random,
    ) {
        let kind = SlotKind::Kit { kit: secret.id(self.vault), shape };
        let plan = self.plan(kind, made_at, random);
        self.replace(Slot::make(self.own(master), &plan, secret.as_bytes(), random));
    }

    pub fn open_with_passphrase(&self, passphrase: &Passphrase) -> Result<MasterKey, OpenError> {
        let mut error = OpenError::NoPassphrase;
        for slot in &self.slots {
            let SlotKind::Passphrase(params) = slot.kind() else {
                continue;
            };
            let secret = params.stretch(passphrase, slot.salt()).map_err(OpenError::Kdf)?;
            match slot.open(self.vault, &secret) {
                None => error = OpenError::WrongPassphrase,
                Some(opened) => return self.proved(opened),
            }
        }
        Err(error)
    }

    pub fn open_with_kit(&self, secret: &KitSecret) -> Result<MasterKey, OpenError> {
        let given = secret.id(self.vault);
        let mut error = OpenError::NoKit;
        for slot in &self.slots {
            let SlotKind::Kit { kit, .. } = slot.kind() else {
                continue;
            };
            if kit != given {
                error = OpenError::OtherKit { given, wanted: kit };
                continue;
            }
            return self
                .proved(slot.open(self.vault, secret.as_bytes()).ok_or(OpenError::Altered)?);
        }
        Err(error)
    }

    fn proved<E>(&self, opened: Result<MasterKey, E>) -> Result<MasterKey, OpenError> {
        opened.ok().filter(|master| master.check() == self.check).ok_or(OpenError::Altered)
    }

    fn own<'a>(&self, master: &'a MasterKey) -> &'a MasterKey {
        assert_eq!(master.check(), self.check, "slots of a vault wrap its own master key");
        master
    }

    fn plan(&self, kind: SlotKind, made_at: i64, random: &mut impl Random) -> SlotPlan {
        let is_free = |number: &u8| self.slots.iter().all(|slot| slot.number() != *number);
        let number = (1..=u8::MAX).find(is_free).expect("there are at most eight slots");
        SlotPlan { number, kind, made_at, salt: random.array() }
    }

    fn replace(&mut self, slot: Slot) {
        let kind = std::mem::discriminant(&slot.kind());
        self.slots.retain(|other| std::mem::discriminant(&other.kind()) != kind);
        self.slots.push(slot);
    }

    /// The slots one after another.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.slots.iter().flat_map(Slot::to_bytes).collect()
    }

    pub fn from_bytes(
        vault: VaultId,
        check: MasterCheck,
        bytes: &[u8],
    ) -> Result<Self, SlotsFault> {
        let (rows, rest) = bytes.as_chunks::<SLOT_LEN>();
        if !rest.is_empty() {
            return Err(SlotsFault::Len { len: bytes.len() });
        }
        if !(1..=SLOTS_MAX).contains(&rows.len()) {
            return Err(SlotsFault::Count { count: rows.len() });
        }
        let mut slots: Vec<Slot> = Vec::with_capacity(rows.len());
        for (index, row) in rows.iter().enumerate() {
            let slot = Slot::from_bytes(row).map_err(|fault| SlotsFault::Slot { index, fault })?;
            let number = slot.number();
            if slots.iter().any(|other| other.number() == number) {
                return Err(SlotsFault::Twice { number });
            }
            slots.push(slot);
        }
        Ok(Self { vault, check, slots })
    }
}
