use super::*;

#[test]
fn is_aligned_zero_and_a_whole_number_of_blocks() {
    for blocks in [0, 1, 3, 64] {
        let buf = AlignedBuf::zeroed(blocks * BLOCK);
        assert_eq!(buf.len(), blocks * BLOCK);
        assert!(buf.iter().all(|byte| *byte == 0));
        assert_eq!(buf.as_ptr().addr() % BLOCK, 0);
    }
}

#[test]
fn padding_is_zero() {
    let buf = AlignedBuf::padded(b"label");
    assert_eq!(&buf[..6], b"label\0");
    assert_eq!(buf.len(), BLOCK);
}

#[test]
fn shrinks_and_grows_back() {
    let pool = BufferPool::new(8 * BLOCK);
    for mut buf in [AlignedBuf::zeroed(4 * BLOCK), pool.try_take(4 * BLOCK).unwrap()] {
        buf[3 * BLOCK] = 7;
        buf.resize(BLOCK);
        assert_eq!(buf.len(), BLOCK);
        buf.resize(4 * BLOCK);
        assert_eq!(buf[3 * BLOCK], 7);
    }
}

#[test]
#[should_panic(expected = "not a whole number of blocks")]
fn refuses_part_of_a_block() {
    let _ = AlignedBuf::zeroed(512);
}

#[test]
fn pieces_of_a_pool_are_aligned_and_apart() {
    let pool = BufferPool::new(16 * BLOCK);
    let mut bufs: Vec<AlignedBuf> =
        [1, 4, 2, 3].into_iter().map(|blocks| pool.try_take(blocks * BLOCK).unwrap()).collect();
    for (buf, value) in bufs.iter_mut().zip(1u8..) {
        assert_eq!(buf.as_ptr().addr() % BLOCK, 0);
        assert!(buf.iter().all(|byte| *byte == 0), "never used before");
        buf.fill(value);
    }
    drop(bufs.remove(1));
    let mut again = pool.try_take(4 * BLOCK).unwrap();
    again.fill(9);
    for (buf, value) in bufs.iter().zip([1, 3, 4]) {
        assert!(buf.iter().all(|byte| *byte == value));
    }
}

#[test]
fn a_buffer_outlives_its_pool() {
    let pool = BufferPool::new(BLOCK);
    let mut buf = pool.try_take(BLOCK).unwrap();
    drop(pool);
    buf.fill(1);
    assert_eq!(buf[BLOCK - 1], 1);
}
