//! The tables of FORMAT.md against the code: one description of each layout, and a test that the
//! other is the same.

use super::raw::Fields;

/// The rows of the table under the heading `### name`.
fn documented(name: &str) -> Vec<(String, usize, usize)> {
    let page = include_str!("../../FORMAT.md");
    let (_, section) =
        page.split_once(&format!("### {name}\n")).unwrap_or_else(|| panic!("no table for {name}"));
    let rows = section.lines().skip_while(|line| !line.starts_with('|'));
    rows.take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            (cells[3].to_owned(), cells[1].parse().unwrap(), cells[2].parse().unwrap())
        })
        .collect()
}

#[test]
fn the_document_is_the_code() {
    let structures: [(&str, Fields); 8] = [
        ("Head", super::head::fields()),
        ("Label", super::label::fields()),
        ("JournalEntry", super::journal::fields()),
        ("ContainerHeader", super::container::header_fields()),
        ("ContainerFooter", super::container::footer_fields()),
        ("RunHeader", super::run::header_fields()),
        ("FrameEntry", super::run::frame_fields()),
        ("ChunkEntry", super::run::chunk_fields()),
    ];
    for (name, fields) in structures {
        let fields: Vec<(String, usize, usize)> = fields
            .into_iter()
            .map(|(field, offset, size)| (field.to_owned(), offset, size))
            .collect();
        assert_eq!(documented(name), fields, "{name}");
    }
}
