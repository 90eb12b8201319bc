//! What the errors of vaults mean to people.

use crate::failure::{Code, Failure, chain};
use keelhold_vault::chain::{ChainError, VoidReason};
use keelhold_vault::format::FormatFault;
use keelhold_vault::ids::IdsError;
use keelhold_vault::lease::LeaseError;
use keelhold_vault::prune::PruneError;
use keelhold_vault::read::ReadError;
use keelhold_vault::repack::RepackError;
use keelhold_vault::ship::ShipError;
use keelhold_vault::store::{OpenError, StoreError, StoreFault};

#[must_use]
pub fn of_store_error(error: &StoreError) -> Failure {
    let code = match &error.fault {
        StoreFault::Refused | StoreFault::Credentials | StoreFault::NoLocks => Code::VaultRefused,
        StoreFault::Unavailable { .. }
        | StoreFault::Short { .. }
        | StoreFault::Silent { .. }
        | StoreFault::Unreachable
        | StoreFault::Cut => Code::VaultUnreachable,
        StoreFault::Full => Code::VaultFull,
        StoreFault::ClockSkew { .. } => Code::VaultClock,
        StoreFault::NoBucket | StoreFault::Region { .. } | StoreFault::Io { .. } => {
            Code::VaultPlace
        }
        StoreFault::NotFound
        | StoreFault::Unfit
        | StoreFault::TooLong
        | StoreFault::Answer { .. }
        | StoreFault::Range { .. }
        | StoreFault::Listing { .. }
        | StoreFault::Name
        | StoreFault::Limit { .. } => Code::VaultDamaged,
    };
    Failure::of(code, error)
}

#[must_use]
pub fn of_open_place(error: &OpenError) -> Failure {
    let code = match error {
        OpenError::Url | OpenError::Endpoint => Code::VaultUrl,
        OpenError::NoCredential
        | OpenError::OtherCredential
        | OpenError::Credential(_)
        | OpenError::AccountKey => Code::VaultCredential,
        OpenError::Client(_) => Code::Internal,
        OpenError::Store(error) if error.fault == StoreFault::NotFound => Code::VaultPlace,
        OpenError::Store(error) => return of_store_error(error),
    };
    Failure::of(code, error)
}

fn of_void(reason: &VoidReason) -> Code {
    match reason {
        VoidReason::Format(FormatFault::Version { .. }) => Code::VaultNewer,
        VoidReason::Format(FormatFault::Vault { .. } | FormatFault::MasterKey) => {
            Code::VaultForeign
        }
        VoidReason::Unlock(_) => Code::VaultKey,
        _ => Code::VaultDamaged,
    }
}

#[must_use]
pub fn of_chain(error: &ChainError) -> Failure {
    let code = match error {
        ChainError::Store(error) => return of_store_error(error),
        ChainError::Empty => Code::VaultEmpty,
        ChainError::NotEmpty => Code::VaultForeign,
        ChainError::Unlock { .. } | ChainError::Replaced { .. } => Code::VaultKey,
        ChainError::NothingOpens { void } => {
            let code = void.first().map_or(Code::VaultDamaged, |void| of_void(&void.reason));
            let why =
                void.first().map(|void| format!("; manifest {}: {}", void.number, void.reason));
            return Failure::new(code, format!("{}{}", chain(error), why.unwrap_or_default()));
        }
        ChainError::Base { reason, .. } => of_void(reason),
        ChainError::TooManyVoid { .. }
        | ChainError::Merge { .. }
        | ChainError::NotReadBack { .. } => Code::VaultDamaged,
        ChainError::Rollback { .. } => Code::VaultRollback,
        ChainError::Overtaken { .. } | ChainError::Contended { .. } => Code::VaultBusy,
        ChainError::Slots | ChainError::TooLong { .. } | ChainError::Exhausted => Code::Internal,
    };
    Failure::of(code, error)
}

#[must_use]
pub fn of_ids(error: &IdsError) -> Failure {
    match error {
        IdsError::Store(error) => of_store_error(error),
        IdsError::Io { .. } => Failure::of(Code::StateUnusable, error),
        IdsError::Damaged { .. } | IdsError::Index { .. } => Failure::of(Code::VaultDamaged, error),
    }
}

#[must_use]
pub fn of_ship(error: &ShipError) -> Failure {
    let code = match error {
        ShipError::Store(error) => return of_store_error(error),
        ShipError::Chain(error) => return of_chain(error),
        ShipError::Ids(error) => return of_ids(error),
        ShipError::Source(_) => Code::PoolDamaged,
        ShipError::Stopped => Code::Cancelled,
        ShipError::Foreign { .. } => Code::VaultForeign,
        ShipError::Lock { .. } => Code::VaultRefused,
        ShipError::Unplaced { .. } => Code::VaultDamaged,
        ShipError::Answer { .. } | ShipError::AllRecordsNeeded | ShipError::TooManyRecords => {
            Code::Internal
        }
    };
    Failure::of(code, error)
}

#[must_use]
pub fn of_lease(error: &LeaseError) -> Failure {
    match error {
        LeaseError::Store(error) => of_store_error(error),
        LeaseError::Ids(error) => of_ids(error),
        LeaseError::Shorter { .. } => Failure::of(Code::VaultLocks, error),
    }
}

#[must_use]
pub fn of_prune(error: &PruneError) -> Failure {
    match error {
        PruneError::Store(error) => of_store_error(error),
        PruneError::Chain(error) => of_chain(error),
        PruneError::TooMuch { .. } => Failure::of(Code::VaultPruneMuch, error),
        _ => Failure::of(Code::VaultDamaged, error),
    }
}

#[must_use]
pub fn of_repack(error: &RepackError) -> Failure {
    let code = match error {
        RepackError::Store(error) => return of_store_error(error),
        RepackError::Chain(error) => return of_chain(error),
        RepackError::Ids(error) => return of_ids(error),
        RepackError::Leftovers(error) => return of_ship(error),
        RepackError::Unknown { .. } => Code::Internal,
        RepackError::Damaged { .. } | RepackError::OtherBytes { .. } => Code::VaultDamaged,
        RepackError::Foreign { .. } => Code::VaultForeign,
    };
    Failure::of(code, error)
}

#[must_use]
pub fn of_read(error: &ReadError) -> Failure {
    let code = match error {
        ReadError::Store(error) => return of_store_error(error),
        ReadError::NoPoint { .. } => Code::VaultNoPoints,
        ReadError::ReadOnly | ReadError::NoIdKey => Code::Internal,
        _ => Code::VaultDamaged,
    };
    Failure::of(code, error)
}
