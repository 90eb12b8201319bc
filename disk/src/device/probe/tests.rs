use std::path::Path;

use super::*;
use crate::device::conformance::files::TempFile;
use crate::device::pread::PreadDevice;
use crate::exec::{BellDriver, Executor, Fifo};
use crate::units::{BLOCK, BLOCK_U64};
use crate::work::InPlace;

const LEN: u64 = 256 * BLOCK_U64;

#[test]
fn a_new_file_is_reserved_empty_and_ours_alone() {
    let file = TempFile::new("new");
    let disk = create_file(file.path(), LEN).unwrap();
    assert_eq!(disk.geometry().len, LEN);
    let blocks = std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(file.path()).unwrap());
    assert!(blocks * 512 >= LEN, "all of it is reserved");
    assert!(matches!(open_disk(file.path()), Err(OpenDiskError::InUse { .. })));
    assert!(matches!(create_file(file.path(), LEN), Err(OpenDiskError::Exists { .. })));

    let device = PreadDevice::new(disk, InPlace);
    let mut exec = Executor::new(BellDriver::new().unwrap(), Fifo);
    assert_eq!(exec.run_until(contents(&device)).unwrap(), Contents::Empty);
    drop(device);
    assert_eq!(open_disk(file.path()).unwrap().geometry().len, LEN);
}

#[test]
fn contents_at_the_end_are_seen() {
    let file = TempFile::new("end");
    let mut bytes = vec![0; 200 * BLOCK];
    bytes[200 * BLOCK - 512..][..8].copy_from_slice(b"EFI PART");
    // Not a whole number of blocks: the rest is not part of the disk.
    bytes.extend_from_slice(b"tail");
    std::fs::write(file.path(), &bytes).unwrap();
    let disk = open_disk(file.path()).unwrap();
    assert_eq!(disk.geometry().len, 200 * BLOCK_U64);
    let device = PreadDevice::new(disk, InPlace);
    let mut exec = Executor::new(BellDriver::new().unwrap(), Fifo);
    let found = exec.run_until(contents(&device)).unwrap();
    assert_eq!(found, Contents::Known(Signature::Gpt));
}

#[test]
fn what_cannot_be_a_disk_is_refused_with_the_reason() {
    let file = TempFile::new("refused");
    let missing = open_disk(file.path()).unwrap_err();
    assert!(matches!(missing, OpenDiskError::Missing { .. }), "{missing}");
    for path in ["/", "/dev/null"] {
        let kind = open_disk(Path::new(path)).unwrap_err();
        assert!(matches!(kind, OpenDiskError::WrongKind { .. }), "{kind}");
    }
    for len in [0, 1, 4097] {
        let bad = create_file(file.path(), len).unwrap_err();
        assert!(matches!(bad, OpenDiskError::BadLength { .. }), "{bad}");
    }
    let nowhere = create_file(&file.path().join("below"), LEN).unwrap_err();
    assert!(matches!(nowhere, OpenDiskError::Missing { .. }), "{nowhere}");
}

#[test]
fn no_room_leaves_no_file() {
    let file = TempFile::new("room");
    let error = create_file(file.path(), 1 << 50).unwrap_err();
    assert!(matches!(error, OpenDiskError::NoRoom { .. }), "{error}");
    assert!(!file.path().exists());
}
