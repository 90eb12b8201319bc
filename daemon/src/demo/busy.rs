//! Work that an interrupted step leaves behind: a thread, or a program that dies. The place may go
//! only after it.

use crate::failure::{Code, Failure};
use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::sync::{Mutex, oneshot};

/// Held by what works in the place; one at a time, as the steps are.
#[derive(Debug, Clone, Default)]
pub struct Busy(Arc<Mutex<()>>);

impl Busy {
    /// Runs `work` on a thread. It goes on when nobody waits for it any more.
    pub async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let held = Arc::clone(&self.0).lock_owned().await;
        let done = tokio::task::spawn_blocking(move || {
            let _held = held;
            work()
        });
        done.await.map_err(|error| Failure::of(Code::DemoFailed, &error))?
    }

    /// Runs a program and gives what it wrote to standard output. It is killed when nobody waits for
    /// it any more.
    pub async fn output(&self, command: Command) -> io::Result<(ExitStatus, Vec<u8>)> {
        let held = Arc::clone(&self.0).lock_owned().await;
        let (asker, gone) = oneshot::channel();
        let run = tokio::spawn(async move {
            let _held = held;
            run(command, gone).await
        });
        let done = run.await;
        drop(asker);
        done.map_err(io::Error::other)?
    }

    /// Waits until nothing works any more.
    pub async fn over(&self) {
        drop(self.0.lock().await);
    }
}

async fn run(
    mut command: Command,
    gone: oneshot::Receiver<()>,
) -> io::Result<(ExitStatus, Vec<u8>)> {
    let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let (mut said, mut stdout) = (Vec::new(), child.stdout.take());
    let end = async {
        if let Some(stdout) = &mut stdout {
            stdout.read_to_end(&mut said).await?;
        }
        child.wait().await
    };
    tokio::select! {
        status = end => return status.map(|status| (status, said)),
        _ = gone => {}
    }
    // And waits for its death: until then it may still make a file.
    child.kill().await?;
    Err(io::ErrorKind::Interrupted.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;

    /// Begins, and is given up.
    async fn interrupt<T>(work: impl Future<Output = T>) {
        tokio::select! {
            biased;
            _ = work => panic!("it waits"),
            () = tokio::task::yield_now() => {}
        }
    }

    #[tokio::test]
    async fn a_thread_nobody_waits_for_is_waited_for_in_the_end() {
        let (busy, ended) = (Busy::default(), Arc::new(AtomicBool::new(false)));
        let (go, told) = mpsc::channel::<()>();
        let at_end = Arc::clone(&ended);
        interrupt(busy.off_thread(move || {
            let _ = told.recv();
            at_end.store(true, Ordering::Relaxed);
            Ok(())
        }))
        .await;
        assert!(!ended.load(Ordering::Relaxed) && busy.0.try_lock().is_err());
        go.send(()).unwrap();
        busy.over().await;
        assert!(ended.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn a_program_nobody_waits_for_is_killed() {
        let busy = Busy::default();
        let mut command = Command::new("sleep");
        command.arg("3600");
        interrupt(busy.output(command)).await;
        assert!(busy.0.try_lock().is_err());
        busy.over().await;
    }
}
