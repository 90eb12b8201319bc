//! Sections of an inspection as JSON and as text for people.

use crate::clock::rfc3339;
use crate::id_text;
use data_encoding::HEXLOWER;
use keelhold_disk::pool::{Fact, Section};
use keelhold_disk::units::UnixNanos;
use serde_json::{Map, Value, json};

/// Ids that people meet elsewhere are shown as there.
fn is_typed_id(name: &str) -> bool {
    matches!(
        name,
        "point" | "newest_point" | "of_point" | "basis" | "source" | "of_source" | "session"
    )
}

fn bytes(name: &str, bytes: &[u8]) -> String {
    match <[u8; 16]>::try_from(bytes) {
        Ok(id) if is_typed_id(name) => id_text::encode(&id),
        _ => HEXLOWER.encode(bytes),
    }
}

/// Zero is how the format says "never".
fn time(nanos: i64) -> Option<String> {
    (nanos != 0).then(|| rfc3339(UnixNanos(nanos)))
}

fn fact_value(name: &str, fact: &Fact) -> Value {
    match fact {
        Fact::Number(number) => json!(number),
        Fact::Time(nanos) => json!(time(*nanos)),
        Fact::Bytes(content) => json!(bytes(name, content)),
        Fact::Text(text) => json!(text),
        Fact::Flag(flag) => json!(flag),
    }
}

fn fact_text(name: &str, fact: &Fact) -> String {
    match fact {
        Fact::Number(number) => number.to_string(),
        Fact::Time(nanos) => time(*nanos).unwrap_or_else(|| String::from("never")),
        Fact::Bytes(content) => bytes(name, content),
        Fact::Text(text) => text.clone(),
        Fact::Flag(flag) => String::from(if *flag { "yes" } else { "no" }),
    }
}

/// A fact that is there more than once becomes a list.
pub fn value(section: &Section) -> Value {
    let mut facts = Map::new();
    for (name, fact) in &section.facts {
        let value = fact_value(name, fact);
        match facts.get_mut(name) {
            None => drop(facts.insert(name.clone(), value)),
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = json!([first.take(), value]),
        }
    }
    json!({
        "what": section.what,
        "disk": section.place.map(|place| place.disk.to_string()),
        "offset": section.place.map(|place| place.offset),
        "len": section.len,
        "facts": facts,
        "faults": section.faults,
        "parts": section.parts.iter().map(value).collect::<Vec<_>>(),
    })
}

pub fn lines(section: &Section) -> Vec<String> {
    let mut lines = Vec::new();
    add_lines(section, 0, &mut lines);
    lines
}

fn add_lines(section: &Section, depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    let mut head = format!("{indent}{}", section.what);
    if let Some(place) = section.place {
        head.push_str(&format!(" at byte {} of disk {}", place.offset, place.disk));
    }
    if let Some(len) = section.len.filter(|len| *len > 0) {
        head.push_str(&format!(", {len} bytes"));
    }
    lines.push(head);
    lines.extend(section.faults.iter().map(|fault| format!("{indent}  WRONG: {fault}")));
    let facts = section.facts.iter();
    lines.extend(facts.map(|(name, fact)| format!("{indent}  {name}: {}", fact_text(name, fact))));
    section.parts.iter().for_each(|part| add_lines(part, depth + 1, lines));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_and_faults_are_shown_in_both_forms() {
        let mut section = Section { what: "label".into(), len: Some(4096), ..Section::default() };
        section.facts.push(("point".into(), Fact::Bytes(vec![7; 16])));
        section.facts.push(("point".into(), Fact::Bytes(vec![8; 16])));
        section.facts.push(("at".into(), Fact::Time(0)));
        section.faults.push("checksum does not match".into());
        let shown = value(&section);
        assert_eq!(shown["facts"]["point"].as_array().map(Vec::len), Some(2));
        assert_eq!(shown["facts"]["at"], Value::Null);
        assert_eq!(shown["faults"][0], "checksum does not match");
        let text = lines(&section).join("\n");
        assert!(text.contains("WRONG: checksum") && text.contains(&id_text::encode(&[7; 16])));
    }
}
