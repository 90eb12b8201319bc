//! One round: every step, every tool on the same state of the same tree.

use std::fs;
use std::path::{Path, PathBuf};

use keelhold_tree::removal::remove_tree;

use super::bars::{DAYS, day};
use super::change::{Chance, change};
use super::floors;
use super::measure::{Ground, Took};
use super::table::{Figure, Table};
use super::tool::{Machine, Tool, Trees};
use super::tree::{Listing, copy, deal, list};

const FILES_ASKED: usize = 5;
const SECOND_THOUSANDTHS: usize = 50;

pub struct Round<'a> {
    pub ground: &'a Ground,
    pub trees: &'a Trees,
    pub scratch: &'a Path,
    pub table: &'a mut Table,
    /// In the order of this round.
    pub tools: Vec<Box<dyn Tool>>,
    pub seed: u64,
}

impl Round<'_> {
    pub fn run(mut self) {
        self.read_floors();
        self.back_up("first");
        self.unchanged();
        self.change(20, 1);
        self.back_up("2 % changed");
        for number in 1..=DAYS {
            self.change(5, 1 + number as u64);
            self.each(&day(number), |tool| tool.is_daily(), |tool| tool.backup(Machine::First));
        }
        // Who took no part in the days has to have what is there now.
        for tool in self.tools.iter_mut().filter(|tool| !tool.is_daily()) {
            tool.backup(Machine::First);
        }
        self.restore();
        self.one_file();
        self.verify();
        self.second_machine();
        for tool in &self.tools {
            if let Some(bytes) = tool.index_bytes() {
                self.table.add_fact("index bytes", bytes as f64);
            }
            tool.notes().iter().for_each(|note| println!("{}: {note}", tool.name()));
        }
    }

    fn listing(&self) -> Listing {
        list(&self.trees.first)
    }

    fn floor(&mut self, step: &str, plain: u64, work: impl FnOnce()) {
        let took = self.ground.measure(&[], work);
        let figure =
            Figure { step: step.to_owned(), tool: "floor", took, plain, ..Figure::default() };
        self.table.add(figure);
    }

    fn read_floors(&mut self) {
        let listing = self.listing();
        // The first to read what was just written is slower, for layers below this system's caches
        // are cold to it: nobody's figure.
        Ground::make_cold();
        floors::read_all(&listing);
        self.floor("read all, 8 in flight", listing.bytes, || {
            assert_eq!(floors::read_all(&listing), listing.bytes, "the tree stands still");
        });
        let tree = self.trees.first.clone();
        self.floor("lstat of all", listing.bytes, || {
            assert_eq!(list(&tree).entries(), listing.entries(), "the tree stands still");
        });
    }

    fn change(&mut self, thousandths: usize, number: u64) {
        let listing = self.listing();
        let count = change(&listing, thousandths, self.seed * 1000 + number);
        println!("  {count} files changed");
    }

    /// One step of every tool, in this round's order.
    fn each(
        &mut self,
        step: &str,
        takes_part: impl Fn(&dyn Tool) -> bool,
        mut work: impl FnMut(&mut dyn Tool),
    ) {
        let plain = self.listing().bytes;
        for tool in self.tools.iter_mut().filter(|tool| takes_part(tool.as_ref())) {
            let before = tool.stored();
            tool.forget_peaks();
            let pids = tool.pids();
            let took = self.ground.measure(&pids, || work(tool.as_mut()));
            let (peaks, stored) = (tool.peaks(), tool.stored());
            let added = Some(stored as i64 - before as i64);
            let (step, tool) = (step.to_owned(), tool.name());
            self.table.add(Figure { step, tool, took, plain, stored: Some(stored), added, peaks });
        }
    }

    fn back_up(&mut self, step: &str) {
        self.each(step, |_| true, |tool| tool.backup(Machine::First));
    }

    fn unchanged(&mut self) {
        let wire = |tools: &[Box<dyn Tool>]| tools.iter().find_map(|tool| tool.wire_bytes());
        let before = wire(&self.tools);
        self.back_up("unchanged");
        if let (Some(before), Some(after)) = (before, wire(&self.tools)) {
            self.table.add_fact("wire of unchanged", (after - before) as f64);
            println!("  on the wire: {} bytes", after - before);
        }
        let listing = floors::find_listing_len(&self.trees.first);
        println!("  find listing: {listing} bytes");
        self.table.add_fact("find listing", listing as f64);
    }

    fn restore(&mut self) {
        let (listing, tree) = (self.listing(), self.trees.first.clone());
        let hands = deal(&tree);
        let target = self.scratch.join("copied");
        self.floor("four parallel cp -a", listing.bytes, || copy(&tree, &hands, &target));
        let mut made = vec![target];
        for at in 0..self.tools.len() {
            made.extend(self.restore_one("restore", at, &listing, |tool| Some(tool.restore())));
            made.extend(self.restore_one("restore through the agent", at, &listing, |tool| {
                tool.restore_through_agent()
            }));
        }
        // All at the end: for minutes ext4 steps over every inode that was freed, so whoever made
        // files after a removal would pay for it.
        for place in made {
            remove_tree(&place).expect("a restored tree can be removed");
        }
    }

    fn restore_one(
        &mut self,
        step: &str,
        at: usize,
        listing: &Listing,
        work: impl FnOnce(&mut dyn Tool) -> Option<PathBuf>,
    ) -> Option<PathBuf> {
        let tool = &mut self.tools[at];
        tool.forget_peaks();
        let (pids, mut place) = (tool.pids(), None);
        let took = self.ground.measure(&pids, || place = work(tool.as_mut()));
        let place = place?;
        let restored = list(&place);
        let found = (restored.entries(), restored.bytes);
        assert_eq!(found, (listing.entries(), listing.bytes), "{step} {}", tool.name());
        let (peaks, plain) = (tool.peaks(), listing.bytes);
        let (step, tool) = (step.to_owned(), tool.name());
        self.table.add(Figure { step, tool, took, plain, peaks, ..Figure::default() });
        Some(place)
    }

    /// Each file cold by itself; the figures are of one.
    fn one_file(&mut self) {
        let listing = self.listing();
        let ordinary = |(_, len): &&(PathBuf, u64)| (4 << 10..1 << 20).contains(len);
        let files: Vec<&(PathBuf, u64)> = listing.files.iter().filter(ordinary).collect();
        let mut chance = Chance::new(self.seed);
        let mut pick = || files[chance.below(files.len() as u64) as usize];
        let asked: Vec<&(PathBuf, u64)> = (0..FILES_ASKED).map(|_| pick()).collect();
        for tool in &mut self.tools {
            let mut sum = Took::default();
            for (path, _) in &asked {
                let inside = path.strip_prefix(&self.trees.first).expect("it was listed there");
                let (pids, mut content) = (tool.pids(), Vec::new());
                let took = self.ground.measure(&pids, || content = tool.one_file(inside));
                assert_eq!(
                    Some(content),
                    fs::read(path).ok(),
                    "{} {}",
                    tool.name(),
                    path.display()
                );
                sum.wall += took.wall / FILES_ASKED as u32;
                sum.cpu += took.cpu / FILES_ASKED as u32;
                sum.device += took.device / FILES_ASKED as u32;
            }
            let name = tool.name();
            if name == "keelhold" {
                let both = (sum.cpu + sum.device).as_secs_f64() * 1000.0;
                self.table.add_fact("one file, ms", both);
            }
            let step = String::from("one file");
            self.table.add(Figure { step, tool: name, took: sum, ..Figure::default() });
        }
    }

    fn verify(&mut self) {
        let plain = self.listing().bytes;
        for tool in &mut self.tools {
            tool.before_verify();
            let took = self.ground.measure(&tool.pids(), || tool.verify());
            tool.after_verify();
            let (step, tool) = (String::from("verify"), tool.name());
            self.table.add(Figure { step, tool, took, plain, ..Figure::default() });
        }
    }

    fn second_machine(&mut self) {
        copy(&self.trees.first, &deal(&self.trees.first), &self.trees.second);
        change(&list(&self.trees.second), SECOND_THOUSANDTHS, self.seed * 1000 + 999);
        self.each("second machine", |_| true, |tool| tool.backup(Machine::Second));
        remove_tree(&self.trees.second).expect("the second tree can be removed");
    }
}
