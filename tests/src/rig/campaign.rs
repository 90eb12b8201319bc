//! How much a suite does: each states its own number of cases, and one variable multiplies all of
//! them for a longer run.

/// `cases`, times what `KEELHOLD_CAMPAIGN` says: a whole number, 1 when it is not set.
///
/// # Panics
/// If the variable holds something else: a campaign that silently stays short proves nothing.
#[must_use]
pub fn campaign(cases: u64) -> u64 {
    match std::env::var("KEELHOLD_CAMPAIGN") {
        Err(_) => cases,
        Ok(text) => match text.parse::<u64>() {
            Ok(times) if times > 0 => cases * times,
            _ => panic!("KEELHOLD_CAMPAIGN is {text:?}, not a whole number above 0"),
        },
    }
}
