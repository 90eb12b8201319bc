//! What locks cost: a year of daily backups in a model that knows lengths only.
//!
//! The rules are those of `lease`, `repack` and `prune` (VAULT.md, sections 10 and 11), written again
//! for a model: an object is a list of chunks, a manifest is the day it was made. 1 TiB is 65,536 chunks;
//! an object has 256, as one of 32 MiB has in a vault.

use std::collections::{BTreeMap, BTreeSet};

const CHUNKS: usize = 65_536;
const PER_OBJECT: usize = 256;
const DAYS: i64 = 365;
const MARGIN: i64 = 7;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lock {
    None,
    /// Renewed below half, until now + so many days.
    Lease(i64),
    /// As before, and while the point it was shipped with is kept, no longer than that.
    LeaseInsideExpiry(i64),
    /// Once and for all, until the point it was shipped with expires.
    ToExpiry,
    /// Until a point of its class that is made today expires, renewed below half.
    ClassExpiry,
}

struct Object {
    class: usize,
    chunks: Vec<usize>,
    locked: i64,
    /// When the point that shipped it expires.
    expires: i64,
    /// When the newest manifest stopped naming it.
    let_go: Option<i64>,
}

/// Days a point is kept, by its class: daily 30, weekly 8, monthly 12, yearly 7.
const KEPT: [i64; 4] = [30, 56, 365, 7 * 365];

fn class_of(day: i64) -> usize {
    match day {
        0 => 3,
        day if day % 365 == 0 => 3,
        day if day % 365 % 30 == 0 => 2,
        day if day % 7 == 0 => 1,
        _ => 0,
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

struct Year {
    lock: Lock,
    objects: BTreeMap<usize, Object>,
    next: usize,
    extends: u64,
    repacked: u64,
}

impl Year {
    fn first_lock(&self, day: i64, expires: i64) -> i64 {
        match self.lock {
            Lock::None => 0,
            Lock::Lease(lease) => day + lease,
            Lock::LeaseInsideExpiry(lease) => (day + lease).min(expires),
            Lock::ToExpiry | Lock::ClassExpiry => expires,
        }
    }

    fn store(&mut self, day: i64, class: usize, expires: i64, chunks: Vec<usize>) {
        for some in chunks.chunks(PER_OBJECT) {
            let locked = self.first_lock(day, expires);
            let object = Object { class, chunks: some.to_vec(), locked, expires, let_go: None };
            self.objects.insert(self.next, object);
            self.next += 1;
        }
    }

    /// What is less than half alive is written again.
    fn repack(&mut self, day: i64, live: &[u16]) {
        let mut again: BTreeMap<(usize, i64), Vec<usize>> = BTreeMap::new();
        for object in self.objects.values_mut().filter(|object| object.let_go.is_none()) {
            let alive: Vec<usize> =
                object.chunks.iter().copied().filter(|chunk| live[*chunk] > 0).collect();
            if alive.len() * 2 < object.chunks.len() {
                object.let_go = Some(day);
                self.repacked += alive.len() as u64;
                again.entry((object.class, object.expires)).or_default().extend(alive);
            }
        }
        let mut by_class: BTreeMap<usize, (i64, Vec<usize>)> = BTreeMap::new();
        for ((class, expires), chunks) in again {
            let own = by_class.entry(class).or_insert((expires, Vec::new()));
            own.0 = own.0.max(expires);
            own.1.extend(chunks);
        }
        for (class, (expires, chunks)) in by_class {
            self.store(day, class, expires, chunks);
        }
    }

    fn renew(&mut self, day: i64) {
        for object in self.objects.values_mut().filter(|object| object.let_go.is_none()) {
            let (lease, is_inside) = match self.lock {
                Lock::Lease(lease) => (lease, false),
                Lock::LeaseInsideExpiry(lease) => (lease, true),
                Lock::ClassExpiry => (KEPT[object.class], false),
                Lock::None | Lock::ToExpiry => return,
            };
            let mut target = day + lease;
            if is_inside && object.expires > day {
                target = target.min(object.expires);
            }
            if object.locked < day + lease / 2 && object.locked < target {
                object.locked = target;
                self.extends += 1;
            }
        }
    }

    fn prune(&mut self, day: i64) {
        self.objects.retain(|_, object| {
            let is_over = object.let_go.is_some_and(|let_go| let_go + MARGIN <= day);
            !(is_over && object.locked <= day)
        });
    }

    fn bytes(&self) -> usize {
        self.objects.values().map(|object| object.chunks.len()).sum()
    }
}

/// Mean and last size in TiB, requests to extend, TiB written again.
fn run(lock: Lock) -> (f64, f64, u64, f64) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut year = Year { lock, objects: BTreeMap::new(), next: 0, extends: 0, repacked: 0 };
    let mut current: Vec<usize> = (0..CHUNKS).collect();
    let mut live: Vec<u16> = vec![0; CHUNKS];
    let mut points: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    let mut sum = 0;
    for day in 0..DAYS {
        let mut fresh: Vec<usize> = Vec::new();
        if day == 0 {
            fresh.clone_from(&current);
        } else {
            // Two in a hundred, four fifths of them in a twentieth of the data.
            let (all, hot) = (CHUNKS / 50, CHUNKS / 20);
            let mut places = BTreeSet::new();
            while places.len() < all * 4 / 5 {
                places.insert(random.below(hot));
            }
            while places.len() < all {
                places.insert(hot + random.below(CHUNKS - hot));
            }
            for place in places {
                current[place] = live.len();
                fresh.push(live.len());
                live.push(0);
            }
        }
        let class = class_of(day);
        year.store(day, class, day + KEPT[class], fresh);
        current.iter().for_each(|chunk| live[*chunk] += 1);
        points.insert(day, current.clone());
        let gone: Vec<i64> =
            points.keys().copied().filter(|at| at + KEPT[class_of(*at)] <= day).collect();
        for at in gone {
            points.remove(&at).into_iter().flatten().for_each(|chunk| live[chunk] -= 1);
        }
        year.repack(day, &live);
        year.renew(day);
        year.prune(day);
        sum += year.bytes();
    }
    let tib = |chunks: f64| chunks / CHUNKS as f64;
    let mean = tib(sum as f64 / DAYS as f64);
    (mean, tib(year.bytes() as f64), year.extends, tib(year.repacked as f64))
}

fn main() {
    let plain = run(Lock::None);
    println!(
        "| locks | mean TiB | more | at the end TiB | more | requests to extend | repacked TiB |"
    );
    println!("|---|---|---|---|---|---|---|");
    let all = [
        ("none", Lock::None),
        ("lease of 30 days", Lock::Lease(30)),
        ("lease of 30 days, inside the first expiry", Lock::LeaseInsideExpiry(30)),
        ("lease of 14 days", Lock::Lease(14)),
        ("to the expiry of the point that shipped it, then none", Lock::ToExpiry),
        ("to the expiry of its class, renewed below half", Lock::ClassExpiry),
    ];
    for (name, lock) in all {
        let (mean, end, extends, repacked) = run(lock);
        let more = |value: f64, base: f64| (value / base - 1.0) * 100.0;
        let (more_mean, more_end) = (more(mean, plain.0), more(end, plain.1));
        println!(
            "| {name} | {mean:.3} | {more_mean:.1} % | {end:.3} | {more_end:.1} % | {extends} | {repacked:.3} |"
        );
    }
}
