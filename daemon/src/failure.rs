//! What people and scripts are told when something does not work.
//!
//! Inside the daemon every family of operations has an error type of its own. At the border (the
//! command line and the API) each of them becomes a [`Failure`]: a stable code, what failed and why,
//! and what to do next. The codes are one table; `daemon/ERRORS.md` is compared with it by a test.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Exit codes of `keelhold`, as the command-line contract fixes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Ok = 0,
    Failed = 1,
    Usage = 2,
    Partial = 3,
    Refused = 4,
    Cancelled = 130,
}

impl Exit {
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }
}

macro_rules! codes {
    ($($name:ident = $number:literal, $exit:ident, $meaning:literal, $hint:literal;)+) => {
        /// One kind of failure. The number never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code { $($name),+ }

        impl Code {
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            #[must_use]
            pub fn number(self) -> &'static str {
                match self { $(Self::$name => concat!("KH-E", $number)),+ }
            }

            /// The digits alone, as the wire carries them.
            #[must_use]
            pub fn value(self) -> u32 {
                self.number().trim_start_matches("KH-E").parse().unwrap_or(1)
            }

            #[must_use]
            pub fn exit(self) -> Exit {
                match self { $(Self::$name => Exit::$exit),+ }
            }

            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning),+ }
            }

            /// What to do next when the place of failure knows nothing better.
            #[must_use]
            pub fn hint(self) -> &'static str {
                match self { $(Self::$name => $hint),+ }
            }
        }
    };
}

