//! Everything that is bounded on the wire, in one place. Both sides enforce what concerns them: a
//! sender never exceeds a limit, a receiver refuses the peer that does.
//!
//! Windows bound what one side may have outstanding before the other has acknowledged it, so that
//! a session's memory on either side is a sum of constants and never a function of the tree.

/// Longest body of any message. A frame of the largest plain length that did not compress fits
/// with room for its references; so does an entry with the largest attributes.
pub const BODY_LEN_MAX: usize = (1 << 20) + (64 << 10);
/// Longest body on a connection that has not shown a certificate.
pub const ENROLL_BODY_LEN_MAX: usize = 16 << 10;

/// Longest plain length of a frame.
pub const FRAME_PLAIN_LEN_MAX: usize = 1 << 20;
/// What the server asks for by default; neighbours together compress as one piece.
pub const FRAME_PLAIN_LEN_DEFAULT: usize = 256 << 10;
/// Most chunks in one frame.
pub const FRAME_CHUNK_COUNT_MAX: usize = 8_192;

/// Longest chunk, so that a chunk always fits a frame.
pub const CHUNK_LEN_MAX: usize = FRAME_PLAIN_LEN_MAX;
/// Longest content that travels inside its entry.
pub const INLINE_LEN_MAX: usize = 4 << 10;

/// Body length at which a sender closes an `Items` message; one entry may exceed it alone.
pub const ITEMS_BODY_LEN_TARGET: usize = 64 << 10;
/// Most items in one `Items` message.
pub const ITEMS_COUNT_MAX: usize = 4_096;
/// Sum of the full path lengths in one `Items` message: paths are sent as differences, and a few
/// bytes must not grow into gigabytes.
pub const ITEMS_PATHS_LEN_MAX: usize = 1 << 20;

/// Sum of the weights (`Items::weight`) of `Items` messages sent and not yet acknowledged by `Credit`.
/// Weights are what a receiver has to keep, not what travels: an item of two bytes takes a hundred
/// where it waits for its chunks.
pub const ITEMS_WINDOW_WEIGHT: u64 = 8 << 20;
/// Most one message of items weighs.
pub const ITEMS_WEIGHT_MAX: u64 = 2 << 20;
/// Weight of a message of items, of an item, of a reference, and of a hole, beside the bytes of paths,
/// attributes and inline content.
pub const MESSAGE_WEIGHT: u64 = 256;
pub const ITEM_WEIGHT: u64 = 96;
pub const REF_WEIGHT: u64 = 256;
pub const HOLE_WEIGHT: u64 = 48;
/// Chunk references sent and not yet answered by `Want`.
pub const REFS_WINDOW_COUNT: u64 = 65_536;
/// Plain bytes of chunk references sent and not yet answered by `Want`: what a sender may have to
/// keep until it knows what is wanted.
pub const REFS_WINDOW_LEN: u64 = 64 << 20;
/// Bodies of `Frame` messages sent and not yet acknowledged by `Credit`.
pub const FRAMES_WINDOW_LEN: u64 = 16 << 20;

/// Most runs of references or ordinals in one message.
pub const RUN_COUNT_MAX: usize = 32_768;

/// Exclude patterns of one source, and the length of each.
pub const EXCLUDE_COUNT_MAX: usize = 1_024;
pub const EXCLUDE_LEN_MAX: usize = 4 << 10;
/// Names of machines, sources, hosts, versions.
pub const NAME_LEN_MAX: usize = 255;
/// Texts for people: messages, hints, reasons.
pub const TEXT_LEN_MAX: usize = 2 << 10;
/// Paths on the machine: a source's root, a restore's target.
pub const ROOT_LEN_MAX: usize = 4 << 10;
/// Skipped entries in one message.
pub const SKIPPED_COUNT_MAX: usize = 256;
/// Lines in one message of a job's log.
pub const LOG_LINE_COUNT_MAX: usize = 64;
/// What a finished backup may name as lacking beside files.
pub const SHORTFALL_COUNT_MAX: usize = 16;
/// Longest time a script may be given.
pub const SCRIPT_SECONDS_MAX: u32 = 1_800;
/// Mounted file systems in one message.
pub const FILE_SYSTEM_COUNT_MAX: usize = 128;
/// Encoded cut parameters.
pub const CUT_PARAMS_LEN_MAX: usize = 256;
/// Certificates and certificate requests in DER.
pub const CERTIFICATE_LEN_MAX: usize = 4 << 10;

/// Seconds a side waits for the greeting to end.
pub const GREETING_SECONDS: u64 = 10;
/// Seconds of silence after which a side sends `Ping`.
pub const PING_SECONDS: u64 = 20;
/// Seconds of silence after which the connection is given up.
pub const IDLE_SECONDS: u64 = 60;

/// Jobs a server may have running on one connection.
pub const JOB_COUNT_MAX: usize = 8;
