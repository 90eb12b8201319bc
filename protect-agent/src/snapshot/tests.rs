use super::leftover::{Leftover, remove};
use super::*;
use std::fs;
use std::process::Command;

/// A btrfs of its own in a file; gone when dropped.
pub(crate) struct Btrfs {
    dir: tempfile::TempDir,
}

fn run(program: &str, arguments: &[&str]) -> bool {
    let output = Command::new(program).args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}

impl Btrfs {
    /// None where this user may not mount.
    pub(crate) fn mount() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("not tested: only root mounts");
            return None;
        }
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let own = Self { dir };
        let image = own.dir.path().join("image");
        fs::File::create(&image).unwrap().set_len(256 << 20).unwrap();
        fs::create_dir(own.root()).unwrap();
        let (image, root) = (image.to_str().unwrap(), own.root());
        assert!(run("mkfs.btrfs", &["-q", image]), "btrfs-progs is part of the tests' machine");
        assert!(run("mount", &["-o", "loop", image, root.to_str().unwrap()]));
        Some(own)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("mounted")
    }

    pub(crate) fn subvolume(&self, name: &str) -> PathBuf {
        let path = self.root().join(name);
        assert!(run("btrfs", &["subvolume", "create", path.to_str().unwrap()]));
        path
    }

    /// What the agent has in its place at the top of a subvolume.
    pub(crate) fn in_place(&self, top: &Path) -> usize {
        fs::read_dir(top.join(PLACE)).map_or(0, Iterator::count)
    }

    pub(crate) fn snapshots(&self) -> Snapshots {
        Snapshots::new(true, Notes::new(&self.dir.path().join("notes")))
    }
}

impl Drop for Btrfs {
    fn drop(&mut self) {
        let root = self.root();
        let _ = run("umount", &["-R", "-l", root.to_str().unwrap_or_default()]);
    }
}

fn take(snapshots: &Snapshots, root: &Path) -> Result<SourceSnapshot, NoSnapshot> {
    let flush = |live: &OwnedFd| rustix::fs::syncfs(live);
    snapshots.take(root, false, flush).unwrap()
}

#[test]
fn a_snapshot_stands_still_and_goes_when_dropped() {
    let Some(btrfs) = Btrfs::mount() else { return };
    let top = btrfs.subvolume("home");
    let tree = top.join("a b/tree");
    fs::create_dir_all(&tree).unwrap();
    fs::write(tree.join("f"), b"old").unwrap();
    let (first, second) = {
        let snapshots = btrfs.snapshots();
        let snapshot = take(&snapshots, &tree).unwrap();
        fs::write(tree.join("f"), b"new").unwrap();
        assert_eq!(fs::read(snapshot.root().join("f")).unwrap(), b"old");
        assert!(fs::write(snapshot.root().join("g"), b"").is_err());
        // Two at once do not meet.
        let second = take(&snapshots, &tree).unwrap();
        assert_eq!(fs::read(second.root().join("f")).unwrap(), b"new");
        snapshots.sweep();
        assert_eq!(btrfs.in_place(&top), 2, "what is in use stays");
        (snapshot, second)
    };
    drop(first);
    drop(second);
    assert_eq!(btrfs.in_place(&top), 0);
    assert!(btrfs.snapshots().notes.all::<Record>().is_empty());
}

#[test]
fn where_no_snapshot_can_be_made_the_reason_is_said() {
    let Some(btrfs) = Btrfs::mount() else { return };
    let snapshots = btrfs.snapshots();
    let root = btrfs.root();
    let why = |done: Result<SourceSnapshot, NoSnapshot>| done.unwrap_err();
    assert!(matches!(why(take(&snapshots, Path::new("/proc"))), NoSnapshot::FileSystem));
    let off = Snapshots { enabled: false, ..snapshots.clone() };
    assert!(matches!(why(take(&off, &root)), NoSnapshot::SwitchedOff));
    let all = snapshots.take(&root, true, |live| rustix::fs::syncfs(live)).unwrap();
    assert!(matches!(why(all), NoSnapshot::AllFileSystems));
    // A place that others can write to is no place.
    fs::create_dir(root.join(PLACE)).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(root.join(PLACE), open).unwrap();
    assert!(matches!(why(take(&snapshots, &root)), NoSnapshot::Place { .. }));
    assert!(snapshots.notes.all::<Record>().is_empty());
}

/// A killed agent: what it noted is removed, what it did not make is not.
#[test]
fn what_a_killed_agent_left_is_removed_and_nothing_else() {
    let Some(btrfs) = Btrfs::mount() else { return };
    let top = btrfs.subvolume("home");
    std::mem::forget(take(&btrfs.snapshots(), &top).unwrap());
    assert_eq!(btrfs.in_place(&top), 1);
    // Somebody else's snapshot in the same place, and one by a noted name with another number.
    let theirs = top.join(PLACE).join("theirs");
    let make = |to: &Path| {
        let (from, to) = (top.to_str().unwrap(), to.to_str().unwrap());
        assert!(run("btrfs", &["subvolume", "snapshot", "-r", from, to]));
    };
    make(&theirs);
    let snapshots = btrfs.snapshots();
    let (_, mine): (String, Record) = snapshots.notes.all().remove(0);
    let other = Record { snapshot_id: mine.snapshot_id.map(|id| id ^ 1), ..mine.clone() };
    assert_eq!(remove("theirs", &other), Ok(Leftover::Foreign));
    let elsewhere = Record { top_id: mine.top_id ^ 1, ..mine.clone() };
    assert_eq!(remove("theirs", &elsewhere), Ok(Leftover::OutOfReach));
    fs::create_dir(top.join(PLACE).join("directory")).unwrap();
    assert_eq!(remove("directory", &Record { snapshot_id: None, ..mine }), Ok(Leftover::Foreign));
    snapshots.sweep();
    assert_eq!(btrfs.in_place(&top), 2);
    assert!(theirs.is_dir());
    assert!(snapshots.notes.all::<Record>().is_empty());
}
