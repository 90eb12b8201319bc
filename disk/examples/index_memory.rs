//! Prints what the index takes per chunk, at every million from 1 to 20, and fails above 32 bytes.
//!
//! `fresh` only inserts; `dead` reads with nine of ten numbers ever given dead. Each runs in a
//! process of its own, since the kernel's high-water mark (VmHWM) never sinks.
//!
//! `late`, only when asked for, is `dead` with half a million chunks more alive before each reading.
//! Memory is not given back when they die, so VmRSS by what lives at the reading shows that, and the
//! high-water mark is held against the most that ever lived at once.
//!
//! `cargo run --release -p keelhold-disk --example index_memory [MILLIONS [fresh|dead|late]]`

use std::process::{Command, ExitCode};

use keelhold_disk::index::{Fingerprint, Index, Place, Slot};
use keelhold_disk::units::ChunkNumber;

const LIMIT: f64 = 32.0;
const MILLION: u64 = 1_000_000;
const STREAMS: u64 = 8;
const BLOCK: u64 = 4096;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let millions = match args.next().map(|text| text.parse()) {
        None => 20,
        Some(Ok(millions)) => millions,
        Some(Err(error)) => return refuse(&format!("millions: {error}")),
    };
    match args.next().as_deref() {
        None => {
            let both = ["fresh", "dead"].map(|kind| run_apart(millions, kind));
            if both == [true, true] { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Some("fresh") => Series::new(1, Series::SOON).run(millions),
        Some("dead") => Series::new(10, Series::SOON).run(millions),
        Some("late") => Series::new(10, Series::LATE).run(millions),
        Some(_) => refuse("kind of series: fresh, dead or late"),
    }
}

fn refuse(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::FAILURE
}

fn run_apart(millions: u64, kind: &str) -> bool {
    let run = || {
        let program = std::env::current_exe()?;
        Command::new(program).args([&millions.to_string(), kind]).status()
    };
    println!("\n{kind}");
    run().is_ok_and(|status| status.success())
}

struct Series {
    index: Index,
    /// How many numbers are given for one that stays.
    given_per_live: u64,
    given: u64,
    /// Numbers below these have had their first and second chance to die.
    passed: [u64; 2],
    resident_before: u64,
    ages: [u64; 2],
    most_live: u64,
}

impl Series {
    /// Chunks die at two ages: part of them soon, the rest when others have come in between. Not so
    /// late that those about to die would be a large part of the live ones.
    const SOON: [u64; 2] = [20_000, 60_000];
    const LATE: [u64; 2] = [100_000, MILLION];

    fn new(given_per_live: u64, ages: [u64; 2]) -> Self {
        let resident_before = memory("VmRSS");
        let index = Index::new([1; 32]);
        Self {
            index,
            given_per_live,
            given: 0,
            passed: [0; 2],
            resident_before,
            ages,
            most_live: 0,
        }
    }

    fn run(mut self, millions: u64) -> ExitCode {
        println!("| live | most live | given | counted | VmRSS | VmHWM | VmHWM by most live |");
        println!("|---|---|---|---|---|---|---|");
        let mut worst = 0f64;
        for million in 1..=millions {
            self.give(million * MILLION * self.given_per_live);
            self.let_die([self.given; 2]);
            worst = worst.max(self.read());
        }
        println!("worst: {worst:.2} bytes per chunk, limit {LIMIT}");
        if worst <= LIMIT { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn give(&mut self, until: u64) {
        while self.given < until {
            let number = number(self.given);
            let place = Place {
                container: (self.given >> 12) as u32,
                run_block: (self.given >> 6) as u16,
                ordinal: self.given as u16 & 63,
            };
            let slot = Slot { place, stored_len: 9000, sources: 1 };
            let inserted = self.index.insert(number, fingerprint(number), slot);
            assert_eq!(inserted, Ok(()));
            self.given += 1;
            self.most_live = self.most_live.max(self.index.len());
            self.let_die(self.ages.map(|age| self.given.saturating_sub(age)));
        }
    }

    fn let_die(&mut self, until: [u64; 2]) {
        for (age, until) in until.into_iter().enumerate() {
            while self.passed[age] < until {
                let number = number(self.passed[age]);
                self.passed[age] += 1;
                let lot = mixed(!number.0) % self.given_per_live;
                let dies_at = if lot == 0 { None } else { Some(usize::from(lot > 4)) };
                if dies_at == Some(age) {
                    assert!(self.index.remove(number, fingerprint(number)).is_ok());
                }
            }
        }
    }

    /// Prints a reading; gives the largest of those that count.
    fn read(&self) -> f64 {
        let per_chunk = |bytes: u64, chunks: u64| bytes as f64 / chunks as f64;
        let (live, most_live, given) = (self.index.len(), self.most_live, self.given);
        let counted = per_chunk(self.index.bytes_used(), live);
        let resident = per_chunk(memory("VmRSS") - self.resident_before, live);
        let high = memory("VmHWM") - self.resident_before;
        let (by_live, by_most) = (per_chunk(high, live), per_chunk(high, most_live));
        println!(
            "| {live} | {most_live} | {given} | {counted:.2} | {resident:.2} | {by_live:.2} | \
             {by_most:.2} |"
        );
        if self.ages == Self::LATE {
            counted.max(by_most)
        } else {
            counted.max(resident).max(by_live)
        }
    }
}

/// The `count`th number given: streams take turns, each within its leased block.
fn number(count: u64) -> ChunkNumber {
    let (round, within) = (count / (BLOCK * STREAMS), count % (BLOCK * STREAMS));
    ChunkNumber(round * BLOCK * STREAMS + within % STREAMS * BLOCK + within / STREAMS)
}

fn fingerprint(number: ChunkNumber) -> Fingerprint {
    Fingerprint(mixed(number.0))
}

fn mixed(value: u64) -> u64 {
    let mixed = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A line of `/proc/self/status`, in bytes.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name));
    let kibibytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kibibytes.map_or(0, |kibibytes| kibibytes << 10)
}
