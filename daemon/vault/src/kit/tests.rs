use super::*;
use crate::layout::assert_documented;
use crate::random::seeded;

const VAULT: VaultId = VaultId([7; 16]);

fn kit(seed: u64, need: u8, shares: u8) -> (KitSecret, Vec<Share>) {
    let mut random = seeded(seed);
    let secret = KitSecret::draw(&mut random);
    let shares = split(&secret, VAULT, KitShape::new(need, shares).unwrap(), &mut random);
    (secret, shares)
}

fn give(shares: &[Share]) -> Result<[u8; 32], CombineError> {
    combine(shares).map(|secret| *secret.as_bytes())
}

#[test]
fn the_document_is_the_code() {
    assert_documented("Share", fields());
}

/// Any k of n, in any order, and never fewer.
#[test]
fn any_so_many_shares_open() {
    for (need, count) in [(1, 1), (1, 3), (2, 3), (3, 5), (5, 5), (16, 16)] {
        let (secret, shares) = kit(u64::from(need) << 8 | u64::from(count), need, count);
        assert_eq!(shares.len(), usize::from(count));
        for chosen in 0u32..1 << count.min(10) {
            let mut some: Vec<Share> = (0..count)
                .filter(|bit| chosen >> bit & 1 == 1 || count > 10)
                .map(|bit| shares[usize::from(bit)].clone())
                .collect();
            some.reverse();
            let have = some.len() as u8;
            match give(&some) {
                Ok(given) => {
                    assert!(have >= need);
                    assert_eq!(given, *secret.as_bytes());
                }
                Err(CombineError::Empty) => assert_eq!(have, 0),
                Err(error) => assert_eq!(error, CombineError::TooFew { have, need }),
            }
        }
    }
}

/// With one share too few every secret is as likely as any other: for each of the 256 values of a
/// byte there is exactly one value of the missing share that gives it.
#[test]
fn too_few_shares_tell_nothing() {
    let (_, shares) = kit(5, 3, 5);
    let mut seen = [0; 256];
    for missing in 0..=255 {
        let points = [(1, &*shares[0].value), (2, &*shares[1].value), (3, &[missing; VALUE_LEN])];
        seen[usize::from(shamir::value_at(0, &points)[0])] += 1;
    }
    assert_eq!(seen, [1; 256]);
}

#[test]
fn what_does_not_belong_together_is_named() {
    let (_, ours) = kit(1, 2, 3);
    let (_, theirs) = kit(2, 2, 3);
    let mixed = [ours[0].clone(), theirs[1].clone()];
    let (expected, found) = (ours[0].kit, theirs[1].kit);
    assert_eq!(give(&mixed), Err(CombineError::OtherKit { number: 2, expected, found }));

    let mut random = seeded(1);
    let secret = KitSecret::draw(&mut random);
    let other = VaultId([8; 16]);
    let elsewhere = split(&secret, other, KitShape::new(2, 3).unwrap(), &mut random);
    let mixed = [ours[0].clone(), elsewhere[2].clone()];
    let (expected, found) = (VAULT, other);
    assert_eq!(give(&mixed), Err(CombineError::OtherVault { number: 3, expected, found }));

    let too_few = [ours[0].clone(), ours[0].clone()];
    assert_eq!(give(&too_few), Err(CombineError::TooFew { have: 1, need: 2 }));
    assert_eq!(give(&[]), Err(CombineError::Empty));
}

/// A share that is sound by itself and false all the same: made by somebody who knows the format.
#[test]
fn a_forged_share_is_found() {
    let (secret, shares) = kit(3, 3, 5);
    for forged in 0..5 {
        let mut all = shares.clone();
        all[forged].value[4] ^= 0x10;
        let number = all[forged].number;
        let sound = Share::from_bytes(&all[forged].to_bytes()).unwrap();
        assert_eq!(sound.number, number);
        assert_eq!(give(&all), Err(CombineError::Forged { number }));
    }
    let mut three = shares[..3].to_vec();
    three[1].value[0] ^= 1;
    assert_eq!(give(&three), Err(CombineError::Mismatch));
    three.push(shares[1].clone());
    assert_eq!(give(&three), Err(CombineError::Twice { number: 2 }));
    assert_eq!(give(&shares), Ok(*secret.as_bytes()));
}

