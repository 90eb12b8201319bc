//! The recovery kit: a random secret in n shares, any k of which open the vault.
//!
//! A share is 65 bytes, printed as four lines that somebody may have to type. Each line has a check of
//! its own, so a mistake is found in its line; the share has one over everything; and the kit's id
//! proves the secret that the shares give together. One file with one share is the kit of who does not
//! want to share.

mod field;
mod shamir;
mod text;

use thiserror::Error;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};
use zeroize::Zeroizing;

use crate::keys::{KitId, KitSecret, KitShape, derive};
use crate::random::Random;
use crate::units::VaultId;

pub use text::{TextFault, parse, print};

const VERSION: u8 = 1;
const VALUE_LEN: usize = 32;
const CHECKSUM_LEN: usize = 5;

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawShare {
    version: u8,
    need: u8,
    shares: u8,
    number: u8,
    kit: [u8; 8],
    vault: [u8; 16],
    value: [u8; VALUE_LEN],
    checksum: [u8; CHECKSUM_LEN],
}

pub const SHARE_LEN: usize = size_of::<RawShare>();
const CHECKED_LEN: usize = SHARE_LEN - CHECKSUM_LEN;
const _: () = assert!(SHARE_LEN == 65);

/// One part of a kit.
#[derive(Clone)]
pub struct Share {
    pub vault: VaultId,
    pub kit: KitId,
    pub shape: KitShape,
    /// From 1.
    pub number: u8,
    value: Zeroizing<[u8; VALUE_LEN]>,
}

impl std::fmt::Debug for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (need, shares) = (self.shape.need(), self.shape.shares());
        write!(f, "Share(secret, {} of {shares}, {need} needed, kit {})", self.number, self.kit)
    }
}

/// Why 65 bytes are no share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ShareFault {
    #[error("its checksum does not match: a letter is wrong")]
    Checksum,
    #[error("it is of version {found}, this program knows {VERSION}")]
    Version { found: u8 },
    #[error("share {number} of {shares}, {need} needed: that cannot be")]
    Shape { number: u8, shares: u8, need: u8 },
}

/// Why shares do not give a secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CombineError {
    #[error("there is no share")]
    Empty,
    #[error("share {number} is from kit {found}, the others are from {expected}")]
    OtherKit { number: u8, expected: KitId, found: KitId },
    #[error("share {number} is from vault {found}, the others are from {expected}")]
    OtherVault { number: u8, expected: VaultId, found: VaultId },
    #[error("share {number} says of its kit what the others do not")]
    OtherShape { number: u8 },
    #[error("{have} of {need} shares are there, {} still missing", .need - .have)]
    TooFew { have: u8, need: u8 },
    #[error("two different shares have the number {number}")]
    Twice { number: u8 },
    #[error(
        "these shares do not belong together though each is sound; with one more the wrong one can be named"
    )]
    Mismatch,
    #[error("share {number} is not genuine; the others suffice without it")]
    Forged { number: u8 },
}

/// Splits a secret. What is drawn for it is used once.
#[must_use]
pub fn split(
    secret: &KitSecret,
    vault: VaultId,
    shape: KitShape,
    random: &mut impl Random,
) -> Vec<Share> {
    let kit = secret.id(vault);
    let values = shamir::split(secret.as_bytes(), shape, random);
    (1..).zip(values).map(|(number, value)| Share { vault, kit, shape, number, value }).collect()
}

