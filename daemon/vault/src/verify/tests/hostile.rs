//! Somebody who holds the store and has no keys does to it what he likes. Whatever he does, a restore
//! gives what was backed up, or an error that names what is wrong.

use super::*;
use crate::chain::ChainError;
use crate::format::Name;
use crate::random::Random;
use crate::read::Records;
use crate::store::{Created, Listing, StoreError, Until};
use crate::units::ManifestNumber;
use std::ops::Range;

/// What the listing does.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Listed {
    Truly,
    /// These names are not shown.
    Hides(String),
    /// This is shown, and is not there.
    Invents(String),
    /// Nothing that came after this many manifests is shown.
    Stale(u64),
    /// Lengths are wrong.
    WrongLengths,
}

#[derive(Debug)]
struct Hostile {
    inner: Arc<MemoryStore>,
    listed: Listed,
}

impl Store for Hostile {
    async fn create(
        &self,
        name: &str,
        bytes: Bytes,
        until: Option<Until>,
    ) -> Result<Created, StoreError> {
        self.inner.create(name, bytes, until).await
    }

    async fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.inner.read(name, range).await
    }

    async fn head(&self, name: &str) -> Result<Option<u64>, StoreError> {
        self.inner.head(name).await
    }

    async fn list(&self, folder: &str, after: &str, limit: usize) -> Result<Listing, StoreError> {
        let mut listing = self.inner.list(folder, after, limit).await?;
        match &self.listed {
            Listed::Truly => {}
            Listed::Hides(name) => listing.entries.retain(|entry| entry.name != *name),
            Listed::Invents(name) => {
                let is_due = name.starts_with(folder) && name.as_str() > after;
                if is_due && listing.entries.iter().all(|entry| entry.name != *name) {
                    listing.entries.push(crate::store::Entry { name: name.clone(), len: 500 });
                    listing.entries.sort();
                    listing.entries.truncate(limit);
                }
            }
            Listed::Stale(number) => {
                let from = Name::Manifest(ManifestNumber(*number)).to_string();
                listing.entries.retain(|entry| entry.name >= from);
            }
            Listed::WrongLengths => {
                for (at, entry) in listing.entries.iter_mut().enumerate() {
                    entry.len = if at % 2 == 0 { entry.len + 7 } else { entry.len / 2 };
                }
            }
        }
        Ok(listing)
    }

    async fn locked_until(&self, _: &str) -> Result<Option<Until>, StoreError> {
        Ok(None)
    }

    async fn extend(&self, _: &str, _: Until) -> Result<(), StoreError> {
        Ok(())
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.inner.delete(name).await
    }
}

/// What was done to the store, and to what.
#[derive(Debug, Clone)]
enum Deed {
    Flip { name: String, at: usize, bit: u8 },
    Cut { name: String, len: usize },
    Grow { name: String },
    Zero { name: String, from: usize, len: usize },
    Swap { one: String, other: String },
    Replace { name: String, by: String },
    Delete { name: String },
    List(Listed),
}

fn bytes_of(store: &MemoryStore, name: &str) -> Vec<u8> {
    match now(store.head(name)).unwrap() {
        Some(len) => now(store.read(name, 0..len)).unwrap().to_vec(),
        None => Vec::new(),
    }
}

impl Deed {
    fn change(store: &MemoryStore, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = bytes_of(store, name);
        change(&mut bytes);
        store.put(name, Bytes::from(bytes));
    }

    fn run(&self, hostile: &mut Hostile) {
        let store = &hostile.inner;
        match self {
            Self::Flip { name, at, bit } => Self::change(store, name, |bytes| {
                if let Some(byte) = bytes.get_mut(*at) {
                    *byte ^= 1 << bit;
                }
            }),
            Self::Cut { name, len } => Self::change(store, name, |bytes| bytes.truncate(*len)),
            Self::Grow { name } => Self::change(store, name, |bytes| bytes.push(0)),
            Self::Zero { name, from, len } => Self::change(store, name, |bytes| {
                bytes.iter_mut().skip(*from).take(*len).for_each(|byte| *byte = 0);
            }),
            Self::Swap { one, other } => {
                let (first, second) = (bytes_of(store, one), bytes_of(store, other));
                store.put(one, Bytes::from(second));
                store.put(other, Bytes::from(first));
            }
            Self::Replace { name, by } => {
                store.put(name, Bytes::from(bytes_of(store, by)));
            }
            Self::Delete { name } => now(store.delete(name)).unwrap(),
            Self::List(listed) => hostile.listed = listed.clone(),
        }
    }
}

