//! The daemon's socket asked directly: a suite that looks hundreds of times a second cannot start a
//! program for every look.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use super::{Appliance, PATIENCE};

impl Appliance {
    /// Status and body of one request. HTTP/1.0: the answer ends with the connection.
    fn request(&self, method: &str, path: &str, body: &str) -> io::Result<(u16, Vec<u8>)> {
        // A socket's address has room for 107 bytes only; the directory may be deeper.
        let dir = File::open(&self.state)?;
        let socket = format!("/proc/self/fd/{}/keelhold.sock", dir.as_raw_fd());
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let len = body.len();
        let head = format!("{method} /api/v1{path} HTTP/1.0\r\nhost: keelhold\r\n");
        write!(stream, "{head}content-length: {len}\r\n\r\n{body}")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
        let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let body = answer.split_off(end.ok_or_else(short)? + 4);
        let head = String::from_utf8_lossy(&answer);
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        Ok((status.ok_or_else(short)?, body))
    }

    /// What the API answers, if the daemon lives to say it whole and it is not an error.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<Value> {
        let (status, body) = self.request("GET", path, "").ok()?;
        serde_json::from_slice(&body).ok().filter(|_| status == 200)
    }

    pub fn post(&self, path: &str, body: &Value) -> Option<Value> {
        let (status, body) = self.request("POST", path, &body.to_string()).ok()?;
        serde_json::from_slice(&body).ok().filter(|_| status == 200)
    }

    /// Starts a backup, now or when the machine is back, and waits for the end of it, whatever happens
    /// to connections and programs meanwhile: the first job above `last`, once it is over.
    #[must_use]
    pub fn backup_after(&self, last: u64, source: &str) -> Value {
        let request = json!({ "queue": true, "check": false });
        let mut ended = Value::Null;
        self.closely_until("the backup goes on and ends", |own| {
            let Some(jobs) = own.get("/jobs") else { return false };
            let new = |job: &&Value| {
                job["id"].as_u64().is_some_and(|id| id > last) && job["kind"] == "backup"
            };
            match jobs.as_array().into_iter().flatten().find(new) {
                Some(job) if job["state"] == "done" => ended = job.clone(),
                // None was promised yet.
                None => drop(own.post(&format!("/sources/{source}/backup"), &request)),
                Some(_) => {}
            }
            !ended.is_null()
        });
        ended
    }

    /// The bytes of a file in a point.
    #[must_use]
    pub fn content(&self, point: &str, path: &str) -> Option<Vec<u8>> {
        let path = format!("/points/{point}/content?path={path}");
        let (status, body) = self.request("GET", &path, "").ok()?;
        Some(body).filter(|_| status == 200)
    }
}
