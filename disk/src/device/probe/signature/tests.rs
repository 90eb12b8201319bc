use super::*;

fn disk(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut disk = vec![0; 256 << 10];
    disk[at..at + bytes.len()].copy_from_slice(bytes);
    disk
}

#[test]
fn zeroes_are_empty_and_one_byte_is_not() {
    let empty = disk(0, b"");
    assert_eq!(recognise(&empty, &empty), Contents::Empty);
    assert_eq!(recognise(&disk(777, b"x"), &empty), Contents::Unknown);
    assert_eq!(recognise(&empty, &disk((256 << 10) - 1, b"x")), Contents::Unknown);
    assert_eq!(recognise(&[], &[]), Contents::Empty);
}

#[test]
fn well_known_contents_are_named() {
    let cases: [(usize, &[u8], Signature); 8] = [
        (1080, b"\x53\xef", Signature::Ext),
        (0, b"XFSB", Signature::Xfs),
        (0x1_0040, b"_BHRfS_M", Signature::Btrfs),
        (512, b"LABELONE", Signature::Lvm2),
        (512, b"EFI PART", Signature::Gpt),
        (4086, b"SWAPSPACE2", Signature::Swap),
        (132 << 10, b"\x0c\xb1\xba\x00\0\0\0\0", Signature::Zfs),
        (4096, MD_MAGIC, Signature::MdRaid),
    ];
    let empty = disk(0, b"");
    for (at, bytes, signature) in cases {
        let found = recognise(&disk(at, bytes), &empty);
        assert_eq!(found, Contents::Known(signature), "{signature}");
    }
    let last_sector = disk((256 << 10) - 512, b"EFI PART");
    assert_eq!(recognise(&empty, &last_sector), Contents::Known(Signature::Gpt));
}

#[test]
fn a_boot_mark_alone_is_no_partition_table() {
    let mut sector = disk(510, b"\x55\xaa");
    let empty = disk(0, b"");
    assert_eq!(recognise(&sector, &empty), Contents::Unknown);
    sector[450] = 0x83;
    assert_eq!(recognise(&sector, &empty), Contents::Known(Signature::Mbr));
}

#[test]
fn short_disks_are_looked_at_too() {
    assert_eq!(recognise(&[0; 4096], &[0; 4096]), Contents::Empty);
    assert_eq!(recognise(&[1; 4096], &[1; 4096]), Contents::Unknown);
}
