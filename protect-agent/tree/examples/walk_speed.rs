//! How fast a walk is beside one plain `lstat` after another of the same entries.
//!
//! `walk_speed [ROOT] [THREADS]…`: as root every run begins with a cold cache; otherwise that is said
//! and the figures are warm.

use keelhold_tree::{Found, Walk, WalkOptions};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let root = PathBuf::from(arguments.next().unwrap_or_else(|| "/usr".to_owned()));
    let mut threads: Vec<usize> =
        arguments.map(|argument| argument.parse()).collect::<Result<_, _>>()?;
    if threads.is_empty() {
        threads = vec![0, 2, 4, 8, 16];
    }
    let count = Walk::new(&root, WalkOptions::default())?.count();
    println!("{count} steps in {} of memory at most", memory_peak()?);
    let paths = entries(&root, WalkOptions::default())?;
    println!("{}: {} entries", root.display(), paths.len());
    let cold = drop_caches();
    println!("{}", if cold { "cold cache before every run" } else { "warm: not root" });
    let plain = time(|| {
        // As given by the walk: every lstat goes through the kernel's path walk.
        for path in &paths {
            let _ = std::fs::symlink_metadata(path);
        }
        Ok(())
    })?;
    println!("serial lstat      {plain:>10.3?}");
    for count in threads {
        drop_caches();
        let options = WalkOptions { threads: count, ..WalkOptions::default() };
        let walked = time(|| entries(&root, options.clone()).map(|_| ()))?;
        let ratio = walked.as_secs_f64() / plain.as_secs_f64();
        println!("walk, {count:>2} threads {walked:>10.3?}  {ratio:.2} x");
    }
    Ok(())
}

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn entries(root: &Path, options: WalkOptions) -> Outcome<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for found in Walk::new(root, options)? {
        match found {
            Found::Entry(entry) => {
                paths.push(root.join(std::ffi::OsStr::from_bytes(entry.path())));
            }
            Found::Skipped(skipped) => {
                println!("skipped {}: {}", skipped.path.escape_ascii(), skipped.reason);
            }
        }
    }
    Ok(paths)
}

fn time(work: impl FnOnce() -> Outcome<()>) -> Outcome<Duration> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}

/// Of this process so far, as proc(5) says it.
fn memory_peak() -> Outcome<String> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(line.unwrap_or("an unknown amount").trim().to_owned())
}

fn drop_caches() -> bool {
    rustix::fs::sync();
    std::fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
}
