//! What the daemon writes down about a point, as the point's attributes in the pool: JSON of
//! [`PointFacts`]. Format: fields are only added, with a default.

use crate::api::types::Skipped;
use serde::{Deserialize, Serialize};

/// Skipped entries a point names one by one. The count is always right.
pub const NAMED_COUNT_MAX: usize = 1_000;
/// Bytes their paths and reasons may take in all.
pub const NAMED_LEN_MAX: usize = 64 << 10;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PointFacts {
    #[serde(default)]
    pub job: u64,
    #[serde(default)]
    pub root_hex: String,
    #[serde(default)]
    pub consistency: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    #[serde(default)]
    pub files: u64,
    /// Plain bytes of chunks that were new with this point.
    #[serde(default)]
    pub bytes_new: u64,
    /// Bytes their runs take.
    #[serde(default)]
    pub bytes_stored: u64,
    #[serde(default)]
    pub skipped_count: u64,
    /// When the point was made, by the wall: what the pool notes is witnessed time.
    #[serde(default)]
    pub made_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<PinFacts>,
    /// The scheduled time it stands for, by the wall; none on demand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<i64>,
    /// On demand: the wall time until which somebody wanted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_until: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<Skipped>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_covered: Vec<Skipped>,
}

/// Why a point is kept, and until when.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinFacts {
    /// Witnessed time.
    pub until: i64,
    #[serde(default)]
    pub why: String,
    #[serde(default)]
    pub by: String,
}

/// Attributes with this pin, or without any. What else they say stays, understood or not.
#[must_use]
pub fn with_pin(attributes: &[u8], pin: Option<&PinFacts>) -> Vec<u8> {
    let mut facts: serde_json::Value =
        serde_json::from_slice(attributes).unwrap_or_else(|_| serde_json::json!({}));
    if let Some(facts) = facts.as_object_mut() {
        facts.remove("pin");
        if let Some(pin) = pin {
            facts.insert("pin".to_owned(), serde_json::json!(pin));
        }
    }
    serde_json::to_vec(&facts).unwrap_or_default()
}

/// Attributes with a wall time before which the point is kept, if it is not kept longer already. What
/// has no term but what nobody's policy says keeps none.
#[must_use]
pub fn with_keep_until(attributes: &[u8], until: i64) -> Vec<u8> {
    let known = PointFacts::parse(attributes);
    if known.slot.is_none() && known.keep_until.is_none() {
        return attributes.to_vec();
    }
    let mut facts: serde_json::Value =
        serde_json::from_slice(attributes).unwrap_or_else(|_| serde_json::json!({}));
    if let Some(facts) = facts.as_object_mut() {
        let until = known.keep_until.map_or(until, |known| known.max(until));
        facts.insert("keep_until".to_owned(), serde_json::json!(until));
    }
    serde_json::to_vec(&facts).unwrap_or_default()
}

impl PointFacts {
    /// Attributes this version cannot read say nothing; the point itself is none the worse.
    #[must_use]
    pub fn parse(attributes: &[u8]) -> Self {
        serde_json::from_slice(attributes).unwrap_or_default()
    }

    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// A list of skipped entries that names as many as it may and counts all.
#[derive(Debug, Clone, Default)]
pub struct SkippedList {
    pub named: Vec<Skipped>,
    pub count: u64,
    len: usize,
}

impl SkippedList {
    pub fn push(&mut self, skipped: Skipped) {
        self.count += 1;
        let len = skipped.path.len() + skipped.reason.len();
        if self.named.len() < NAMED_COUNT_MAX && self.len + len <= NAMED_LEN_MAX {
            self.len += len;
            self.named.push(skipped);
        }
    }
}

/// A path as JSON has it: text, and its bytes in hex where they are no text.
#[must_use]
pub fn path_text(path: &[u8]) -> (String, Option<String>) {
    match std::str::from_utf8(path) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => {
            let hex = data_encoding::HEXLOWER.encode(path);
            (String::from_utf8_lossy(path).into_owned(), Some(hex))
        }
    }
}

#[must_use]
pub fn skipped(path: &[u8], reason: String) -> Skipped {
    let (path, path_hex) = path_text(path);
    Skipped { path, path_hex, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_attributes_are_no_error() {
        assert_eq!(PointFacts::parse(b"\xff"), PointFacts::default());
        let newer = br#"{"job":3,"something_new":[1]}"#;
        assert_eq!(PointFacts::parse(newer).job, 3);
        let facts = PointFacts { consistency: "none".into(), files: 9, ..PointFacts::default() };
        assert_eq!(PointFacts::parse(&facts.to_bytes()), facts);
    }

    #[test]
    fn a_pin_changes_nothing_else() {
        let pin = PinFacts { until: 7, why: "audit".into(), by: "uid 0".into() };
        let newer = br#"{"job":3,"something_new":[1]}"#;
        let pinned = with_pin(newer, Some(&pin));
        assert_eq!(PointFacts::parse(&pinned).pin, Some(pin));
        let before: serde_json::Value = serde_json::from_slice(newer).unwrap();
        let after: serde_json::Value = serde_json::from_slice(&with_pin(&pinned, None)).unwrap();
        assert_eq!(before, after);
    }

    #[test]
    fn what_is_brought_back_is_kept_a_while_and_never_shorter() {
        let term = |facts: &[u8]| PointFacts::parse(&with_keep_until(facts, 50)).keep_until;
        assert_eq!(term(br#"{"slot":7}"#), Some(50));
        assert_eq!(term(br#"{"slot":7,"keep_until":90}"#), Some(90));
        assert_eq!(term(br#"{"keep_until":9}"#), Some(50));
        assert_eq!(term(br#"{"job":3}"#), None, "nothing ends it anyway");
    }

    #[test]
    fn a_long_list_is_counted_to_its_end() {
        let mut list = SkippedList::default();
        for number in 0..5_000 {
            list.push(skipped(format!("path{number}").as_bytes(), "gone".into()));
        }
        assert_eq!((list.count, list.named.len()), (5_000, NAMED_COUNT_MAX));
        assert_eq!(path_text(b"a\xff").1.as_deref(), Some("61ff"));
    }
}