codes! {
    Internal = "0001", Failed, "something inside Keelhold broke its own rule",
        "please report it together with the daemon's log; nothing announced is lost";
    Cancelled = "0002", Cancelled, "cancelled by the person or program that asked for it",
        "start it again when it is wanted";
    BadRequest = "0003", Usage, "the request cannot be understood",
        "see `keelhold help` for the form this verb expects";
    OutputFailed = "0004", Failed, "the output could not be written",
        "make room or choose another target, then run it again";
    NotConfirmed = "0005", Refused, "this cannot be taken back, and there is no terminal to ask on",
        "add --yes to do it without being asked";

    DaemonUnreachable = "0101", Failed, "no daemon answers at this state directory",
        "start it with `keelhold serve`, or name the right directory with --state";
    DaemonRunning = "0102", Refused, "a daemon holds this state directory or these disks",
        "stop that daemon first, or run the verb through it";
    StateUnusable = "0103", Failed, "the state directory cannot be used",
        "check that it is a directory which this user may read and write";
    ConfigInvalid = "0104", Usage, "the configuration file is not valid",
        "correct the file at the place named and start again";
    ListenFailed = "0105", Failed, "a network address cannot be listened on",
        "choose another address with --agents, or stop what uses this one";
    Stopping = "0106", Failed, "the daemon is stopping",
        "ask again when it has been started";

    NoPool = "0201", Failed, "there is no pool in this state directory",
        "make one with `keelhold pool create --disk PATH:SIZE`, or take one over with `keelhold pool import --disk PATH`";
    DiskMissing = "0202", Failed, "a disk of the pool is missing",
        "attach the disk, or name its new path with `keelhold pool import --disk PATH`";
    DiskOccupied = "0203", Refused, "the disk carries something already",
        "choose another disk, or clear this one yourself if its content may go";
    DiskUnusable = "0204", Failed, "the disk cannot be opened or used",
        "check the path, its size and the rights of this user";
    DiskBusy = "0205", Refused, "the disk is in use by another program",
        "stop what uses it (another daemon, a mounted file system), then try again";
    PoolFull = "0206", Failed, "the pool has no room for this",
        "forget points that are not needed, or add a disk; everything stored stays restorable";
    PoolDamaged = "0207", Failed, "bytes of the pool are damaged",
        "run `keelhold pool check` on its disks to see what is touched; restores go on for all else";
    PoolExists = "0208", Refused, "this state directory already has a pool",
        "use another --state, or remove its disks.json once you are sure";
    PoolForeign = "0209", Failed, "this is no pool, or one this version cannot read",
        "check the paths; a pool of a newer version needs that version of Keelhold";
    DiskFenced = "0210", Failed, "a disk failed to write and is refused for writing",
        "replace the disk; what it holds can still be read";
    NoRoomAhead = "0211", Refused, "the backup would not fit the room that is left",
        "forget points that are not needed and run `keelhold pool reclaim --wait`, or add a disk";
    ReclaimBrake = "0212", Refused, "far more would be given up than was expected",
        "nothing was given up; run `keelhold pool check` on the disks, and if all is well `keelhold pool reclaim --confirm`";
    DiskUnknown = "0213", Failed, "the pool has no such disk",
        "`keelhold pool status` shows the disks with their ids and paths";
    DiskTooSmall = "0214", Refused, "the disk is too small for what it is to take",
        "choose a larger disk; the message says what is needed";
    DisksTooMany = "0215", Refused, "the pool has had as many disks as it can have",
        "make a new pool on larger disks, and keep this one as long as its points are needed";
    DiskLast = "0216", Refused, "it is the only disk that new data can be put on",
        "add another with `keelhold pool add-disk PATH`, or replace it with `keelhold pool replace-disk DISK PATH`";
    DisksTooFew = "0217", Refused, "the pool would have fewer disks than it keeps copies",
        "add a disk first with `keelhold pool add-disk PATH`, or replace this one with `keelhold pool replace-disk DISK PATH`";
    DiskNoRoom = "0218", Refused, "the other disks have no room for what is on this one",
        "add a disk with `keelhold pool add-disk PATH`, or forget points and run `keelhold pool reclaim --wait`; then run it again: what was moved stays moved";
    DisksChanging = "0219", Refused, "another change of the pool's disks is under way",
        "wait for its job (`keelhold job list`), then run it again";
    ScrubStopped = "0220", Failed, "the scrub ended before its pass did",
        "run it again: it goes on where it stopped; `keelhold pool status` shows what it found so far";
    KeyNeeded = "0221", Refused, "the pool is encrypted and its key was not given",
        "name it with --key-file FILE; for the daemon set key_file under [pool] in config.toml, or give the credential pool-key";
    KeyWrong = "0222", Refused, "the key does not open this pool",
        "find the key file that was used when the pool was made or its key was last changed; without it nothing can be read";
    KeyFileOpen = "0223", Refused, "the key file can be read by others",
        "give it to its owner alone with chmod 600";
    KeyFileInvalid = "0224", Usage, "the key file cannot be used",
        "make one with: (umask 077; head -c 32 /dev/urandom > FILE), and keep a copy away from the disks";
    NotEncrypted = "0225", Refused, "a key was given for a pool that is not encrypted",
        "leave the key away if the pool was never encrypted; if it was, these are not its disks";

    MachineUnknown = "0301", Failed, "no machine has this name",
        "`keelhold machine list` shows the names";
    NameTaken = "0302", Refused, "the name is in use",
        "choose another name";
    TokenUnknown = "0303", Refused, "the token is not one of this appliance",
        "ask for a new one with `keelhold machine token NAME`";
    TokenExpired = "0304", Refused, "the token has expired",
        "ask for a new one with `keelhold machine token NAME`";
    TokenUsed = "0305", Refused, "the token has been used",
        "a token enrols once: ask for a new one with `keelhold machine token NAME`";
    CertificateRevoked = "0306", Refused, "the machine's certificate is not accepted any more",
        "enrol the machine again with a token from `keelhold machine token NAME`";
    MachineAway = "0307", Refused, "the machine is not connected",
        "start `keelhold-agent run` on it, or use --queue to run when it comes back";
    MachineInUse = "0308", Refused, "the machine still has sources or points",
        "remove its sources first";
    VersionMismatch = "0309", Refused, "agent and daemon have no protocol version in common",
        "bring the older of the two up to date";
    NameInvalid = "0310", Usage, "the name cannot be used",
        "names have 1 to 64 letters, digits, dots, hyphens or underscores, and begin with a letter or digit";
    EnrolmentInvalid = "0311", Refused, "the enrolment request is not valid",
        "run `keelhold-agent enroll` again with the line `keelhold machine token` printed";
    QuotaExceeded = "0312", Refused, "the machine's quota does not allow this",
        "forget points of the machine, or change its quota with `keelhold machine quota NAME SIZE|none`";

    SourceUnknown = "0401", Failed, "no data source has this name",
        "`keelhold source list` shows the names";
    SourceInvalid = "0402", Usage, "the data source cannot be described like this",
        "give --tree an absolute path on the machine";

    JobUnknown = "0501", Failed, "no job has this number",
        "`keelhold job list` shows them";
    JobOver = "0502", Refused, "the job is over",
        "`keelhold job show` tells how it ended";
    AgentFailed = "0503", Failed, "the agent could not do it",
        "the message names the cause on the machine; correct it there and run the job again";
    AgentBroke = "0504", Failed, "the agent broke the protocol, its session was ended",
        "nothing was taken over from it; bring the agent to the daemon's version, and look at the machine if it repeats";
    ConnectionLost = "0505", Failed, "the connection to the machine was lost",
        "the job goes on by itself when the machine is back";
    SessionLapsed = "0506", Failed, "the session is gone",
        "run the backup again; what was sent before is used where it is still there";
    JobWhole = "0507", Refused, "the job cannot be stopped halfway",
        "`keelhold job show` tells how far it is; it takes nothing away that is needed";

    PointUnknown = "0601", Failed, "no recovery point is meant by this",
        "`keelhold point list` shows the points";
    PointAmbiguous = "0602", Usage, "more than one recovery point is meant by this",
        "give more characters of the id";
    PathUnknown = "0603", Failed, "the recovery point has no such path",
        "`keelhold point files POINT` shows what is in it";
    NotAFile = "0604", Usage, "the path is not a regular file",
        "choose a file with --path, or restore the directory";
    PointPinned = "0605", Refused, "the recovery point is pinned",
        "take the pin off with `keelhold point unpin POINT`, then forget it";
    PointLastGood = "0606", Refused, "it is the last good recovery point of its source",
        "make a newer complete one with `keelhold backup MACHINE/NAME --wait`, then forget this one; to give up the source with all its points: `keelhold source remove MACHINE/NAME --points delete`";
    UndoTooLate = "0607", Refused, "the time to undo this is over",
        "restore from another point; `keelhold point list` shows them";
    PointNotInTrash = "0608", Refused, "the recovery point is not in the trash",
        "nothing is to be undone; `keelhold point list --trash` shows what is in the trash";
    PointWorking = "0609", Refused, "a working state is no recovery point",
        "it is replaced by the next synchronisation and goes with its source: `keelhold source remove MACHINE/NAME --points delete`";
    PointGone = "0610", Refused, "a recovery point that is to be forgotten does not exist",
        "nothing was forgotten; `keelhold point list` shows the points";
    PointTrashed = "0611", Refused, "the recovery point is in the trash",
        "bring it back first with `keelhold point undo-forget POINT`";
    PointNotPinned = "0612", Refused, "the recovery point is not pinned",
        "nothing is to be done; `keelhold point show POINT` says why it is kept";

    GroupInvalid = "0651", Usage, "the text of a protection group is not valid",
        "correct it at the lines named; daemon/policy/GROUP.md has every key";
    GroupUnknown = "0652", Failed, "no protection group has this name",
        "`keelhold group show` lists them";
    GroupShortens = "0653", Refused, "points would be kept for a shorter time than now",
        "see `keelhold group preview FILE.toml`; `keelhold group apply` asks, or takes --yes";
    GroupMember = "0654", Refused, "the members of the group cannot be so",
        "a source is in one group; to move it, state both groups in one `keelhold group apply`";
    BackupMissed = "0661", Failed, "a backup that was due was not made",
        "see why with `keelhold schedule next`; make one now with `keelhold backup MACHINE/NAME --wait`";

    TargetUnusable = "0701", Failed, "the restore cannot write to its target",
        "check that the directory may be written by the daemon and has room";
    TargetNotEmpty = "0702", Refused, "the target of the restore is not empty",
        "choose another directory, or say what to do with --on-clash skip|copy|overwrite";
    RestoreIncomplete = "0703", Partial, "not everything could be restored",
        "the list names every path that is missing and why";
    MountFailed = "0704", Failed, "the recovery point could not be mounted",
        "install fuse3 and choose an empty directory of your own";

    CatalogFailed = "0801", Failed, "the catalog cannot be used",
        "run `keelhold catalog rebuild`; it is only a view and nothing is lost";

    DemoFailed = "0901", Failed, "a step of the demonstration did not give what it must",
        "the step printed last says which; with --keep its directory stays for a look";

    VaultUnknown = "2001", Failed, "no vault has this name",
        "`keelhold vault status` shows them";
    VaultUnreachable = "2002", Failed, "the vault's store does not answer",
        "local protection goes on; shipping is tried again by itself. Check the network and --endpoint";
    VaultRefused = "2003", Refused, "the vault's store refuses",
        "check the credential and its rights: create, read and list, and with locks retention; the message names what was refused";
    VaultPlace = "2004", Failed, "the vault's place is not there or cannot be used",
        "make the bucket, container or directory, or correct the URL";
    VaultForeign = "2005", Refused, "the place holds another vault than this one",
        "correct the URL; to go on with a vault of another appliance, adopt it on an empty state directory";
    VaultNewer = "2006", Refused, "the vault was written by a newer version",
        "bring this appliance to that version";
    VaultKey = "2007", Refused, "this does not open the vault",
        "give the kit or the passphrase of this vault; the message says which it was made for";
    VaultKeyInvalid = "2008", Usage, "the kit or the passphrase cannot be used",
        "the message names the line or the rule; a passphrase has at least 16 characters, 5 of them different";
    VaultRollback = "2009", Refused, "the vault is older than what was seen before",
        "somebody brought back an old state, or it is a copy; nothing is written to it. Look at the store's versions, then add it under another name if this is meant";
    VaultDamaged = "2010", Failed, "something in the vault is missing or damaged",
        "see `keelhold vault verify NAME --whole`; what the pool still has is shipped again";
    VaultFull = "2011", Failed, "the vault's store has no room or takes nothing",
        "make room there; shipping goes on by itself";
    VaultClock = "2012", Failed, "the store says that this computer's clock is wrong",
        "set the clock of this computer";
    VaultBusy = "2013", Refused, "somebody else writes to the vault",
        "one appliance ships to a vault; stop the other one, or give each a vault of its own";
    VaultEmpty = "2014", Failed, "there is no vault at this place",
        "correct the URL; `keelhold vault add` makes a new one";
    VaultNoPoints = "2015", Failed, "the recovery point is in no vault that can be read now",
        "see `keelhold vault status`";
    VaultUrl = "2016", Usage, "this is no place of a vault",
        "write file:///DIR, s3://BUCKET/PREFIX or az://CONTAINER/PREFIX";
    NoPoolYet = "2017", Refused, "this appliance was adopted from a vault and has no pool yet",
        "make one with `keelhold pool create --disk PATH:SIZE`; backups go on then";
    VaultCredential = "2018", Usage, "the credential cannot be used",
        "README.md shows what such a file looks like; chmod 600 it, and name it with --credential";
    VaultLocks = "2019", Refused, "the vault's store does not keep objects locked",
        "switch on Object Lock (S3) or version-level immutability (Azure) of the bucket, or add the vault with --lease none";
    VaultPruneMuch = "2020", Refused, "this would delete more of the vault than is usual",
        "look at it with --dry-run; if it is meant, add --yes";
    LeaseInvalid = "2021", Usage, "this is no lease",
        "write none, expiry, or days as 30d: 7d at least";
}

