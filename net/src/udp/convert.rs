//! Sockets from and to the standard library, and their descriptors.

use std::fmt;
use std::io;
use std::net;
use std::os::fd::OwnedFd;

use annulet_driver::{Fd, IntoStdError, Kept, KeptMessage};
use socket2::SockAddr;

use super::UdpSocket;
use crate::connection::Connection;
use crate::convert::{self, descriptor, try_clone};
use crate::limit::Limits;
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
        convert::from_std(socket)
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
        convert::into_std(self.fd, Some(&self.limits), Kept::into_messages).await
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

    fn limits(&self) -> &Limits {
        &self.limits
    }
}

impl From<OwnedFd> for UdpSocket {
    /// Takes over a datagram socket, blocking or not.
    fn from(fd: OwnedFd) -> UdpSocket {
        UdpSocket::new(Fd::new(fd))
    }
}

descriptor!(UdpSocket);
try_clone!(UdpSocket with limits);

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
