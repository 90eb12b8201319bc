//! The verbs and flags of `keelhold`. Only what is built is here: everything else is wrong usage.

mod demo;
mod vault;

use crate::api::types::{AfterStop, OnClash};
use clap::{Args, Parser, Subcommand};
pub use demo::{Demo, DemoAgent};
use std::path::PathBuf;
pub use vault::{Adopt, Vault, VaultAdd, VaultKit};

#[derive(Debug, Parser)]
#[command(name = "keelhold", version, about = "Backup appliance: the daemon and its command line")]
#[command(propagate_version = true, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Everything the daemon owns beside the pool's disks
    #[arg(long, global = true, value_name = "DIR", env = "KEELHOLD_STATE")]
    #[arg(default_value = "/var/lib/keelhold")]
    pub state: PathBuf,
    /// Print JSON on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Do not ask before something that cannot be taken back
    #[arg(long, global = true)]
    pub yes: bool,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show the main job end to end on embedded defaults, as a normal user (needs no daemon)
    Demo(Demo),
    /// Run the daemon in the foreground
    Serve(Serve),
    /// Am I protected? One sentence, then a few lines
    Status,
    /// The pool and its disks
    #[command(subcommand)]
    Pool(Pool),
    /// The daemon's view of the pool
    #[command(subcommand)]
    Catalog(Catalog),
    /// Protected machines
    #[command(subcommand)]
    Machine(Machine),
    /// Data sources: what is protected on a machine
    #[command(subcommand)]
    Source(Source),
    /// Make a recovery point of a source now
    Backup(Backup),
    /// Bring the newest state of a source over without making a recovery point
    ///
    /// It can be restored as MACHINE/NAME@working, is replaced by the next one, and becomes a point
    /// when its group's schedule says so.
    Sync(Sync),
    /// Recovery points
    #[command(subcommand)]
    Point(Point),
    /// Find paths over all recovery points
    Find(Find),
    /// Restore a recovery point or paths of it
    Restore(Restore),
    /// Write one file or the whole of a recovery point to a file or standard output
    Export(Export),
    /// Show a recovery point as a read-only file system
    Mount(Mount),
    /// Protection groups: who is protected, how often, and how long points are kept
    #[command(subcommand)]
    Group(Group),
    /// What the groups' schedules do next
    #[command(subcommand)]
    Schedule(Schedule),
    /// Vaults: the second copy, encrypted, in a cloud or a directory elsewhere
    #[command(subcommand)]
    Vault(Vault),
    /// Take over from a vault alone, on an empty machine (needs no daemon)
    ///
    /// Machines, groups, points and policies are there at once; points are listed and restored from the
    /// vault. With a pool (`keelhold pool create`) backups go on, too.
    Adopt(Adopt),
    /// Jobs: backups, restores and reclaims, running and over
    #[command(subcommand)]
    Job(Job),
    /// Who forgot, kept or gave up what, refused actions included
    #[command(subcommand)]
    Audit(Audit),
    /// Runs the agent's side of the demo
    #[command(hide = true)]
    DemoAgent(DemoAgent),
    /// Writes a restore's files in a process of its own
    #[command(name = crate::demo::agent::WRITER_VERB, hide = true)]
    RestoreWriter,
}

#[derive(Debug, Args)]
pub struct Serve {
    /// Where agents connect; default 0.0.0.0:7447
    #[arg(long, value_name = "ADDR:PORT")]
    pub agents: Option<String>,
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// For the demo: a daemon without its demo has nobody to stop it
    #[arg(long, hide = true)]
    pub exit_with_parent: bool,
}

