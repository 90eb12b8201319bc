//! Connections that have not shown who they are: few in all, and few from one address, so that
//! nobody takes every place at the door.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const ALL_MAX: usize = 64;
const OF_ADDRESS_MAX: usize = 8;

#[derive(Debug, Clone, Default)]
pub struct Strangers {
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// Held until the connection is known or gone.
#[derive(Debug)]
pub struct Place {
    strangers: Strangers,
    address: IpAddr,
}

impl Strangers {
    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place, unless there are too many already.
    #[must_use]
    pub fn enter(&self, address: IpAddr) -> Option<Place> {
        let mut counts = self.counts();
        let of_address = counts.get(&address).copied().unwrap_or(0);
        if of_address >= OF_ADDRESS_MAX || counts.values().sum::<usize>() >= ALL_MAX {
            return None;
        }
        counts.insert(address, of_address + 1);
        Some(Place { strangers: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.strangers.counts();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_takes_few_places_and_all_together_no_more_than_there_are() {
        let strangers = Strangers::default();
        let mut places: Vec<Place> = Vec::new();
        for address in 0..20 {
            let more = (0..10).filter_map(|_| strangers.enter(IpAddr::from([10, 0, 0, address])));
            places.extend(more);
        }
        assert_eq!(places.len(), ALL_MAX);
        places.truncate(7);
        let address = IpAddr::from([10, 0, 0, 0]);
        assert!(strangers.enter(address).is_some());
        let eighth = strangers.enter(address);
        assert!(eighth.is_some() && strangers.enter(address).is_none());
        drop((eighth, places));
        assert!(strangers.counts().is_empty());
    }
}
