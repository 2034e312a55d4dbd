//! What every connection here does the same way, whatever its addresses are: the operations of a stream, how it is
//! taken over when it was accepted or has connected.

use std::io;
use std::net::Shutdown;

use annulet_driver::op::{self, Readv, Recv, RecvChunk, RecvExact, Send, SendAll, Writev};
use annulet_driver::{Fd, IoBuf, IoBufMut, IoVectoredBuf, IoVectoredBufMut, Op};
use socket2::SockAddr;

use crate::limit::Limits;
use crate::options::with_socket;

/// `MSG_PEEK` of `recv(2)`.
pub(crate) const PEEK: i32 = rustix::net::RecvFlags::PEEK.bits().cast_signed();

/// A connection: [`TcpStream`](crate::TcpStream), [`UnixStream`](crate::UnixStream),
/// [`UnixSeqpacket`](crate::UnixSeqpacket).
///
/// It is implemented here only, and says what the futures of connecting and accepting and the halves of a stream are of.
pub trait Connected: Connection {}

impl<T: Connection> Connected for T {}

/// What a connection is underneath.
pub(crate) use self::sealed::Connection;

mod sealed {
    use super::*;

    pub trait Connection: Sized + 'static {
        /// What its ends are called by.
        type Addr;

        /// Makes one of a socket that has connected or was accepted; that may have inherited `SO_LINGER`.
        fn adopt(socket: Fd, may_linger: bool) -> Self;

        fn addr(addr: &SockAddr) -> io::Result<Self::Addr>;

        fn fd(&self) -> &Fd;

        /// How long each read and each write may take.
        fn limits(&self) -> &Limits;

        fn reading<T: op::Operation>(&self, op: T) -> Op<T> {
            Op::on(self.fd(), op).maybe_timeout(self.limits().read.load())
        }

        fn writing<T: op::Operation>(&self, op: T) -> Op<T> {
            Op::on(self.fd(), op).maybe_timeout(self.limits().write.load())
        }

        fn read<B: IoBufMut>(&self, buf: B) -> Op<Recv<B>> {
            self.reading(Recv::new(buf))
        }

        fn read_exact<B: IoBufMut>(&self, buf: B) -> Op<RecvExact<B>> {
            self.reading(RecvExact::new(buf))
        }

        fn read_vectored<B: IoVectoredBufMut>(&self, bufs: B) -> Op<Readv<B>> {
            self.reading(Readv::new(bufs))
        }

        fn recv(&self) -> Op<RecvChunk> {
            self.reading(RecvChunk::new())
        }

        fn peek<B: IoBufMut>(&self, buf: B) -> Op<Recv<B>> {
            self.reading(Recv::with_flags(buf, PEEK))
        }

        fn write<B: IoBuf>(&self, buf: B) -> Op<Send<B>> {
            self.writing(Send::new(buf))
        }

        fn write_all<B: IoBuf>(&self, buf: B) -> Op<SendAll<B>> {
            self.writing(SendAll::new(buf))
        }

        fn write_vectored<B: IoVectoredBuf>(&self, bufs: B) -> Op<Writev<B>> {
            self.writing(Writev::new(bufs))
        }

        fn shutdown(&self, how: Shutdown) -> Op<op::Shutdown> {
            Op::on(self.fd(), op::Shutdown::new(how))
        }

        fn local_addr(&self) -> io::Result<Self::Addr> {
            with_socket(self.fd(), |socket| Self::addr(&socket.local_addr()?))
        }

        fn peer_addr(&self) -> io::Result<Self::Addr> {
            with_socket(self.fd(), |socket| Self::addr(&socket.peer_addr()?))
        }
    }
}