/// The secret that shares give together. The same share twice counts once; more than needed may be
/// given, and all of them must agree.
pub fn combine(shares: &[Share]) -> Result<KitSecret, CombineError> {
    let first = shares.first().ok_or(CombineError::Empty)?;
    let mut distinct: Vec<&Share> = Vec::new();
    for share in shares {
        let number = share.number;
        if share.vault != first.vault {
            let (expected, found) = (first.vault, share.vault);
            return Err(CombineError::OtherVault { number, expected, found });
        }
        if share.kit != first.kit {
            return Err(CombineError::OtherKit { number, expected: first.kit, found: share.kit });
        }
        if share.shape != first.shape {
            return Err(CombineError::OtherShape { number });
        }
        match distinct.iter().find(|other| other.number == number) {
            Some(other) if other.value == share.value => {}
            Some(_) => return Err(CombineError::Twice { number }),
            None => distinct.push(share),
        }
    }
    let (have, need) = (distinct.len(), usize::from(first.shape.need()));
    if have < need {
        return Err(CombineError::TooFew { have: have as u8, need: need as u8 });
    }
    let chosen = &distinct[..need];
    match secret_of(chosen) {
        Some(secret) => fits_the_rest(chosen, &distinct[need..]).map(|()| secret),
        None => Err(forged(&distinct, need).unwrap_or(CombineError::Mismatch)),
    }
}

/// What so many shares give, if it is the secret of their kit.
fn secret_of(chosen: &[&Share]) -> Option<KitSecret> {
    let points: Vec<_> = chosen.iter().map(|share| (share.number, &*share.value)).collect();
    let secret = KitSecret::from_bytes(shamir::value_at(0, &points));
    let first = chosen.first()?;
    (secret.id(first.vault) == first.kit).then_some(secret)
}

/// Shares that are genuine lie on the curve of the others.
fn fits_the_rest(chosen: &[&Share], rest: &[&Share]) -> Result<(), CombineError> {
    let points: Vec<_> = chosen.iter().map(|share| (share.number, &*share.value)).collect();
    for share in rest {
        if *shamir::value_at(share.number, &points) != *share.value {
            return Err(CombineError::Forged { number: share.number });
        }
    }
    Ok(())
}

/// Names the one share without which the others give the secret.
fn forged(distinct: &[&Share], need: usize) -> Option<CombineError> {
    if distinct.len() <= need {
        return None;
    }
    distinct[..need].iter().enumerate().find_map(|(index, share)| {
        let others: Vec<&Share> = distinct
            .iter()
            .enumerate()
            .filter_map(|(other, share)| (other != index).then_some(*share))
            .take(need)
            .collect();
        secret_of(&others).map(|_| CombineError::Forged { number: share.number })
    })
}

impl Share {
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; SHARE_LEN]> {
        let raw = RawShare {
            version: VERSION,
            need: self.shape.need(),
            shares: self.shape.shares(),
            number: self.number,
            kit: self.kit.0,
            vault: self.vault.0,
            value: *self.value,
            checksum: [0; CHECKSUM_LEN],
        };
        let mut bytes = Zeroizing::new([0; SHARE_LEN]);
        bytes.copy_from_slice(raw.as_bytes());
        let checksum = checksum(&bytes);
        bytes[CHECKED_LEN..].copy_from_slice(&checksum);
        bytes
    }

    pub fn from_bytes(bytes: &[u8; SHARE_LEN]) -> Result<Self, ShareFault> {
        let raw = RawShare::read_from_bytes(bytes).expect("size is asserted above");
        if raw.checksum != checksum(bytes) {
            return Err(ShareFault::Checksum);
        }
        if raw.version != VERSION {
            return Err(ShareFault::Version { found: raw.version });
        }
        let (number, shares, need) = (raw.number, raw.shares, raw.need);
        let shape = KitShape::new(need, shares)
            .filter(|shape| (1..=shape.shares()).contains(&number))
            .ok_or(ShareFault::Shape { number, shares, need })?;
        let (vault, kit) = (VaultId(raw.vault), KitId(raw.kit));
        Ok(Self { vault, kit, shape, number, value: Zeroizing::new(raw.value) })
    }
}

fn checksum(bytes: &[u8; SHARE_LEN]) -> [u8; CHECKSUM_LEN] {
    let derived = derive("keelhold 2026 vault share", &[&bytes[..CHECKED_LEN]]);
    let mut checksum = [0; CHECKSUM_LEN];
    checksum.copy_from_slice(&derived[..CHECKSUM_LEN]);
    checksum
}

#[cfg(test)]
fn fields() -> crate::layout::Fields {
    crate::layout::fields!(RawShare: version, need, shares, number, kit, vault, value, checksum)
}

#[cfg(test)]
mod tests;
