//! From text to model. Reading goes on after a fault, so that all of them are told together.

mod keep;
mod keys;
mod parts;
mod tree;

pub(super) use keep::{day_no_month_has, month_name};
pub use keys::KEYS;
pub(super) use parts::group;
pub(super) use tree::Reading;
