//! What a step takes: wall time until its bytes are durable, processor time of every process that
//! had a part in it, and how long the disk was busy.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

/// What /proc counts processor time in, a second: the same on every kernel this runs on.
const TICKS: u32 = 100;

#[derive(Debug, Clone, Copy, Default)]
pub struct Took {
    pub wall: Duration,
    pub cpu: Duration,
    /// The disk below the scratch directory had something to do, whoever's it was.
    pub device: Duration,
}

/// The file system everything is measured on.
#[derive(Debug)]
pub struct Ground {
    root: File,
    /// `stat` of the disk in /sys; none below file systems without a disk of their own.
    disk: Option<PathBuf>,
}

impl Ground {
    pub fn new(root: &Path) -> Self {
        let root = File::open(root).expect("the scratch directory can be opened");
        let device = rustix::fs::fstat(&root).expect("the scratch directory has facts").st_dev;
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let disk = PathBuf::from(format!("/sys/dev/block/{major}:{minor}/stat"));
        Self { root, disk: disk.exists().then_some(disk) }
    }

    /// Writes out everybody's pages and empties the caches; false where that is not allowed.
    pub fn make_cold() -> bool {
        rustix::fs::sync();
        fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
    }

    /// Runs `step` cold. `pids` live longer than it; programs it starts itself count, too.
    pub fn measure(&self, pids: &[u32], step: impl FnOnce()) -> Took {
        Self::make_cold();
        let (cpu, device) = (cpu_used(pids), self.device_busy());
        let began = Instant::now();
        step();
        rustix::fs::syncfs(&self.root).expect("the scratch file system can be flushed");
        let wall = began.elapsed();
        Took {
            wall,
            cpu: cpu_used(pids).saturating_sub(cpu),
            device: self.device_busy().saturating_sub(device),
        }
    }

    fn device_busy(&self) -> Duration {
        let text = self.disk.as_ref().and_then(|path| fs::read_to_string(path).ok());
        let busy = text.and_then(|text| text.split_whitespace().nth(9)?.parse().ok());
        Duration::from_millis(busy.unwrap_or(0))
    }
}

/// Of children that ended, and of `pids` with the children they waited for.
fn cpu_used(pids: &[u32]) -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("a process may ask about its own");
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    let ticks: u64 = pids.iter().map(|pid| ticks_of(*pid)).sum();
    let of_pids = Duration::from_secs(ticks) / TICKS;
    Duration::from_micros(micros.unsigned_abs()) + of_pids
}

fn ticks_of(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in brackets may hold blanks; utime is the twelfth field behind it.
    let behind = text.rsplit_once(')').map_or("", |(_, behind)| behind);
    behind.split_whitespace().skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum()
}

/// Largest resident memory since [`forget_peak`].
pub fn peak_memory(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

pub fn forget_peak(pid: u32) {
    // Where it is not allowed the peak is that of the whole run: never too small.
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

/// Runs a program that must end well.
pub fn run(command: &mut Command) {
    let _ = output(command.stdout(Stdio::null()));
}

/// What a program that must end well wrote to standard output.
pub fn output(command: &mut Command) -> Vec<u8> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::piped()).output();
    let output = output.unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program()));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {}\n{said}", command.get_program(), output.status);
    output.stdout
}
