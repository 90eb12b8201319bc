//! What somebody may have meant.

/// The nearest of these, if it is near: at most a third of the letters differ, and never all.
pub(super) fn nearest<'a>(text: &str, from: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let text: Vec<char> = text.chars().take(65).flat_map(char::to_lowercase).collect();
    let far = |other: &str| {
        let other: Vec<char> = other.chars().flat_map(char::to_lowercase).collect();
        let most = text.len().max(other.len()).div_ceil(3);
        let distance = distance(&text, &other);
        (distance <= most && distance < text.len()).then_some(distance)
    };
    let near = from.into_iter().filter_map(|other| Some((far(other)?, other)));
    near.min_by_key(|(distance, _)| *distance).map(|(_, other)| other)
}

/// Letters to add, drop, change, or swap with their neighbour.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut rows = [vec![0; b.len() + 1], (0..=b.len()).collect::<Vec<usize>>(), Vec::new()];
    for (i, left) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, right) in b.iter().enumerate() {
            let changed = rows[1][j] + usize::from(left != right);
            let mut least = changed.min(rows[1][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i - 1] == *right && b[j - 1] == *left {
                least = least.min(rows[0][j - 1] + 1);
            }
            row.push(least);
        }
        rows[2] = row;
        rows.rotate_left(1);
    }
    rows[1][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_is_suggested_and_far_is_not() {
        let keys = ["machine", "source", "every", "new"];
        assert_eq!(nearest("machin", keys), Some("machine"));
        assert_eq!(nearest("Soruce", keys), Some("source"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(nearest("", keys), None);
        assert_eq!(nearest("x", keys), None);
    }
}
