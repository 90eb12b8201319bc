//! Verdicts that do not panic: a mutant is caught when one is bad.

/// What a check found wrong, in words for whoever reads the test's output.
pub type Verdict<T = ()> = Result<T, String>;

/// Ends the check with a bad verdict unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($words:tt)+) => {
        if !$condition {
            return Err(format!($($words)+));
        }
    };
}
pub(crate) use ensure;

/// An error with its whole chain.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}

/// Runs a check whose engine may panic, as one with a protection left out does.
pub fn survive<T>(check: impl FnOnce() -> Verdict<T>) -> Verdict<T> {
    let check = std::panic::AssertUnwindSafe(check);
    std::panic::catch_unwind(check).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        let words = words.or_else(|| panic.downcast_ref::<&str>().map(|&words| words.to_owned()));
        Err(format!("panic: {}", words.unwrap_or_default()))
    })
}
