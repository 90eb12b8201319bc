use super::*;
use crate::point_facts::PointFacts;

fn temporary(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("keelhold-catalog-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    let _ = std::fs::remove_dir_all(path.with_extension("broken"));
    path
}

fn row(order: u64) -> PointRow {
    PointRow {
        order,
        id: format!("point{order}"),
        source: "source".into(),
        at: 5,
        committed_at: 6,
        partial: false,
        bytes_source: 7,
        entries: 8,
        trashed_until: None,
        facts: PointFacts::default(),
    }
}

fn view(count: u64) -> Arc<View> {
    let points = (0..count).map(row).collect();
    Arc::new(View { position: format!("at {count}"), points, jobs: Vec::new() })
}

#[test]
fn rows_keep_the_order_of_commits() {
    let path = temporary("order");
    let catalog = Catalog::open(&path).unwrap();
    catalog.rebuild(view(300)).unwrap();
    catalog.put_point(row(300)).unwrap();
    let orders: Vec<u64> = catalog.points().iter().map(|row| row.order).collect();
    assert_eq!(orders, (0..=300).collect::<Vec<_>>());
    assert_eq!(catalog.position().as_deref(), Some("at 300"));
    std::fs::remove_dir_all(&path).unwrap();
}

#[test]
fn points_go_and_change_and_the_others_stay_in_order() {
    let path = temporary("changes");
    let catalog = Catalog::open(&path).unwrap();
    catalog.rebuild(view(6)).unwrap();
    let mut left: Vec<PointRow> = [0, 2, 3, 5].map(row).into();
    left[1].trashed_until = Some(9);
    catalog.set_points(left).unwrap();
    catalog.put_point(PointRow { id: "new".into(), ..row(0) }).unwrap();
    let ids: Vec<String> = catalog.points().into_iter().map(|row| row.id).collect();
    assert_eq!(ids, ["point0", "point2", "point3", "point5", "new"]);
    assert_eq!(catalog.points()[1].trashed_until, Some(9));
    catalog.set_points(vec![row(3), PointRow { id: "newer".into(), ..row(0) }]).unwrap();
    let ids: Vec<String> = catalog.points().into_iter().map(|row| row.id).collect();
    assert_eq!(ids, ["point3", "newer"]);
    std::fs::remove_dir_all(&path).unwrap();
}

/// Whatever is done to its files, the catalog opens: with what it held, or empty.
#[test]
fn damaged_files_give_an_empty_catalog_and_no_error() {
    let path = temporary("damage");
    drop(Catalog::open(&path).and_then(|catalog| catalog.rebuild(view(200))));
    // The thread lets go of its files when the last handle is gone; it is not waited for here, so
    // the copy is what a crash would have left.
    let files: Vec<PathBuf> = ["db", "conf"].iter().map(|name| path.join(name)).collect();
    for file in files.iter().filter(|file| file.is_file()) {
        let copy = temporary("damaged-copy");
        std::fs::create_dir_all(&copy).unwrap();
        for other in &files {
            if other.is_file() {
                std::fs::copy(other, copy.join(other.file_name().unwrap())).unwrap();
            }
        }
        let target = copy.join(file.file_name().unwrap());
        let mut bytes = std::fs::read(&target).unwrap();
        for at in (0..bytes.len()).step_by(97) {
            bytes[at] ^= 0x55;
        }
        std::fs::write(&target, bytes).unwrap();
        let catalog = Catalog::open(&copy).unwrap();
        catalog.rebuild(view(3)).unwrap();
        assert_eq!(catalog.points().len(), 3);
        drop(catalog);
        let _ = std::fs::remove_dir_all(&copy);
        let _ = std::fs::remove_dir_all(copy.with_extension("broken"));
    }
    let _ = std::fs::remove_dir_all(&path);
}
