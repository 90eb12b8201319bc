//! Shares as text that survives paper, and comes back from what somebody typed.

use std::fmt::Write;

use data_encoding::BASE32_NOPAD;
use thiserror::Error;
use zeroize::Zeroizing;

use super::{SHARE_LEN, Share, ShareFault};
use crate::keys::derive;

const MARK: &str = "KHK";
const LINES: usize = 4;
/// Letters of a share in one line; two more check them.
const LINE_LETTERS: usize = SHARE_LEN * 8 / 5 / LINES;
const CHECK_LETTERS: usize = 2;
const _: () = assert!(LINE_LETTERS == 26 && SHARE_LEN * 8 == LINE_LETTERS * LINES * 5);
/// Longest text that is looked at: sixteen shares with pages of words around them.
const TEXT_LEN_MAX: usize = 1 << 20;

/// Why a text holds no shares. Lines count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TextFault {
    #[error("no line begins with {MARK}1: this is no recovery kit")]
    NoShare,
    #[error("the text is {len} bytes long, a kit has at most {TEXT_LEN_MAX}")]
    TooLong { len: usize },
    #[error("line {line} begins with {MARK}{found}, but {MARK}{expected} should come here")]
    Order { line: usize, expected: usize, found: usize },
    #[error("the text ends before {MARK}{expected} of a share")]
    Ends { expected: usize },
    #[error("line {line} has {letters} letters behind {MARK}{part}, there should be 28")]
    Letters { line: usize, part: usize, letters: usize },
    #[error("line {line} has a character that is no letter and none of 2 to 7 ({found:?})")]
    Character { line: usize, found: char },
    #[error("line {line} is mistyped")]
    Mistyped { line: usize },
    #[error("the share that begins in line {line} is not good: {fault}")]
    Share {
        line: usize,
        #[source]
        fault: ShareFault,
    },
}

/// Two letters over the letters of a line.
fn check(part: usize, letters: &str) -> String {
    let derived = derive("keelhold 2026 vault share line", &[&[part as u8], letters.as_bytes()]);
    // Ten bits, in two letters of five.
    BASE32_NOPAD.encode(&derived[..2])[..CHECK_LETTERS].to_owned()
}

/// The four lines of a share.
#[must_use]
pub fn print(share: &Share) -> Zeroizing<String> {
    let letters = Zeroizing::new(BASE32_NOPAD.encode(&share.to_bytes()[..]));
    let mut text = Zeroizing::new(String::new());
    for part in 1..=LINES {
        let line = &letters[(part - 1) * LINE_LETTERS..part * LINE_LETTERS];
        let whole = Zeroizing::new(format!("{line}{}", check(part, line)));
        write!(text, "{MARK}{part}").expect("a string takes everything");
        for start in (0..whole.len()).step_by(4) {
            write!(text, " {}", &whole[start..start + 4]).expect("a string takes everything");
        }
        text.push('\n');
    }
    text
}

/// All shares of a text, whatever else stands in it.
pub fn parse(text: &str) -> Result<Vec<Share>, TextFault> {
    if text.len() > TEXT_LEN_MAX {
        return Err(TextFault::TooLong { len: text.len() });
    }
    let mut shares = Vec::new();
    let mut letters = Zeroizing::new(String::with_capacity(LINES * LINE_LETTERS));
    let (mut begun, mut expected) = (0, 1);
    for (line, content) in (1..).zip(text.lines()) {
        let Some((found, rest)) = marked(content) else {
            continue;
        };
        if found != expected {
            return Err(TextFault::Order { line, expected, found });
        }
        if found == 1 {
            begun = line;
        }
        take_line(line, found, rest, &mut letters)?;
        expected = found + 1;
        if found == LINES {
            shares.push(share(begun, &letters)?);
            letters.clear();
            expected = 1;
        }
    }
    match (expected, shares.is_empty()) {
        (1, true) => Err(TextFault::NoShare),
        (1, false) => Ok(shares),
        _ => Err(TextFault::Ends { expected }),
    }
}

/// Which line of a share this is, and what stands behind the mark.
fn marked(content: &str) -> Option<(usize, &str)> {
    let content = content.trim_start();
    let mark = content.get(..MARK.len())?;
    let mut rest = content[MARK.len()..].chars();
    let part = rest.next()?.to_digit(10)? as usize;
    let is_ours = mark.eq_ignore_ascii_case(MARK) && (1..=LINES).contains(&part);
    is_ours.then_some((part, rest.as_str()))
}

fn take_line(
    line: usize,
    part: usize,
    rest: &str,
    letters: &mut Zeroizing<String>,
) -> Result<(), TextFault> {
    let mut typed = Zeroizing::new(String::with_capacity(LINE_LETTERS + CHECK_LETTERS));
    for character in
        rest.chars().filter(|character| !character.is_whitespace() && *character != '-')
    {
        // What looks alike on paper, and what of it is a letter here.
        let letter = match character.to_ascii_uppercase() {
            '0' => 'O',
            '1' => 'I',
            '8' => 'B',
            letter @ ('A'..='Z' | '2'..='7') => letter,
            _ => return Err(TextFault::Character { line, found: character }),
        };
        typed.push(letter);
    }
    if typed.len() != LINE_LETTERS + CHECK_LETTERS {
        return Err(TextFault::Letters { line, part, letters: typed.len() });
    }
    let (content, checked) = typed.split_at(LINE_LETTERS);
    if check(part, content) != checked {
        return Err(TextFault::Mistyped { line });
    }
    letters.push_str(content);
    Ok(())
}

fn share(line: usize, letters: &str) -> Result<Share, TextFault> {
    let bytes = BASE32_NOPAD.decode(letters.as_bytes()).map(Zeroizing::new);
    let bytes = bytes.map_err(|_| TextFault::Mistyped { line })?;
    let bytes: &[u8; SHARE_LEN] = bytes[..].try_into().map_err(|_| TextFault::Mistyped { line })?;
    Share::from_bytes(bytes).map_err(|fault| TextFault::Share { line, fault })
}
