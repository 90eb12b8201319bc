//! Figures of several rounds, and their medians.

use super::work::Took;

const MIB: f64 = (1 << 20) as f64;

/// One measured step: what it moved and what that took.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub name: &'static str,
    /// Bytes the rate is counted in.
    pub len: u64,
    pub took: Took,
    /// Rate of the device alone in the same round, in MiB/s.
    pub raw: f64,
}

impl Step {
    pub fn rate(&self) -> f64 {
        self.len as f64 / MIB / self.took.wall.as_secs_f64()
    }

    fn cpu_per_gib(&self) -> f64 {
        self.took.cpu.as_secs_f64() / (self.len as f64 / MIB / 1024.0)
    }
}

/// Steps of all rounds; those of one name make one line.
#[derive(Debug, Default)]
pub struct Table {
    steps: Vec<Step>,
}

impl Table {
    pub fn add(&mut self, step: Step) {
        self.steps.push(step);
    }

    pub fn print(&self) {
        println!("| step | MiB/s | of the raw rate, median (all rounds) | CPU s/GiB |");
        println!("|---|---|---|---|");
        let mut printed: Vec<&str> = Vec::new();
        for Step { name, .. } in &self.steps {
            if printed.contains(name) {
                continue;
            }
            printed.push(name);
            let of_name: Vec<&Step> = self.steps.iter().filter(|step| step.name == *name).collect();
            let ratios: Vec<f64> = of_name.iter().map(|step| step.rate() / step.raw).collect();
            let all: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
            println!(
                "| {name} | {:.0} | {:.2} ({}) | {:.2} |",
                median(of_name.iter().map(|step| step.rate()).collect()),
                median(ratios),
                all.join(", "),
                median(of_name.iter().map(|step| step.cpu_per_gib()).collect()),
            );
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
