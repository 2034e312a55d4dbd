//! A socket that connections arrive at.

use std::fmt;
use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::OwnedFd;

use annulet_driver::{Close, Fd, IntoStdError};

use super::{Accept, Incoming, TcpSocket, TcpStream, ip_addr, mind_linger, with_socket};
use crate::ToSocketAddrs;
use crate::convert::{self, descriptor, try_clone};

/// How many connections wait to be accepted before the kernel turns others away. The kernel's own limit is in
/// `/proc/sys/net/core/somaxconn`.
const BACKLOG: u32 = 1024;

/// A TCP socket server, listening for connections.
///
/// It can be shared between tasks and threads: accepts on one listener follow one another, in the order they
/// were called. Dropping it closes it in the background.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// use runtime::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let client = TcpStream::connect(listener.local_addr()?).await?;
/// let (server, peer) = listener.accept().await?;
/// assert_eq!(peer, client.local_addr()?);
/// # drop(server);
/// # Ok(()) }) }
/// ```
pub struct TcpListener {
    fd: Fd,
}

impl TcpListener {
    /// Listens at `addr`; of several addresses, at the first that can be had. Port 0 asks for a free one: see
    /// [`local_addr`](TcpListener::local_addr).
    ///
    /// The address can be used again at once after the listener is closed (`SO_REUSEADDR`), and 1024
    /// connections may wait to be accepted. For other settings see [`TcpSocket`].
    ///
    /// # Errors
    ///
    /// For each address what `socket(2)`, `bind(2)` and `listen(2)` report, `AddrInUse` and `AddrNotAvailable`
    /// among it; the last error if all addresses fail. `InvalidInput` if there is no address. What the
    /// look-up of a name reports.
    ///
    /// # Cancel safety
    ///
    /// A dropped future leaves nothing open.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::net::TcpListener;
    ///
    /// let listener = TcpListener::bind("[::1]:0").await?;
    /// assert_ne!(listener.local_addr()?.port(), 0);
    /// # Ok(()) }) }
    /// ```
    pub async fn bind(addr: impl ToSocketAddrs) -> io::Result<TcpListener> {
        let mut last = None;
        for addr in addr.resolve().find(None).await? {
            match TcpListener::bind_one(addr).await {
                Ok(listener) => return Ok(listener),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| io::ErrorKind::InvalidInput.into()))
    }

    async fn bind_one(addr: SocketAddr) -> io::Result<TcpListener> {
        let socket = TcpSocket::for_addr(addr).await?;
        socket.set_reuseaddr(true)?;
        socket.bind(addr).await?;
        socket.listen(BACKLOG).await
    }

    pub(crate) fn new(fd: Fd) -> TcpListener {
        TcpListener { fd }
    }

    /// Accepts a connection, and tells its peer's address.
    ///
    /// The future takes a time limit ([`timeout`](Accept::timeout)) or a cancel token
    /// ([`cancel_with`](Accept::cancel_with)). For many connections [`incoming`](TcpListener::incoming) is cheaper.
    ///
    /// Goes through the ring: `IORING_OP_ACCEPT`, Linux 5.5.
    ///
    /// # Errors
    ///
    /// What `accept(2)` reports: `ConnectionAborted` for a peer that gave up while it waited, `EMFILE` when out
    /// of descriptors. The listener goes on after both. [Cancelled](annulet_driver::is_cancelled) if the listener
    /// is closed meanwhile, `EBADF` if it was before.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: a connection it brings goes to the next accept.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// let (server, peer) = listener.accept().await?;
    /// assert_eq!(server.peer_addr()?, peer);
    /// # drop(client);
    /// # Ok(()) }) }
    /// ```
    pub fn accept(&self) -> Accept {
        Accept::on(&self.fd)
    }

