//! The group that is there from the first start on.

use super::{Group, Refusal, Terms, parse};

/// Every file system of every machine that no other group names: once a day, for thirty days.
pub const DEFAULT_GROUP: &str = r#"name = "default"

[[member]]
machine = "*"
every = "file-systems"

[short_term]
points = ["daily 12:00"]

[short_term.keep]
daily = { for = "30 days" }
"#;

/// # Errors
/// None: a test parses the text.
pub fn default_group() -> Result<Group, Vec<Refusal>> {
    parse(DEFAULT_GROUP, &Terms::default())
}
