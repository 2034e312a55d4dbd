//! Many datagrams in one call: what the kernel, or the network device, cuts out of one buffer (GSO,
//! `UDP_SEGMENT`), and what it puts together into one (GRO, `UDP_GRO`).

use std::io;
use std::net::SocketAddr;
use std::ops::Range;

use annulet_driver::op::{Control, Message, Receipt, RecvFrom, SendTo};
use annulet_driver::{IoBuf, IoBufMut, Op};
use nix::libc::{IPPROTO_UDP, UDP_GRO, UDP_SEGMENT};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::SockAddr;

use super::UdpSocket;
use crate::connection::Connection;

/// The kernel tells the segments' size as an `int`.
const ROOM: usize = Control::room(size_of::<i32>());

/// What [`UdpSocket::recv_batch`] received: one datagram, or several of one sender, one after the other in the
/// buffer.
///
/// All are of the same size, but for the last, which may be smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    pub(super) len: usize,
    pub(super) peer: SocketAddr,
    pub(super) segment: usize,
    pub(super) cut: bool,
}

impl Batch {
    /// Bytes received, of all datagrams together.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes: it is one empty datagram then.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Who sent them.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// How many datagrams there are, at least one.
    pub fn count(&self) -> usize {
        self.len.div_ceil(self.segment).max(1)
    }

    /// The size of each but the last, in bytes.
    pub fn segment_size(&self) -> usize {
        self.segment
    }

    /// Whether there was no room in the buffer for all of it: then the last datagram is not whole, or datagrams are
    /// missing. 64 KiB are always enough.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// Where each datagram is in the buffer.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = Range<usize>> + use<> {
        let Batch { len, segment, .. } = *self;
        (0..self.count()).map(move |at| at * segment..((at + 1) * segment).min(len))
    }

    /// The datagrams in `buf`, which is what the receive gave back.
    ///
    /// # Panics
    ///
    /// If `buf` has fewer than [`len`](Batch::len) bytes.
    pub fn datagrams<'a>(
        &self,
        buf: &'a [u8],
    ) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let buf = &buf[..self.len];
        self.ranges().map(move |range| &buf[range])
    }
}

impl Receipt for Batch {
    fn of(message: Message) -> io::Result<Batch> {
        let size = segment_size(&message.control);
        let cut = message.flags & nix::libc::MSG_TRUNC != 0;
        let (len, peer) = <(usize, SocketAddr)>::of(message)?;
        // Without a size it is one datagram.
        let segment = size.filter(|size| *size > 0).unwrap_or(len.max(1));
        Ok(Batch {
            len,
            peer,
            segment,
            cut,
        })
    }
}

impl UdpSocket {
    /// Receives a batch of datagrams: as many of one sender as the kernel has put together
    /// ([`set_gro`](UdpSocket::set_gro)), one otherwise. For all that may come the buffer needs 64 KiB of room.
    ///
    /// Goes through the ring: `IORING_OP_RECVMSG`, Linux 5.3.
    ///
    /// # Errors
    ///
    /// As [`recv`](UdpSocket::recv).
    ///
    /// # Cancel safety
    ///
    /// As [`recv`](UdpSocket::recv): no datagram is lost. But a batch that a dropped receive brought is given to
    /// another kind of receive as one datagram, unless that is a [`recv_msg`](UdpSocket::recv_msg) with room for
    /// control data.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::net::UdpSocket;
    ///
    /// let server = UdpSocket::bind("127.0.0.1:0").await?;
    /// server.set_gro(true)?;
    /// let client = UdpSocket::bind("127.0.0.1:0").await?;
    ///
    /// // 2,500 bytes as datagrams of 1,000, 1,000 and 500.
    /// client.send_segments_to(vec![7; 2500], 1000, server.local_addr()?).await.0?;
    /// let mut sizes = Vec::new();
    /// let mut buf = Vec::with_capacity(64 << 10);
    /// while sizes.len() < 3 {
    ///     let (result, filled) = server.recv_batch(buf).await;
    ///     sizes.extend(result?.datagrams(&filled).map(<[u8]>::len));
    ///     buf = filled;
    /// }
    /// assert_eq!(sizes, [1000, 1000, 500]);
    /// # Ok(()) }) }
    /// ```
    pub fn recv_batch<B: IoBufMut>(&self, buf: B) -> Op<RecvFrom<B, Batch>> {
        self.reading(RecvFrom::new(buf, 0).with_control(ROOM))
    }

