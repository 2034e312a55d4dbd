//! Messages on a connection.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::SocketAddr;
use std::path::Path;

use annulet_driver::op::{RecvFrom, SendTo};
use annulet_driver::{Fd, IntoStdError, IoBuf, IoBufMut, Kept, KeptMessage, Op, from_unix_addr};
use socket2::Type;

use super::{Passed, connect, handle, pair, passing, path_addr};
use crate::connect::Connect;
use crate::connection::{Connection, PEEK};
use crate::convert;
use crate::limit::Limits;

/// A connection that carries messages: each is sent and received as a whole, in order (`SOCK_SEQPACKET`). Otherwise as a
/// [`UnixStream`](super::UnixStream).
///
/// The standard library has no such type; to and from others it goes as an [`OwnedFd`]
/// ([`into_std`](UnixSeqpacket::into_std)).
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// use runtime::net::UnixSeqpacket;
///
/// let (one, two) = UnixSeqpacket::pair()?;
/// one.send("first").await.0?;
/// one.send("second").await.0?;
/// let (result, buf) = two.recv([0; 64]).await;
/// assert_eq!(&buf[..result?], b"first");
/// assert_eq!(two.recv([0; 64]).await.0?, 6);
/// # Ok(()) }) }
/// ```
pub struct UnixSeqpacket {
    fd: Fd,
    limits: Limits,
}

handle::talking_handle!(UnixSeqpacket);
handle::peer!(UnixSeqpacket);

impl UnixSeqpacket {
    /// Two that are connected to each other, without names. By the plain system call, which does not block.
    ///
    /// # Errors
    ///
    /// What `socketpair(2)` reports: `EMFILE` when out of descriptors.
    pub fn pair() -> io::Result<(UnixSeqpacket, UnixSeqpacket)> {
        let (one, two) = pair(Type::SEQPACKET)?;
        Ok((UnixSeqpacket::new(one), UnixSeqpacket::new(two)))
    }

    /// Connects to who listens at a path; otherwise as [`UnixStream::connect`](super::UnixStream::connect).
    pub fn connect(path: impl AsRef<Path>) -> Connect<UnixSeqpacket> {
        connect(Type::SEQPACKET, path_addr(path.as_ref()))
    }

    /// As [`connect`](UnixSeqpacket::connect), to any address.
    pub fn connect_addr(addr: &SocketAddr) -> Connect<UnixSeqpacket> {
        connect(Type::SEQPACKET, from_unix_addr(addr))
    }

    /// Sends the buffer's initialised bytes as one message. An empty one is possible, but looks like the end to the peer.
    ///
    /// Goes through the ring: `IORING_OP_SENDMSG`, Linux 5.3.
    ///
    /// # Errors
    ///
    /// What `send(2)` reports: `BrokenPipe` if the peer is closed; `EMSGSIZE` for a message that is longer than the send
    /// buffer. `TimedOut` past [`set_write_timeout`](UnixSeqpacket::set_write_timeout) or the operation's own
    /// [`timeout`](Op::timeout). [Cancelled](annulet_driver::is_cancelled) if the socket is closed meanwhile, `EBADF` if
    /// it was before.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the message may have been sent or not.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    pub fn send<B: IoBuf>(&self, buf: B) -> Op<SendTo<B>> {
        self.writing(SendTo::new(buf, None, 0))
    }

    /// Receives a message into the buffer's room (all of a `Vec`'s capacity) and tells its length; 0 is the end, or an
    /// empty message. What the buffer has no room for is lost.
    ///
    /// Goes through the ring: `IORING_OP_RECVMSG`, Linux 5.3.
    ///
    /// # Errors
    ///
    /// As [`UnixDatagram::recv`](super::UnixDatagram::recv); `ConnectionReset` if the peer was closed with messages that it
    /// had not received.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: a message it receives goes to the next receive, as much of it as this one had
    /// room for.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    pub fn recv<B: IoBufMut>(&self, buf: B) -> Op<RecvFrom<B, usize>> {
        self.reading(RecvFrom::new(buf, 0))
    }

    /// As [`recv`](UnixSeqpacket::recv), but leaves the message for the next receive (`MSG_PEEK`).
    pub fn peek<B: IoBufMut>(&self, buf: B) -> Op<RecvFrom<B, usize>> {
        self.reading(RecvFrom::new(buf, PEEK))
    }

    /// As [`send`](UnixSeqpacket::send), with descriptors; as for these, see
    /// [`UnixStream::send_fds`](super::UnixStream::send_fds).
    pub fn send_fds<B: IoBuf>(
        &self,
        buf: B,
        fds: impl IntoIterator<Item = OwnedFd>,
    ) -> Op<SendTo<B>> {
        self.writing(passing::send(buf, fds))
    }

    /// As [`recv`](UnixSeqpacket::recv), with up to `max_fds` descriptors that came with the message.
    pub fn recv_fds<B: IoBufMut>(&self, buf: B, max_fds: usize) -> Op<RecvFrom<B, Passed>> {
        self.reading(passing::receive(buf, max_fds))
    }

    /// Ends every operation in flight, and gives the socket's descriptor away; otherwise as
    /// [`UnixDatagram::into_std`](super::UnixDatagram::into_std).
    ///
    /// # Errors
    ///
    /// As [`UnixDatagram::into_std`](super::UnixDatagram::into_std).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, the socket is closed.
    pub async fn into_std(self) -> Result<OwnedFd, IntoStdError<OwnedFd, Vec<KeptMessage>>> {
        convert::into_std(self.fd, Some(&self.limits), Kept::into_messages).await
    }
}
