//! Tables of the text, with the line of each key.

use crate::goal::fault::{Fault, Refusal};
use crate::goal::suggest::nearest;
use std::collections::BTreeMap;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

const TEXT_LEN_MAX: usize = 256 << 10;

/// The text, where its keys are, and what was found wrong so far.
#[derive(Debug)]
pub(in crate::goal) struct Reading<'a> {
    text: &'a str,
    lines: BTreeMap<String, usize>,
    refusals: Vec<Refusal>,
    /// Where the members and vaults stand that were read.
    pub(in crate::goal) members: Vec<String>,
    pub(in crate::goal) online: Vec<String>,
}

impl<'a> Reading<'a> {
    pub(in crate::goal) fn new(text: &'a str) -> Self {
        Self {
            text,
            lines: BTreeMap::new(),
            refusals: Vec::new(),
            members: Vec::new(),
            online: Vec::new(),
        }
    }

    /// In the order of the lines.
    pub(in crate::goal) fn refusals(self) -> Vec<Refusal> {
        let mut refusals = self.refusals;
        refusals.sort_by_key(|refusal| refusal.line);
        refusals
    }

    fn line(&self, at: usize) -> usize {
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    pub(super) fn root(&mut self) -> Table<'a> {
        let long = self.text.len() > TEXT_LEN_MAX;
        if long {
            self.refuse_at(1, "", Fault::TextTooLong { most: TEXT_LEN_MAX });
        }
        let (root, faults) = DeTable::parse_recoverable(if long { "" } else { self.text });
        for fault in faults {
            let line = fault.span().map_or(1, |span| self.line(span.start));
            self.refuse_at(line, "", Fault::Toml { message: fault.message().to_owned() });
        }
        let table = root.into_inner();
        Table { path: String::new(), entries: self.entries("", table) }
    }

    fn entries(&mut self, path: &str, table: DeTable<'a>) -> Vec<Entry<'a>> {
        let mut entries = Vec::new();
        for (key, value) in table {
            let line = self.line(key.span().start);
            let path = under(path, key.get_ref());
            self.lines.insert(path, line);
            entries.push(Entry { key: key.into_inner().into_owned(), line, value });
        }
        entries
    }

    /// About a key: at its line, or that of the nearest table around it.
    pub(in crate::goal) fn refuse(&mut self, what: &str, why: Fault) {
        let mut around = what;
        let line = loop {
            match (self.lines.get(around), around.rfind('.')) {
                (Some(line), _) => break *line,
                (None, Some(end)) => around = &around[..end],
                (None, None) => break 1,
            }
        };
        self.refuse_at(line, what, why);
    }

    pub(in crate::goal) fn has(&self, what: &str) -> bool {
        self.lines.contains_key(what)
    }

    /// Whether there is a key below this one.
    pub(in crate::goal) fn has_below(&self, what: &str) -> bool {
        let below = format!("{what}.");
        self.lines.keys().any(|path| path.starts_with(&below))
    }

    pub(super) fn refuse_at(&mut self, line: usize, what: &str, why: Fault) {
        self.refusals.push(Refusal { line, what: what.to_owned(), why });
    }
}

fn under(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

#[derive(Debug)]
struct Entry<'a> {
    key: String,
    line: usize,
    value: Spanned<DeValue<'a>>,
}

/// A table; what is read is taken out of it.
#[derive(Debug)]
pub(super) struct Table<'a> {
    pub(super) path: String,
    entries: Vec<Entry<'a>>,
}

/// A piece of text and its line.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) line: usize,
    pub(super) text: String,
}

impl<'a> Table<'a> {
    pub(super) fn what(&self, key: &str) -> String {
        under(&self.path, key)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// Refuses every key but these.
    pub(super) fn only(&self, reading: &mut Reading<'a>, keys: &'static [&'static str]) {
        for entry in self.entries.iter().filter(|entry| !keys.contains(&entry.key.as_str())) {
            let meant = nearest(&entry.key, keys.iter().copied());
            reading.refuse_at(entry.line, &self.what(&entry.key), Fault::UnknownKey { meant });
        }
    }

    pub(super) fn missing(&self, reading: &mut Reading<'a>, key: &str, example: &'static str) {
        reading.refuse(&self.what(key), Fault::Missing { example });
    }

    fn take(&mut self, key: &str) -> Option<Entry<'a>> {
        let place = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.swap_remove(place))
    }

