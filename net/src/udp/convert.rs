//! Sockets from and to the standard library, and their descriptors.

use std::fmt;
use std::io;
use std::net;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use annulet_driver::{Fd, IntoStdError, KeptMessage};
use socket2::SockAddr;

use super::UdpSocket;
use crate::connection::Connection;
use crate::options::ip_addr;

impl UdpSocket {
    /// Takes a socket of the standard library over, blocking or not, with its time limits.
    ///
    /// # Errors
    ///
    /// What reading these settings (`getsockopt(2)`) reports.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::net::UdpSocket;
    ///
    /// let socket = UdpSocket::from_std(std::net::UdpSocket::bind("127.0.0.1:0")?)?;
    /// socket.send_to("hello", socket.local_addr()?).await.0?;
    /// # Ok(()) }) }
    /// ```
    pub fn from_std(socket: net::UdpSocket) -> io::Result<UdpSocket> {
        let (read, write) = (socket.read_timeout()?, socket.write_timeout()?);
        let socket = UdpSocket::from(OwnedFd::from(socket));
        socket.read_limit.store(read)?;
        socket.write_limit.store(write)?;
        Ok(socket)
    }

    /// Ends every operation in flight, and gives the socket to the standard library: in blocking mode, with its time
    /// limits.
    ///
    /// # Errors
    ///
    /// If datagrams arrived for receives whose futures were dropped, they and the socket are in the error's
    /// [parts](IntoStdError::into_parts), and so is the socket if an error arrived for such a receive, or if its
    /// settings cannot be made. `EBADF`, without parts, if it is closed.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, the socket is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # use runtime::net::UdpSocket;
    /// # let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// let (socket, first) = match socket.into_std().await {
    ///     Ok(socket) => (socket, Vec::new()),
    ///     // A receive was given up, and a datagram came for it.
    ///     Err(error) => error.into_parts().expect("the socket was not closed"),
    /// };
    /// # drop((socket, first));
    /// # Ok(()) }) }
    /// ```
    pub async fn into_std(
        self,
    ) -> Result<net::UdpSocket, IntoStdError<net::UdpSocket, Vec<KeptMessage>>> {
        let (read, write) = (self.read_limit.load(), self.write_limit.load());
        let (fd, kept) = self.fd.reclaim().await.map_err(IntoStdError::gone)?;
        let (messages, failed) = kept.into_messages();
        let socket = net::UdpSocket::from(fd);
        let set = socket
            .set_nonblocking(false)
            .and_then(|()| socket.set_read_timeout(read))
            .and_then(|()| socket.set_write_timeout(write));
        let error = match (failed, set) {
            (Some(error), _) | (None, Err(error)) => error,
            (None, Ok(())) if messages.is_empty() => return Ok(socket),
            (None, Ok(())) => io::Error::other(
                "datagrams had arrived for receives that were dropped; take them by into_parts",
            ),
        };
        Err(IntoStdError::with_parts(error, socket, messages))
    }
}

/// A socket for datagrams is connected if it wants to be.
impl Connection for UdpSocket {
    type Addr = net::SocketAddr;

    fn adopt(socket: Fd, _may_linger: bool) -> UdpSocket {
        // Closing it never waits.
        UdpSocket::new(socket)
    }

    fn addr(addr: &SockAddr) -> io::Result<net::SocketAddr> {
        ip_addr(addr)
    }

    fn fd(&self) -> &Fd {
        &self.fd
    }

    fn read_limit(&self) -> Option<Duration> {
        self.read_limit.load()
    }

    fn write_limit(&self) -> Option<Duration> {
        self.write_limit.load()
    }
}

impl From<OwnedFd> for UdpSocket {
    /// Takes over a datagram socket, blocking or not.
    fn from(fd: OwnedFd) -> UdpSocket {
        UdpSocket::new(Fd::new(fd))
    }
}

impl AsRawFd for UdpSocket {
    /// The number. It may belong to another file once the socket is closed.
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl AsFd for UdpSocket {
    /// Borrows the descriptor, which makes closing the socket dearer: its number stays taken until the handle
    /// is dropped.
    ///
    /// # Panics
    ///
    /// If the socket is closed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("UdpSocket");
        if let Ok(addr) = self.local_addr() {
            debug.field("addr", &addr);
        }
        if let Ok(peer) = self.peer_addr() {
            debug.field("peer", &peer);
        }
        debug.field("fd", &self.fd).finish()
    }
}
