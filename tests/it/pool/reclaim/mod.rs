//! Forgetting, and giving space back: nothing that is needed goes, everything else does.

pub mod damage;
mod exclusive;
pub mod races;
pub mod space;
pub mod window;
