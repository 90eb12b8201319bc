//! Fixed structures as the compiler laid them out, for the test that compares them with VAULT.md.

/// Name, offset and size of the fields of a structure.
pub(crate) type Fields = Vec<(&'static str, usize, usize)>;

macro_rules! fields {
    ($type:ty: $($field:ident),+ $(,)?) => {{
        fn size<T, F>(_: fn(&T) -> &F) -> usize {
            size_of::<F>()
        }
        vec![$((
            stringify!($field),
            std::mem::offset_of!($type, $field),
            size::<$type, _>(|raw| &raw.$field),
        )),+]
    }};
}
pub(crate) use fields;

/// The rows of the table under the heading `### name`.
fn documented(name: &str) -> Vec<(String, usize, usize)> {
    let page = include_str!("../VAULT.md");
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

/// Compares a structure with its table.
pub(crate) fn assert_documented(name: &str, fields: Fields) {
    let fields: Vec<_> =
        fields.into_iter().map(|(field, offset, size)| (field.to_owned(), offset, size)).collect();
    assert_eq!(documented(name), fields, "{name}");
}
