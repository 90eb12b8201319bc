//! What a server may do instead of answering.

/// A fault, and of how many requests it befalls one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done, and the status says so.
    Status(u16),
    /// Nothing is done, and nothing is ever said.
    Hang,
    /// The answer breaks off in its middle.
    Cut,
    /// It is done, and the connection is closed without an answer.
    Lost,
    /// It is done, and nothing is ever said.
    LostSilently,
    /// The listing leaves out its last name.
    ShortList,
    /// The listing goes backwards.
    BackwardList,
    /// The listing has names nobody asked for.
    StrangeList,
    /// The answer is no XML.
    Garbage,
}

/// One request of each `every`, counted from the moment the plan was made, ends so.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub fault: Fault,
    pub every: u64,
    /// After so many faults all is well again.
    pub times: u64,
    pub(super) seen: u64,
}

impl Plan {
    pub fn new(fault: Fault, every: u64, times: u64) -> Self {
        Self { fault, every, times, seen: 0 }
    }

    /// Counts a request; whether the fault befalls it.
    pub(super) fn strikes(&mut self) -> Option<Fault> {
        self.seen += 1;
        let strikes = self.times > 0 && self.seen.is_multiple_of(self.every.max(1));
        self.times -= u64::from(strikes);
        strikes.then_some(self.fault)
    }
}
