//! What the pool is in the middle of, said to the log at level debug. Who watches it learns in which
//! step a pool stopped: an admin after a crash, and tests that kill it in just that step.

/// Begun when it is made, ended when it goes, whatever the reason.
#[derive(Debug)]
pub(super) struct Phase(&'static str);

impl Phase {
    pub(super) fn begin(name: &'static str) -> Self {
        tracing::debug!(phase = name, "begins");
        Self(name)
    }

    /// A part of it is behind us.
    pub(super) fn passed(&self, step: &'static str) {
        tracing::debug!(phase = self.0, step, "passed");
    }
}

impl Drop for Phase {
    fn drop(&mut self) {
        tracing::debug!(phase = self.0, "ends");
    }
}
