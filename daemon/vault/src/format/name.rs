//! Names of objects. They are all there is to a listing, so each is made and read in one place.

use std::fmt;

use thiserror::Error;

use super::rows::{Class, ObjectKind, ObjectRef};
use crate::units::{ID_TEXT_LEN, ManifestNumber, ObjectId, id_from_text};

/// What a name says of its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    Manifest(ManifestNumber),
    Object { kind: ObjectKind, class: Class, shipment: ManifestNumber, object: ObjectId },
    Claim { number: ManifestNumber, claimant: ObjectId },
    Probe(ObjectId),
}

/// A name that is none of a vault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{name:?} is no name of a vault")]
pub struct NameFault {
    pub name: String,
}

const FOLDERS: [(char, ObjectKind); 4] = [
    ('d', ObjectKind::Data),
    ('p', ObjectKind::Pages),
    ('i', ObjectKind::Index),
    ('r', ObjectKind::Records),
];

impl Name {
    /// Where manifests are listed, the newest first.
    pub const MANIFESTS: &'static str = "m/";

    #[must_use]
    pub fn of(object: &ObjectRef) -> Self {
        let ObjectRef { kind, class, shipment, object, .. } = *object;
        Self::Object { kind, class, shipment, object }
    }

    /// Where the objects of a kind and class are listed, by shipment.
    #[must_use]
    pub fn folder(kind: ObjectKind, class: Class) -> String {
        format!("{}/{:x}/", letter(kind), class.code())
    }

    /// In [`folder`](Self::folder): what sorts before everything of this shipment and later ones.
    #[must_use]
    pub fn from_shipment(kind: ObjectKind, class: Class, shipment: ManifestNumber) -> String {
        format!("{}{:016x}", Self::folder(kind, class), shipment.0)
    }

    #[must_use]
    pub fn claims(number: ManifestNumber) -> String {
        format!("c/{:016x}/", number.0)
    }

    pub fn parse(name: &str) -> Result<Self, NameFault> {
        read(name).ok_or_else(|| NameFault { name: name.chars().take(200).collect() })
    }
}

fn letter(kind: ObjectKind) -> char {
    FOLDERS.iter().find(|(_, of)| *of == kind).expect("every kind has a folder").0
}

fn number(text: &str) -> Option<u64> {
    let is_lower = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (text.len() == 16 && is_lower).then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

fn id(text: &str) -> Option<ObjectId> {
    (text.len() == ID_TEXT_LEN).then(|| id_from_text(text).map(ObjectId)).flatten()
}

fn read(name: &str) -> Option<Name> {
    let parts: Vec<&str> = name.split('/').collect();
    Some(match parts[..] {
        ["m", manifest] => Name::Manifest(ManifestNumber(u64::MAX - number(manifest)?)),
        ["c", of, claimant] => {
            Name::Claim { number: ManifestNumber(number(of)?), claimant: id(claimant)? }
        }
        ["probe", object] => Name::Probe(id(object)?),
        [folder, class, shipment, object] => {
            let kind = FOLDERS.iter().find(|(letter, _)| folder == letter.to_string())?.1;
            let digit = class.chars().next().filter(|digit| !digit.is_ascii_uppercase())?;
            let class = (class.len() == 1).then(|| digit.to_digit(16)).flatten()?;
            let class = Class::new(class as u8)?;
            let shipment = ManifestNumber(number(shipment)?);
            Name::Object { kind, class, shipment, object: id(object)? }
        }
        _ => return None,
    })
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest(number) => write!(f, "m/{:016x}", u64::MAX - number.0),
            Self::Object { kind, class, shipment, object } => {
                write!(f, "{}/{object}", Self::from_shipment(*kind, *class, *shipment))
            }
            Self::Claim { number, claimant } => write!(f, "{}{claimant}", Self::claims(*number)),
            Self::Probe(object) => write!(f, "probe/{object}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_sort() {
        let object = ObjectId([0x1f; 16]);
        let (shipment, class) = (ManifestNumber(0x2a), Class::new(11).unwrap());
        let names = [
            (Name::Manifest(ManifestNumber(1)), "m/fffffffffffffffe"),
            (
                Name::Object { kind: ObjectKind::Data, class, shipment, object },
                "d/b/000000000000002a/d4pr6hy7d4pr6hy7d4pr6hy7d4",
            ),
            (
                Name::Claim { number: shipment, claimant: object },
                "c/000000000000002a/d4pr6hy7d4pr6hy7d4pr6hy7d4",
            ),
            (Name::Probe(object), "probe/d4pr6hy7d4pr6hy7d4pr6hy7d4"),
        ];
        for (name, text) in names {
            assert_eq!(name.to_string(), text);
            assert_eq!(Name::parse(text), Ok(name));
        }
        let manifest = |number| Name::Manifest(ManifestNumber(number)).to_string();
        assert!(manifest(256) < manifest(255), "a listing gives the newest first");
        let from = Name::from_shipment(ObjectKind::Data, class, ManifestNumber(0x2a));
        let earlier = Name::Object {
            kind: ObjectKind::Data,
            class,
            shipment: ManifestNumber(0x29),
            object: ObjectId([0xff; 16]),
        };
        assert!(earlier.to_string() < from && from.as_str() < names[1].1);
    }

    #[test]
    fn there_is_one_text_for_each() {
        let strange = [
            "",
            "m/",
            "m/FFFFFFFFFFFFFFFE",
            "m/fffffffffffffffe/",
            "m/+ffffffffffffffe",
            "d/B/000000000000002a/d4pr6hy7d4pr6hy7d4pr6hy7d4",
            "d/10/000000000000002a/d4pr6hy7d4pr6hy7d4pr6hy7d4",
            "x/1/000000000000002a/d4pr6hy7d4pr6hy7d4pr6hy7d4",
            "d/1/2a/d4pr6hy7d4pr6hy7d4pr6hy7d4",
            "d/1/000000000000002a/d4pr6hy7d4pr6hy7d4pr6hy7d5",
            "probe/../m",
            "ä/ö/ü/ß",
        ];
        for name in strange {
            assert!(Name::parse(name).is_err(), "{name}");
        }
    }
}
