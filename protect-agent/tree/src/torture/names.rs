//! Names and paths.

use super::Maker;
use std::io;
use std::os::fd::OwnedFd;

/// Every byte alone and inside a name, and what scripts trip over.
pub(super) fn odd(maker: &mut Maker, dir: &OwnedFd) -> io::Result<()> {
    for byte in (1..=255u8).filter(|byte| *byte != b'/') {
        if byte != b'.' {
            maker.file(dir, &[byte], &[byte])?;
        }
        maker.file(dir, &[b'x', byte, b'y'], b"")?;
    }
    let odd: [&[u8]; 18] = [
        b"...",
        b".. ",
        b"  leading and trailing  ",
        b"-rf",
        b"--",
        b"new\nline",
        b"tab\tand\rreturn",
        b"\x1b[31mred\x1b[0m",
        b"quote'\"`$(touch x)",
        b"back\\slash",
        b"100% %s %n",
        b"\xff\xfe\xfd",
        b"\xc3\x28 no utf-8",
        "Gr\u{fc}\u{df}e".as_bytes(),
        "Gru\u{308}\u{df}e".as_bytes(),
        "\u{202e}right to left".as_bytes(),
        b"CON",
        b".keelhold-restore-1-1",
    ];
    for name in odd {
        maker.file(dir, name, name)?;
    }
    for byte in [b'n', 0xff, b'\n'] {
        maker.file(dir, &[byte; 255], b"longest")?;
    }
    let inner = maker.dir(dir, &[0xfe; 255])?;
    maker.file(&inner, &[b'm'; 255], b"long in long")?;
    Ok(())
}

/// Names around `/` in the order of bytes: here a walk by whole paths and one by components differ.
pub(super) fn order(maker: &mut Maker, dir: &OwnedFd) -> io::Result<()> {
    for name in ["a", "a-b", "a.d", "a0", "aa"] {
        let inner = maker.dir(dir, name.as_bytes())?;
        for name in ["b", "b-c", "!", "~"] {
            maker.file(&inner, name.as_bytes(), name.as_bytes())?;
        }
        maker.dir(&inner, b"empty")?;
    }
    for name in ["a ", "a!", "a,b", "a/".trim_end_matches('/'), "A", "a\u{7f}"] {
        if name != "a" {
            maker.file(dir, name.as_bytes(), b"")?;
        }
    }
    Ok(())
}

/// A path of more than 8 KiB, with something at every level.
pub(super) fn deep(maker: &mut Maker, dir: &OwnedFd) -> io::Result<()> {
    let mut dir = dir.try_clone()?;
    for level in 0..40u8 {
        let name = [b"abcdefghij"[usize::from(level) % 10]; 210];
        maker.file(&dir, b"beside", &[level])?;
        maker.symlink(&dir, b"zz-up", b"../beside")?;
        dir = maker.dir(&dir, &name)?;
    }
    maker.file(&dir, b"bottom", b"reached")?;
    Ok(())
}

/// More directories on the way than anybody keeps open.
pub(super) fn levels(maker: &mut Maker, dir: &OwnedFd) -> io::Result<()> {
    let mut dir = dir.try_clone()?;
    for level in 0..400u32 {
        let next = maker.dir(&dir, b"d")?;
        if level % 50 == 49 {
            maker.file(&dir, b"after", &level.to_le_bytes())?;
        }
        dir = next;
    }
    Ok(())
}

/// A directory with many entries, every tenth a directory.
pub(super) fn many(maker: &mut Maker, dir: &OwnedFd) -> io::Result<()> {
    for number in 0..3000u32 {
        let name = format!("{:08x}-{number}", maker.random() as u32);
        if number % 10 == 0 {
            let inner = maker.dir(dir, name.as_bytes())?;
            maker.file(&inner, b"in", name.as_bytes())?;
        } else {
            let content = maker.bytes(number as usize % 97);
            maker.file(dir, name.as_bytes(), &content)?;
        }
    }
    Ok(())
}