/// An error as people and scripts see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub code: Code,
    /// `KH-E####`: that of `code`, or the agent's own where it is the agent that failed.
    pub label: String,
    pub message: String,
    pub hint: String,
}

impl Failure {
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let (label, hint) = (code.number().to_owned(), code.hint().to_owned());
        Self { code, label, message: message.into(), hint }
    }

    /// Replaces the general advice by one that fits this case.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: hint.into(), ..self }
    }

    /// An error with all of its sources in one line.
    #[must_use]
    pub fn of(code: Code, error: &dyn std::error::Error) -> Self {
        Self::new(code, chain(error))
    }

    #[must_use]
    pub fn to_wire(&self) -> WireFailure {
        WireFailure {
            code: self.label.clone(),
            message: self.message.clone(),
            hint: self.hint.clone(),
        }
    }

    /// The form that goes to an agent.
    #[must_use]
    pub fn refusal(&self) -> keelhold_wire::Refusal {
        keelhold_wire::Refusal::new(self.code.value(), self.message.clone(), self.hint.clone())
    }

    #[must_use]
    pub fn from_wire(wire: WireFailure) -> Self {
        let known = Code::ALL.iter().find(|code| code.number() == wire.code);
        // Numbers from 1000 to 1999 are the agent's.
        let code = *known.unwrap_or(&Code::AgentFailed);
        Self { code, label: wire.code, message: wire.message, hint: wire.hint }
    }

    /// What an agent said about its own failure.
    #[must_use]
    pub fn of_agent(refusal: keelhold_wire::Refusal) -> Self {
        let label = refusal.label();
        Self { code: Code::AgentFailed, label, message: refusal.message, hint: refusal.hint }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.label, self.message)
    }
}

