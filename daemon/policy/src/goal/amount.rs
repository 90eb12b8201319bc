//! Lengths of time by the stopwatch, and rates.

use jiff::SignedDuration;
use std::fmt;

/// "10m", "2h", "26h": whole seconds, at least one, at most a year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Length {
    pub seconds: u32,
}

const UNITS: [(&str, u32); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
const SECONDS_MAX: u32 = 366 * 86_400;

impl Length {
    #[must_use]
    pub const fn minutes(minutes: u32) -> Self {
        Self { seconds: minutes * 60 }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (number, unit) = divided(text)?;
        let (_, seconds) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
        let seconds = number.checked_mul(u64::from(seconds))?;
        let seconds = u32::try_from(seconds).ok().filter(|length| *length <= SECONDS_MAX)?;
        (seconds > 0).then_some(Self { seconds })
    }

    #[must_use]
    pub fn duration(self) -> SignedDuration {
        SignedDuration::from_secs(i64::from(self.seconds))
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Days are written as hours, as people say "24h" and "26h".
        let fits = UNITS.into_iter().skip(1).find(|(_, unit)| self.seconds.is_multiple_of(*unit));
        let (name, unit) = fits.unwrap_or(("s", 1));
        write!(f, "{}{name}", self.seconds / unit)
    }
}

/// "20 MiB/s": bytes in a second, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate {
    pub bytes: u64,
}

const SIZES: [(&str, u64); 4] =
    [("GiB/s", 1 << 30), ("MiB/s", 1 << 20), ("KiB/s", 1 << 10), ("B/s", 1)];

impl Rate {
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (number, unit) = divided(text)?;
        let (_, bytes) = SIZES.into_iter().find(|(name, _)| *name == unit)?;
        let bytes = number.checked_mul(bytes)?;
        (bytes > 0).then_some(Self { bytes })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = SIZES.into_iter().find(|(_, unit)| self.bytes.is_multiple_of(*unit));
        let (name, unit) = fits.unwrap_or(("B/s", 1));
        write!(f, "{} {name}", self.bytes / unit)
    }
}

fn divided(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim()))
}