/// How a restore of everything ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Right,
    Named,
    Rollback,
}

struct Case<'a> {
    truth: &'a Truth,
    hostile: Hostile,
    records: &'a Records,
}

impl<'a> Case<'a> {
    fn new(truth: &'a Truth, records: &'a Records) -> Self {
        let inner = MemoryStore::new();
        for (name, len) in names(&truth.store.inner) {
            inner.put(&name, now(truth.store.inner.read(&name, 0..len)).unwrap());
        }
        let hostile = Hostile { inner: Arc::new(inner), listed: Listed::Truly };
        Self { truth, hostile, records }
    }

    /// Whether the object is what it was.
    fn is_as_it_was(&self, name: &str) -> bool {
        bytes_of(&self.hostile.inner, name) == bytes_of(&self.truth.store.inner, name)
    }

    /// Opens, verifies and restores everything.
    fn end(self) -> Result<BTreeSet<End>, String> {
        let last = self.truth.last();
        let altered: BTreeSet<String> = names(&self.truth.store.inner)
            .into_iter()
            .map(|(name, _)| name)
            .filter(|name| !self.is_as_it_was(name))
            .collect();
        let store = Arc::new(self.hostile);
        let mut ends = BTreeSet::new();
        let opened = match now(open(&*store, Unlock::Master(&last.master), Some(last.seen()))) {
            Ok(opened) => opened,
            Err(ChainError::Rollback { seen, .. }) if seen == last.seen() => {
                return Ok([End::Rollback].into());
            }
            Err(error) => {
                let names = altered.iter().filter_map(|name| Name::parse(name).ok());
                let is_named = names.into_iter().any(|name| match name {
                    Name::Manifest(number) => error.to_string().contains(&number.to_string()),
                    _ => false,
                });
                return if is_named { Ok([End::Named].into()) } else { Err(format!("{error:?}")) };
            }
        };
        if opened.view != last.view {
            return Err(format!("another state: {:?}", opened.newest));
        }
        let vault = reader(&store, &opened);
        let mut judge = |error: &ReadError| match error.object() {
            Some(object) if altered.contains(object) => {
                ends.insert(End::Named);
                Ok(())
            }
            _ => Err(format!("not named: {error:?}, altered are {altered:?}")),
        };
        match now(vault.records()) {
            Ok(records) if records == *self.records => {}
            Ok(_) => return Err("other records".to_owned()),
            Err(error) => judge(&error)?,
        }
        for (point, files) in &self.truth.points {
            let reader = vault.point(point, NoLocal).map_err(|error| error.to_string())?;
            match now(restored(&reader)) {
                Ok(found) if found == *files => {}
                Ok(_) => return Err(format!("point {point} is another")),
                Err(tree::ReadError::Store(error)) => judge(&error)?,
                Err(error) => return Err(format!("not named: {error}")),
            }
        }
        // Verifying finds every object that is not what it was, and no other.
        let report = verified(&reader(&store, &opened), Sample::Whole);
        let found: BTreeSet<String> =
            report.findings.iter().filter_map(|finding| finding.object.clone()).collect();
        let expected: BTreeSet<String> =
            altered.into_iter().filter(|name| !name.starts_with("m/")).collect();
        // What only a damaged index leads to is not known; the index is named, and who needs it.
        let is_index = |name: &String| name.starts_with("i/");
        let is_told = found == expected
            || found.iter().any(is_index)
                && found.is_subset(&expected)
                && expected.iter().filter(|name| is_index(name)).all(|name| found.contains(name));
        if !is_told {
            return Err(format!("verify found {found:?}, altered are {expected:?}"));
        }
        if ends.is_empty() {
            ends.insert(End::Right);
        }
        Ok(ends)
    }
}

fn run(truth: &Truth, records: &Records, deeds: &[Deed]) -> Result<BTreeSet<End>, String> {
    let mut case = Case::new(truth, records);
    deeds.iter().for_each(|deed| deed.run(&mut case.hostile));
    case.end().map_err(|fault| format!("{deeds:?}: {fault}"))
}

