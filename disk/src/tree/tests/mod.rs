//! Trees as wholes: what comes back, what it costs, and what hostile input does.

mod content;
mod cost;
mod forged;
mod golden;
mod histories;
mod limits;