    /// All connections that arrive, as a stream. It ends when the listener is closed.
    ///
    /// One request to the kernel brings them all (multishot accept, Linux 5.19; before that, one request
    /// each). Peers' addresses are not asked for: [`TcpStream::peer_addr`] does.
    ///
    /// While it has been polled and not dropped, and has not paused, other accepts on the listener wait.
    ///
    /// # Errors
    ///
    /// Items are errors where [`accept`](TcpListener::accept) would fail.
    ///
    /// # Cancel safety
    ///
    /// Dropping the stream loses nothing: connections that have arrived go to the next accept.
    ///
    /// # Panics
    ///
    /// If polled outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// let mut incoming = listener.incoming();
    /// while let Some(stream) = incoming.next().await {
    ///     let stream = stream?;
    ///     // The loop ends after the one connection, because this ends the listener.
    ///     listener.close().await?;
    ///     # drop(stream);
    /// }
    /// # drop(client);
    /// # Ok(()) }) }
    /// ```
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming::on(&self.fd)
    }

    /// The address it listens at.
    ///
    /// # Errors
    ///
    /// `EBADF` if it is closed.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        with_socket(&self.fd, |socket| ip_addr(&socket.local_addr()?))
    }

    /// Sets the time to live of packets on accepted connections (`IP_TTL`), in hops.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if it is not within 1..=255; `EBADF` if the listener is closed.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        with_socket(&self.fd, |socket| socket.set_ttl_v4(ttl))
    }

    /// What [`set_ttl`](TcpListener::set_ttl) sets; the default is in `/proc/sys/net/ipv4/ip_default_ttl`.
    ///
    /// # Errors
    ///
    /// `EBADF` if the listener is closed.
    pub fn ttl(&self) -> io::Result<u32> {
        with_socket(&self.fd, |socket| socket.ttl_v4())
    }

    /// Takes the socket's pending error (`SO_ERROR`), if there is one.
    ///
    /// # Errors
    ///
    /// `EBADF` if the listener is closed.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        with_socket(&self.fd, |socket| socket.take_error())
    }

    /// Ends every accept in flight, then closes the listener.
    ///
    /// The accepts resolve as [cancelled](annulet_driver::is_cancelled) before this does; later ones fail with
    /// `EBADF`. Closing twice, or from several tasks or threads, is fine: one closes, all resolve. Handles made by
    /// `dup(2)` are others and stay open.
    ///
    /// # Errors
    ///
    /// What `close(2)` reports; the listener is closed all the same.
    ///
    /// # Cancel safety
    ///
    /// The close begins with the call. A dropped future leaves it to finish in the background.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::net::TcpListener;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// listener.close().await?;
    /// assert!(listener.accept().await.is_err());
    /// # Ok(()) }) }
    /// ```
    pub fn close(&self) -> Close {
        self.fd.close()
    }

    /// Takes a listener of the standard library over, blocking or not.
    ///
    /// # Errors
    ///
    /// None at present. Where sockets must be non-blocking, setting that may fail.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::net::TcpListener;
    ///
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let listener = TcpListener::from_std(listener)?;
    /// let listener: std::net::TcpListener = listener.into_std().await?;
    /// # drop(listener);
    /// # Ok(()) }) }
    /// ```
    pub fn from_std(listener: net::TcpListener) -> io::Result<TcpListener> {
        Ok(TcpListener::from(OwnedFd::from(listener)))
    }

    /// Ends every accept in flight, and gives the listener to the standard library, in blocking mode.
    ///
    /// # Errors
    ///
    /// If connections arrived for accepts whose futures were dropped, they and the listener are in the error's
    /// [parts](IntoStdError::into_parts). `EBADF`, without parts, if it is closed.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, the listener is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # use runtime::net::TcpListener;
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let (listener, waiting) = match listener.into_std().await {
    ///     Ok(listener) => (listener, Vec::new()),
    ///     // An accept was given up, and a connection came for it.
    ///     Err(error) => error.into_parts().expect("the listener was not closed"),
    /// };
    /// # drop((listener, waiting));
    /// # Ok(()) }) }
    /// ```
    pub async fn into_std(
        self,
    ) -> Result<net::TcpListener, IntoStdError<net::TcpListener, Vec<TcpStream>>> {
        convert::into_std(self.fd, None, convert::accepted).await
    }
}

impl From<OwnedFd> for TcpListener {
    /// Takes over a socket that listens.
    fn from(fd: OwnedFd) -> TcpListener {
        let fd = Fd::new(fd);
        // What is no socket says so when it is used.
        let _ = mind_linger(&fd);
        TcpListener::new(fd)
    }
}

descriptor!(TcpListener);
try_clone!(TcpListener);

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TcpListener");
        if let Ok(addr) = self.local_addr() {
            debug.field("addr", &addr);
        }
        debug.field("fd", &self.fd).finish()
    }
}