#[derive(Debug, Subcommand)]
pub enum Pool {
    /// Make a new pool (needs no daemon)
    Create(PoolCreate),
    /// Size, use, what could be given back, and disks
    Status,
    /// Give back the space of what nothing needs; the daemon does it by itself, too
    ///
    /// Drops points whose time in the trash is over, frees containers in which nothing is needed and
    /// compacts sparse ones, beside running backups. Points that are listed are never touched.
    Reclaim {
        /// Follow the job and print its result
        #[arg(long)]
        wait: bool,
        /// First give up for good every point in the trash; asks, naming them and their bytes
        #[arg(long)]
        empty_trash: bool,
        /// Give up also far more than was expected (after KH-E0212)
        #[arg(long)]
        confirm: bool,
    },
    /// Read and prove everything the pool has, at once; the daemon does it by itself in ten days, too
    ///
    /// What cannot be read is named with the points it touches, and is asked for again at the next
    /// backup of whoever still has it.
    Scrub {
        /// Wait for the end of the pass; exits with 3 if something is damaged
        #[arg(long)]
        wait: bool,
    },
    /// Take one more disk into the pool; what is stored stays where it is
    AddDisk {
        /// An empty block device or file; with a size the file is made and preallocated
        #[arg(value_name = "PATH[:SIZE]")]
        disk: String,
        /// Do not wait for the end of the job
        #[arg(long)]
        background: bool,
    },
    /// Move everything off a disk and take it out of the pool, beside running backups
    ///
    /// The disk may be missing if what it had is kept on another one. A stop of the daemon interrupts
    /// the job; the next start goes on with it.
    DrainDisk {
        /// The disk's id or path, as `keelhold pool status` prints them
        #[arg(value_name = "DISK")]
        disk: String,
        /// Do not wait for the end of the job
        #[arg(long)]
        background: bool,
    },
    /// Take a new disk into the pool, move there what an old one has or should have, and take the old
    /// one out; it may be missing if what it had is kept on another one
    ReplaceDisk {
        /// The old disk's id or path, as `keelhold pool status` prints them
        #[arg(value_name = "DISK")]
        disk: String,
        /// An empty block device or file; with a size the file is made and preallocated
        #[arg(value_name = "PATH[:SIZE]")]
        new: String,
        /// Do not wait for the end of the job
        #[arg(long)]
        background: bool,
    },
    /// Take over an existing pool, on this or another machine (needs no daemon)
    Import(PoolDisks),
    /// Read and prove every structure and every chunk; changes nothing (needs no daemon). Of an
    /// encrypted pool without its key: everything but what is sealed
    Check(PoolDisks),
    /// Lock an encrypted pool with another key from now on; what is stored stays as it is (needs no
    /// daemon)
    RotateKey(PoolRotateKey),
    /// Show what a place of the pool's disks holds, also of a damaged pool; changes nothing (needs no
    /// daemon)
    #[command(after_help = super::inspect::place::FORMS)]
    Inspect(PoolInspect),
}

#[derive(Debug, Args)]
pub struct PoolCreate {
    /// A block device, or a file; with a size the file is made and preallocated
    #[arg(long = "disk", value_name = "PATH[:SIZE]", required = true)]
    pub disks: Vec<String>,
    /// Size of a container
    #[arg(long, value_name = "SIZE")]
    pub container: Option<String>,
    /// Seal everything that is stored; without the key nobody can read it, you neither
    #[arg(long, requires = "key_file")]
    pub encrypt: bool,
    /// 32 random bytes, or 64 hexadecimal characters, in a file of its owner alone
    #[arg(long, value_name = "FILE", requires = "encrypt")]
    pub key_file: Option<PathBuf>,
    /// Disks every byte is kept on: with 2 any one disk may be lost
    #[arg(long, value_name = "COPIES", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=2))]
    pub copies: u16,
}

#[derive(Debug, Args)]
pub struct PoolDisks {
    #[arg(long = "disk", value_name = "PATH", required = true)]
    pub disks: Vec<PathBuf>,
    #[command(flatten)]
    pub key: PoolKey,
}

