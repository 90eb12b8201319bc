//! Reads of large files through io_uring, on a thread that does nothing else.
//!
//! The ring's thread must not be held up: it submits reads and passes on what comes back, the files'
//! own threads cut and hash. Where the kernel forbids io_uring they read for themselves.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot};
use tokio_uring::buf::BoundedBuf;

/// What the ring's thread is asked for.
enum Request {
    Open { file: u64, handle: File },
    Read { file: u64, offset: u64, buffer: Vec<u8>, len: usize, reply: Reply },
    Close { file: u64 },
}

/// The buffer with what was read behind its old end.
type Reply = oneshot::Sender<io::Result<Vec<u8>>>;

/// The way to the ring's thread, which ends when nobody has one any more.
#[derive(Debug, Clone)]
pub(crate) struct Ring {
    requests: mpsc::UnboundedSender<Request>,
    /// Each file opened here gets a number of its own.
    next_file: Arc<AtomicU64>,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open { .. } => "Open",
            Self::Read { .. } => "Read",
            Self::Close { .. } => "Close",
        })
    }
}

/// Reads that may be in the kernel at once: two files with all their pieces.
const ENTRIES: u32 = 64;

impl Ring {
    pub(crate) fn start() -> io::Result<Self> {
        let (requests, incoming) = mpsc::unbounded_channel();
        let (started, running) = std::sync::mpsc::channel();
        std::thread::Builder::new().name("ring".to_owned()).spawn(move || {
            match tokio_uring::Runtime::new(tokio_uring::builder().entries(ENTRIES)) {
                Err(error) => drop(started.send(Err(error))),
                Ok(runtime) => {
                    drop(started.send(Ok(())));
                    runtime.block_on(serve(incoming));
                }
            }
        })?;
        match running.recv() {
            Ok(started) => started.map(|()| Self { requests, next_file: Arc::default() }),
            Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    pub(crate) fn open(&self, file: BorrowedFd<'_>) -> io::Result<RingFile> {
        let number = self.next_file.fetch_add(1, Ordering::Relaxed);
        let handle = File::from(file.as_fd().try_clone_to_owned()?);
        let open = Request::Open { file: number, handle };
        self.requests.send(open).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(RingFile { ring: self.clone(), number })
    }
}

#[derive(Debug)]
pub(crate) struct RingFile {
    ring: Ring,
    number: u64,
}

impl RingFile {
    /// Begins to read `len` bytes behind what is in `buffer`. Fewer come only at the file's end.
    pub(crate) fn read(
        &self,
        offset: u64,
        buffer: Vec<u8>,
        len: usize,
    ) -> oneshot::Receiver<io::Result<Vec<u8>>> {
        let (reply, read) = oneshot::channel();
        let request = Request::Read { file: self.number, offset, buffer, len, reply };
        // A ring that has ended drops the request, and with it the reply.
        let _ = self.ring.requests.send(request);
        read
    }
}

impl Drop for RingFile {
    fn drop(&mut self) {
        let _ = self.ring.requests.send(Request::Close { file: self.number });
    }
}

async fn serve(mut requests: mpsc::UnboundedReceiver<Request>) {
    let mut files: HashMap<u64, Rc<tokio_uring::fs::File>> = HashMap::new();
    while let Some(request) = requests.recv().await {
        match request {
            Request::Open { file, handle } => {
                files.insert(file, Rc::new(tokio_uring::fs::File::from_std(handle)));
            }
            Request::Close { file } => drop(files.remove(&file)),
            Request::Read { file, offset, buffer, len, reply } => {
                let Some(file) = files.get(&file).cloned() else {
                    continue;
                };
                tokio_uring::spawn(async move {
                    // The session may have ended meanwhile.
                    let _ = reply.send(read(&file, offset, buffer, len).await);
                });
            }
        }
    }
}

async fn read(
    file: &tokio_uring::fs::File,
    offset: u64,
    mut buffer: Vec<u8>,
    len: usize,
) -> io::Result<Vec<u8>> {
    let start = buffer.len();
    buffer.reserve_exact(len);
    while buffer.len() < start + len {
        let (at, filled) = (offset + (buffer.len() - start) as u64, buffer.len());
        let (result, slice) = file.read_at(buffer.slice(filled..start + len), at).await;
        buffer = slice.into_inner();
        match result {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel without io_uring has nothing to test here, and says so.
    #[test]
    fn what_the_ring_reads_is_what_the_file_holds() {
        let ring = match Ring::start() {
            Ok(ring) => ring,
            Err(error) => return println!("not tested: no io_uring here ({error})"),
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let bytes: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        std::fs::write(&path, &bytes).unwrap();
        let file = ring.open(File::open(&path).unwrap().as_fd()).unwrap();
        let reads: Vec<_> = (0..4).map(|at| file.read(at * 110_000, vec![9; 3], 110_000)).collect();
        for (read, at) in reads.into_iter().zip(0..) {
            let read = read.blocking_recv().unwrap().unwrap();
            let from = at * 110_000;
            let to = (from + 110_000).min(bytes.len());
            assert_eq!(read[..3], [9; 3]);
            assert!(read[3..] == bytes[from..to], "read {at}");
        }
        drop(file);
        let gone = RingFile { ring: ring.clone(), number: 7 };
        assert!(gone.read(0, Vec::new(), 1).blocking_recv().is_err());
    }
}
