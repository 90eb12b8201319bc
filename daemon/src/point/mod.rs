//! Recovery points as people name and read them.

mod address;
mod content;
mod describe;
mod diff;
mod find;
mod open;
mod reading;

pub use address::{PointAddress, PointError, PointSpec};
pub use content::{
    CONTENT_PIECE_LEN, Content, Damage, Loaded, is_within, load_ordered, read_piece,
};
pub use describe::{Showing, details, file_entry, rows_to_api};
pub use diff::diff;
pub use find::{Matcher, find};
pub use open::{OpenPoint, PoolEntry};
pub use reading::Unread;
