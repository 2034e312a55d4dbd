//! A socket becomes a handle of its own type; a descriptor, or an accepted connection, becomes a socket.

use std::io;
use std::os::fd::OwnedFd;

use annulet_driver::{Fd, IntoStdError, Kept, KeptMessage};
use socket2::{Domain, SockAddr, Type};

use super::Socket;
use crate::connection::Connection;
use crate::convert::{self, try_clone};
use crate::limit::Limits;
use crate::options::{mind_linger, with_socket};
use crate::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixSeqpacket, UnixStream};

/// What a socket can become: with its time limits, and with what dropped receives brought.
macro_rules! becomes {
    ($($(#[$doc:meta])* $name:ident: $handle:ident, $domain:expr, $kind:expr;)*) => {
        impl Socket {$(
            $(#[$doc])*
            ///
            /// # Errors
            ///
            /// `InvalidInput` if it is of another domain or type: then it is closed.
            pub fn $name(self) -> io::Result<$handle> {
                self.must_be(&$domain, $kind)?;
                let zero_copy = self.fd.zero_copy();
                let handle = <$handle as Connection>::adopt(self.fd, true);
                handle.limits().copy(&self.limits)?;
                if zero_copy.is_some() {
                    handle.fd().set_zero_copy(zero_copy);
                }
                Ok(handle)
            }
        )*}
    };
}

const IP: [Domain; 2] = [Domain::IPV4, Domain::IPV6];
const UNIX: [Domain; 1] = [Domain::UNIX];

becomes! {
    /// The stream of a TCP socket that is connected.
    into_tcp_stream: TcpStream, IP, Type::STREAM;
    /// A datagram socket of IPv4 or IPv6 as a handle of its own.
    into_udp_socket: UdpSocket, IP, Type::DGRAM;
    /// The stream of a unix socket that is connected.
    into_unix_stream: UnixStream, UNIX, Type::STREAM;
    /// A datagram socket of the unix domain as a handle of its own.
    into_unix_datagram: UnixDatagram, UNIX, Type::DGRAM;
    /// A connected socket of the unix domain with messages in sequence as a handle of its own.
    into_unix_seqpacket: UnixSeqpacket, UNIX, Type::SEQPACKET;
}

impl Socket {
    /// The listener of a TCP socket that listens.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if it is of another domain or type: then it is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::net::{Domain, Socket, TcpStream, Type};
    ///
    /// let socket = Socket::new(Domain::IPV4, Type::STREAM, None).await?;
    /// let addr: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    /// socket.bind(&addr.into()).await?;
    /// socket.listen(16).await?;
    /// let listener = socket.into_tcp_listener()?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # drop(client);
    /// # Ok(()) }) }
    /// ```
    pub fn into_tcp_listener(self) -> io::Result<TcpListener> {
        self.must_be(&IP, Type::STREAM)?;
        Ok(TcpListener::new(self.fd))
    }

    /// Ends every operation in flight, and gives the descriptor away: in blocking mode, with the time limits as the
    /// kernel knows them.
    ///
    /// # Errors
    ///
    /// If something arrived for receives whose futures were dropped, it and the descriptor are in the error's
    /// [parts](IntoStdError::into_parts); otherwise as [`UdpSocket::into_std`]. Connections that arrived for dropped
    /// accepts are closed.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, the socket is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::net::{Domain, Socket, Type};
    /// use std::os::fd::OwnedFd;
    ///
    /// let (one, two) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None)?;
    /// let one: OwnedFd = one.into_std().await?;
    /// Socket::from(one).send("hello").await.0?;
    /// assert_eq!(two.recv([0; 8]).await.0?, 5);
    /// # Ok(()) }) }
    /// ```
    pub async fn into_std(self) -> Result<OwnedFd, IntoStdError<OwnedFd, Vec<KeptMessage>>> {
        convert::into_std(self.fd, Some(&self.limits), Kept::into_messages).await
    }

    fn must_be(&self, domains: &[Domain], kind: Type) -> io::Result<()> {
        let (domain, its_kind) = with_socket(&self.fd, |s| Ok((s.domain()?, s.r#type()?)))?;
        if domains.contains(&domain) && its_kind == kind {
            return Ok(());
        }
        let what =
            format!("a socket of {domain:?}, {its_kind:?} is not one of {domains:?}, {kind:?}");
        Err(io::Error::new(io::ErrorKind::InvalidInput, what))
    }
}

try_clone!(Socket with limits);

impl Connection for Socket {
    type Addr = SockAddr;

    fn adopt(socket: Fd, may_linger: bool) -> Socket {
        if may_linger {
            // What is no socket says so when it is used.
            let _ = mind_linger(&socket);
        }
        Socket::of(socket)
    }

    fn addr(addr: &SockAddr) -> io::Result<SockAddr> {
        Ok(addr.clone())
    }

    fn fd(&self) -> &Fd {
        &self.fd
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }
}

impl From<OwnedFd> for Socket {
    /// Takes over a socket, blocking or not.
    fn from(fd: OwnedFd) -> Socket {
        <Socket as Connection>::adopt(Fd::new(fd), true)
    }
}