#[test]
fn shares_come_back_from_paper() {
    let (secret, shares) = kit(4, 2, 3);
    let mut page = String::from("Recovery kit of the vault \"offsite\"\n\n");
    for share in &shares {
        page.push_str("keep this where the appliance is not\n");
        page.push_str(&print(share));
    }
    assert_eq!(parse(&page).unwrap().len(), 3);
    let typed = page.to_lowercase().replace(' ', "  ").replace('\n', "\r\n");
    let back = parse(&typed).unwrap();
    assert_eq!(give(&back[1..]), Ok(*secret.as_bytes()));
    // Ones and zeros that somebody read for letters, and eights.
    let alike: Vec<String> = print(&shares[0])
        .lines()
        .map(|line| line[..4].to_owned() + &line[4..].replace('O', "0").replace('I', "1"))
        .map(|line| line[..4].to_owned() + &line[4..].replace('B', "8"))
        .collect();
    let alike = alike.join("\n");
    assert_ne!(alike, print(&shares[0]).trim_end());
    assert_eq!(parse(&alike).unwrap()[0].value, shares[0].value);
}

/// One letter typed wrong, anywhere, is found in its line.
#[test]
fn every_wrong_letter_is_found() {
    let (_, shares) = kit(6, 1, 1);
    let text = print(&shares[0]);
    let (mut mistyped, mut missed) = (0, 0);
    for (place, letter) in text.char_indices() {
        let start = text[..place].rfind('\n').map_or(0, |end| end + 1);
        let line = text[..place].matches('\n').count() + 1;
        if letter.is_ascii_whitespace() || place < start + 4 {
            continue;
        }
        for wrong in "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".chars().filter(|wrong| *wrong != letter) {
            let mut text = text.to_string();
            text.replace_range(place..=place, &wrong.to_string());
            match parse(&text) {
                Err(TextFault::Mistyped { line: found }) => {
                    assert_eq!(found, line);
                    mistyped += 1;
                }
                // The line's check has ten bits; the share's has forty.
                Err(TextFault::Share { fault: ShareFault::Checksum, .. }) => missed += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(mistyped + missed, 4 * 28 * 31);
    assert!(missed < 20, "{missed} were found by the share's checksum only");
}

#[test]
fn texts_that_are_no_kit_say_why() {
    let (_, shares) = kit(7, 2, 2);
    let text = print(&shares[0]);
    let lines: Vec<&str> = text.lines().collect();
    let fault = |text: &str| parse(text).unwrap_err();
    assert_eq!(fault("nothing\nhere"), TextFault::NoShare);
    assert_eq!(fault(&lines[..3].join("\n")), TextFault::Ends { expected: 4 });
    let swapped = [lines[0], lines[2], lines[1], lines[3]].join("\n");
    assert_eq!(fault(&swapped), TextFault::Order { line: 2, expected: 2, found: 3 });
    let short = lines[0][..lines[0].len() - 1].to_owned();
    assert_eq!(fault(&short), TextFault::Letters { line: 1, part: 1, letters: 27 });
    let strange = lines[0].replacen(' ', " ?", 1);
    assert_eq!(fault(&strange), TextFault::Character { line: 1, found: '?' });
    assert_eq!(fault(&"x".repeat(2 << 20)), TextFault::TooLong { len: 2 << 20 });
    assert_eq!(fault("KHK1 ßßßß"), TextFault::Character { line: 1, found: 'ß' });
    assert_eq!(fault("ßKH\nKHK"), TextFault::NoShare);
}

#[test]
fn every_flipped_bit_of_a_share_is_found() {
    let (_, shares) = kit(8, 2, 3);
    let bytes = shares[1].to_bytes();
    for bit in 0..SHARE_LEN * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Share::from_bytes(&bytes).unwrap_err(), ShareFault::Checksum, "bit {bit}");
    }
    let sealed = |spoil: fn(&mut [u8; SHARE_LEN])| {
        let mut bytes = bytes.clone();
        spoil(&mut bytes);
        let checksum = checksum(&bytes);
        bytes[CHECKED_LEN..].copy_from_slice(&checksum);
        Share::from_bytes(&bytes).unwrap_err()
    };
    assert_eq!(sealed(|bytes| bytes[0] = 2), ShareFault::Version { found: 2 });
    let impossible = ShareFault::Shape { number: 4, shares: 3, need: 2 };
    assert_eq!(sealed(|bytes| bytes[3] = 4), impossible);
    let none = ShareFault::Shape { number: 2, shares: 3, need: 0 };
    assert_eq!(sealed(|bytes| bytes[1] = 0), none);
}

#[test]
fn the_letters_are_pinned() {
    let (_, shares) = kit(9, 2, 3);
    let text = print(&shares[2]);
    let pinned = "\
KHK1 AEBA GAZD CL3V BJRN AM5A OBYH A4NC
KHK2 DQOB YHA4 DQOB YHA4 DQPT QC4W D5ZF
KHK3 VFAM FUJX EMLO C3AU LAAQ 7J4S QFUG
KHK4 H2D2 CKH4 DPOJ VCX5 TG2L 2WWR XCDG
";
    assert_eq!(text.as_str(), pinned);
}
