//! Sockets that connections arrive at.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net;
use std::path::Path;

use annulet_driver::{Fd, IntoStdError, Op, from_unix_addr, op};
use socket2::{SockAddr, Type};

use super::unlink::Unlink;
use super::{UnixSeqpacket, UnixStream, bind, handle, path_addr};
use crate::accept::{Accept, Incoming};
use crate::convert::{self, try_clone};

/// How many connections wait to be accepted before `connect` waits. The kernel's own limit is in
/// `/proc/sys/net/core/somaxconn`.
const BACKLOG: i32 = 1024;

/// A unix socket server, listening for streams.
///
/// It can be shared between tasks and threads: accepts on one listener follow one another, in the order they were called.
/// Dropping it closes it in the background; its path stays unless
/// [`unlink_on_drop`](UnixListener::unlink_on_drop) was called.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// use runtime::net::{UnixListener, UnixStream};
///
/// let path = std::env::temp_dir().join(format!("annulet-doc-{}", std::process::id()));
/// let listener = UnixListener::bind(&path).await?.unlink_on_drop()?;
/// let client = UnixStream::connect(&path).await?;
/// let (server, peer) = listener.accept().await?;
/// assert!(peer.is_unnamed());
/// assert_eq!(server.local_addr()?.as_pathname(), Some(&*path));
///
/// drop(listener);
/// assert!(!path.exists());
/// # drop(client);
/// # Ok(()) }) }
/// ```
pub struct UnixListener {
    fd: Fd,
    unlink: Unlink,
}

/// A unix socket server, listening for connections that carry messages; otherwise as [`UnixListener`].
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// use runtime::net::{UnixSeqpacket, UnixSeqpacketListener};
/// use std::os::linux::net::SocketAddrExt;
/// use std::os::unix::net::SocketAddr;
///
/// let name = SocketAddr::from_abstract_name(format!("annulet doc {}", std::process::id()))?;
/// let listener = UnixSeqpacketListener::bind_addr(&name).await?;
/// let client = UnixSeqpacket::connect_addr(&name).await?;
/// let (server, _) = listener.accept().await?;
/// client.send("one message").await.0?;
/// assert_eq!(server.recv([0; 64]).await.0?, 11);
/// # Ok(()) }) }
/// ```
pub struct UnixSeqpacketListener {
    fd: Fd,
    unlink: Unlink,
}

async fn listen(kind: Type, addr: SockAddr) -> io::Result<Fd> {
    let fd = bind(kind, addr).await?;
    Op::on(&fd, op::Listen::new(BACKLOG)).await?;
    Ok(fd)
}

