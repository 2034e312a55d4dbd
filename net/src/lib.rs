//! Sockets of the Annulet runtime: what users hold, named as in `std::net`.
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`tcp`] | [`TcpListener`], [`TcpStream`] and its halves, [`TcpSocket`] for options before the connection |
//! | [`udp`] | [`UdpSocket`] |
//! | [`unix`] | [`UnixListener`], [`UnixStream`], [`UnixDatagram`], [`UnixSeqpacket`]; descriptors passed between processes |
//! | `socket` | [`Socket`] of any kind, for what has no type of its own, and for options beforehand |
//! | `connection` | what all connections do the same way: [`Connected`] |
//! | `accept`, `connect`, `split` | the futures [`Accept`], [`Incoming`] and [`Connect`]; a stream's two halves |
//! | `read_write` | streams and halves as `AsyncRead` and `AsyncWrite` |
//! | `chunks` | all that a stream receives, in the runtime's buffers: [`Chunks`] |
//! | `addrs` | [`ToSocketAddrs`]: addresses, and names looked up off the thread |
//! | `convert` | from and to the standard library; a handle twice: `try_clone` |
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

mod accept;
mod addrs;
mod chunks;
mod connect;
mod connection;
mod convert;
mod limit;
mod options;
mod read_write;
mod socket;
mod split;
pub mod tcp;
pub mod udp;
pub mod unix;

pub use annulet_driver::op::Credentials;
pub use annulet_driver::{IntoStdError, KeptMessage};
pub use socket2::{Domain, Protocol, SockAddr, SockRef, TcpKeepalive, Type};

pub use crate::accept::{Accept, Incoming};
pub use crate::addrs::ToSocketAddrs;
pub use crate::chunks::Chunks;
pub use crate::connect::Connect;
pub use crate::connection::Connected;
pub use crate::socket::Socket;
pub use crate::split::{OwnedReadHalf, OwnedWriteHalf, ReuniteError};
pub use crate::tcp::{ConnectError, Connecting, TcpListener, TcpSocket, TcpStream};
pub use crate::udp::UdpSocket;
pub use crate::unix::{
    Passed, UnixDatagram, UnixListener, UnixSeqpacket, UnixSeqpacketListener, UnixStream,
};
