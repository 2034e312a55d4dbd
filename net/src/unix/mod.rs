//! Unix sockets (`unix(7)`): between processes of one machine, by a path or an abstract name.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `listener` | [`UnixListener`], [`UnixSeqpacketListener`]; `unlink`: removing a path |
//! | `stream` | [`UnixStream`]: bytes, one after the other |
//! | `datagram` | [`UnixDatagram`]: messages, from anybody |
//! | `seqpacket` | [`UnixSeqpacket`]: messages on a connection |
//! | `passing` | descriptors that go with the bytes: [`Passed`] |
//! | `handle` | what all of these do the same way |
//!
//! Addresses are the standard library's ([`std::os::unix::net::SocketAddr`], and for abstract names
//! [`std::os::linux::net::SocketAddrExt`]). Like there, functions take a path, and those with `_addr` any address.

mod datagram;
mod handle;
mod listener;
mod passing;
mod seqpacket;
mod stream;
#[cfg(test)]
mod tests;
mod unlink;

use std::io;
use std::os::unix::net::SocketAddr;
use std::path::Path;

use annulet_driver::{Fd, Op, from_unix_addr, op};
use socket2::{Domain, SockAddr, Socket, Type};

pub use self::datagram::UnixDatagram;
pub use self::listener::{UnixListener, UnixSeqpacketListener};
pub use self::passing::Passed;
pub use self::seqpacket::UnixSeqpacket;
pub use self::stream::UnixStream;
use crate::connect::Connect;
use crate::connection::Connected;

/// A path as an address; `InvalidInput` if it is too long, or has a NUL byte in it.
fn path_addr(path: &Path) -> io::Result<SockAddr> {
    from_unix_addr(&SocketAddr::from_pathname(path)?)
}

/// A socket, made by the plain call, which does not block.
fn socket(kind: Type) -> io::Result<Fd> {
    Ok(Fd::new(Socket::new(Domain::UNIX, kind, None)?.into()))
}

fn pair(kind: Type) -> io::Result<(Fd, Fd)> {
    let (one, two) = Socket::pair(Domain::UNIX, kind, None)?;
    Ok((Fd::new(one.into()), Fd::new(two.into())))
}

fn connect<S: Connected>(kind: Type, addr: io::Result<SockAddr>) -> Connect<S> {
    Connect::of(addr.and_then(|addr| {
        let fd = socket(kind)?;
        let op = Op::on(&fd, op::Connect::new(addr));
        Ok((fd, op))
    }))
}

async fn bind(kind: Type, addr: SockAddr) -> io::Result<Fd> {
    let fd = socket(kind)?;
    Op::on(&fd, op::Bind::new(addr)).await?;
    Ok(fd)
}
