//! Figures of several rounds, and their medians.

use super::measure::Took;
use super::tool::Peaks;

const MIB: f64 = (1 << 20) as f64;

/// One tool in one step of one round.
#[derive(Debug, Clone, Default)]
pub struct Figure {
    pub step: String,
    pub tool: &'static str,
    pub took: Took,
    /// Bytes of the tree, where the step was about all of it.
    pub plain: u64,
    /// Bytes stored after the step, and by it.
    pub stored: Option<u64>,
    pub added: Option<i64>,
    pub peaks: Option<Peaks>,
}

/// Figures of all rounds; those of one step and tool make one line.
#[derive(Debug, Default)]
pub struct Table {
    figures: Vec<Figure>,
    /// Numbers that are not a step's.
    facts: Vec<(&'static str, f64)>,
}

impl Table {
    pub fn add(&mut self, figure: Figure) {
        let took = figure.took;
        let seconds = took.wall.as_secs_f64();
        let cpu = took.cpu.as_secs_f64();
        let added = figure.added.map(|bytes| format!(", {bytes} bytes added")).unwrap_or_default();
        let (step, tool) = (&figure.step, figure.tool);
        println!("  {step} {tool}: {seconds:.2} s, {cpu:.2} s of processors{added}");
        self.figures.push(figure);
    }

    pub fn add_fact(&mut self, name: &'static str, value: f64) {
        self.facts.push((name, value));
    }

    /// Median over the rounds; nothing if no round has it.
    pub fn fact(&self, name: &str) -> Option<f64> {
        median(self.facts.iter().filter(|(of, _)| *of == name).map(|(_, value)| *value).collect())
    }

    fn of<'a>(&'a self, step: &'a str, tool: &'a str) -> impl Iterator<Item = &'a Figure> {
        self.figures.iter().filter(move |figure| figure.step == step && figure.tool == tool)
    }

    pub fn wall(&self, step: &str, tool: &str) -> Option<f64> {
        median(self.of(step, tool).map(|figure| figure.took.wall.as_secs_f64()).collect())
    }

    pub fn stored(&self, step: &str, tool: &str) -> Option<f64> {
        let stored = self.of(step, tool).filter_map(|figure| figure.stored);
        median(stored.map(|bytes| bytes as f64).collect())
    }

    pub fn added(&self, step: &str, tool: &str) -> Option<f64> {
        let added = self.of(step, tool).filter_map(|figure| figure.added);
        median(added.map(|bytes| bytes as f64).collect())
    }

    /// Largest peaks of any step in any round.
    pub fn peaks(&self) -> Peaks {
        let all = self.figures.iter().filter_map(|figure| figure.peaks);
        all.fold(Peaks::default(), |most, peaks| Peaks {
            agent: most.agent.max(peaks.agent),
            daemon: most.daemon.max(peaks.daemon),
        })
    }

    pub fn print(&self) {
        println!();
        println!(
            "| step | tool | wall s | CPU s | CPU s/GiB | stored MiB | added KiB | agent MiB | daemon MiB |"
        );
        println!("|---|---|---|---|---|---|---|---|---|");
        let mut printed: Vec<(&str, &str)> = Vec::new();
        for Figure { step, tool, .. } in &self.figures {
            if !printed.contains(&(step, tool)) {
                printed.push((step, tool));
                self.print_line(step, tool);
            }
        }
    }

    fn print_line(&self, step: &str, tool: &str) {
        let all: Vec<&Figure> = self.of(step, tool).collect();
        let cpu = |figure: &&Figure| figure.took.cpu.as_secs_f64();
        let whole: Vec<&&Figure> = all.iter().filter(|figure| figure.plain > 0).collect();
        let rate = |figure: &&&Figure| cpu(figure) / (figure.plain as f64 / MIB / 1024.0);
        let said = |value: Option<f64>, places: usize| {
            value.map_or_else(|| String::from("-"), |value| format!("{value:.places$}"))
        };
        let peak = |of: fn(Peaks) -> u64| {
            said(all.iter().filter_map(|figure| figure.peaks).map(of).max().map(in_mib), 0)
        };
        println!(
            "| {step} | {tool} | {} | {} | {} | {} | {} | {} | {} |",
            said(self.wall(step, tool), 2),
            said(median(all.iter().map(cpu).collect()), 2),
            said(median(whole.iter().map(rate).collect()), 2),
            said(self.stored(step, tool).map(|bytes| bytes / MIB), 0),
            said(self.added(step, tool).map(|bytes| bytes / 1024.0), 0),
            peak(|peaks| peaks.agent),
            peak(|peaks| peaks.daemon),
        );
    }
}

fn in_mib(bytes: u64) -> f64 {
    bytes as f64 / MIB
}

pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
