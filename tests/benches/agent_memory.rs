//! Memory of agent and daemon over a tree of very many small files, through the programs as they
//! are shipped: `cargo bench -p keelhold-tests --bench agent_memory -- [FILES]`, a million if it is
//! not said. Prints VmHWM after the first backup and, of new processes, after an unchanged one.

use std::fs;
use std::path::Path;
use std::time::Instant;

use keelhold_tests::appliance::{Appliance, Scratch};

const FILES_OF_DIR: usize = 1_000;
/// Making files waits for the file system, not for the processor.
const HANDS: usize = 16;
/// What the design allows.
const AGENT_MAX: u64 = 256 << 20;
const DAEMON_MAX: u64 = 200 << 20;
const INDEX_PER_CHUNK: u64 = 32;

/// Does the work for every directory, by many hands.
fn each_dir(tree: &Path, dirs: usize, work: impl Fn(&Path, usize) + Sync) {
    std::thread::scope(|scope| {
        for hand in 0..HANDS {
            let work = &work;
            scope.spawn(move || {
                for dir in (hand..dirs).step_by(HANDS) {
                    work(&tree.join(format!("dir-{dir:04}")), dir);
                }
            });
        }
    });
}

/// From a few bytes, which stand inside their entries, to some pages.
fn content(number: usize) -> String {
    format!("file {number} of very many\n").repeat(1 + number * 7 % 150)
}

fn make(tree: &Path, dirs: usize) {
    fs::create_dir_all(tree).expect("a tree can be made");
    each_dir(tree, dirs, |path, dir| {
        fs::create_dir_all(path).expect("a directory can be made");
        for file in 0..FILES_OF_DIR {
            let number = dir * FILES_OF_DIR + file;
            let path = path.join(format!("file-{file:03}"));
            fs::write(path, content(number)).expect("a file can be made");
        }
    });
}

fn report(appliance: &Appliance, what: &str, begun: Instant) {
    let chunks = appliance.ask(&["pool", "status"]).json["chunks"].as_u64().unwrap_or_default();
    let (agent, daemon) = (appliance.agent_memory_max(), appliance.daemon_memory_max());
    let daemon_max = DAEMON_MAX + chunks * INDEX_PER_CHUNK;
    let word = |is: bool| if is { "within" } else { "BEYOND" };
    println!(
        "{what}: {:.1} s; agent {} MiB ({} {}), daemon {} MiB ({} {}, {chunks} chunks)",
        begun.elapsed().as_secs_f64(),
        agent >> 20,
        word(agent <= AGENT_MAX),
        AGENT_MAX >> 20,
        daemon >> 20,
        word(daemon <= daemon_max),
        daemon_max >> 20,
    );
}

fn main() {
    let files: Option<usize> = std::env::args().skip(1).find_map(|word| word.parse().ok());
    let dirs = files.unwrap_or(1_000_000).div_ceil(FILES_OF_DIR);
    let scratch = Scratch::new("agent-memory");
    let tree = scratch.path().join("tree");
    let begun = Instant::now();
    make(&tree, dirs);
    println!("{} files made in {:.0} s", dirs * FILES_OF_DIR, begun.elapsed().as_secs_f64());
    let mut appliance = Appliance::ready(&scratch, 8 << 10);
    appliance.protect(&tree);
    let begun = Instant::now();
    println!("{}", appliance.backup("m/t"));
    report(&appliance, "first", begun);
    appliance.kill_agent();
    appliance.stop_daemon();
    appliance.start_daemon();
    appliance.start_agent();
    let begun = Instant::now();
    println!("{}", appliance.backup("m/t"));
    report(&appliance, "unchanged", begun);
}