    /// Sends the buffer's bytes as datagrams of `size` bytes each, the last one smaller if there is a rest, to the
    /// peer the socket is [connected](UdpSocket::connect) to (`UDP_SEGMENT`).
    ///
    /// That is one way through the kernel for all of them, up to 64 and 65,507 bytes.
    ///
    /// Goes through the ring: `IORING_OP_SENDMSG`, Linux 5.3.
    ///
    /// # Errors
    ///
    /// As [`send`](UdpSocket::send); `EIO` if the network device cannot compute checksums, `InvalidInput` or
    /// `EMSGSIZE` for more datagrams than the kernel takes at once or a `size` beyond what the way there carries
    /// in one packet. Then send each by itself.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the datagrams may have been sent or not.
    pub fn send_segments<B: IoBuf>(&self, buf: B, size: u16) -> Op<SendTo<B>> {
        self.writing(SendTo::new(buf, None, 0).with_control(segments_of(size)))
    }

    /// As [`send_segments`](UdpSocket::send_segments), to `addr`.
    pub fn send_segments_to<B: IoBuf>(&self, buf: B, size: u16, addr: SocketAddr) -> Op<SendTo<B>> {
        let to = Some(SockAddr::from(addr));
        self.writing(SendTo::new(buf, to, 0).with_control(segments_of(size)))
    }

    /// Has every send cut into datagrams of `size` bytes (`UDP_SEGMENT`), as
    /// [`send_segments`](UdpSocket::send_segments) does for one; `None`, the default, does not.
    ///
    /// # Errors
    ///
    /// `Unsupported` before Linux 4.18; `EBADF` if the socket is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # use runtime::net::UdpSocket;
    /// let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// socket.set_segment_size(Some(4))?;
    /// socket.send_to("one two three", socket.local_addr()?).await.0?;
    /// assert_eq!(socket.recv([0; 64]).await.0?, 4);
    /// # Ok(()) }) }
    /// ```
    pub fn set_segment_size(&self, size: Option<u16>) -> io::Result<()> {
        let size = i32::from(size.unwrap_or(0));
        self.fd
            .with(|fd| setsockopt(&fd, sockopt::UdpGsoSegment, &size).map_err(unsupported))
    }

    /// Whether the kernel may put datagrams of one sender, of one size, together (`UDP_GRO`): receive them by
    /// [`recv_batch`](UdpSocket::recv_batch) then, and with nothing else, as only that tells them apart. Off by
    /// default.
    ///
    /// # Errors
    ///
    /// `Unsupported` before Linux 5.0; `EBADF` if the socket is closed.
    pub fn set_gro(&self, gro: bool) -> io::Result<()> {
        self.fd
            .with(|fd| setsockopt(&fd, sockopt::UdpGroSegment, &gro).map_err(unsupported))
    }
}

/// What the kernel tells about a batch; nothing about a datagram alone.
fn segment_size(control: &Control) -> Option<usize> {
    let mut messages = control.messages();
    let told = messages.find(|m| (m.level, m.kind) == (IPPROTO_UDP, UDP_GRO))?;
    usize::try_from(i32::from_ne_bytes(*told.data.first_chunk()?)).ok()
}

fn segments_of(size: u16) -> Control {
    Control::new().with_message(IPPROTO_UDP, UDP_SEGMENT, &size.to_ne_bytes())
}

fn unsupported(error: nix::Error) -> io::Error {
    if error == nix::Error::ENOPROTOOPT {
        let what = "this kernel does not cut datagrams or put them together: \
            UDP_SEGMENT came with Linux 4.18, UDP_GRO with 5.0";
        return io::Error::new(io::ErrorKind::Unsupported, what);
    }
    error.into()
}
