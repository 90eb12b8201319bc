//! Sizes and durations as people write and read them.

/// Reads a size with a unit: `64MiB`, `1.5GiB`, `4096B`. No unit is no size.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let split = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(split);
    let scale: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(scale);
    }
    let parts = number.parse::<f64>().ok().filter(|parts| parts.is_finite() && *parts >= 0.0)?;
    let bytes = parts * scale as f64;
    (bytes < u64::MAX as f64).then_some(bytes as u64)
}

/// Splits `PATH:SIZE`; a last part that is no size belongs to the path.
#[must_use]
pub fn split_path_size(text: &str) -> (&str, Option<u64>) {
    match text.rsplit_once(':') {
        Some((path, size)) => match parse_size(size) {
            Some(len) => (path, Some(len)),
            None => (text, None),
        },
        None => (text, None),
    }
}

#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut scaled = bytes as f64;
    let mut unit = 0;
    while scaled >= 1024.0 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{scaled:.1} {}", UNITS[unit]),
    }
}

/// Reads `90s`, `15m`, `1h`, `7d`.
#[must_use]
pub fn parse_seconds(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let scale = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(scale)
}

#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_need_a_unit() {
        assert_eq!(parse_size("64MiB"), Some(64 << 20));
        assert_eq!(parse_size("1.5KiB"), Some(1536));
        for text in ["64", "64MB", "", "MiB", "-1KiB", "999999999TiB", "infKiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(12), "12 B");
    }

    #[test]
    fn a_last_part_without_a_unit_belongs_to_the_path() {
        assert_eq!(split_path_size("/a/b:10GiB"), ("/a/b", Some(10 << 30)));
        assert_eq!(split_path_size("/a/b:10"), ("/a/b:10", None));
        assert_eq!(split_path_size("/dev/sdb"), ("/dev/sdb", None));
        assert_eq!(split_path_size("/a:1KiB:2KiB"), ("/a:1KiB", Some(2048)));
    }

    #[test]
    fn durations_and_counts() {
        assert_eq!(parse_seconds("1h"), Some(3600));
        assert_eq!(parse_seconds("h"), None);
        assert_eq!(parse_seconds("7é"), None);
        assert_eq!(parse_seconds(""), None);
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(123), "123");
    }
}
