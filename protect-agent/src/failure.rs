//! What people, scripts and the server are told when something on the machine does not work: a
//! stable code, what failed and why, and what to do next. The agent's codes are those of 1000 to
//! 1999; the daemon has its own.

use std::error::Error;
use std::fmt;

use keelhold_wire::Refusal;

macro_rules! codes {
    ($($name:ident = $number:literal, $hint:literal;)+) => {
        /// One kind of failure. A number never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code { $($name),+ }

        impl Code {
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            #[must_use]
            pub fn number(self) -> u32 {
                match self { $(Self::$name => $number),+ }
            }

            /// What to do next.
            #[must_use]
            pub fn hint(self) -> &'static str {
                match self { $(Self::$name => $hint),+ }
            }
        }
    };
}

codes! {
    Internal = 1001,
        "look at the agent's log and report it; nothing announced is lost";
    StateUnusable = 1002,
        "check that the state directory exists, has room and belongs to the user the agent runs as";
    ConfigInvalid = 1003,
        "correct agent.toml in the state directory and start the agent again";
    AlreadyRunning = 1004,
        "stop the agent that uses this state directory, or name another with --state";
    NotRunning = 1005,
        "start it with `keelhold-agent run` or by its service";
    NotEnrolled = 1010,
        "ask for a token on the appliance (`keelhold machine token NAME`) and run `keelhold-agent enroll`";
    AddressInvalid = 1011,
        "paste the line that `keelhold machine token NAME` printed";
    TokenInvalid = 1012,
        "paste the whole token, or ask for a new one with `keelhold machine token NAME`";
    Unreachable = 1013,
        "check the address, that `keelhold serve` runs, and that no firewall is between";
    WrongServer = 1014,
        "make sure the address is the appliance's own; if it was made anew, ask it for a new token";
    Disconnected = 1015,
        "nothing: the agent dials again by itself and the job goes on";
    ProtocolBroken = 1016,
        "bring agent and daemon to the same version";
    SourceUnreadable = 1020,
        "check that the path exists on this machine and that the agent may read it";
    SourceInvalid = 1021,
        "correct the source on the appliance";
    Busy = 1022,
        "wait until the running job has ended";
    Cancelled = 1023,
        "start it again when it is wanted";
    ScriptRefused = 1024,
        "put the script below the machine's directory for scripts (/etc/keelhold/scripts, or scripts.directory in agent.toml), owned by root, mode 700";
    ScriptFailed = 1025,
        "see in the job's log what the script printed, correct it and start the backup again";
    RestoreRefused = 1030,
        "restore below the directory this machine allows, or change restore in its agent.toml";
    RestoreFailed = 1031,
        "correct the cause named above and restore again; what is written already is kept";
}

/// A failure as it leaves the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub code: u32,
    pub message: String,
    pub hint: String,
}

impl Failure {
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code: code.number(), message: message.into(), hint: code.hint().to_owned() }
    }

    /// Says an error with everything that caused it.
    #[must_use]
    pub fn of(code: Code, error: &dyn Error) -> Self {
        Self::new(code, chain(error))
    }

    #[must_use]
    pub fn label(&self) -> String {
        format!("KH-E{:04}", self.code)
    }
}

/// An error and what caused it, as one line.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |error| (*error).source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n{}", self.label(), self.message, self.hint)
    }
}

impl Error for Failure {}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::new(failure.code, failure.message, failure.hint)
    }
}

impl From<Refusal> for Failure {
    /// What the server refused keeps the server's code and words.
    fn from(refusal: Refusal) -> Self {
        Self { code: refusal.code, message: refusal.message, hint: refusal.hint }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_agents_own_and_each_is_one_thing() {
        let numbers: Vec<u32> = Code::ALL.iter().map(|code| code.number()).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(numbers.iter().all(|number| (1000..2000).contains(number)));
        assert!(Failure::new(Code::NotRunning, "x").to_string().starts_with("KH-E1005: x\n"));
    }
}
