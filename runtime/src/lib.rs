//! placeholder

pub mod task;
pub mod time;
mod turn;
