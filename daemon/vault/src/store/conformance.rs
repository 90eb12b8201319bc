//! What every store must do. One suite for all of them: it gives the requirements that are not met, so
//! that it can be tried on stores that lie.

use bytes::Bytes;

use super::{Created, Store, StoreError, StoreFault};

type Answer = Result<bool, StoreError>;

/// The requirements a store, which must be empty, does not meet.
pub async fn unmet(store: &impl Store) -> Vec<&'static str> {
    let answers = [
        ("creates", creates(store).await),
        ("creates only", creates_only(store).await),
        ("reads ranges", reads_ranges(store).await),
        ("refuses ranges beyond the end", refuses_ranges(store).await),
        ("knows lengths", knows_lengths(store).await),
        ("lists in order", lists(store).await),
        ("lists page by page", lists_on(store).await),
        ("lists from a name that is none", lists_between(store).await),
        ("lists what was just created", lists_at_once(store).await),
        ("deletes", deletes(store).await),
        ("refuses names", refuses_names(store).await),
        ("keeps large objects", keeps_large(store).await),
    ];
    // An error where an answer was due is an unmet requirement, too.
    let unmet = answers.into_iter().filter(|(_, answer)| answer != &Ok(true));
    unmet.map(|(requirement, _)| requirement).collect()
}

async fn creates(store: &impl Store) -> Answer {
    let made = store.create("a/1", Bytes::from_static(b"first"), None).await? == Created::Made;
    let empty = store.create("a/empty", Bytes::new(), None).await? == Created::Made;
    let read = store.read("a/1", 0..5).await? == b"first"[..];
    Ok(made && empty && read && store.read("a/empty", 0..0).await?.is_empty())
}

async fn creates_only(store: &impl Store) -> Answer {
    let first = store.create("b/x/1", Bytes::from_static(b"first"), None).await?;
    let second = store.create("b/x/1", Bytes::from_static(b"other"), None).await?;
    // Looked at before the first content is offered again: that would put right what was overwritten.
    let found = store.read("b/x/1", 0..5).await?;
    let same = store.create("b/x/1", Bytes::from_static(b"first"), None).await?;
    let exist = second == Created::Exists && same == Created::Exists;
    Ok(first == Created::Made && exist && found == b"first"[..])
}

async fn reads_ranges(store: &impl Store) -> Answer {
    let bytes: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    store.create("c/1", Bytes::from(bytes.clone()), None).await?;
    for range in [0..1, 0..10_000, 9_999..10_000, 4_095..4_098, 10_000..10_000, 17..17] {
        let (start, end) = (range.start as usize, range.end as usize);
        if store.read("c/1", range).await? != bytes[start..end] {
            return Ok(false);
        }
    }
    Ok(true)
}

fn fails(answer: Result<Bytes, StoreError>, is: fn(&StoreFault) -> bool) -> bool {
    answer.is_err_and(|error| is(&error.fault))
}

async fn refuses_ranges(store: &impl Store) -> Answer {
    store.create("d/1", Bytes::from_static(b"0123456789"), None).await?;
    let is_range = |fault: &StoreFault| matches!(fault, StoreFault::Range { len: 10, .. });
    let mut refused = true;
    for range in [0..11, 10..11, 11..11, 5..u64::MAX] {
        refused &= fails(store.read("d/1", range).await, is_range);
    }
    let is_missing = |fault: &StoreFault| *fault == StoreFault::NotFound;
    for name in ["d/2", "nowhere/1"] {
        refused &= fails(store.read(name, 0..1).await, is_missing);
    }
    Ok(refused)
}

async fn knows_lengths(store: &impl Store) -> Answer {
    store.create("e/1", Bytes::from_static(b"0123456789"), None).await?;
    let there = store.head("e/1").await? == Some(10);
    Ok(there && store.head("e/2").await?.is_none() && store.head("none/1").await?.is_none())
}

const NAMES: [&str; 7] = ["f/0/a", "f/0/b", "f/00", "f/1/a", "f/1/b/c", "f/a", "f/z"];

async fn names(
    store: &impl Store,
    folder: &str,
    after: &str,
    limit: usize,
) -> Result<(Vec<String>, bool), StoreError> {
    let listing = store.list(folder, after, limit).await?;
    let names = listing.entries.into_iter().map(|entry| entry.name).collect();
    Ok((names, listing.has_more))
}