impl std::error::Error for Failure {}

/// The JSON form: `{"code","message","hint"}`, found under `error`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireFailure {
    pub code: String,
    pub message: String,
    pub hint: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FailureBody {
    pub error: WireFailure,
}

/// `error` and everything behind it, as one clause after another.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let clause = cause.to_string();
        // Some libraries repeat their source in their own text.
        if !text.ends_with(&clause) {
            text.push_str(": ");
            text.push_str(&clause);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_ascending() {
        let numbers: Vec<_> = Code::ALL.iter().map(|code| code.number()).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
        let agents = numbers.iter().find(|number| number.starts_with("KH-E1"));
        assert_eq!(agents, None, "the agent's failures would be taken for this one");
    }

    #[test]
    fn the_document_lists_exactly_these_codes() {
        let document = include_str!("../ERRORS.md");
        let rows: Vec<&str> = document.lines().filter(|line| line.starts_with("| KH-E")).collect();
        let expected: Vec<String> = Code::ALL
            .iter()
            .map(|code| {
                let (number, exit) = (code.number(), code.exit().code());
                format!("| {number} | {exit} | {} | {} |", code.meaning(), code.hint())
            })
            .collect();
        assert_eq!(rows, expected, "expected:\n{}", expected.join("\n"));
    }

    #[test]
    fn a_failure_survives_the_wire() {
        let failure = Failure::new(Code::MachineAway, "web1 is not connected");
        assert_eq!(Failure::from_wire(failure.to_wire()), failure);
    }
}