fn scripted(truth: &Truth) -> Vec<Deed> {
    let all = names(&truth.store.inner);
    let of = |folder: &str| {
        let names: Vec<_> = all.iter().filter(|(name, _)| name.starts_with(folder)).collect();
        (names[0].0.clone(), names[names.len() - 1].0.clone(), names[names.len() - 1].1 as usize)
    };
    let mut deeds = Vec::new();
    for folder in ["m/", "d/", "p/", "i/", "r/"] {
        let (one, other, _) = of(folder);
        for name in [&one, &other] {
            let len = bytes_of(&truth.store.inner, name).len();
            // Magic, version, vault, id or number, hash or salt, sums, sealed front, middle, end.
            for at in [0, 4, 16, 32, 64, 96, 128, 150, len / 2, len - 1] {
                deeds.push(Deed::Flip { name: name.clone(), at, bit: 3 });
            }
            for len in [0, 1, 143, len / 2, len - 1] {
                deeds.push(Deed::Cut { name: name.clone(), len });
            }
            deeds.push(Deed::Grow { name: name.clone() });
            deeds.push(Deed::Zero { name: name.clone(), from: 144, len: 100 });
            deeds.push(Deed::Delete { name: name.clone() });
        }
        deeds.push(Deed::Swap { one: one.clone(), other: other.clone() });
        deeds.push(Deed::Replace { name: one.clone(), by: other.clone() });
        deeds.push(Deed::Replace { name: other, by: one });
    }
    let (newest, first, _) = of("m/");
    for name in [newest, first, Name::Manifest(ManifestNumber(99)).to_string()] {
        deeds.push(Deed::List(Listed::Hides(name.clone())));
        deeds.push(Deed::List(Listed::Invents(name)));
    }
    deeds.extend((0..7).map(|number| Deed::List(Listed::Stale(number))));
    deeds.push(Deed::List(Listed::WrongLengths));
    deeds
}

fn drawn(truth: &Truth, random: &mut impl Random) -> Deed {
    let all = names(&truth.store.inner);
    let mut pick = || {
        let [low, high] = random.array::<2>();
        let (name, len) = &all[(usize::from(high) << 8 | usize::from(low)) % all.len()];
        (name.clone(), *len as usize)
    };
    let ((name, len), (other, _)) = (pick(), pick());
    let [what, a, b, c] = random.array::<4>();
    let at = (usize::from(a) << 8 | usize::from(b)) % len.max(1);
    let same_kind = all.iter().filter(|(other, _)| other.as_bytes()[0] == name.as_bytes()[0]);
    let same_kind: Vec<&String> = same_kind.map(|(name, _)| name).collect();
    let relative = same_kind[usize::from(c) % same_kind.len()].clone();
    match what % 10 {
        0..=3 => Deed::Flip { name, at, bit: c % 8 },
        4 => Deed::Cut { name, len: at },
        5 => Deed::Zero { name, from: at, len: c.into() },
        6 => Deed::Swap { one: name, other: if c % 2 == 0 { other } else { relative } },
        7 => Deed::Replace { name, by: if c % 2 == 0 { other } else { relative } },
        8 => Deed::Delete { name },
        _ => Deed::List(match c % 4 {
            0 => Listed::Hides(name),
            1 => Listed::Invents(Name::Manifest(ManifestNumber(a.into())).to_string()),
            2 => Listed::Stale(u64::from(b) % 8),
            _ => Listed::WrongLengths,
        }),
    }
}

pub(super) fn scripts() -> Result<[usize; 3], String> {
    let truth = truth(21, 5);
    let records = now(reader(&truth.store, truth.last()).records()).unwrap();
    let mut sums = [0; 3];
    for deed in scripted(&truth) {
        for end in run(&truth, &records, std::slice::from_ref(&deed))? {
            sums[end as usize] += 1;
        }
    }
    Ok(sums)
}

#[test]
fn scripted_deeds_end_right_or_named() {
    let sums = scripts().unwrap();
    println!("scripted: right, named, rollback: {sums:?}");
    assert!(sums[0] > 50 && sums[1] > 50 && sums[2] > 10, "{sums:?}");
}

#[test]
fn random_deeds_end_right_or_named() {
    let mut sums = [0; 3];
    let mut cases = 0;
    for seed in 0..10 {
        let truth = truth(30 + seed, 5);
        let records = now(reader(&truth.store, truth.last()).records()).unwrap();
        let random = &mut seeded(700 + seed);
        for case in 0..200 {
            let [count] = random.array();
            let deeds: Vec<Deed> = (0..1 + count % 3).map(|_| drawn(&truth, random)).collect();
            let ends = run(&truth, &records, &deeds);
            for end in ends.unwrap_or_else(|fault| panic!("seed {seed}, case {case}: {fault}")) {
                sums[end as usize] += 1;
            }
            cases += 1;
        }
    }
    println!("{cases} random cases: right, named, rollback: {sums:?}");
    assert!(sums.iter().all(|sum| *sum > 50), "{sums:?}");
}
