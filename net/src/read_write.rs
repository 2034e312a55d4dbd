//! Streams and their halves as `AsyncRead` and `AsyncWrite`.

use std::net::Shutdown;

use annulet_driver::{Endpoint, EndpointKind, async_read, async_write};

use crate::connection::Connection;
use crate::{OwnedReadHalf, OwnedWriteHalf, TcpStream, UnixStream};

/// What the kernel may move by itself: without a limit for each read.
fn source(stream: &impl Connection) -> Option<Endpoint<'_>> {
    stream
        .limits()
        .read
        .load()
        .is_none()
        .then(|| socket(stream))
}

fn sink(stream: &impl Connection) -> Option<Endpoint<'_>> {
    stream
        .limits()
        .write
        .load()
        .is_none()
        .then(|| socket(stream))
}

fn socket(stream: &impl Connection) -> Endpoint<'_> {
    Endpoint {
        fd: stream.fd(),
        kind: EndpointKind::Socket,
    }
}

macro_rules! stream {
    ($stream:ident) => {
        async_read!($stream, |this| source(this));
        async_write!($stream, |this| sink(this), this.shutdown(Shutdown::Write));
        async_read!(OwnedReadHalf<$stream>, |this| source(this.as_ref()));
        async_write!(
            OwnedWriteHalf<$stream>,
            |this| sink(this.as_ref()),
            this.shutdown()
        );
    };
}

stream!(TcpStream);
stream!(UnixStream);