macro_rules! listener {
    ($listener:ident, $stream:ident, $kind:expr, $std:ty) => {
        handle::handle!($listener, |listener| listener.unlink.now());

        impl $listener {
            /// Listens at a path, which it makes; 1024 connections may wait to be accepted.
            ///
            /// What is left over from a listener that has ended must be removed first; see
            /// [`unlink_on_drop`](Self::unlink_on_drop).
            ///
            /// The socket is made by the plain system call. Goes through the ring: `IORING_OP_BIND` and
            /// `IORING_OP_LISTEN`, Linux 6.11; before that the plain system calls.
            ///
            /// # Errors
            ///
            /// What `bind(2)` and `listen(2)` report: `AddrInUse` if there is something at the path, whether anybody
            /// listens there or not; `NotFound` and `PermissionDenied` of its directory. `InvalidInput` for a path of more
            /// than 107 bytes or with a NUL byte in it.
            ///
            /// # Cancel safety
            ///
            /// After a dropped future nothing is open, but there may be something at the path.
            ///
            /// # Panics
            ///
            /// If awaited outside a runtime.
            pub async fn bind(path: impl AsRef<Path>) -> io::Result<$listener> {
                let addr = path_addr(path.as_ref())?;
                Ok($listener::from_fd(listen($kind, addr).await?))
            }

            /// As [`bind`](Self::bind), at any address: an abstract name belongs to no directory and ends with the last
            /// handle. An unnamed address has the kernel choose an abstract one.
            ///
            /// # Errors
            ///
            /// As [`bind`](Self::bind).
            pub async fn bind_addr(addr: &net::SocketAddr) -> io::Result<$listener> {
                let addr = from_unix_addr(addr)?;
                Ok($listener::from_fd(listen($kind, addr).await?))
            }

            fn from_fd(fd: Fd) -> $listener {
                $listener {
                    fd,
                    unlink: Unlink::default(),
                }
            }

            /// Has the path removed when the listener is closed or dropped: if it is still this socket's then, by the plain
            /// system call. Nothing to do for an abstract name.
            ///
            /// # Errors
            ///
            /// If the path cannot be looked at: `NotFound` if it is gone already. `EBADF` if the listener is closed.
            pub fn unlink_on_drop(self) -> io::Result<$listener> {
                if let Some(path) = self.local_addr()?.as_pathname() {
                    self.unlink.arm(path)?;
                }
                Ok(self)
            }

            /// Accepts a connection, and tells its peer's address, mostly unnamed.
            ///
            /// The future takes a time limit ([`timeout`](Accept::timeout)) or a cancel token
            /// ([`cancel_with`](Accept::cancel_with)). For many connections [`incoming`](Self::incoming) is cheaper.
            ///
            /// Goes through the ring: `IORING_OP_ACCEPT`, Linux 5.5.
            ///
            /// # Errors
            ///
            /// What `accept(2)` reports: `EMFILE` when out of descriptors; the listener goes on after that.
            /// [Cancelled](annulet_driver::is_cancelled) if the listener is closed meanwhile, `EBADF` if it was before.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future loses nothing: a connection it brings goes to the next accept.
            ///
            /// # Panics
            ///
            /// If awaited outside a runtime.
            pub fn accept(&self) -> Accept<$stream> {
                Accept::on(&self.fd)
            }

            /// All connections that arrive, as a stream. It ends when the listener is closed; otherwise as
            /// [`TcpListener::incoming`](crate::TcpListener::incoming).
            ///
            /// # Errors
            ///
            /// Items are errors where [`accept`](Self::accept) would fail.
            ///
            /// # Cancel safety
            ///
            /// Dropping the stream loses nothing: connections that have arrived go to the next accept.
            ///
            /// # Panics
            ///
            /// If polled outside a runtime.
            pub fn incoming(&self) -> Incoming<'_, $stream> {
                Incoming::on(&self.fd)
            }
        }

        try_clone!($listener);

        impl $listener {
            /// Ends every accept in flight, and gives the listener to the standard library, in blocking mode; as a plain
            /// descriptor if that has no such type. Its path stays, whatever [`unlink_on_drop`](Self::unlink_on_drop)
            /// has said.
            ///
            /// # Errors
            ///
            /// If connections arrived for accepts whose futures were dropped, they and the listener are in the error's
            /// [parts](IntoStdError::into_parts). `EBADF`, without parts, if it is closed.
            ///
            /// # Cancel safety
            ///
            /// Dropped before it resolves, the listener is closed.
            pub async fn into_std(self) -> Result<$std, IntoStdError<$std, Vec<$stream>>> {
                self.unlink.disarm();
                convert::into_std(self.fd, None, convert::accepted).await
            }
        }

        impl From<OwnedFd> for $listener {
            /// Takes over a socket of this kind that listens.
            fn from(fd: OwnedFd) -> $listener {
                $listener::from_fd(Fd::new(fd))
            }
        }
    };
}

listener!(UnixListener, UnixStream, Type::STREAM, net::UnixListener);
listener!(
    UnixSeqpacketListener,
    UnixSeqpacket,
    Type::SEQPACKET,
    OwnedFd
);

impl UnixListener {
    /// Takes a listener of the standard library over, blocking or not.
    ///
    /// # Errors
    ///
    /// None at present. Where sockets must be non-blocking, setting that may fail.
    pub fn from_std(listener: net::UnixListener) -> io::Result<UnixListener> {
        Ok(UnixListener::from(OwnedFd::from(listener)))
    }
}
