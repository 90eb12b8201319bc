//! What a session may hold at once. Together with the walk's read-ahead these are its memory.

/// Files up to this length are read whole by one reader; longer ones come in pieces.
pub(crate) const SMALL_LEN_MAX: u64 = 1 << 20;
/// Entries handed to a reader together: a hand-over costs about as much as reading a small file.
pub(crate) const GROUP_COUNT: usize = 16;
/// Content of a group after which it is handed over.
pub(crate) const GROUP_LEN: u64 = 256 << 10;
/// Bytes of small files read or being read ahead of the stream.
pub(crate) const AHEAD_LEN: u64 = 24 << 20;
/// What an entry costs beside its content while it is ahead of the stream.
pub(crate) const ENTRY_LEN: u64 = 1 << 10;
/// Steps the plan may be ahead of the stream.
pub(crate) const STEP_COUNT: usize = 1_024;
/// Threads that read small files. A cold file is waited for, not worked on: more of them than
/// processors.
pub(crate) const READER_COUNT: usize = 16;

/// One read of a large file.
pub(crate) const PIECE_LEN: usize = 1 << 20;
/// Pieces of one large file read ahead of the stream.
pub(crate) const PIECE_COUNT: usize = 3;
/// Large files read at once.
pub(crate) const LARGE_COUNT: u64 = 2;

/// Contents of files with several names, remembered until the last name was said.
pub(crate) const LINKS_LEN: u64 = 16 << 20;

/// Content offered and not answered, beyond which the stream takes nothing new.
pub(crate) const HELD_LEN: u64 = 32 << 20;
/// References offered and not answered, beyond which the stream takes nothing new.
pub(crate) const HELD_COUNT: u64 = 32 << 10;
/// Plain bytes being compressed or waiting to leave.
pub(crate) const LEAVING_LEN: u64 = 12 << 20;
/// Content named in one message of items: what a receiver is asked about at a time.
pub(crate) const OFFER_LEN: u64 = 4 << 20;

/// Skipped entries that are named; all are counted.
pub(crate) const SKIPPED_COUNT: u64 = 10_000;

/// A group brings at most its own length and one more small file, in chunks of the smallest size
/// anybody may ask for.
const GROUP_REFS_MAX: u64 = (GROUP_LEN + SMALL_LEN_MAX) / 64;

const _: () = assert!(HELD_COUNT + GROUP_REFS_MAX < keelhold_wire::limits::REFS_WINDOW_COUNT);
const _: () =
    assert!(HELD_LEN + GROUP_LEN + SMALL_LEN_MAX < keelhold_wire::limits::REFS_WINDOW_LEN);
