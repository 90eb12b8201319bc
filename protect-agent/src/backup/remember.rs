//! Writes the local state of the next session on a thread of its own, beside the stream.

use tokio::sync::{mpsc, oneshot};

use crate::shortcut::{Fresh, Record, ShortcutError, ShortcutWriter};

/// What the stream has sent, for the next session to know.
#[derive(Debug)]
pub(crate) enum Remembered {
    Same { first: u64, count: u64 },
    Entry { path: Vec<u8>, record: Record },
}

/// Remembered entries travel in bundles: one by one the hand-over would cost more than the work.
const BUNDLE_COUNT: usize = 512;

#[derive(Debug)]
pub(crate) struct Memory {
    bundles: mpsc::Sender<Vec<Remembered>>,
    open: Vec<Remembered>,
    result: oneshot::Receiver<Result<Fresh, ShortcutError>>,
}

impl Memory {
    pub(crate) fn start(writer: ShortcutWriter) -> std::io::Result<Self> {
        let (bundles, incoming) = mpsc::channel(16);
        let (done, result) = oneshot::channel();
        std::thread::Builder::new().name("local state".to_owned()).spawn(move || {
            // Nobody asks for the result of a session that ended early.
            let _ = done.send(write(writer, incoming));
        })?;
        Ok(Self { bundles, open: Vec::new(), result })
    }

    pub(crate) async fn push(&mut self, remembered: Remembered) {
        self.open.push(remembered);
        if self.open.len() >= BUNDLE_COUNT {
            self.flush().await;
        }
    }

    async fn flush(&mut self) {
        // A writer that stopped has a result that says why; the backup goes on without it.
        let _ = self.bundles.send(std::mem::take(&mut self.open)).await;
    }

    /// What has become of the state; `None` if its thread died.
    pub(crate) async fn finish(mut self) -> Option<Result<Fresh, ShortcutError>> {
        self.flush().await;
        drop(self.bundles);
        self.result.await.ok()
    }
}

fn write(
    mut writer: ShortcutWriter,
    mut incoming: mpsc::Receiver<Vec<Remembered>>,
) -> Result<Fresh, ShortcutError> {
    while let Some(bundle) = incoming.blocking_recv() {
        for remembered in bundle {
            match remembered {
                Remembered::Same { first, count } => writer.same(first, count)?,
                Remembered::Entry { path, record } => writer.put(&path, &record)?,
            }
        }
    }
    writer.finish()
}
