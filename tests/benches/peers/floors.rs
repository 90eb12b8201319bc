//! What nothing that protects the tree can do without.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::tree::Listing;

const READERS: usize = 8;
const BUFFER_LEN: usize = 256 << 10;

/// Reads every file, eight at a time.
pub fn read_all(listing: &Listing) -> u64 {
    let next = AtomicUsize::new(0);
    let read_some = || {
        let (mut buf, mut bytes) = (vec![0; BUFFER_LEN], 0);
        while let Some((path, _)) = listing.files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut file = File::open(path).expect("the tree stands still");
            loop {
                let len = file.read(&mut buf).expect("files can be read");
                if len == 0 {
                    break;
                }
                bytes += len as u64;
            }
        }
        bytes
    };
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(read_some)).collect();
        readers.into_iter().map(|reader| reader.join().expect("a reader ends")).sum()
    })
}

/// Length of a listing of all that says whether an entry changed.
pub fn find_listing_len(tree: &Path) -> u64 {
    let mut find = Command::new("find");
    find.arg(tree).args(["-printf", "%p %s %T@ %C@ %i %m %U %G\\n"]).stdout(Stdio::piped());
    let mut child = find.spawn().expect("find starts");
    let mut stdout = child.stdout.take().expect("it was piped");
    let len = std::io::copy(&mut stdout, &mut std::io::sink()).expect("find can be read");
    assert!(child.wait().expect("find ends").success(), "find failed");
    len
}
