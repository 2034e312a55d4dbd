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
mod socket;
mod stream;
#[cfg(test)]
mod tests;
mod tuning;

use std::io;
use std::time::Duration;

use annulet_driver::Fd;

pub use self::connect_error::ConnectError;
pub use self::connecting::Connecting;
pub use self::listener::TcpListener;
pub use self::socket::TcpSocket;
pub use self::stream::TcpStream;
pub use crate::accept::{Accept, Incoming};
pub use crate::connect::Connect;
use crate::options::{ip_addr, with_socket};
pub use crate::split::{OwnedReadHalf, OwnedWriteHalf, ReuniteError};

/// Has the close left to a worker of the kernel's if it may wait for the peer (`SO_LINGER`).
fn mind_linger(fd: &Fd) -> io::Result<()> {
    let linger = with_socket(fd, |socket| socket.linger())?;
    fd.set_lingers(linger.is_some_and(|duration| !duration.is_zero()));
    Ok(())
}

fn set_linger(fd: &Fd, linger: Option<Duration>) -> io::Result<()> {
    with_socket(fd, |socket| socket.set_linger(linger))?;
    fd.set_lingers(linger.is_some_and(|duration| !duration.is_zero()));
    Ok(())
}
