//! Annulet's `TcpStream` as hyper wants streams: polled, with the caller's buffers.
//!
//! Reads go into a buffer of its own and are copied from there; writes are copied into one, and on their way when
//! `poll_write` returns. So both sides own what the kernel sees.

use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use runtime::net::TcpStream;
use runtime::{Op, op};

pub(super) struct HyperStream {
    stream: TcpStream,
    reading: Option<Op<op::Recv<Vec<u8>>>>,
    /// What was read, from `taken` on; empty while `reading`.
    input: Vec<u8>,
    taken: usize,
    writing: Option<Op<op::SendAll<Vec<u8>>>>,
    /// Empty, and with the writes' operation while `writing`.
    output: Vec<u8>,
    shutting_down: Option<Op<op::Shutdown>>,
}

impl HyperStream {
    pub(super) fn new(stream: TcpStream, size: usize) -> HyperStream {
        HyperStream {
            stream,
            reading: None,
            input: Vec::with_capacity(size),
            taken: 0,
            writing: None,
            output: Vec::with_capacity(size),
            shutting_down: None,
        }
    }

    /// Until nothing is on its way.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(writing) = &mut self.writing else {
            return Poll::Ready(Ok(()));
        };
        let (sent, mut output) = ready!(Pin::new(writing).poll(cx));
        self.writing = None;
        output.clear();
        self.output = output;
        Poll::Ready(sent.map(drop))
    }
}

impl Read for HyperStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut to: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.taken == this.input.len() {
            let reading = this.reading.get_or_insert_with(|| {
                this.taken = 0;
                this.stream.read(std::mem::take(&mut this.input))
            });
            let (read, input) = ready!(Pin::new(reading).poll(cx));
            this.reading = None;
            this.input = input;
            if read? == 0 {
                this.input.clear();
                return Poll::Ready(Ok(()));
            }
        }
        let rest = &this.input[this.taken..];
        let now = rest.len().min(to.remaining());
        to.put_slice(&rest[..now]);
        this.taken += now;
        Poll::Ready(Ok(()))
    }
}

impl Write for HyperStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_written(cx))?;
        let mut output = std::mem::take(&mut self.output);
        output.extend_from_slice(from);
        self.writing = Some(self.stream.write_all(output));
        // Started; who wants to know how it went asks for a flush.
        match self.poll_written(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(from.len())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_written(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_written(cx))?;
        let shutting_down = match self.shutting_down.take() {
            Some(shutting_down) => shutting_down,
            None => self.stream.shutdown(Shutdown::Write),
        };
        Pin::new(self.shutting_down.insert(shutting_down)).poll(cx)
    }
}
