//! How fast a tree is read and written again beside four parallel `cp -a`, `syncfs` counted for both.
//!
//! `copy_speed FROM TO [THREADS]`: TO must not exist; below it two copies are made.

use keelhold_tree::{Created, Entry, Found, Place, TreeWriter, Walk, WalkOptions, WriteOptions};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, mpsc::sync_channel};
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to, rest @ ..] = &arguments[..] else {
        return Err("usage: copy_speed FROM TO [THREADS]".into());
    };
    let threads = rest.first().map_or(Ok(8), |count| count.parse())?;
    let (from, to) = (Path::new(from), Path::new(to));
    std::fs::create_dir(to)?;
    copy(from, &to.join("warm-up"), threads)?;
    std::fs::remove_dir_all(to.join("warm-up"))?;
    rustix::fs::sync();
    let (plain, plain_ticks) = measure(|| parallel_cp(from, &to.join("cp")))?;
    rustix::fs::sync();
    let (ours, our_ticks) = measure(|| copy(from, &to.join("copy"), threads))?;
    let ratio = ours.as_secs_f64() / plain.as_secs_f64();
    println!("four cp -a {plain:.2?}, this {ours:.2?}, {ratio:.2} x");
    println!("processor {plain_ticks} and {our_ticks} ticks of 10 ms");
    Ok(())
}

fn measure(work: impl FnOnce() -> Outcome<()>) -> Outcome<(Duration, u64)> {
    let (start, ticks) = (Instant::now(), processor_ticks()?);
    work()?;
    Ok((start.elapsed(), processor_ticks()? - ticks))
}

/// Of this process and the children it has waited for: proc(5), fields 14 to 17 of `stat`.
fn processor_ticks() -> Outcome<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    Ok(fields.skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum())
}

/// The entries of the two uppermost levels dealt out to four processes.
fn parallel_cp(from: &Path, to: &Path) -> Outcome<()> {
    let script = "mkdir -p \"$2\" && cd \"$1\" && find . -mindepth 1 -maxdepth 2 -type d -printf '%P\\0' \
        | (cd \"$2\" && xargs -0 mkdir -p) && find . -mindepth 1 -maxdepth 3 \\( ! -type d -o -path './*/*/*' \\) -print0 \
        | xargs -0 -P4 -n200 cp -a --parents -t \"$2\" && sync -f \"$2\"";
    let status = Command::new("sh").args(["-c", script, "sh"]).arg(from).arg(to).status()?;
    if status.success() { Ok(()) } else { Err("cp failed".into()) }
}

fn copy(from: &Path, to: &Path, threads: usize) -> Outcome<()> {
    let mut writer = TreeWriter::create(to, WriteOptions::default())?;
    let (send, receive) = sync_channel::<(Entry, Place)>(256);
    let receive = Arc::new(Mutex::new(receive));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let receive = receive.clone();
            scope.spawn(move || {
                let next = || receive.lock().ok().and_then(|receive| receive.recv().ok());
                while let Some((entry, place)) = next() {
                    if let Err(error) = fill(&entry, place) {
                        println!("{}: {error}", entry.path().escape_ascii());
                    }
                }
            });
        }
        for found in Walk::new(from, WalkOptions::default().no_default_excludes())? {
            match found {
                Found::Entry(entry) => {
                    let (_, attributes) = entry.attributes()?;
                    if let Some(place) = writer.place(entry.path(), attributes) {
                        send.send((entry, place))?;
                    }
                }
                Found::Skipped(skipped) => println!("{skipped:?}"),
            }
        }
        drop(send);
        Outcome::Ok(())
    })?;
    let report = writer.finish();
    for unwritten in &report.unwritten {
        println!("{}: {}", unwritten.path.escape_ascii(), unwritten.reason);
    }
    Ok(())
}

fn fill(entry: &Entry, place: Place) -> Outcome<()> {
    let Created::Content(file) = place.create() else {
        return Ok(());
    };
    let open = entry.open()?;
    let mut buffer = vec![0; 256 << 10];
    let mut at = 0;
    while let Some(extent) = open.next_extent(at)? {
        at = extent.offset;
        while at < extent.end() {
            let want = buffer.len().min((extent.end() - at) as usize);
            let len = open.read_at(at, &mut buffer[..want])?;
            file.write_at(at, &buffer[..len])?;
            at += len as u64;
        }
    }
    open.finish()?;
    file.finish();
    Ok(())
}
