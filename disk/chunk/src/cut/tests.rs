use super::*;
use crate::{IdKey, Reader};

fn small_params() -> CutParams {
    CutParams { min: 1 << 10, average: 4 << 10, max: 16 << 10, seed: [7; 32] }
}

fn content(params: &CutParams) -> Cutter {
    Cutter::Content(ContentCutter::new(params).unwrap())
}

/// Bytes that any implementation of BLAKE3 can make again.
fn noise(len: usize, name: &str) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Lines of words, chosen by noise.
fn text(len: usize, name: &str) -> Vec<u8> {
    const WORDS: [&[u8]; 8] =
        [b"keel ", b"hold ", b"return ", b"if (", b") {\n", b"\t", b"};\n\n", b"let value = "];
    let mut out: Vec<u8> = noise(len / 2 + 8, name)
        .iter()
        .flat_map(|byte| WORDS[usize::from(byte % 8)])
        .copied()
        .collect();
    assert!(out.len() >= len);
    out.truncate(len);
    out
}

fn cut_in_pieces(cutter: &Cutter, bytes: &[u8], mut pieces: impl FnMut() -> usize) -> Vec<usize> {
    let (mut start, mut read, mut lengths) = (0, 0, Vec::new());
    loop {
        while let Some(len) = cutter.cut(&bytes[start..read], read == bytes.len()) {
            lengths.push(len);
            start += len;
        }
        if read == bytes.len() {
            assert_eq!(start, bytes.len());
            return lengths;
        }
        read = (read + pieces()).min(bytes.len());
    }
}

/// Cut points are format: a change here stores everything a second time.
#[test]
fn cut_points_and_ids_are_pinned() {
    let params = CutParams::with_seed([0x4b; 32]);
    let key = IdKey::new([0x1d; 32]);
    let cutter = content(&params);
    let mut found = Vec::new();
    for bytes in [noise(4 << 20, "noise"), text(4 << 20, "text")] {
        let lengths: Vec<usize> = cutter.lengths(&bytes).collect();
        let mut all = blake3::Hasher::new();
        let mut start = 0;
        for len in &lengths {
            all.update(&(*len as u32).to_le_bytes());
            all.update(key.id(&bytes[start..start + len]).as_bytes());
            start += len;
        }
        let first = key.id(&bytes[..lengths[0]]);
        found.push((
            lengths.len(),
            lengths[..4].to_vec(),
            first.to_string()[..16].to_owned(),
            all.finalize().to_hex()[..16].to_owned(),
        ));
    }
    let pinned = |count, lengths: [usize; 4], first: &str, all: &str| {
        (count, lengths.to_vec(), first.to_owned(), all.to_owned())
    };
    assert_eq!(
        found,
        [
            pinned(53, [77474, 42782, 25522, 79820], "2bf54d124da4f4cc", "9c3d3b5a9a791219"),
            pinned(57, [20282, 147954, 41514, 81182], "bb6a0d9645ebd7ab", "5897b9749f88924f"),
        ]
    );
}

/// The rule once more, a byte at a time: what another implementation has to do.
fn cut_plainly(cutter: &ContentCutter, content: &[u8]) -> usize {
    let CutParams { min, average, max, .. } = *cutter.params();
    let end = content.len().min(max as usize);
    let mut hash = 0u64;
    for (at, byte) in content.iter().enumerate().take(end).skip(min as usize) {
        hash = (hash << 1).wrapping_add(cutter.tables.gear[usize::from(*byte)]);
        let masks = &cutter.masks;
        let mask = if at < average as usize { masks.strict } else { masks.relaxed };
        if hash & mask == 0 {
            return at;
        }
    }
    end
}

#[test]
fn the_cuts_are_those_of_the_plain_rule() {
    let cutter = ContentCutter::new(&small_params()).unwrap();
    for bytes in [noise(600_000, "plain"), text(600_001, "plain"), vec![0; 100_000]] {
        let mut left = &bytes[..];
        while let Some(len) = cutter.cut(left, true) {
            // The scan takes pairs: the last byte of a content of odd length is not tried alone.
            assert_eq!(len, cut_plainly(&cutter, left));
            left = &left[len..];
        }
    }
}

