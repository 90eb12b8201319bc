//! Real servers: Azurite for Azure, moto for S3. `tests/run` installs them below the target directory.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use data_encoding::BASE64;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use keelhold_vault::store::{Checked, CloudStore, Credential};
use tempfile::TempDir;

use super::patience;

/// The account every Azurite has, with the key every Azurite has.
const ACCOUNT: &str = "devstoreaccount1";
const ACCOUNT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const CONTAINER: &str = "vault";

/// A server process on a loopback port: ended, by its id, when this is dropped.
struct Server {
    child: Child,
    at: SocketAddr,
    _folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where `tests/run` installed a program; none if it did not, which CI does not allow.
fn installed(path: &str) -> Option<PathBuf> {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(3).unwrap().join(path);
    if program.exists() {
        return Some(program);
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{} is missing", program.display());
    println!("NOT COMPLETE: {} is missing; tests/run installs it", program.display());
    None
}

impl Server {
    /// Starts a program with arguments that are made for a port and a folder, and waits until it answers.
    fn start(program: &PathBuf, arguments: impl Fn(&str, &str) -> Vec<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        loop {
            // Between here and the server's own binding somebody may take the port: then again.
            let at = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
            let arguments = arguments(&at.port().to_string(), folder.path().to_str().unwrap());
            let mut child = Command::new(program)
                .args(arguments)
                .current_dir(folder.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            while child.try_wait().unwrap().is_none() {
                if talk(at, "GET / HTTP/1.1", &[], 5).is_some() {
                    return Self { child, at, _folder: folder };
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

/// One plain request; the status of its answer.
fn talk(at: SocketAddr, line: &str, headers: &[String], seconds: u64) -> Option<u16> {
    let mut stream = TcpStream::connect(at).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(seconds))).ok()?;
    let mut text = format!("{line}\r\nHost: {at}\r\nConnection: close\r\nContent-Length: 0\r\n");
    for header in headers {
        text.push_str(&format!("{header}\r\n"));
    }
    text.push_str("\r\n");
    stream.write_all(text.as_bytes()).ok()?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).ok()?;
    let status = String::from_utf8_lossy(&answer).into_owned();
    let _ = stream.read_to_end(&mut Vec::new());
    status.get(9..12)?.parse().ok()
}

pub struct Azurite(Server);

impl Azurite {
    pub fn start() -> Option<Self> {
        let program = installed("azurite/node_modules/.bin/azurite-blob")?;
        let server = Server::start(&program, |port, folder| {
            let fixed = ["--silent", "--disableTelemetry", "--skipApiVersionCheck", "--blobHost"];
            let given = ["127.0.0.1", "--blobPort", port, "--location", folder];
            fixed.iter().chain(&given).map(|text| (*text).to_owned()).collect()
        });
        let azurite = Self(server);
        azurite.create_container();
        Some(azurite)
    }

    /// The crate cannot: one request, signed with the shared key.
    fn create_container(&self) {
        let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&Timestamp::now()).unwrap();
        let path = format!("/{ACCOUNT}/{CONTAINER}");
        let to_sign = format!(
            "PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:2023-11-03\n\
             /{ACCOUNT}{path}\nrestype:container"
        );
        let key = Key::new(HMAC_SHA256, &BASE64.decode(ACCOUNT_KEY.as_bytes()).unwrap());
        let signature = BASE64.encode(sign(&key, to_sign.as_bytes()).as_ref());
        let headers = [
            format!("x-ms-date: {date}"),
            "x-ms-version: 2023-11-03".to_owned(),
            format!("Authorization: SharedKey {ACCOUNT}:{signature}"),
        ];
        let line = format!("PUT {path}?restype=container HTTP/1.1");
        assert_eq!(talk(self.0.at, &line, &headers, 60), Some(201));
    }

    pub fn now(&self) -> i64 {
        Timestamp::now().as_second()
    }

    /// Endpoint, URL and the text of a credential, as an admin gives them.
    pub fn place(&self) -> [String; 3] {
        let credential = format!("account = {ACCOUNT}\naccount_key = {ACCOUNT_KEY}\n");
        let at = format!("http://{}/{ACCOUNT}", self.0.at);
        [at, format!("az://{CONTAINER}/one"), credential]
    }

    pub fn open(&self, prefix: &str) -> Checked<CloudStore> {
        self.open_with(&format!("az://{CONTAINER}/{prefix}"), ACCOUNT_KEY)
    }

    pub fn open_with(&self, url: &str, key: &str) -> Checked<CloudStore> {
        let credential = format!("account = {ACCOUNT}\naccount_key = {key}\n");
        let credential = Credential::parse(&credential).unwrap();
        let at = format!("http://{}/{ACCOUNT}", self.0.at);
        Checked::new(CloudStore::open(url, Some(&at), &credential, patience()).unwrap())
    }
}

pub struct Moto(Server);

impl Moto {
    pub fn start() -> Option<Self> {
        let program = installed("moto-venv/bin/moto_server")?;
        let server = Server::start(&program, |port, _| {
            ["-H", "127.0.0.1", "-p", port].map(str::to_owned).to_vec()
        });
        let moto = Self(server);
        let locks = ["x-amz-bucket-object-lock-enabled: true".to_owned()];
        for (bucket, headers) in [("plain", &[][..]), ("locked", &locks[..])] {
            let line = format!("PUT /{bucket} HTTP/1.1");
            assert_eq!(talk(moto.0.at, &line, headers, 60), Some(200));
        }
        Some(moto)
    }

    pub fn now(&self) -> i64 {
        Timestamp::now().as_second()
    }

    /// Endpoint, URL and the text of a credential, as an admin gives them.
    pub fn place(&self) -> [String; 3] {
        let credential = "access_key_id = test\nsecret_access_key = test\nregion = us-east-1\n";
        [format!("http://{}", self.0.at), String::from("s3://plain/one"), credential.to_owned()]
    }

    pub fn open(&self, bucket: &str) -> Checked<CloudStore> {
        let credential = "access_key_id = test\nsecret_access_key = test\nregion = us-east-1\n";
        let credential = Credential::parse(credential).unwrap();
        let (url, at) = (format!("s3://{bucket}/one"), format!("http://{}", self.0.at));
        Checked::new(CloudStore::open(&url, Some(&at), &credential, patience()).unwrap())
    }
}