#[derive(Debug, Args)]
pub struct PoolKey {
    /// The key of an encrypted pool
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct PoolRotateKey {
    /// The pool's disks; by default those of the state directory
    #[arg(long = "disk", value_name = "PATH")]
    pub disks: Vec<PathBuf>,
    /// The key in use
    #[arg(long, value_name = "FILE")]
    pub key_file: PathBuf,
    /// The key from now on
    #[arg(long, value_name = "FILE")]
    pub new_key_file: PathBuf,
}

#[derive(Debug, Args)]
pub struct PoolInspect {
    #[arg(long = "disk", value_name = "PATH", required = true)]
    pub disks: Vec<PathBuf>,
    /// What to show; see below
    #[arg(value_name = "WHERE")]
    pub place: Option<String>,
    #[command(flatten)]
    pub key: PoolKey,
}

#[derive(Debug, Subcommand)]
pub enum Catalog {
    /// Throw the view away and make it anew from the pool alone
    Rebuild,
}

#[derive(Debug, Subcommand)]
pub enum Machine {
    /// Print the one line that enrols a machine; an existing name enrols again and keeps its history
    Token {
        name: String,
        /// How long the token may be used
        #[arg(long, default_value = "1h", value_name = "DURATION")]
        ttl: String,
    },
    List,
    /// Refuse the machine's certificate from now on, open connections included
    Revoke {
        name: String,
    },
    Rename {
        old: String,
        new: String,
    },
    /// Limit what only this machine's points may take in the pool
    ///
    /// Counted are stored bytes that nothing else needs. A backup that would take more is refused, or
    /// fails and gives its bytes back; points that are there stay.
    Quota {
        name: String,
        /// 500GiB, or none
        #[arg(value_name = "SIZE|none")]
        size: String,
    },
    /// Remove a machine and stop protecting its sources
    Remove {
        name: String,
        #[arg(long, value_enum, default_value_t = AfterStop::Policy)]
        points: AfterStop,
    },
}

#[derive(Debug, Subcommand)]
pub enum Audit {
    /// All entries, oldest first
    List,
}

#[derive(Debug, Subcommand)]
pub enum Source {
    /// Protect a tree of files on a machine
    Add(SourceAdd),
    List,
    /// Read everything, compare with the newest point and mend what differs
    Check {
        #[arg(value_name = "MACHINE/NAME")]
        source: String,
        #[arg(long)]
        wait: bool,
    },
    /// Stop protecting a source
    Remove {
        #[arg(value_name = "MACHINE/NAME")]
        source: String,
        #[arg(long, value_enum, default_value_t = AfterStop::Policy)]
        points: AfterStop,
    },
}

#[derive(Debug, Args)]
pub struct SourceAdd {
    pub machine: String,
    pub name: String,
    /// Absolute path of the tree on the machine
    #[arg(long, value_name = "PATH")]
    pub tree: PathBuf,
    /// Leave out what matches; relative to the root, or `**/NAME`
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,
    /// Enter other file systems mounted below the root
    #[arg(long)]
    pub all_file_systems: bool,
    /// Do not honour CACHEDIR.TAG, .keelholdignore and the nodump flag
    #[arg(long)]
    pub no_default_excludes: bool,
}

#[derive(Debug, Args)]
pub struct Backup {
    #[arg(value_name = "MACHINE/NAME")]
    pub source: String,
    /// Follow the job and print its result
    #[arg(long)]
    pub wait: bool,
    /// Accept a machine that is away: the job runs when it is back
    #[arg(long)]
    pub queue: bool,
    /// Keep the point until then; by default for 30 days
    #[arg(long, value_name = "DATE")]
    pub keep_until: Option<String>,
}

#[derive(Debug, Args)]
pub struct Sync {
    #[arg(value_name = "MACHINE/NAME")]
    pub source: String,
    /// Follow the job and print its result
    #[arg(long)]
    pub wait: bool,
}

#[derive(Debug, Subcommand)]
pub enum Point {
    List {
        #[arg(value_name = "MACHINE/NAME")]
        source: Option<String>,
        /// Show points in the trash, too
        #[arg(long)]
        trash: bool,
        /// Only so many, the newest
        #[arg(long, value_name = "N")]
        count: Option<usize>,
        /// Only those of before this time: the page before
        #[arg(long, value_name = "TIME")]
        before: Option<String>,
    },
    /// Give up points: they go to the trash, and after 14 days for good
    ///
    /// Until then `point undo-forget` brings them back. Refused for pinned points and for the last
    /// good point of a source. Space comes back with the next reclaim after their time in the trash.
    Forget {
        #[arg(required = true, value_name = "POINT")]
        points: Vec<String>,
        /// Skip the time in which this can be undone
        #[arg(long)]
        now: bool,
        /// Change nothing: print what would be freed, and when
        #[arg(long)]
        dry_run: bool,
    },
    /// Bring a point back out of the trash
    UndoForget {
        point: String,
    },
    /// Keep a point until a day, whatever else is decided
    Pin {
        point: String,
        /// A date (2027-03-31) or a time
        #[arg(long, value_name = "DATE")]
        until: String,
        /// The reason; shown wherever the point is
        #[arg(long, value_name = "TEXT")]
        why: String,
    },
    /// Take a pin off
    Unpin {
        point: String,
    },
    Show {
        point: String,
    },
    /// What is in a point, below a path
    Files {
        point: String,
        path: Option<PathBuf>,
    },
    /// What changed from the first point to the second
    Diff {
        left: String,
        right: String,
    },
    /// Attach a text to a point
    Note {
        point: String,
        text: String,
    },
}

#[derive(Debug, Args)]
pub struct Find {
    /// A glob over whole paths, or a name
    pub pattern: String,
    #[arg(long, value_name = "M")]
    pub machine: Option<String>,
}

#[derive(Debug, Args)]
pub struct Restore {
    pub point: String,
    /// Directory to restore into; it is created
    #[arg(long, value_name = "DIR", required_unless_present = "original")]
    pub to: Option<PathBuf>,
    /// Only this path of the point, and what is below it
    #[arg(long = "path", value_name = "P")]
    pub paths: Vec<PathBuf>,
    /// What to do with a path that exists
    #[arg(long, value_enum)]
    pub on_clash: Option<OnClash>,
    /// Restore on this machine, through its agent
    #[arg(long, value_name = "MACHINE")]
    pub machine: Option<String>,
    /// Restore to where it came from; the machine's own configuration must allow it
    #[arg(long, conflicts_with = "to")]
    pub original: bool,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("form").required(true))]