#[test]
fn how_much_is_read_at_a_time_does_not_move_a_cut() {
    let cutter = content(&small_params());
    let fixed = Cutter::Fixed(FixedCutter::new(3000));
    for len in [0, 1, 1023, 1024, 1025, 16 << 10, (16 << 10) + 1, 300_001] {
        for bytes in [noise(len, "pieces"), text(len, "pieces"), vec![0; len]] {
            for cutter in [&cutter, &fixed] {
                let whole: Vec<usize> = cutter.lengths(&bytes).collect();
                assert_eq!(whole.iter().sum::<usize>(), len);
                assert!(whole.iter().all(|cut| *cut <= cutter.window_len()));
                let mut turn = 0;
                let uneven = cut_in_pieces(cutter, &bytes, || {
                    turn += 1;
                    1 + (turn * 7919) % 40_000
                });
                assert_eq!(uneven, whole);
                assert_eq!(cut_in_pieces(cutter, &bytes, || 700), whole);
            }
        }
    }
}

#[test]
fn an_insertion_moves_only_the_cuts_around_it() {
    let cutter = content(&small_params());
    let before = noise(1 << 20, "insertion");
    let mut after = before.clone();
    after.splice(500_000..500_000, *b"inserted");
    let ends = |bytes: &[u8], shift: usize| {
        let mut end = 0;
        let ends = cutter.lengths(bytes).map(|len| {
            end += len;
            bytes.len() - shift - end.min(bytes.len() - shift)
        });
        ends.collect::<std::collections::BTreeSet<usize>>()
    };
    // Counted from the end, the cuts behind the insertion are the same.
    let (before, after) = (ends(&before, 0), ends(&after, 0));
    assert!(before.len() > 150);
    assert!(before.difference(&after).count() < before.len() / 2 + 8);
    let near = (1 << 20) - 500_000 - (64 << 10);
    assert!(before.range(..near).eq(after.range(..near)));
}

#[test]
fn another_seed_cuts_elsewhere() {
    let bytes = noise(1 << 20, "seed");
    let other = CutParams { seed: [8; 32], ..small_params() };
    let lengths = |params| content(params).lengths(&bytes).collect::<Vec<_>>();
    assert_ne!(lengths(&small_params()), lengths(&other));
}

#[test]
fn chunks_are_about_as_long_as_asked() {
    let cutter = content(&small_params());
    let count = cutter.lengths(&noise(4 << 20, "lengths")).count();
    assert!((700..1200).contains(&count), "{count} chunks of 4 MiB");
}

#[test]
fn parameters_come_back_and_the_seed_is_not_printed() {
    let params = CutParams::with_seed([0x4b; 32]);
    let bytes = params.to_bytes();
    assert_eq!(bytes.len(), CutParams::ENCODED_LEN);
    let mut reader = Reader::new(&bytes);
    assert_eq!(CutParams::decode(&mut reader), Ok(params.clone()));
    assert_eq!(reader.finish(), Ok(()));
    assert_eq!(format!("{params:?}"), "CutParams(16384/65536/262144, seed secret)");
    let cutter = ContentCutter::new(&params).unwrap();
    assert!(!format!("{cutter:?}").contains("75"));
}

#[test]
fn impossible_parameters_are_refused() {
    let good = small_params();
    let cases = [
        CutParams { min: 0, ..good.clone() },
        CutParams { min: 1025, ..good.clone() },
        CutParams { min: 8 << 10, ..good.clone() },
        CutParams { average: 5000, ..good.clone() },
        CutParams { average: 0, ..good.clone() },
        CutParams { max: 2 << 10, ..good.clone() },
        CutParams { max: u32::MAX, ..good.clone() },
        CutParams { max: 16385, ..good.clone() },
    ];
    for params in cases {
        assert!(params.check().is_err(), "{params:?}");
        assert!(ContentCutter::new(&params).is_err());
        assert!(CutParams::decode(&mut Reader::new(&params.to_bytes())).is_err());
    }
    let mut unknown = good.to_bytes();
    unknown[0] = 2;
    assert!(CutParams::decode(&mut Reader::new(&unknown)).is_err());
    assert!(CutParams::decode(&mut Reader::new(&good.to_bytes()[..44])).is_err());
}

#[test]
fn zeros_are_known() {
    assert!(is_zero(&[]));
    for len in [1, 511, 512, 513, 4096, 100_000] {
        let mut bytes = vec![0; len];
        assert!(is_zero(&bytes));
        for at in [0, len / 2, len - 1] {
            bytes[at] = 1;
            assert!(!is_zero(&bytes));
            bytes[at] = 0;
        }
    }
}