async fn lists(store: &impl Store) -> Answer {
    // Neighbours that belong to no folder that is asked for.
    for name in NAMES.iter().rev().chain(&["g/1", "ff/1"]) {
        store.create(name, Bytes::from_static(b"123"), None).await?;
    }
    let whole = store.list("f/", "", 100).await?;
    let lens = whole.entries.iter().all(|entry| entry.len == 3);
    let all = (NAMES.map(str::to_owned).to_vec(), false);
    let same = names(store, "f/", "", 100).await? == all && lens;
    let below = names(store, "f/1/", "", 100).await? == (all.0[3..5].to_vec(), false);
    let exact = names(store, "f/", "", NAMES.len()).await? == all;
    let cut = names(store, "f/", "", 2).await? == (all.0[..2].to_vec(), true);
    Ok(same && below && exact && cut && names(store, "never/", "", 9).await? == (vec![], false))
}

async fn lists_on(store: &impl Store) -> Answer {
    for name in NAMES {
        store.create(name, Bytes::from_static(b"123"), None).await?;
    }
    // Page by page, each page as long.
    for limit in 1..NAMES.len() {
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let (page, has_more) = names(store, "f/", &after, limit).await?;
            let is_empty = page.is_empty();
            found.extend(page);
            // A store that says "more" for ever must not hold us for ever.
            if is_empty || !has_more || found.len() > NAMES.len() {
                break;
            }
            after = found.last().cloned().unwrap_or_default();
        }
        if found != NAMES {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn lists_between(store: &impl Store) -> Answer {
    for name in NAMES {
        store.create(name, Bytes::from_static(b"123"), None).await?;
    }
    // Before and behind everything as well.
    let between = names(store, "f/", "f/0/aa", 100).await?.0 == NAMES[1..];
    let before = names(store, "f/", "a", 100).await?.0 == NAMES;
    Ok(between && before && names(store, "f/", "f/zz", 100).await? == (vec![], false))
}

async fn lists_at_once(store: &impl Store) -> Answer {
    for number in 0..20 {
        let name = format!("h/{number:02}");
        store.create(&name, Bytes::from_static(b"1"), None).await?;
        if names(store, "h/", "", 100).await?.0.last() != Some(&name) {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn deletes(store: &impl Store) -> Answer {
    store.create("i/1", Bytes::from_static(b"1"), None).await?;
    store.create("i/2", Bytes::from_static(b"2"), None).await?;
    store.delete("i/1").await?;
    store.delete("i/1").await?;
    store.delete("nowhere/1").await?;
    let gone = store.head("i/1").await?.is_none();
    let stays = names(store, "i/", "", 9).await?.0 == ["i/2"];
    let anew = store.create("i/1", Bytes::from_static(b"3"), None).await? == Created::Made;
    Ok(gone && stays && anew && store.read("i/1", 0..1).await? == b"3"[..])
}

async fn refuses_names(store: &impl Store) -> Answer {
    let long = "x".repeat(300);
    let strange =
        ["", "/", "a//b", "/a", "a/", "..", "a/../b", ".partial/1", "A", "ä", "a b", "a\0", &long];
    let is_name = |error: StoreError| error.fault == StoreFault::Name;
    let mut refused = true;
    for name in strange {
        refused &= store.create(name, Bytes::new(), None).await.is_err_and(is_name);
        refused &= store.read(name, 0..0).await.is_err_and(is_name);
        refused &= store.head(name).await.is_err_and(is_name);
        refused &= store.delete(name).await.is_err_and(is_name);
    }
    for folder in ["a", "/", "../", "a//"] {
        refused &= store.list(folder, "", 1).await.is_err_and(is_name);
    }
    let is_limit = |error: StoreError| matches!(error.fault, StoreFault::Limit { .. });
    refused &= store.list("", "", 0).await.is_err_and(is_limit);
    Ok(refused && store.list("", "", super::LIST_MAX + 1).await.is_err_and(is_limit))
}

async fn keeps_large(store: &impl Store) -> Answer {
    let mut bytes = vec![0; 33 << 20];
    blake3::Hasher::new().update(b"large").finalize_xof().fill(&mut bytes);
    let bytes = Bytes::from(bytes);
    store.create("j/1", bytes.clone(), None).await?;
    let found = store.read("j/1", 0..bytes.len() as u64).await?;
    Ok(found == bytes)
}
