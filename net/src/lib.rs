//! Sockets of the Annulet runtime: what users hold, named as in `std::net`.
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`tcp`] | [`TcpListener`], [`TcpStream`] and its halves, [`TcpSocket`] for options before the connection |
//! | [`udp`] | [`UdpSocket`] |
//! | `addrs` | [`ToSocketAddrs`]: addresses, and names looked up off the thread |
//! | `limit` | a handle's own time limit for each read or write |
//! | `options` | socket options, by way of `socket2` |
//!
//! A handle owns an [`Fd`](annulet_driver::Fd), and its methods build operations on it. How operations run, end
//! and what becomes of dropped ones is the driver's; nothing here enters the kernel by the ring on its own.
//!
//! # Buffers
//!
//! Every read and write takes its buffer by value and gives it back with the result:
//! `let (result, buf) = stream.read(buf).await`. The kernel may write to the buffer until the operation has
//! ended, whatever becomes of the future.
#![forbid(unsafe_code)]

mod addrs;
mod limit;
mod options;
pub mod tcp;
pub mod udp;

pub use annulet_driver::IntoStdError;
pub use socket2::TcpKeepalive;

pub use crate::addrs::ToSocketAddrs;
pub use crate::tcp::{
    Accept, Connect, ConnectError, Connecting, Incoming, OwnedReadHalf, OwnedWriteHalf,
    ReuniteError, TcpListener, TcpSocket, TcpStream,
};
pub use crate::udp::UdpSocket;
