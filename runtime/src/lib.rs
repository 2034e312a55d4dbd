#![doc = include_str!("../../README.md")]
//!
//! # Where things are
//!
//! | module | what |
//! | --- | --- |
//! | [`net`] | TCP: [`TcpListener`](net::TcpListener), [`TcpStream`](net::TcpStream) |
//! | [`fs`] | pipes |
//! | [`time`] | [`sleep`](time::sleep), [`timeout`](time::timeout), [`interval`](time::interval) |
//! | [`task`] | [`spawn`], [`JoinHandle`], [`yield_now`] |
//! | [`buf`] | buffers that are handed to the kernel and come back |
//! | [`op`] | every operation by itself, and the futures' common [`Op`] |
//! | here | [`Runtime`], [`Builder`], [`Handle`]; [`chain`], [`CancelToken`] |

mod builder;
mod run;
pub mod task;
pub mod time;
mod turn;

pub use annulet_driver::{
    BufResult, CancelReport, CancelToken, Metrics as DriverMetrics, Op, Partial, buf, chain,
    hard_chain, is_cancelled, op,
};
pub use annulet_driver::{Driver, Fd};
pub use annulet_fs as fs;
pub use annulet_macros::{main, test};
pub use annulet_net as net;

pub use crate::builder::Builder;
pub use crate::run::{Handle, Metrics, Runtime, block_on};
pub use crate::task::{AbortHandle, JoinError, JoinHandle, spawn, try_spawn, yield_now};
