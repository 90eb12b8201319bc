//! A wire between agent and daemon that counts what passes and can be cut after any byte. It carries
//! TLS and knows nothing of what is in it.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Towards whom bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Towards {
    Daemon,
    Agent,
}

/// What becomes of the byte with this number of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is the first that does not pass; the connection ends.
    Cut,
    /// The piece it travels in passes twice.
    Twice,
}

#[derive(Debug, Clone, Copy)]
struct Plan {
    fault: Fault,
    towards: Towards,
    left: u64,
}

#[derive(Debug, Default)]
struct Shared {
    /// For the next connection.
    plan: Mutex<Option<Plan>>,
    struck: AtomicBool,
    to_daemon: AtomicU64,
    to_agent: AtomicU64,
    /// Everything the newest connection said to the daemon.
    said: Mutex<Vec<u8>>,
    /// What is open now, to be ended from outside.
    open: Mutex<Vec<TcpStream>>,
}

#[derive(Debug)]
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Listens on a port of its own and dials `daemon` for every connection.
    #[must_use]
    pub fn start(daemon: String) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = listener.local_addr().expect("a listener has an address").port();
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        // Ends with the process: a test has few of them.
        std::thread::spawn(move || {
            for agent in listener.incoming().flatten() {
                // A daemon that is not there is a connection that ends at once.
                let _ = carry(&theirs, agent, &daemon);
            }
        });
        Self { port, shared }
    }

    /// Ends what is open now; byte number `left` of the connection after it meets a fault.
    pub fn reconnect_with(&self, fault: Fault, towards: Towards, left: u64) {
        *lock(&self.shared.plan) = Some(Plan { fault, towards, left });
        self.shared.struck.store(false, Ordering::SeqCst);
        self.break_now();
    }

    /// Whether that byte has come.
    #[must_use]
    pub fn has_struck(&self) -> bool {
        self.shared.struck.load(Ordering::SeqCst)
    }

    /// Ends what is open now.
    pub fn break_now(&self) {
        for stream in lock(&self.shared.open).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// What the newest connection said to the daemon so far, as it went over the wire.
    #[must_use]
    pub fn said(&self) -> Vec<u8> {
        lock(&self.shared.said).clone()
    }

    /// Bytes so far towards the daemon and towards the agent.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        let of = |count: &AtomicU64| count.load(Ordering::SeqCst);
        (of(&self.shared.to_daemon), of(&self.shared.to_agent))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn carry(shared: &Arc<Shared>, agent: TcpStream, daemon: &str) -> io::Result<()> {
    let daemon = TcpStream::connect(daemon)?;
    agent.set_nodelay(true)?;
    daemon.set_nodelay(true)?;
    let plan = lock(&shared.plan).take();
    lock(&shared.said).clear();
    {
        let mut open = lock(&shared.open);
        open.clear();
        open.extend([agent.try_clone()?, daemon.try_clone()?]);
    }
    let ways = [
        (agent.try_clone()?, daemon.try_clone()?, Towards::Daemon),
        (daemon, agent, Towards::Agent),
    ];
    for (from, to, towards) in ways {
        let plan = plan.filter(|plan| plan.towards == towards);
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            let _ = pump(&shared, (&from, &to), towards, plan);
            // One half never outlives the other.
            let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
        });
    }
    Ok(())
}

fn pump(
    shared: &Shared,
    (mut from, mut to): (&TcpStream, &TcpStream),
    towards: Towards,
    mut plan: Option<Plan>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let len = from.read(&mut buffer)?;
        if len == 0 {
            return Ok(());
        }
        let piece = &buffer[..len];
        let due = plan.filter(|plan| plan.left < len as u64);
        match due {
            Some(Plan { fault: Fault::Cut, left, .. }) => {
                shared.struck.store(true, Ordering::SeqCst);
                to.write_all(&piece[..left as usize])?;
                return Ok(());
            }
            Some(Plan { fault: Fault::Twice, .. }) => {
                shared.struck.store(true, Ordering::SeqCst);
                to.write_all(piece)?;
                plan = None;
            }
            None => {
                if let Some(plan) = &mut plan {
                    plan.left -= len as u64;
                }
            }
        }
        // Counted before it is delivered: who acts on it finds it counted.
        match towards {
            Towards::Daemon => {
                lock(&shared.said).extend_from_slice(piece);
                shared.to_daemon.fetch_add(len as u64, Ordering::SeqCst);
            }
            Towards::Agent => {
                shared.to_agent.fetch_add(len as u64, Ordering::SeqCst);
            }
        }
        to.write_all(piece)?;
    }
}
