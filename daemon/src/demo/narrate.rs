//! What the demo says: lines for people, or one JSON object a step.

use crate::cli::Printer;
use crate::failure::Failure;
use serde_json::{Map, Value};

#[derive(Debug, Clone, Copy)]
pub struct Narrator {
    printer: Printer,
}

impl Narrator {
    #[must_use]
    pub fn new(printer: Printer) -> Self {
        Self { printer }
    }

    /// Tells a step that is done, with its figures.
    pub fn step(
        self,
        name: &str,
        result: &str,
        lines: &[String],
        figures: Value,
    ) -> Result<(), Failure> {
        if self.printer.json {
            let mut object = Map::new();
            object.insert(String::from("step"), name.into());
            object.insert(String::from("result"), result.into());
            if let Value::Object(figures) = figures {
                // A step's own result is inside its figures; the step's word comes first.
                object.extend(figures.into_iter().filter(|(key, _)| key != "result"));
            }
            return self.printer.json(&object);
        }
        for (at, line) in lines.iter().enumerate() {
            let lead = if at == 0 { format!("{name:>10}  ") } else { " ".repeat(12) };
            self.printer.line(&format!("{lead}{line}"))?;
        }
        Ok(())
    }

    /// Shows a command before it runs.
    pub fn command(self, command: &str) {
        if !self.printer.json {
            let _ = self.printer.line(&format!("{:>10}  $ {command}", ""));
        }
    }
}
