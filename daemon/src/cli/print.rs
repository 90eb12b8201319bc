//! What goes to standard output: JSON as the API has it, or lines and tables for people.

use crate::failure::{Code, Failure};
use serde::Serialize;
use std::io::{self, IsTerminal as _, Write as _};

#[derive(Debug, Clone, Copy)]
pub struct Printer {
    pub json: bool,
}

fn failed(error: &io::Error) -> Failure {
    // A reader that has seen enough (`| head`) is no failure anybody wants to hear of.
    if error.kind() == io::ErrorKind::BrokenPipe {
        return nobody_reads();
    }
    Failure::of(Code::OutputFailed, error)
}

/// Ends the verb without a word: there is nobody to tell.
#[must_use]
pub fn nobody_reads() -> Failure {
    Failure::new(Code::Cancelled, "")
}

impl Printer {
    #[must_use]
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    pub fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let line =
            serde_json::to_string(value).map_err(|error| Failure::of(Code::Internal, &error))?;
        self.line(&line)
    }

    pub fn line(&self, line: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|error| failed(&error))
    }

    /// JSON for machines, or what `text` makes of it for people.
    pub fn show<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce(&T) -> Vec<String>,
    ) -> Result<(), Failure> {
        if self.json {
            return self.json(value);
        }
        text(value).iter().try_for_each(|line| self.line(line))
    }

    /// A list: one JSON array, or a table with a head.
    pub fn table<T: Serialize>(
        &self,
        rows: &[T],
        head: &[&str],
        cells: impl Fn(&T) -> Vec<String>,
    ) -> Result<(), Failure> {
        if self.json {
            return self.json(&rows);
        }
        let cells: Vec<Vec<String>> = rows.iter().map(cells).collect();
        render_table(head, &cells).iter().try_for_each(|line| self.line(line))
    }

    /// Something on the way, for people: rewritten in place on a terminal, a line each elsewhere.
    pub fn progress(&self, text: &str) {
        let mut err = io::stderr().lock();
        let _ = if err.is_terminal() {
            write!(err, "\r\x1b[2K{text}").and_then(|()| err.flush())
        } else {
            writeln!(err, "{text}")
        };
    }

    pub fn end_progress(&self) {
        let mut err = io::stderr().lock();
        if err.is_terminal() {
            let _ = write!(err, "\r\x1b[2K").and_then(|()| err.flush());
        }
    }

    #[must_use]
    pub fn progress_is_live(&self) -> bool {
        io::stderr().is_terminal()
    }
}

fn render_table(head: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[String]| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| {
                let missing = width.saturating_sub(cell.chars().count());
                format!("{cell}{}", " ".repeat(missing))
            })
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    std::iter::once(line(&head)).chain(rows.iter().map(|row| line(row))).collect()
}

/// A name from a point, safe for a terminal: control characters are shown, not obeyed.
#[must_use]
pub fn safe(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escaped = c.is_control();
            let plain = (!escaped).then_some(c);
            plain.into_iter().chain(escaped.then(|| c.escape_default()).into_iter().flatten())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["a".into(), "b".into()], vec!["longer".into(), String::new()]];
        assert_eq!(render_table(&["ID", "X"], &rows), ["ID      X", "a       b", "longer"]);
    }

    #[test]
    fn names_cannot_command_the_terminal() {
        assert_eq!(safe("a\x1b[2Jb\nü"), "a\\u{1b}[2Jb\\nü");
    }
}
