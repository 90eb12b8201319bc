//! Keelhold, restic and borg on the same real tree, beside what nothing can do without. Arguments: a
//! directory to take the files from (this machine's own by default) and rounds (1).
//!
//!     cargo build --release --locked --workspace --bins
//!     cargo bench -p keelhold-tests --bench peers -- [PATH] [ROUNDS]
//!
//! Every step begins with cold caches and ends when the file system is flushed. Works below
//! `KEELHOLD_SCRATCH` (`/var/tmp`), which needs some six times the tree's size, and removes it.

mod bars;
mod change;
mod data;
mod floors;
mod keelhold;
mod measure;
mod peers;
mod round;
mod table;
mod tool;
mod tree;

use std::path::{Path, PathBuf};

use keelhold_tests::appliance::{Scratch, program};
use keelhold_tree::removal::remove_tree;

use keelhold::Keelhold;
use measure::{Ground, output};
use peers::{Borg, Restic};
use round::Round;
use table::Table;
use tool::{Tool, Trees};

fn main() {
    // `cargo bench` adds a flag of its own.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let rounds = args.iter().find_map(|arg| arg.parse::<u64>().ok()).unwrap_or(1);
    let from = args.iter().find(|arg| arg.parse::<u64>().is_err()).map(PathBuf::from);
    let scratch = Scratch::new("peers");
    if !Ground::make_cold() {
        println!("NOT COMPARABLE: only root may empty the page cache");
    }
    let mut table = Table::default();
    let trees = Trees { first: scratch.path().join("tree"), second: scratch.path().join("second") };
    data::make(from.as_deref(), &trees.first);
    for number in 0..rounds {
        println!("round {} of {rounds}", number + 1);
        run(number, scratch.path(), &trees, &mut table);
    }
    table.print();
    bars::print(&table);
}

fn run(number: u64, scratch: &Path, trees: &Trees, table: &mut Table) {
    let place = |name: &str| scratch.join(format!("{name}-{number}"));
    let plain_mib = tree::list(&trees.first).bytes >> 20;
    let own = program("keelhold");
    let said = output(std::process::Command::new(own).arg("--version"));
    println!("{}", String::from_utf8_lossy(&said).trim());
    let mut tools: Vec<Box<dyn Tool>> = vec![Box::new(Keelhold::new(trees, 2 * plain_mib + 2048))];
    if let Some(version) = peers::version("restic") {
        println!("{version}");
        tools.push(Box::new(Restic::new(place("restic"), trees.clone())));
    }
    if let Some(version) = peers::version("borg") {
        println!("{version}");
        tools.push(Box::new(Borg::new(place("borg"), trees.clone())));
    }
    // Whoever comes first finds the disk as the step before left it: each is it in turn.
    let count = tools.len();
    tools.rotate_left(number as usize % count);
    let ground = Ground::new(scratch);
    Round { ground: &ground, trees, scratch, table, tools, seed: number + 1 }.run();
    for name in ["restic", "borg"] {
        // Nothing is there of a tool that is not.
        drop(remove_tree(&place(name)));
    }
}
