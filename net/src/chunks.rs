//! All that a stream receives, in the runtime's buffers: [`Chunks`].

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use annulet_driver::buf::Chunk;
use annulet_driver::op::{Multi, RecvChunk, RecvMulti};
use annulet_driver::{Fd, Op, is_cancelled};
use futures_core::Stream;
use futures_core::stream::FusedStream;

use crate::connection::Connection;

/// What the kernel answers when there is no buffer to pick.
const NO_BUFFER: i32 = rustix::io::Errno::NOBUFS.raw_os_error();

/// All that a stream receives, chunk by chunk; made by [`TcpStream::chunks`](crate::TcpStream::chunks) and its kin.
///
/// One submission receives any number of chunks (`IORING_OP_RECV` with `IORING_RECV_MULTISHOT`, Linux 6.0), each into a
/// buffer that the kernel picks when data arrives: while nothing does, the stream holds none. Once polled it has the
/// stream's read direction: other reads wait for it to be dropped, or to pause.
///
/// What arrives faster than it is taken waits here, but no more than 64 chunks of it: then receiving pauses until all of
/// them are taken, and the peer's sending in the end.
///
/// Before Linux 6.0, with buffers that are not [provided](annulet_driver::Setup::provided_buffers), or if the stream
/// has a read timeout, it receives chunk by chunk as [`recv`](crate::TcpStream::recv) does, and to the same effect; but
/// other reads may then come between two chunks.
///
/// A [`Stream`], and fused: after the end, or an error, it is empty for good.
///
/// # Cancel safety
///
/// Dropping it, or the future of [`next`](Chunks::next) or [`fill_buf`](Chunks::fill_buf), loses nothing: what has
/// arrived, and what of it was not [consumed](Chunks::consume), goes to the next read.
#[derive(Debug)]
#[must_use = "nothing is received until it is awaited"]
pub struct Chunks<'a> {
    fd: &'a Fd,
    /// Of the chunk that `fill_buf` has shown, what is not consumed.
    front: Option<Chunk>,
    how: How,
}

#[derive(Debug)]
enum How {
    Multishot(Multi<RecvMulti>),
    /// Once, as there was no buffer to pick; then on as before.
    Once(Box<Op<RecvChunk>>),
    /// The stream has a limit for each read, or the ring has no multishot receive.
    OneByOne(Box<Single>),
    Ended,
}

/// Receives that are submitted one by one. Not the common case, in which each stream would have to have room for it.
#[derive(Debug)]
struct Single {
    op: Op<RecvChunk>,
    limit: Option<Duration>,
}

impl Single {
    fn of(fd: &Fd, limit: Option<Duration>) -> How {
        let op = Op::on(fd, RecvChunk::new()).maybe_timeout(limit);
        How::OneByOne(Box::new(Single { op, limit }))
    }

    fn again(&mut self, fd: &Fd) {
        self.op = Op::on(fd, RecvChunk::new()).maybe_timeout(self.limit);
    }
}

impl<'a> Chunks<'a> {
    pub(crate) fn of(stream: &'a impl Connection) -> Chunks<'a> {
        let (fd, limit) = (stream.fd(), stream.limits().read.load());
        let how = match limit {
            None => How::Multishot(Multi::on(fd)),
            Some(_) => Single::of(fd, limit),
        };
        Chunks {
            fd,
            front: None,
            how,
        }
    }

    /// The next chunk, or `None` at the end of the stream. A chunk is never empty.
    ///
    /// # Errors
    ///
    /// Those of [`recv`](crate::TcpStream::recv). With a read timeout, `TimedOut` if that passes without data; only then it
    /// goes on afterwards.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
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
    /// let peer = TcpStream::connect(listener.local_addr()?).await?;
    /// let (stream, _) = listener.accept().await?;
    /// peer.write_all(vec![7; 100_000]).await.0?;
    /// drop(peer);
    ///
    /// let mut chunks = stream.chunks();
    /// let mut received = 0;
    /// while let Some(chunk) = chunks.next().await {
    ///     received += chunk?.len();
    /// }
    /// assert_eq!(received, 100_000);
    /// # Ok(()) }) }
    /// ```
    pub async fn next(&mut self) -> Option<io::Result<Chunk>> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// The bytes that are next, without taking them; waits if there are none yet. None at all is the end of the stream.
    ///
    /// As `AsyncBufRead` has it: what was looked at is taken by [`consume`](Chunks::consume).
    ///
    /// # Errors
    ///
    /// As [`next`](Chunks::next).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::net::UnixStream;
    ///
    /// let (ours, theirs) = UnixStream::pair()?;
    /// theirs.write_all("GET / HTTP/1.1\r\n").await.0?;
    /// let mut chunks = ours.chunks();
    /// let method = chunks.fill_buf().await?;
    /// assert!(method.starts_with(b"GET "));
    /// chunks.consume(4);
    /// drop(chunks);
    /// // The rest is there for whoever reads next.
    /// assert_eq!(ours.read(vec![0; 1]).await.1, b"/");
    /// # Ok(()) }) }
    /// ```
    pub async fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.front.is_none() {
            self.front = self.next().await.transpose()?;
        }
        Ok(self.front.as_deref().unwrap_or_default())
    }

