//! Sessions that read from a snapshot, and scripts around them.

use super::*;
use crate::snapshot::tests::Btrfs;
use keelhold_wire::{Consistency, Demands, SkipReason};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;

impl Bench {
    /// As [`Bench::new`], with the tree on a btrfs.
    fn on_btrfs(btrfs: &Btrfs) -> Self {
        let tree = btrfs.subvolume("tree");
        let own = Self::new();
        fs::remove_dir(own.tree()).unwrap();
        symlink(tree, own.tree()).unwrap();
        own
    }

    fn script(&self, name: &str, text: &str) -> Option<Vec<u8>> {
        let path = self.surroundings.context.scripts.directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        Some(path.as_os_str().as_bytes().to_vec())
    }

    fn demands(&self, pre: &str, post: &str) -> Demands {
        Demands {
            consistency_min: Consistency::None,
            pre: self.script("pre", pre),
            post: self.script("post", post),
            script_seconds: 60,
        }
    }

    fn said(&self) -> String {
        crate::script::settle(Duration::from_secs(60));
        fs::read_to_string(self.dir.path().join("said")).unwrap_or_default()
    }

    fn says(&self, what: &str) -> String {
        format!("echo {what} >> {}", self.dir.path().join("said").display())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_tree_on_btrfs_costs_a_few_bytes_though_every_snapshot_has_its_own_device() {
    let Some(btrfs) = Btrfs::mount() else { return };
    let bench = Bench::on_btrfs(&btrfs);
    plant(&bench.tree());
    let top = fs::canonicalize(bench.tree()).unwrap();
    let mut server = Server::new(Codec::Zstd);
    let first = bench.session(&mut server, Session::default()).await.unwrap();
    assert_eq!(first.reached.consistency, Consistency::Crash);
    assert_eq!(btrfs.in_place(&top), 0);
    let named = |point: &Point| point.entries.iter().any(|e| e.path.starts_with(b".keelhold"));
    assert!(!named(&first), "a backup does not show its own place");
    let again = Session { basis: Some(first.basis()), ..Session::default() };
    let second = bench.session(&mut server, again).await.unwrap();
    println!("second: {} bytes, {} changed", second.bytes_received, second.stats.files_changed);
    // What the agent tells of the machine itself may come with it.
    assert!(second.bytes_received < 8 << 10, "{} bytes", second.bytes_received);
    assert!(second.stats.files_changed <= 1, "{:?}", second.stats);
    assert_eq!(second.stats.bytes_read, 0);
    assert!(first.trusted_by_the_file_system);
    // The live tree has the same identities: the machine may stop making snapshots.
    let mut live = Bench { dir: bench.dir, surroundings: bench.surroundings };
    let mut own = (*live.surroundings).clone();
    own.context.snapshots = Snapshots::new(false, Notes::new(&live.dir.path().join("x")));
    live.surroundings = Arc::new(own);
    let again = Session { basis: Some(second.basis()), ..Session::default() };
    let third = live.session(&mut server, again).await.unwrap();
    assert_eq!(third.reached.consistency, Consistency::None);
    assert!(third.stats.files_changed <= 1 && third.stats.bytes_read == 0, "{:?}", third.stats);
    assert!(!named(&third));
    assert!(third.log.iter().any(|line| line.contains("no source snapshot")), "{:?}", third.log);
}

/// What a snapshot does not hold is named, and what lies hidden under a mount is not shown.
#[tokio::test(flavor = "multi_thread")]
async fn other_subvolumes_and_mounts_are_named_as_not_covered() {
    let Some(btrfs) = Btrfs::mount() else { return };
    let bench = Bench::on_btrfs(&btrfs);
    let tree = fs::canonicalize(bench.tree()).unwrap();
    fs::write(tree.join("seen"), b"seen").unwrap();
    let nested = btrfs.subvolume("tree/nested");
    fs::write(nested.join("inside"), b"x").unwrap();
    for name in ["over", "self"] {
        fs::create_dir(tree.join(name)).unwrap();
        fs::write(tree.join(name).join("below"), b"below").unwrap();
    }
    let mount = |arguments: &[&str]| {
        let done = std::process::Command::new("mount").args(arguments).status().unwrap();
        assert!(done.success());
    };
    let (over, itself) = (tree.join("over"), tree.join("self"));
    mount(&["-t", "tmpfs", "none", over.to_str().unwrap()]);
    mount(&["--bind", itself.to_str().unwrap(), itself.to_str().unwrap()]);
    let mut server = Server::new(Codec::Raw);
    let point = bench.session(&mut server, Session::default()).await.unwrap();
    assert_eq!(point.reached.consistency, Consistency::Crash);
    let paths: Vec<String> =
        point.entries.iter().map(|e| String::from_utf8_lossy(&e.path).into_owned()).collect();
    assert_eq!(paths, ["", "nested", "over", "seen", "self", "self/below"]);
    let skipped: Vec<(String, SkipReason)> = point
        .skipped
        .iter()
        .map(|entry| (String::from_utf8_lossy(&entry.path).into_owned(), entry.reason))
        .collect();
    let not = SkipReason::NotCovered;
    assert_eq!(skipped, [("nested".to_owned(), not), ("over".to_owned(), not)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_takes_the_snapshot_with_it_and_post_runs() {
    let Some(btrfs) = Btrfs::mount() else { return };
    let bench = Bench::on_btrfs(&btrfs);
    plant(&bench.tree());
    let top = fs::canonicalize(bench.tree()).unwrap();
    let mut server = Server::new(Codec::Raw);
    let demands = bench.demands(&bench.says("pre"), &bench.says("post $KEELHOLD_RESULT"));
    let cut = Session { cut_after: Some(100_000), demands, ..Session::default() };
    let lost = bench.session(&mut server, cut).await;
    assert_eq!(lost.err().as_deref(), Some("cut"));
    assert_eq!(btrfs.in_place(&top), 0);
    // Post had run as soon as the snapshot stood.
    assert_eq!(bench.said(), "pre\npost ok\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_run_around_the_reading_and_say_what_they_reached() {
    let bench = Bench::new();
    plant(&bench.tree());
    let mut server = Server::new(Codec::Raw);
    let demands = Demands {
        consistency_min: Consistency::Application,
        ..bench.demands(
            &format!("{}; echo keelhold-consistency: application", bench.says("pre")),
            &format!("{}; exit 4", bench.says("post")),
        )
    };
    let point =
        bench.session(&mut server, Session { demands, ..Session::default() }).await.unwrap();
    assert_eq!(point.reached.consistency, Consistency::Application);
    assert_eq!(point.reached.shortfalls, ["the post script ended with 4"]);
    assert_eq!(bench.said(), "pre\npost\n");
    assert_eq!(point.log.first().unwrap(), "pre: keelhold-consistency: application");

    // Nobody says so: the point is made, and what it lacks is named.
    let demands = Demands {
        consistency_min: Consistency::FileSystem,
        ..bench.demands("true", &bench.says("again"))
    };
    let point =
        bench.session(&mut server, Session { demands, ..Session::default() }).await.unwrap();
    assert_eq!(point.reached.consistency, Consistency::None);
    assert!(point.reached.shortfalls[0].contains("file-system is demanded"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_pre_reads_nothing_and_post_runs() {
    let bench = Bench::new();
    plant(&bench.tree());
    let mut server = Server::new(Codec::Raw);
    let demands = bench.demands("exit 9", &bench.says("post $KEELHOLD_RESULT"));
    let refused = bench.session(&mut server, Session { demands, ..Session::default() }).await;
    let text = refused.err().unwrap();
    assert!(text.starts_with("KH-E1025") && text.contains("ended with 9"), "{text}");
    assert_eq!(bench.said(), "post failed\n");

    let outside = Some(bench.dir.path().join("outside").as_os_str().as_bytes().to_vec());
    let demands = Demands { pre: outside, ..bench.demands("true", &bench.says("never")) };
    let refused = bench.session(&mut server, Session { demands, ..Session::default() }).await;
    assert!(refused.err().unwrap().starts_with("KH-E1024"));
    assert_eq!(bench.said(), "post failed\n");
}
