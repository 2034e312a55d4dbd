//! TCP (`tcp(7)`).
//!
//! | file | what lives there |
//! | --- | --- |
//! | `listener` | [`TcpListener`] |
//! | `stream`, `options`, `convert` | [`TcpStream`]: reading and writing; its settings; from and to `std` |
//! | `tuning` | options of TCP that streams and sockets share |
//! | `connect`, `connecting`, `connect_error` | [`TcpStream::connect`]: to one address, to the first of several |
//! | `socket` | [`TcpSocket`], a socket before its connection |

mod connect;
mod connect_error;
mod connecting;
mod convert;
mod listener;
mod options;
mod recv;
mod socket;
mod stream;
#[cfg(test)]
mod tests;
mod tuning;

pub use self::connect_error::ConnectError;
pub use self::connecting::Connecting;
pub use self::listener::TcpListener;
pub use self::socket::TcpSocket;
pub use self::stream::TcpStream;
pub use crate::accept::{Accept, Incoming};
pub use crate::connect::Connect;
use crate::options::{ip_addr, mind_linger, set_linger, with_socket};
pub use crate::split::{OwnedReadHalf, OwnedWriteHalf, ReuniteError};