    /// Takes `n` of the bytes that [`fill_buf`](Chunks::fill_buf) has shown.
    ///
    /// # Panics
    ///
    /// If it has shown less.
    pub fn consume(&mut self, n: usize) {
        let shown = self.front.as_ref().map_or(0, |chunk| chunk.len());
        assert!(n <= shown, "consumed {n} of {shown} bytes");
        match &mut self.front {
            Some(chunk) if n < shown => chunk.advance(n),
            _ => self.front = None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Chunk>>> {
        if let Some(front) = self.front.take() {
            return Poll::Ready(Some(Ok(front)));
        }
        loop {
            let received = match &mut self.how {
                How::Multishot(multi) => ready!(multi.poll_next(cx)),
                How::Once(op) => ready!(Pin::new(&mut **op).poll(cx)),
                How::OneByOne(single) => ready!(Pin::new(&mut single.op).poll(cx)),
                How::Ended => return Poll::Ready(None),
            };
            if let Some(next) = self.goes_on(received) {
                return Poll::Ready(next);
            }
        }
    }

    /// What comes of a receive, and after it. `None`: another is to be made.
    fn goes_on(&mut self, received: io::Result<Chunk>) -> Option<Option<io::Result<Chunk>>> {
        let multishot = matches!(self.how, How::Multishot(_));
        let error = match received {
            Ok(chunk) if chunk.is_empty() => {
                self.how = How::Ended;
                return Some(None);
            }
            Ok(chunk) => {
                match &mut self.how {
                    How::Once(_) => self.how = How::Multishot(Multi::on(self.fd)),
                    How::OneByOne(single) => single.again(self.fd),
                    How::Multishot(_) | How::Ended => {}
                }
                return Some(Some(Ok(chunk)));
            }
            Err(error) => error,
        };
        if let How::OneByOne(single) = &mut self.how
            && error.kind() == ErrorKind::TimedOut
            && single.limit.is_some()
        {
            single.again(self.fd);
            return Some(Some(Err(error)));
        }
        let no_buffer = error.raw_os_error() == Some(NO_BUFFER);
        match error.kind() {
            _ if multishot && no_buffer => {
                self.how = How::Once(Box::new(Op::on(self.fd, RecvChunk::new())));
            }
            // Too many chunks were waiting, and all are taken: it begins anew.
            _ if multishot && is_cancelled(&error) && !self.fd.is_closed() => {}
            // The ring, or the kernel, has no multishot receive. Should it mean something else it will be said again.
            ErrorKind::Unsupported | ErrorKind::InvalidInput if multishot => {
                self.how = Single::of(self.fd, None);
            }
            _ => {
                self.how = How::Ended;
                return Some(Some(Err(error)));
            }
        }
        None
    }
}

impl Stream for Chunks<'_> {
    type Item = io::Result<Chunk>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx)
    }
}

impl FusedStream for Chunks<'_> {
    fn is_terminated(&self) -> bool {
        self.front.is_none() && matches!(self.how, How::Ended)
    }
}

impl Drop for Chunks<'_> {
    /// What was shown and not consumed comes first; what has arrived after it follows as the receive is dropped.
    fn drop(&mut self) {
        if let Some(front) = self.front.take() {
            self.fd.unread(&front);
        }
    }
}