pub struct Export {
    pub point: String,
    /// The bytes of one file, to FILE or - for standard output
    #[arg(long, value_name = "FILE|-", group = "form", requires = "path")]
    pub raw: Option<PathBuf>,
    /// A tar archive, to FILE or - for standard output
    #[arg(long, value_name = "FILE|-", group = "form")]
    pub tar: Option<PathBuf>,
    #[arg(long, value_name = "P")]
    pub path: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Mount {
    pub point: String,
    pub dir: PathBuf,
}

#[derive(Debug, Subcommand)]
pub enum Group {
    /// Groups in words: what they cover, their goals, what is not covered
    Show { name: Option<String> },
    /// Put texts of groups into force, all of them or none
    ///
    /// What they would do is shown first; if points would be kept for a shorter time than now, it
    /// asks. A source moves between groups with its history: state both groups in one command.
    Apply {
        #[arg(required = true, value_name = "FILE.toml")]
        files: Vec<PathBuf>,
    },
    /// Print the texts that are in force, to be edited and applied
    Export { name: Option<String> },
    /// Every text of a group that was ever in force
    History { name: String },
    /// Print the rules of a group that come nearest to counts of another product
    ///
    /// What counts say and rules do not is named in comments.
    Import(GroupImport),
    /// Which existing points would gain or lose time, and what would come free; changes nothing
    Preview {
        #[arg(required = true, value_name = "FILE.toml")]
        files: Vec<PathBuf>,
    },
    /// Give up a group; its sources and their points stay, and nothing is backed up by itself
    Remove { name: String },
}

#[derive(Debug, Args)]
pub struct GroupImport {
    /// Where the counts come from
    #[arg(long, value_enum)]
    pub from: CountedBy,
    /// The schedule they are for
    #[arg(long, value_name = "CALENDAR", default_value = "daily 12:00")]
    pub points: String,
    #[arg(long, default_value_t = 0)]
    pub last: u32,
    #[arg(long, default_value_t = 0)]
    pub hourly: u32,
    #[arg(long, default_value_t = 0)]
    pub daily: u32,
    #[arg(long, default_value_t = 0)]
    pub weekly: u32,
    #[arg(long, default_value_t = 0)]
    pub monthly: u32,
    #[arg(long, default_value_t = 0)]
    pub yearly: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum CountedBy {
    Pbs,
    Borg,
    Restic,
    Kopia,
}

#[derive(Debug, Subcommand)]
pub enum Schedule {
    /// What runs when, and why something waits
    Next {
        #[arg(long, default_value_t = 20)]
        count: usize,
    },
}

#[derive(Debug, Subcommand)]
pub enum Job {
    List,
    Show { job: u64 },
    Cancel { job: u64 },
    Log { job: u64 },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_verbs_fit_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_flags_stand_before_and_after_the_verb() {
        for args in [["keelhold", "--json", "status"], ["keelhold", "status", "--json"]] {
            let cli = Cli::try_parse_from(args).unwrap();
            assert!(cli.global.json && matches!(cli.verb, Verb::Status));
        }
    }

    #[test]
    fn what_is_not_built_is_wrong_usage() {
        for args in [
            &["serve", "--web", "x"][..],
            &["vault", "prune"],
            &["vault", "move", "x"],
            &["point", "pin", "x"],
            &["pool", "drain-disk"],
            &["pool", "replace-disk", "x"],
        ] {
            let line = std::iter::once("keelhold").chain(args.iter().copied());
            let error = Cli::try_parse_from(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{args:?}");
        }
    }
}
