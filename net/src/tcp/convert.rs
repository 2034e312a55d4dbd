//! Streams from and to the standard library, and their descriptors.

use std::fmt;
use std::io;
use std::net;
use std::os::fd::OwnedFd;

use annulet_driver::{Fd, IntoStdError, Kept};

use super::{TcpStream, mind_linger};
use crate::convert::{self, descriptor, try_clone};

impl TcpStream {
    /// Takes a stream of the standard library over, blocking or not, with its time limits and what it does at
    /// its close.
    ///
    /// # Errors
    ///
    /// What reading these settings (`getsockopt(2)`) reports.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # use runtime::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
    /// let stream = TcpStream::from_std(stream)?;
    /// stream.write_all("hello").await.0?;
    /// # Ok(()) }) }
    /// ```
    pub fn from_std(stream: net::TcpStream) -> io::Result<TcpStream> {
        convert::from_std(stream)
    }

    /// Ends every operation in flight, and gives the stream to the standard library: in blocking mode, with its
    /// time limits.
    ///
    /// # Errors
    ///
    /// If bytes arrived for reads whose futures were dropped, they and the stream are in the error's
    /// [parts](IntoStdError::into_parts), and so is the stream if an error arrived for such a read, or if
    /// its settings cannot be made. `EBADF`, without parts, if it is closed.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, the stream is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # use runtime::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// let (stream, first): (std::net::TcpStream, Vec<u8>) = match stream.into_std().await {
    ///     Ok(stream) => (stream, Vec::new()),
    ///     // A read was given up, and bytes came for it.
    ///     Err(error) => error.into_parts().expect("the stream was not closed"),
    /// };
    /// # drop((stream, first));
    /// # Ok(()) }) }
    /// ```
    pub async fn into_std(self) -> Result<net::TcpStream, IntoStdError<net::TcpStream, Vec<u8>>> {
        convert::into_std(self.fd, Some(&self.limits), Kept::into_stream).await
    }
}

impl From<OwnedFd> for TcpStream {
    /// Takes over a connected socket, blocking or not.
    fn from(fd: OwnedFd) -> TcpStream {
        let fd = Fd::new(fd);
        // What is no socket says so when it is used.
        let _ = mind_linger(&fd);
        TcpStream::new(fd)
    }
}

descriptor!(TcpStream);
try_clone!(TcpStream with limits);

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TcpStream");
        if let Ok(addr) = self.local_addr() {
            debug.field("addr", &addr);
        }
        if let Ok(peer) = self.peer_addr() {
            debug.field("peer", &peer);
        }
        debug.field("fd", &self.fd).finish()
    }
}