    fn wrong(
        &self,
        reading: &mut Reading<'a>,
        key: &str,
        wanted: &'static str,
        found: &Spanned<DeValue<'a>>,
    ) {
        let line = reading.line(found.span().start);
        let found = kind(found.get_ref());
        reading.refuse_at(line, &self.what(key), Fault::Type { wanted, found });
    }

    pub(super) fn text(&mut self, reading: &mut Reading<'a>, key: &str) -> Option<Text> {
        let entry = self.take(key)?;
        match entry.value.get_ref() {
            DeValue::String(text) => Some(Text { line: entry.line, text: text.to_string() }),
            _ => {
                self.wrong(reading, key, "text in quotes", &entry.value);
                None
            }
        }
    }

    pub(super) fn number(&mut self, reading: &mut Reading<'a>, key: &str) -> Option<i64> {
        let entry = self.take(key)?;
        match entry.value.get_ref() {
            DeValue::Integer(number) => {
                let parsed = i64::from_str_radix(number.as_str(), number.radix());
                Some(parsed.unwrap_or(i64::MAX))
            }
            _ => {
                self.wrong(reading, key, "a number", &entry.value);
                None
            }
        }
    }

    /// Whether the key holds text and not something else.
    pub(super) fn is_text(&self, key: &str) -> bool {
        let found = self.entries.iter().find(|entry| entry.key == key);
        found.is_some_and(|entry| entry.value.get_ref().is_str())
    }

    /// A list of texts; one text alone is a list of it. An empty list is refused.
    pub(super) fn texts(&mut self, reading: &mut Reading<'a>, key: &str) -> Option<Vec<Text>> {
        if self.is_text(key) {
            return self.text(reading, key).map(|text| vec![text]);
        }
        let entry = self.take(key)?;
        let DeValue::Array(items) = entry.value.get_ref() else {
            self.wrong(reading, key, "a list of texts in quotes", &entry.value);
            return None;
        };
        if items.is_empty() {
            reading.refuse_at(entry.line, &self.what(key), Fault::Empty);
            return None;
        }
        let mut texts = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::String(text) => {
                    let line = reading.line(item.span().start);
                    texts.push(Text { line, text: text.to_string() });
                }
                _ => self.wrong(reading, key, "text in quotes", item),
            }
        }
        Some(texts)
    }

    pub(super) fn table(&mut self, reading: &mut Reading<'a>, key: &str) -> Option<Table<'a>> {
        let entry = self.take(key)?;
        let path = self.what(key);
        if let DeValue::Table(table) = entry.value.get_ref() {
            let entries = reading.entries(&path, table.clone());
            return Some(Table { path, entries });
        }
        self.wrong(reading, key, "a table", &entry.value);
        None
    }

    /// `[[key]]`: each is known by its place, from 1.
    pub(super) fn tables(&mut self, reading: &mut Reading<'a>, key: &str) -> Vec<Table<'a>> {
        let Some(entry) = self.take(key) else { return Vec::new() };
        let DeValue::Array(items) = entry.value.get_ref() else {
            self.wrong(reading, key, "a list of tables, each begun by [[name]]", &entry.value);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (place, item) in items.iter().enumerate() {
            let path = format!("{}[{}]", self.what(key), place + 1);
            let line = reading.line(item.span().start);
            reading.lines.insert(path.clone(), line);
            match item.get_ref() {
                DeValue::Table(table) => {
                    let entries = reading.entries(&path, table.clone());
                    tables.push(Table { path, entries });
                }
                _ => self.wrong(reading, key, "a table", item),
            }
        }
        tables
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a time without quotes",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
