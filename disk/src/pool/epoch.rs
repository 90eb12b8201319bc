//! Who still reads in a container that was given up.
//!
//! Whoever looks up where a chunk is holds the epoch of that moment while he reads there. A container
//! given up later is not overwritten before everybody of its epoch, and of those before, is done.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};

/// Held while places looked up under it are read.
#[derive(Debug, Clone, Default)]
pub(super) struct Epoch(Rc<()>);

#[derive(Default)]
pub(super) struct Epochs {
    current: RefCell<Epoch>,
    number: Cell<u64>,
    /// Those before, by number, that somebody may still hold.
    before: RefCell<VecDeque<(u64, Weak<()>)>>,
    /// The epoch in which a container was given up.
    given_up: RefCell<BTreeMap<u32, u64>>,
}

impl Epochs {
    pub(super) fn hold(&self) -> Epoch {
        self.current.borrow().clone()
    }

    /// From now on nobody is sent to the container.
    pub(super) fn give_up(&self, container: u32) {
        let ended = self.current.replace(Epoch::default());
        let number = self.number.get();
        self.before.borrow_mut().push_back((number, Rc::downgrade(&ended.0)));
        self.number.set(number + 1);
        self.given_up.borrow_mut().insert(container, number);
    }

    /// Whether somebody may still read in a container that was given up.
    pub(super) fn is_read(&self, container: u32) -> bool {
        let mut before = self.before.borrow_mut();
        while before.front().is_some_and(|(_, epoch)| epoch.strong_count() == 0) {
            before.pop_front();
        }
        let given_up = self.given_up.borrow();
        let oldest = before.front().map(|(number, _)| *number);
        match (given_up.get(&container), oldest) {
            (Some(given_up), Some(oldest)) => oldest <= *given_up,
            _ => false,
        }
    }

    /// The slot of the container is given away.
    pub(super) fn released(&self, container: u32) {
        self.given_up.borrow_mut().remove(&container);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_read_until_the_last_of_its_epoch_is_done() {
        let epochs = Epochs::default();
        let early = epochs.hold();
        epochs.give_up(7);
        let late = epochs.hold();
        epochs.give_up(8);
        assert!(epochs.is_read(7) && epochs.is_read(8) && !epochs.is_read(9));
        drop(early);
        assert!(!epochs.is_read(7) && epochs.is_read(8));
        drop(late);
        assert!(!epochs.is_read(8));
    }
}
